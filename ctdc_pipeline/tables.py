"""Categorical tables on disk: CSV, TSV and Parquet in, the same out. Nothing here knows the codebook.

In memory a categorical table is a ``pyarrow.Table`` whose columns are all dictionary-encoded strings and where null
means missing: the value is no attribute of the record. Errors name file, row and column, never a cell.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ctdc_pipeline.errors import ResourceError, TableError
from ctdc_pipeline.files import read_parquet, staged

pc: Any = pyarrow.compute  # made when imported, so type checkers cannot see its functions

TEXT = pa.dictionary(pa.int32(), pa.string())
DELIMITERS = {".csv": ",", ".tsv": "\t"}
ZERO = "0"


def read_table(
    path: Path,
    *,
    missing: Collection[str] = (),
    sensitive_zeros: Collection[str] | None = None,
    may_be_empty: bool = False,
) -> pa.Table:
    """Read a categorical table; every column comes back as dictionary-encoded text, null for missing.

    Empty cells and the texts in ``missing`` are missing. So is ``0``, except in the columns named by
    ``sensitive_zeros``; ``None`` keeps ``0`` as a value everywhere. Numbers in Parquet are read as text, whole ones
    without a decimal point. Raises TableError for a file that is absent, without rows (unless it ``may_be_empty``), ragged, not
    UTF-8 or has repeated columns, or when ``sensitive_zeros`` names a column that is not there.
    """
    if not path.is_file():
        raise TableError(f"{path.name}: no such file", remedy="Check the path.")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        table = _read_parquet(path)
    elif suffix in DELIMITERS:
        table = _read_text(path, delimiter=DELIMITERS[suffix])
    else:
        raise TableError(f"{path.name}: unknown kind of table", remedy="Give a file ending in .csv, .tsv or .parquet.")
    if table.num_rows == 0 and not may_be_empty:
        raise TableError(f"{path.name}: the table has no rows", remedy="Give a table with a header and records.")
    unknown = sorted(set(sensitive_zeros or ()) - set(table.column_names))
    if unknown:
        raise TableError(f"{path.name}: no column {', '.join(unknown)}", remedy="Name columns of the table in --sensitive-zeros.")
    columns = [
        _drop(table[name], {*missing, "", *([ZERO] if sensitive_zeros is not None and name not in sensitive_zeros else [])})
        for name in table.column_names
    ]
    return pa.table(columns, names=table.column_names)


def write_table(table: pa.Table, path: Path, *, private: bool = True) -> None:
    """Write ``table`` as its suffix says, whole or not at all and never encrypted; missing is an empty cell.

    Raises TableError for another suffix than .csv, .tsv or .parquet, ResourceError when the disk refuses.
    """
    suffix = path.suffix.lower()
    require_writable(path)
    plain = as_text(table)
    with unwritable(path), staged(path, private=private) as part:
        if suffix == ".parquet":
            pq.write_table(plain, part, compression="zstd")
            return
        with part.open("w", newline="", encoding="utf-8") as file:
            # The csv module does not see that a carriage return needs quotes when lines end in a line feed.
            returns = any(pc.any(pc.match_substring(column, "\r")).as_py() for column in plain.columns)
            quoting = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
            writer = csv.writer(file, delimiter=DELIMITERS[suffix], lineterminator="\n", quoting=quoting)
            writer.writerow(plain.column_names)
            for batch in plain.to_batches(max_chunksize=65_536):
                # A row of one empty cell would be a blank line, which readers skip: the csv module writes "" there.
                writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def as_text(table: pa.Table) -> pa.Table:
    """The same cells, not dictionary-encoded."""
    return pa.table([column.cast(pa.string()) for column in table.columns], names=table.column_names)


def require_writable(path: Path) -> None:
    """Refuse, before work begins, a path whose suffix ``write_table`` does not know or whose folder does not let one write.

    Raises TableError and ResourceError.
    """
    if path.suffix.lower() != ".parquet" and path.suffix.lower() not in DELIMITERS:
        raise TableError(f"{path.name}: unknown kind of table", remedy="Name a file ending in .csv, .tsv or .parquet.")
    existing = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ResourceError(f"{path.name} cannot be written", remedy="Name a file in a folder that may be written to.")


@contextmanager
def unwritable(path: Path) -> Generator[None]:
    """Turn the disk's refusals while writing ``path`` into a ResourceError that says what to do."""
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "the disk refused"
        raise ResourceError(
            f"{path.name} could not be written: {reason}", remedy="Check the folder, its rights and the space left."
        ) from None


def _read_text(path: Path, *, delimiter: str) -> pa.Table:
    names = _header(path, delimiter=delimiter)
    quotes = _quotes(path)
    if quotes % 2:
        raise TableError(f"{path.name}: the quotes are not in pairs", remedy="Mend the quoted cell that has no end.")
    try:
        return pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(column_names=names, skip_rows=1, block_size=1 << 22),
            # Looking for line ends within quotes costs half of the time, so only where there are quotes.
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=quotes > 0),
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


def _quotes(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b'"') for block in iter(lambda: file.read(1 << 22), b""))


def _header(path: Path, *, delimiter: str) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            names = next(csv.reader(file, delimiter=delimiter), [])
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
    _refuse_repeats(path, table.column_names)
    return pa.table([_as_text(path, name, table[name]) for name in table.column_names], names=table.column_names)


def _as_text(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    try:
        if pa.types.is_floating(kind):
            whole = column.cast(pa.float64())
            if pc.all(pc.equal(whole, pc.round(whole))).as_py() is not False:
                column = pc.if_else(pc.is_nan(whole), None, whole).cast(pa.int64())
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise TableError(f"{path.name}: column {name} is not categorical", remedy="Leave it out or write it as text.") from None


def _refuse_repeats(path: Path, names: list[str]) -> None:
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    if repeated:
        raise TableError(f"{path.name}: repeated column {', '.join(repeated)}", remedy="Give each column its own name.")


def _drop(column: pa.ChunkedArray, values: set[str]) -> pa.DictionaryArray:
    """One chunk of dictionary-encoded text in which ``values`` have become null."""
    encoded = (column if pa.types.is_dictionary(column.type) else column.dictionary_encode()).unify_dictionaries()
    array = encoded.combine_chunks()
    array = array if isinstance(array, pa.DictionaryArray) else array.chunk(0)
    keep = [None if value in values else index for index, value in enumerate(array.dictionary.to_pylist())]
    return pa.DictionaryArray.from_arrays(pc.take(pa.array(keep, pa.int32()), array.indices), array.dictionary)
