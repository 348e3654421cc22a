"""Writes sample tables as the files partners send: delimited text and Excel workbooks, the same bytes for the same table."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from pathlib import Path

import openpyxl
import pandas as pd

from ctdc_pipeline.files import staged

_ZIP_DATE = (2021, 4, 1, 0, 0, 0)


def write_csv(frame: pd.DataFrame, path: Path, *, delimiter: str, encoding: str) -> None:
    """Write a table of str cells, quoting where a cell needs it. Raises OSError."""
    with staged(path) as part, part.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(frame.columns)
        writer.writerows(zip(*(frame[name].tolist() for name in frame), strict=True))


def write_workbook(frame: pd.DataFrame, path: Path, *, sheet: str, hide_headings: bool = False) -> None:
    """Write a table as the only sheet of a workbook; cells keep their Python type, None is an empty cell. Raises OSError."""
    workbook = openpyxl.Workbook(write_only=True)
    worksheet = workbook.create_sheet(sheet)
    worksheet.row_dimensions[1].hidden = hide_headings
    worksheet.append(list(frame.columns))
    for row in zip(*(frame[name].tolist() for name in frame), strict=True):
        worksheet.append(row)
    buffer = io.BytesIO()
    workbook.save(buffer)
    with staged(path) as part:
        part.write_bytes(_without_clock(buffer))


def _without_clock(workbook: io.BytesIO) -> bytes:
    """The workbook with every date of its making, in the archive and in its properties, set to one fixed day."""
    fixed = io.BytesIO()
    with zipfile.ZipFile(workbook) as source, zipfile.ZipFile(fixed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "docProps/core.xml":
                content = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"2021-04-01T00:00:00Z", content)
            target.writestr(zipfile.ZipInfo(name, _ZIP_DATE), content, zipfile.ZIP_DEFLATED)
    return fixed.getvalue()
