"""Marks every field of every landed export, so that a test can prove that no value of a case gets out.

Every mark starts with ``MARK``: whatever file, log or message holds it anywhere outside the sensitive zone is a leak.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import openpyxl
import pyarrow.parquet as pq

from ctdc_pipeline.partners.layout import Field, Layout
from ctdc_pipeline.partners.registry import SOURCES

MARK = "zqsentinel"


def plant_sentinels(landing: Path, *, in_lists: bool = False) -> tuple[str, ...]:
    """Rewrite the exports below ``landing``/<source>/<refresh>/ and return the marks.

    Free text, identifiers and columns no layout knows are marked in every row that has a value, or in all if none has; most pass;
    dates, codes, numbers and countries in a row each, which then fails. Identities are marked alike in cases and lists, so that
    they still match. ``in_lists`` also marks what consent registers and opt-out lists hold in such fields, which is refused.
    """
    marks: list[str] = []
    for source in SOURCES.values():
        for table, layout in source.layouts.items():
            strict = table == source.name or in_lists
            pending = {field.name for field in layout.fields if field.type != "text" and strict}
            for number, path in enumerate(sorted((landing / source.name).glob(f"*/{layout.file_pattern}"))):
                rows = _read(path, layout)
                marks += _mark(rows, layout, f"{table.replace('_', '')}{number}", pending)
                _write(path, layout, rows)
    return tuple(sorted(set(marks)))


def leaks(*folders: Path, texts: Iterable[str] = ()) -> list[str]:
    """Where a mark is found: in a file's name, bytes, table or archive below ``folders``, or in one of ``texts``."""
    needle = MARK.encode()
    found = [f"text {number}" for number, text in enumerate(texts) if MARK in text.casefold()]
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        contents = [str(path).encode(), path.read_bytes()]
        if path.suffix == ".parquet":
            contents.append(str(pq.read_table(path).to_pydict()).encode())
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                contents += [archive.read(name) for name in archive.namelist()]
        if any(needle in content.lower() for content in contents):
            found.append(str(path))
    return found


def _mark(rows: list[list[str]], layout: Layout, place: str, pending: set[str]) -> list[str]:
    """Mark ``rows`` in place; fields of ``pending`` are marked in every second row and taken out of it, as far as rows last."""
    headings, *cells = rows
    fields = {field.name: field for field in layout.fields}
    marks: list[str] = []
    failing = iter(cells[::2])
    for column, heading in enumerate(headings):
        field = fields.get(heading, Field(heading))
        mark = f"{MARK}{place}c{column}z"
        if field.role == "case_id":
            mark = f"{MARK}id"
        if field.type == "text":
            unused = not any(row[column] for row in cells)
            for row in cells:
                if row[column] or unused:
                    row[column] += mark
        elif heading in pending and (row := next(failing, None)) is not None:
            row[column] = mark
            pending.remove(heading)
        else:
            continue
        marks.append(mark)
    headings.append("Unexpected column")
    marks.append(f"{MARK}{place}extra")
    for row in cells:
        row.append(marks[-1])
    return marks


def _read(path: Path, layout: Layout) -> list[list[str]]:
    if layout.format == "xlsx":
        sheet = openpyxl.load_workbook(path)[layout.sheet]
        return [["" if cell is None else cell for cell in row] for row in sheet.iter_rows(values_only=True)]  # type: ignore[misc]
    return list(csv.reader(io.StringIO(path.read_text(layout.encoding), newline=""), delimiter=layout.delimiter))


def _write(path: Path, layout: Layout, rows: list[list[str]]) -> None:
    if layout.format == "xlsx":
        workbook = openpyxl.Workbook()
        workbook.remove(workbook["Sheet"])
        sheet = workbook.create_sheet(layout.sheet)
        for row in rows:
            sheet.append(row)
        workbook.save(path)
        return
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=layout.delimiter, lineterminator="\n").writerows(rows)
    path.write_text(buffer.getvalue(), layout.encoding, newline="")
