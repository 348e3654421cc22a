"""Writes tables as the files partners send, which ``reading`` reads: the same bytes for the same table."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from ctdc_pipeline.files import staged
from ctdc_pipeline.partners.layout import Layout
from ctdc_pipeline.workbook import Sheet, write_workbook


def write(frame: pd.DataFrame, path: Path, *, layout: Layout) -> None:
    """Write a table as ``layout`` says: a workbook if ``path`` ends in .xlsx, else delimited text. Raises OSError.

    In a workbook cells keep their type, and None is an empty cell; text takes str cells, quoted where they need it.
    """
    if path.suffix == ".xlsx":
        write_workbook(path, [Sheet.of(layout.sheet or "Cases", frame)])
        return
    with staged(path) as part, part.open("w", encoding=layout.encoding, newline="") as file:
        writer = csv.writer(file, delimiter=layout.delimiter, lineterminator="\n")
        writer.writerow(frame.columns)
        writer.writerows(zip(*(frame[name].tolist() for name in frame), strict=True))
