"""Readers of a release's files, in every format it holds."""

from __future__ import annotations

import csv
import json
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from python_calamine import CalamineError, CalamineWorkbook

from ctdc_pipeline.codebook.variables import codebook

DELIMITERS = {".csv": ",", ".tsv": "\t"}
STATA_NAME = 32  # letters of a variable's name
UNREADABLE = (
    OSError,
    AttributeError,
    EOFError,
    zlib.error,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    RecursionError,
    csv.Error,
    pa.ArrowException,
    CalamineError,
    zipfile.BadZipFile,
)
"""What readers raise at files that are not what they should be; UnicodeDecodeError and JSONDecodeError are ValueErrors."""


def read_text_table(path: Path) -> pa.Table:
    """A CSV, TSV or Parquet file as a table of text, an empty cell for null. Raises one of the errors that readers raise."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    with path.open(newline="", encoding="utf-8") as file:
        names = next(csv.reader(file, delimiter=DELIMITERS[path.suffix], strict=True), [])
    if not names or len(set(names)) < len(names):
        raise ValueError("no columns, or repeated ones")
    return pa_csv.read_csv(
        path,
        read_options=pa_csv.ReadOptions(column_names=names, skip_rows=1),
        parse_options=pa_csv.ParseOptions(delimiter=DELIMITERS[path.suffix], newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )


def read_workbook(path: Path) -> pa.Table:
    """The records in a workbook, over one sheet or several, as text. Raises one of the errors that readers raise.

    Few of them differ, so that each distinct one is made text once.
    """
    with zipfile.ZipFile(path) as archive:
        for part in archive.namelist():
            if part.startswith("xl/worksheets/") and _holds(archive, part, _SHOWN_OTHERWISE):
                raise ValueError("a formula or a truth value, which another program could show otherwise")
    book = CalamineWorkbook.from_path(path)
    names, distinct, numbers = list(codebook().names), dict[tuple[Any, ...], int](), list[int]()
    for sheet in map(book.get_sheet_by_name, book.sheet_names):
        if sheet.start != (0, 0):
            raise ValueError("a sheet that does not begin in its first cell")
        rows = sheet.iter_rows()
        if (heading := next(rows)) != names:
            return pa.table({str(name): pa.array([], pa.string()) for name in heading})
        numbers += [distinct.setdefault(tuple(row), len(distinct)) for row in rows]
    columns = list(zip(*distinct, strict=True)) or [()] * len(names)
    return pa.table([_words(column) for column in columns], names=names).take(pa.array(numbers, pa.int64()))


def read_stata(path: Path) -> pa.Table:
    """The records in a Stata file as text, a name that Stata cuts written out. Raises one of the errors that readers raise."""
    frame: Any = pd.read_stata(path)
    short = {name[:STATA_NAME]: name for name in codebook().names}
    coded = {short.get(name, name): pa.array(frame[name]).dictionary_encode() for name in map(str, frame.columns)}
    return pa.table({name: _words(column.dictionary.to_pylist()).take(column.indices) for name, column in coded.items()})


def _words(cells: Sequence[Any]) -> pa.Array:
    known = {cell: cell_text(cell) for cell in set(cells)}
    return pa.array(map(known.__getitem__, cells), pa.string())


_SHOWN_OTHERWISE = tuple(map(re.compile, (rb"<f[\s/>]", rb":f[\s/>]", rb"=\s*[\"']b[\"']")))
"""In the XML of a sheet: a formula, or a cell that is true or false, which equals 1 or 0 here and is another word elsewhere."""


def _holds(archive: zipfile.ZipFile, part: str, what: Sequence[re.Pattern[bytes]]) -> bool:
    """Whether one of ``what``, of a few bytes, is in a file of ``archive``."""
    tail = b""
    with archive.open(part) as file:
        while block := file.read(1 << 20):
            if any(pattern.search(tail + block) for pattern in what):
                return True
            tail = block[-16:]
    return False


def cell_text(cell: Any) -> str | None:
    """A cell as the text files have it: whole numbers without a decimal point, nothing for an empty one."""
    if isinstance(cell, float | np.floating) and cell == int(cell):
        return str(int(cell))
    return None if cell is None or cell == "" else str(cell)


def read_json(path: Path) -> Any:
    """A JSON file in which no object names a thing twice, for then readers would differ in what it says. Raises ValueError."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name is repeated")
        return dict(pairs)

    return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)


def numbers(column: pa.ChunkedArray, *, decimal: bool = False) -> Any:
    """The numbers that a column of text holds, as int64 or double; None if it holds anything else."""
    try:
        return None if column.null_count else column.cast(pa.float64() if decimal else pa.int64()).to_numpy()
    except pa.ArrowException:
        return None


def whole_number(number: object, *, least: int, most: int = 2**31) -> bool:
    """Whether ``number``, read from JSON, is a whole number within these limits."""
    return isinstance(number, int) and not isinstance(number, bool) and least <= number <= most
