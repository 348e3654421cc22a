"""Read a delivered file exactly as it is.

Every cell is read as text, and every row keeps its position in the file. A file that does not follow its layout is refused as a
whole, with a remedy; the meaning of cells is not judged here. No cell value enters a message, an exception or a summary.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from ctdc_pipeline.errors import DeliveryError, UnreadableError
from ctdc_pipeline.partners.layout import DELIMITERS, Layout
from ctdc_pipeline.spelling import normal_form
from ctdc_pipeline.storage import delimited, sheets
from ctdc_pipeline.storage.files import MAX_BYTES, read_bytes

MAX_CELL = 32_767
"""The longest accepted cell in characters; a workbook cannot contain a longer one."""


@dataclass(frozen=True)
class InputFile:
    """The file being read, for error messages."""

    source: str
    file: str

    def refuse(self, message: str, remedy: str, *, row: int | None = None, column: str | None = None) -> NoReturn:
        """Raise DeliveryError for this file."""
        raise DeliveryError(message, remedy=remedy, partner=self.source, file=self.file, row=row, column=column) from None


def read(path: Path, *, layout: Layout, source: str) -> tuple[pa.Table, tuple[str, ...]]:
    """Read one delivered file.

    Args:
        path: The file.
        layout: The layout of the file.
        source: The name of its source, for messages.

    Returns:
        A table with ``_file`` (text), ``_row`` (int64, from 1 below the headings) and the fields of the layout in order (text;
            "" in fields that the file lacks), and the headings that were left out because the layout does not know them.

    Raises:
        DeliveryError: If the file cannot be read or does not follow its layout.
    """
    input_file = InputFile(source, path.name)
    try:
        size = path.stat().st_size
    except OSError:
        input_file.refuse("the file is missing or cannot be read", "Land it again and check its permissions.")
    if size == 0:
        input_file.refuse("the file is empty", "Ask the partner to send it again.")
    if size > MAX_BYTES:
        input_file.refuse(f"the file is larger than {MAX_BYTES} bytes", "Split it into several files.")
    raw = read_bytes(path)
    cells = layout.cells or {"csv": text_cells, "xlsx": _workbook}[layout.format]
    headings, table = cells(raw, layout, input_file)
    names = [field.name for field in layout.fields]
    if table.num_rows == 0 and not layout.may_be_empty:
        input_file.refuse("there are headings but no rows", "Ask the partner to send it again.")
    for position, heading in enumerate(headings, start=1):
        lengths = pc.call_function("utf8_length", [table.column(position - 1)]).to_numpy()
        for row in (lengths > MAX_CELL).nonzero()[0][:1] + 1:
            column = heading if heading in names else f"number {position}"
            input_file.refuse(f"a cell is longer than {MAX_CELL} characters", "Shorten it at the source.", row=row, column=column)
    empty = pa.array([""] * table.num_rows, pa.string())
    columns = {name: table.column(headings.index(name)) if name in headings else empty for name in names}
    origin = {
        "_file": pa.array([path.name] * table.num_rows, pa.string()),
        "_row": pa.array(range(1, table.num_rows + 1), pa.int64()),
    }
    return pa.table({**origin, **columns}), tuple(heading for heading in headings if heading not in names)


def check_headings(headings: Sequence[str], layout: Layout, input_file: InputFile) -> None:
    """Refuse headings that occur twice, and headings without a required one.

    Raises DeliveryError.
    """
    names = [field.name for field in layout.fields]
    if not {*names} & {*headings}:
        input_file.refuse("none of the expected headings is in the first row", "Export it with headings.")
    for position, heading in enumerate(headings, start=1):
        if heading in headings[: position - 1]:
            column = heading if heading in names else f"number {position}"
            input_file.refuse("the heading occurs twice", "Remove or rename one of the two columns.", column=column)
    missing = [field.name for field in layout.fields if field.required and field.name not in headings]
    if missing:
        input_file.refuse(
            f"required columns are missing: {', '.join(missing)}", "Export it again with all columns.", column=missing[0]
        )


def text_cells(raw: bytes, layout: Layout, input_file: InputFile) -> tuple[list[str], pa.Table]:
    """Read the headings and cells of a delimited text.

    Args:
        raw: The bytes of the file.
        layout: The layout of the file.
        input_file: The name of the file, for messages.

    Returns:
        The headings, and a table of text columns that are named by their position: ``"0"``, ``"1"``, ...

    Raises:
        DeliveryError: If the text is damaged or does not follow the layout.
    """
    raw = _plain(raw, input_file)
    size = delimited.heading_size(raw)
    if raw[:size].endswith(b"\r"):
        input_file.refuse("the headings cannot be read", "End lines with a line feed.")
    splits = {delimiter: split_headings(raw[:size], layout, delimiter) for delimiter in DELIMITERS}
    headings = splits[layout.delimiter]
    known = {field.name for field in layout.fields}
    known_headings = {delimiter: len(known & {*split}) for delimiter, split in splits.items()}
    likely_delimiter = max(known_headings, key=lambda delimiter: known_headings[delimiter])
    if known_headings[likely_delimiter] > known_headings[layout.delimiter]:
        expected, actual = DELIMITERS[layout.delimiter], DELIMITERS[likely_delimiter]
        input_file.refuse(f"columns are separated by {actual}, not {expected}", f"Export with {expected} as separator.")
    check_headings(headings, layout, input_file)
    rest = raw[size:]
    if not rest.strip():
        return headings, pa.table({str(i): pa.array([], pa.string()) for i in range(len(headings))})
    if not raw.endswith((b"\n", b"\r")):
        input_file.refuse(
            "the last line is cut off", "Send the file again; it must end with a line break.", row=rest.count(b"\n") + 1
        )
    raw = raw.rstrip(b"\r\n") + b"\n"
    scan = delimited.scan(raw, delimiter=layout.delimiter)
    if scan.fault:
        input_file.refuse(scan.fault.message, scan.fault.remedy, row=scan.fault.row)
    names = [str(position) for position in range(len(headings))]
    uneven_rows: list[int] = []

    def note(row: arrow_csv.InvalidRow) -> str:
        uneven_rows.append(row.number or 0)
        return "skip"

    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(memoryview(raw)[size:]),
            read_options=arrow_csv.ReadOptions(use_threads=False, column_names=names, block_size=max(1 << 24, 4 * MAX_CELL)),
            parse_options=arrow_csv.ParseOptions(
                delimiter=layout.delimiter, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=note
            ),
            convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        input_file.refuse("the rows cannot be told apart", f"Send a well-formed file with no cell over {MAX_CELL} characters.")
    if uneven_rows:
        input_file.refuse(
            "the row has more or fewer cells than headings", "Quote cells that hold a separator.", row=uneven_rows[0]
        )
    if table.num_rows != scan.lines:
        message = f"{table.num_rows} rows were read, but {scan.lines} were counted"
        input_file.refuse(message, "Check the quotes and line ends, and send the file again.")
    return headings, table


def _plain(raw: bytes, input_file: InputFile) -> bytes:
    """Return ``raw`` without a byte order mark, checked to be UTF-8 text.

    The mark is accepted whether or not the layout announces it.
    """
    if raw.startswith((sheets.OLE, sheets.ZIP)):
        input_file.refuse("this is a workbook or an archive, not a text file", "Export it as CSV.")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        input_file.refuse("the encoding is UTF-16, not UTF-8", "Export it as UTF-8.")
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    nul = raw.find(b"\0")
    if nul >= 0:
        input_file.refuse("there is a NUL byte", "Send the file again; it was damaged.", row=raw.count(b"\n", 0, nul))
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start)
        input_file.refuse("the encoding is not UTF-8", "Export it as UTF-8.", row=row)
    return raw


def split_headings(record: bytes, layout: Layout, delimiter: str) -> list[str]:
    """Return the headings in the first record of a text, as the layout spells them.

    Returns [] if its quotes are invalid.
    """
    return _spelled(split_record(record, delimiter), layout)


def split_record(record: bytes, delimiter: str) -> list[str]:
    """Return the cells of one record of a text; [] if its quotes are invalid."""
    try:
        return next(csv.reader(io.StringIO(record.decode("utf-8", "replace"), newline=""), delimiter=delimiter), [])
    except csv.Error:
        return []


def _spelled(headings: Sequence[str], layout: Layout) -> list[str]:
    """Return the headings as the layout spells them.

    Headings that the layout does not know are returned in their normal form.
    """
    names = {normal_form(field.name): field.name for field in layout.fields}
    return [names.get(plain, plain) for plain in map(normal_form, headings)]


def _workbook(raw: bytes, layout: Layout, input_file: InputFile) -> tuple[list[str], pa.Table]:
    rows = sheet_rows(raw, layout.sheet, input_file)
    headings = _spelled(rows[0], layout)
    while headings and not headings[-1]:
        headings.pop()
    check_headings(headings, layout, input_file)
    required = {field.name for field in layout.fields if field.required}
    require_one_sheet(
        raw, layout.sheet, input_file, lambda other_headings: bool(required) and required <= {*_spelled(other_headings, layout)}
    )
    columns = zip(*(row[: len(headings)] for row in rows[1:]), strict=True) if len(rows) > 1 else ([] for _ in headings)
    return headings, pa.table({str(i): pa.array(column, pa.string()) for i, column in enumerate(columns)})


def require_one_sheet(raw: bytes, name: str, input_file: InputFile, same: Callable[[list[str]], bool]) -> None:
    """Refuse a workbook in which another sheet has the same headings as the sheet that is read.

    Args:
        raw: The bytes of a workbook that ``sheet_rows`` has read.
        name: The sheet that is read; "" is the first one.
        input_file: The name of the file, for messages.
        same: Tells whether the headings of another sheet are the same.

    Raises:
        DeliveryError: If another sheet has them.
    """
    if any(same(headings) for headings in sheets.other_headings(raw, name).values()):
        input_file.refuse("a second sheet has the same headings, but only one sheet is read", "Put all rows into one sheet.")


def sheet_rows(raw: bytes, name: str, input_file: InputFile) -> list[list[str]]:
    """Return every cell of the sheet called ``name`` ("" is the first one).

    See ``sheets.sheet_rows``.

    Raises:
        DeliveryError: If the workbook cannot be read.
    """
    try:
        return sheets.sheet_rows(raw, name, max_bytes=MAX_BYTES)
    except UnreadableError as error:
        input_file.refuse(error.message, error.remedy)
