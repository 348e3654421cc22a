"""Write tables as partners send them, so that ``reading`` can read them.

The same table gives the same bytes.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from ctdc_pipeline.partners.layout import Layout
from ctdc_pipeline.storage.files import staged
from ctdc_pipeline.storage.workbook import Sheet, write_workbook


def write(frame: pd.DataFrame, path: Path, *, layout: Layout) -> None:
    """Write a table as ``layout`` says.

    The file is a workbook if ``path`` ends in .xlsx, else delimited text.

    Args:
        frame: The columns of the file. In a workbook cells keep their type, and None is an empty cell; for text all cells are
            str, and are quoted if necessary.
        path: The file to write.
        layout: Gives the sheet, the encoding and the delimiter.

    Raises:
        OSError: If the file cannot be written.
    """
    if path.suffix == ".xlsx":
        write_workbook(path, [Sheet.of(layout.sheet or "Cases", frame)])
        return
    with staged(path) as part, part.open("w", encoding=layout.encoding, newline="") as file:
        writer = csv.writer(file, delimiter=layout.delimiter, lineterminator="\n")
        writer.writerow(frame.columns)
        writer.writerows(zip(*(frame[name].tolist() for name in frame), strict=True))
