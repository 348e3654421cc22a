"""Read categorical tables from CSV, TSV, Parquet, XLSX and Stata, and write the first three. Knows no codebook.

In memory a categorical table is a ``pyarrow.Table`` whose columns are all dictionary-encoded strings. Null means missing: the
record does not have that attribute. The same value is the same text in every format (`plain`). Errors name file, row and column,
never the content of a cell.
"""

from __future__ import annotations

import csv
import io
import mmap
import os
import re
import struct
from collections import Counter
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ctdc_pipeline.errors import ResourceError, TableError, UnreadableError
from ctdc_pipeline.spelling import normal_form
from ctdc_pipeline.storage.delimited import Scan, scan
from ctdc_pipeline.storage.files import MAX_BYTES, read_parquet, staged

pc: Any = pyarrow.compute  # made when imported, so type checkers cannot see its functions

TEXT = pa.dictionary(pa.int32(), pa.string())
DELIMITERS = {".csv": ",", ".tsv": "\t"}
ZERO = "0"
LONGEST_NAME = 32
"""Most characters of a column name in Stata; the published list of 37 variables cuts one name there, too."""
_BOM = b"\xef\xbb\xbf"
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]\d{1,3})?", re.ASCII)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d)?)(?:\.(\d+))?(?:(Z)|([+-]\d\d):?(\d\d))?", re.ASCII)
_TIME = re.compile(r"(\d\d:\d\d:\d\d)(\.\d+)", re.ASCII)
_TRUTH = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}


def read_table(
    path: Path,
    *,
    missing: Collection[str] = (),
    sensitive_zeros: Collection[str] | None = None,
    may_be_empty: bool = False,
) -> pa.Table:
    """Read a categorical table; every column becomes dictionary-encoded text, with null for missing.

    Empty cells are missing. Values are written as `plain` writes them, so they are the same in every format.

    Args:
        path: a file with one of the suffixes in `KINDS`.
        missing: further texts that mean missing.
        sensitive_zeros: the columns in which ``0`` is a value; elsewhere it is missing. None keeps it as a value everywhere.
        may_be_empty: accept a table without rows.

    Returns:
        A table whose columns are all ``dictionary<int32, string>``.

    Raises:
        TableError: the file is absent, has no rows, is ragged, is not UTF-8, has stray quotes or repeated columns, or lacks a
            column named in `sensitive_zeros`.

    """
    if path.exists() and not path.is_file():
        raise TableError(f"{path.name}: a folder, a pipe or a device", remedy="Give a plain file.")
    if not path.is_file():
        raise TableError(f"{path.name}: no such file", remedy="Check the path.")
    suffix = path.suffix.lower()
    if suffix in READERS:
        table = READERS[suffix](path)
        _refuse_repeats(path, table.column_names)
    elif suffix in DELIMITERS:
        table = _read_text(path, delimiter=DELIMITERS[suffix])
    else:
        raise TableError(f"{path.name}: unknown kind of table", remedy=f"Give a file ending in {', '.join(KINDS)}.")
    if table.num_rows == 0 and not may_be_empty:
        raise TableError(f"{path.name}: the table has no rows", remedy="Give a table with a header and records.")
    unknown = sorted(set(sensitive_zeros or ()) - set(table.column_names))
    if unknown:
        raise TableError(f"{path.name}: no column {', '.join(unknown)}", remedy="Name columns of the table in --sensitive-zeros.")
    absent = {"", *missing, *map(plain, missing)}
    zeros = {ZERO} if sensitive_zeros is not None else set[str]()
    columns = [_normal(table[name], absent if name in (sensitive_zeros or ()) else absent | zeros) for name in table.column_names]
    return pa.table(columns, names=table.column_names)


def plain(text: str) -> str:
    """Write a value the same way for every file format.

    A number has no exponent and no trailing zeros in its decimals, and zero has no sign. Truth values are ``true`` and ``false``.
    The first moment of a day becomes that day, and the zone UTC is written ``+00:00``. Text that only resembles these, such as
    ``007`` or ``1E5``, is a code and stays unchanged.

    >>> [plain(text) for text in ("18.0", "-0.0", "2.50", "1e+03", "TRUE", "2021-05-01 00:00:00", "007")]
    ['18', '0', '2.5', '1000', 'true', '2021-05-01', '007']
    """
    if text in _TRUTH:
        return _TRUTH[text]
    if not (text[-1:].isdecimal() or text.endswith("Z")) or text[0] not in "-0123456789":
        return text
    if _NUMBER.fullmatch(text):
        if "e" in text.lower():
            text = f"{Decimal(text):f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return ZERO if text == "-0" else text
    if moment := _MOMENT.fullmatch(text):
        day, time, part, utc, hours, minutes = moment.groups()
        time = (f"{time}:00" if len(time) == 5 else time) + _fraction(part)
        zone = "+00:00" if utc else f"{hours}:{minutes}" if hours else ""
        return day if time == "00:00:00" and not zone else f"{day} {time}{zone}"
    if time := _TIME.fullmatch(text):
        return time[1] + _fraction(time[2][1:])
    return text


def _fraction(digits: str | None) -> str:
    """Return the decimals of a second, without trailing zeros."""
    digits = (digits or "").rstrip("0")
    return f".{digits}" if digits else ""


def write_table(table: pa.Table, path: Path, *, private: bool = True) -> None:
    """Write a table in the format of its suffix, whole or not at all and never encrypted.

    Missing values become empty cells.

    Args:
        table: a categorical table.
        path: a file ending in .csv, .tsv or .parquet.
        private: only the owner can read the file.

    Raises:
        TableError: the suffix is another one.
        ResourceError: the disk refuses.

    """
    suffix = path.suffix.lower()
    require_writable(path)
    texts = as_text(table)
    with unwritable(path), staged(path, private=private) as part:
        if suffix == ".parquet":
            pq.write_table(texts, part, compression="zstd")
            return
        with part.open("w", newline="", encoding="utf-8") as file:
            # The csv module does not see that a carriage return needs quotes when lines end in a line feed. And two quotes alone
            # in a row of several lines could be stray, so all cells have them then.
            breaks = any(pc.any(pc.match_substring_regex(column, "[\r\n]")).as_py() for column in texts.columns)
            quoting = csv.QUOTE_ALL if breaks else csv.QUOTE_MINIMAL
            writer = csv.writer(file, delimiter=DELIMITERS[suffix], lineterminator="\n", quoting=quoting)
            writer.writerow(texts.column_names)
            for batch in texts.to_batches(max_chunksize=65_536):
                # A row of one empty cell would be a blank line, which readers skip: the csv module writes "" there.
                writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def as_text(table: pa.Table) -> pa.Table:
    """Return the same cells as plain strings instead of dictionary-encoded ones."""
    return pa.table([column.cast(pa.string()) for column in table.columns], names=table.column_names)


def require_writable(path: Path) -> None:
    """Check before work begins that `write_table` can write to `path`.

    Raises:
        TableError: the suffix is unknown.
        ResourceError: the path is a link or a folder, or the folder is not writable.

    """
    if path.suffix.lower() != ".parquet" and path.suffix.lower() not in DELIMITERS:
        raise TableError(f"{path.name}: unknown kind of table", remedy="Name a file ending in .csv, .tsv or .parquet.")
    if path.is_symlink():
        raise ResourceError(f"{path.name} is a link, and links are not written through", remedy="Name the file itself.")
    existing = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ResourceError(f"{path.name} cannot be written", remedy="Name a file in a folder that may be written to.")


@contextmanager
def unwritable(path: Path) -> Generator[None]:
    """Turn disk errors while writing `path` into an error that says what to do.

    Raises:
        ResourceError: the disk refuses.

    """
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "the disk refused"
        raise ResourceError(
            f"{path.name} could not be written: {reason}", remedy="Check the folder, its rights and the space left."
        ) from None


def _read_text(path: Path, *, delimiter: str) -> pa.Table:
    layout = _scanned(path, delimiter=delimiter)
    names = _header(path, delimiter=delimiter, size=layout.heading)
    if layout.fault:
        raise TableError(f"{path.name}, row {layout.fault.row}: {layout.fault.message}", remedy=layout.fault.remedy)
    try:
        table = pa_csv.read_csv(
            path,
            # The headings may go over several lines; only rows can be skipped as the parser sees them.
            read_options=pa_csv.ReadOptions(column_names=names, skip_rows_after_names=1, block_size=1 << 22),
            # Looking for line ends within quotes costs half of the time, so only where there are quotes.
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=layout.quoted),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, TEXT),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                null_values=[""],
            ),
        )
    except pa.ArrowInvalid:
        # Arrow's message quotes the line, so it is looked up again by number.
        raise TableError(
            f"{path.name}: {_fault(path, delimiter=delimiter, width=len(names))}",
            remedy="Mend the file; every row needs as many cells as the header, in UTF-8.",
        ) from None
    if table.num_rows != layout.records:
        raise TableError(
            f"{path.name}: {table.num_rows} rows were read where {layout.records} records were counted",
            remedy="Check the quotes and line ends of the file.",
        )
    return table


def _scanned(path: Path, *, delimiter: str) -> Scan:
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return scan(b"", delimiter=delimiter)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return scan(text, delimiter=delimiter, begin=len(_BOM) if text[: len(_BOM)] == _BOM else 0)


def _header(path: Path, *, delimiter: str, size: int) -> list[str]:
    try:
        with path.open("rb") as file:
            text = file.read(size + len(_BOM)).removeprefix(_BOM)[:size].decode()
        names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    except UnicodeDecodeError:
        raise TableError(f"{path.name}: not UTF-8 text", remedy="Save the file as UTF-8.") from None
    except csv.Error:
        raise TableError(f"{path.name}: the header cannot be read", remedy="Check the quotes in line 1.") from None
    if not any(names):
        raise TableError(f"{path.name}: the file is empty", remedy="Give a table with a header and records.")
    if len(names) == 1 and any(other in names[0] for other in ",;\t|"):
        raise TableError(f"{path.name}: one column only", remedy="Check the delimiter: comma for .csv, tab for .tsv.")
    _refuse_repeats(path, names)
    return names


def _fault(path: Path, *, delimiter: str, width: int) -> str:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.reader(file, delimiter=delimiter)):
                if row and len(row) != width:
                    return f"row {number} has {len(row)} cells where the header has {width}"
    except (UnicodeDecodeError, csv.Error):
        return "not readable as UTF-8 text with quotes in pairs"
    return "a row cannot be read"


def _read_parquet(path: Path) -> pa.Table:
    try:
        table = read_parquet(path)
    except (pa.ArrowException, OSError):
        raise TableError(f"{path.name}: not a Parquet file", remedy="Check the file.") from None
    return pa.table([_as_text(path, name, table[name]) for name in table.column_names], names=table.column_names)


def _as_text(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_duration(column.type):
            raise pa.ArrowInvalid  # A number without its unit would be anything.
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise TableError(f"{path.name}: column {name} is not categorical", remedy="Leave it out or write it as text.") from None


def _read_workbook(path: Path) -> pa.Table:
    """Read the first sheet, and every later sheet with the same headings."""
    from ctdc_pipeline.storage import sheets

    if path.stat().st_size > MAX_BYTES:
        raise TableError(f"{path.name}: larger than {MAX_BYTES} bytes", remedy="Give it as CSV or Parquet.")
    try:
        headings, *rows = sheets.all_rows(path.read_bytes(), max_bytes=MAX_BYTES)
    except UnreadableError as error:
        raise TableError(f"{path.name}: {error.message}", remedy=error.remedy) from None
    while headings and not headings[-1].strip() and not any(row[len(headings) - 1].strip() for row in rows):
        headings.pop()
    if not headings:
        raise TableError(f"{path.name}: the first sheet is empty", remedy="Give a table with a header and records.")
    for number, row in enumerate(rows, start=1):
        for heading, cell in zip(headings, row, strict=False):
            if cell in sheets.MARKS:
                raise TableError(
                    f"{path.name}, row {number}: column {heading} holds a formula or an error of Excel",
                    remedy="Put the value in its place.",
                )
    columns = zip(*(row[: len(headings)] for row in rows), strict=True) if rows else ([] for _ in headings)
    return pa.table([pa.chunked_array([pa.array(column, pa.string())]) for column in columns], names=headings)


def _read_stata(path: Path) -> pa.Table:
    """Read labelled values as their labels and other values as numbers."""
    import pandas as pd

    try:
        frame = pd.read_stata(path, convert_categoricals=True, preserve_dtypes=False)
    except (ValueError, OSError, KeyError, EOFError, struct.error):
        raise TableError(f"{path.name}: not a Stata file, or values share a label", remedy="Save it again in Stata.") from None
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return pa.table([_as_text(path, name, table[name]) for name in table.column_names], names=table.column_names)


def _refuse_repeats(path: Path, names: list[str]) -> None:
    times = Counter(map(normal_form, names))
    repeated = sorted(name for name in times if times[name] > 1)
    if repeated:
        raise TableError(f"{path.name}: repeated column {', '.join(repeated)}", remedy="Give each column its own name.")


def _normal(column: pa.ChunkedArray, absent: Collection[str]) -> pa.DictionaryArray:
    """Return the column as one dictionary-encoded chunk of `plain` text, with `absent` values as null."""
    encoded = (column if pa.types.is_dictionary(column.type) else column.dictionary_encode()).unify_dictionaries()
    array = encoded.combine_chunks()
    array = array if isinstance(array, pa.DictionaryArray) else array.chunk(0)
    texts = [text and plain(text) for text in array.dictionary.to_pylist()]
    codes: dict[str, int] = {}
    kept = [None if text is None or text in absent else codes.setdefault(text, len(codes)) for text in texts]
    return pa.DictionaryArray.from_arrays(pc.take(pa.array(kept, pa.int32()), array.indices), pa.array([*codes], pa.string()))


READERS: dict[str, Callable[[Path], pa.Table]] = {".parquet": _read_parquet, ".xlsx": _read_workbook, ".dta": _read_stata}
KINDS = (*DELIMITERS, *READERS)
"""Suffixes of the tables that can be read."""
