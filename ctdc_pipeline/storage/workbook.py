"""Write plain tables to a workbook (XLSX), row by row: the same cells always give the same bytes.

Text stays text whatever its first character, and is marked so that editing the cell does not turn it into a formula.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
from xlsxwriter import Workbook

from ctdc_pipeline.errors import TableError
from ctdc_pipeline.storage.files import staged

Cell = str | int | float | date | None

MOST_ROWS = 1_048_576
EPOCH = datetime(1980, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Sheet:
    """One table of a workbook.

    The first row contains the headings: bold, and either hidden or always in view. `widths` are those of the first columns, in
    characters.
    """

    name: str
    rows: Iterable[Sequence[Cell]]
    widths: Sequence[int] = ()
    hide_headings: bool = False

    @classmethod
    def of(cls, name: str, frame: pd.DataFrame, *, hide_headings: bool = False) -> Sheet:
        """Return the sheet of a data frame whose cells are `Cell`."""
        rows = zip(*(frame[column].tolist() for column in frame), strict=True)
        return cls(name, [list(frame.columns), *rows], hide_headings=hide_headings)


def write_workbook(path: Path, sheets: Sequence[Sheet], *, title: str = "") -> None:
    """Write `sheets` to the workbook `path`, whole or not at all.

    Raises:
        OSError: the disk refuses.
        TableError: a table has more rows than a sheet can have.

    """
    with staged(path) as part, Workbook(str(part), {"constant_memory": True, "tmpdir": str(path.parent)}) as book:
        book.set_properties({"title": title, "created": EPOCH})
        bold = book.add_format({"bold": True})
        quoted = book.add_format({"num_format": "@", "quote_prefix": True})
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        for sheet in sheets:
            worksheet = book.add_worksheet(sheet.name)
            worksheet.freeze_panes(1, 0)
            if sheet.hide_headings:
                worksheet.set_row(0, options={"hidden": True})
            for column, width in enumerate(sheet.widths):
                worksheet.set_column(column, column, width)
            for row, cells in enumerate(sheet.rows):
                if row == MOST_ROWS:
                    raise TableError(
                        f"sheet {sheet.name} has more rows than a workbook allows", remedy="Split the table over several sheets."
                    )
                for column, cell in enumerate(cells):
                    if isinstance(cell, str):
                        formula = cell.startswith(("=", "+", "-", "@", "'"))
                        worksheet.write_string(row, column, cell, bold if row == 0 else quoted if formula else None)
                    elif isinstance(cell, (int, float)):
                        worksheet.write_number(row, column, cell)
                    elif cell is not None:
                        worksheet.write_datetime(row, column, cell, day)  # pyright: ignore[reportArgumentType] (it takes days, too)
