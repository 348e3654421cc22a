"""Workbooks (XLSX) of plain tables, written row by row: the same cells give the same bytes, whatever their number.

Text is text whatever it begins with, and is marked so that editing a cell does not make a formula of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
from xlsxwriter import Workbook

from ctdc_pipeline.errors import TableError
from ctdc_pipeline.files import staged

Cell = str | int | float | date | None

MOST_ROWS = 1_048_576
EPOCH = datetime(1980, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Sheet:
    """One table: its first row are headings, bold and always in view or hidden; ``widths`` of the first columns in characters."""

    name: str
    rows: Iterable[Sequence[Cell]]
    widths: Sequence[int] = ()
    hide_headings: bool = False

    @classmethod
    def of(cls, name: str, frame: pd.DataFrame, *, hide_headings: bool = False) -> Sheet:
        """The sheet of a data frame whose cells are ``Cell``."""
        rows = zip(*(frame[column].tolist() for column in frame), strict=True)
        return cls(name, [list(frame.columns), *rows], hide_headings=hide_headings)


def write_workbook(path: Path, sheets: Sequence[Sheet], *, title: str = "") -> None:
    """Write ``sheets`` to ``path``, whole or not at all. Raises OSError, and TableError for more rows than a sheet can have."""
    with staged(path) as part, Workbook(str(part), {"constant_memory": True, "tmpdir": str(path.parent)}) as book:
        book.set_properties({"title": title, "created": EPOCH})
        bold = book.add_format({"bold": True})
        quoted = book.add_format({"num_format": "@", "quote_prefix": True})
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        for one in sheets:
            sheet = book.add_worksheet(one.name)
            sheet.freeze_panes(1, 0)
            if one.hide_headings:
                sheet.set_row(0, options={"hidden": True})
            for column, width in enumerate(one.widths):
                sheet.set_column(column, column, width)
            for row, cells in enumerate(one.rows):
                if row == MOST_ROWS:
                    raise TableError(
                        f"sheet {one.name} has more rows than a workbook can", remedy="Write the table over several sheets."
                    )
                for column, cell in enumerate(cells):
                    if isinstance(cell, str):
                        formula = cell.startswith(("=", "+", "-", "@", "'"))
                        sheet.write_string(row, column, cell, bold if row == 0 else quoted if formula else None)
                    elif isinstance(cell, (int, float)):
                        sheet.write_number(row, column, cell)
                    elif cell is not None:
                        sheet.write_datetime(row, column, cell, day)  # pyright: ignore[reportArgumentType] (it takes days, too)
