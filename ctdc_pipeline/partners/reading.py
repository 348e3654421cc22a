"""Reading a delivery exactly as it is: every cell as text, every row with its place in its file.

A file that is not what its layout says is refused as a whole, with what to do about it; what a cell means is not judged here.
Nothing of a cell enters a message, an exception or a summary.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv
from python_calamine import CalamineError, CalamineWorkbook

from ctdc_pipeline.errors import DeliveryError
from ctdc_pipeline.files import read_bytes, write_parquet
from ctdc_pipeline.partners.layout import DELIMITERS, Layout, Source
from ctdc_pipeline.store import Delivery

MAX_BYTES = 1 << 30
"""Largest file, and largest content of a compressed one, in bytes."""
MAX_CELL = 32_767
"""Longest cell in characters; a workbook cannot hold a longer one either."""
MAX_CELLS = 50_000_000
"""Largest sheet, rows times columns."""

FILES = "files"
"""The table of the files that were read."""

_OLE = b"\xd0\xcf\x11\xe0"
_ZIP = b"PK\x03\x04"
_CELL = re.compile(rb'<(?:\w+:)?c [^>]*?\br="([A-Z]{1,3})(\d{1,7})"[^>]*>(\s*<(?:\w+:)?f[ />])?')
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


@dataclass(frozen=True)
class FileRead:
    """One file that was read into ``table``: its name, size in bytes, SHA-256 and number of data rows."""

    table: str
    name: str
    size: int
    sha256: str
    rows: int


@dataclass(frozen=True)
class IngestSummary:
    """What was read of one source. ``unknown_columns`` are (file, column) pairs that no layout knows; they were kept out."""

    source: str
    files: tuple[FileRead, ...]
    unknown_columns: tuple[tuple[str, str], ...]
    rows: dict[str, int]


@dataclass(frozen=True)
class Ingested:
    """The tables of one delivery, which was sent in the layout of that title, by name."""

    delivery: str
    layout: str
    tables: dict[str, pa.Table]
    summary: IngestSummary

    def write(self, folder: Path) -> None:
        """Write each table to ``folder``, and last ``files.parquet``, which says what they are: without it they are not whole."""
        told = folder / f"{FILES}.parquet"
        told.unlink(missing_ok=True)
        for name, content in self.tables.items():
            write_parquet(content, folder / f"{name}.parquet")
        origin = {"delivery": self.delivery, "layout": self.layout}
        write_parquet(pa.Table.from_pylist([{**asdict(file), **origin} for file in self.summary.files]), told)


@dataclass(frozen=True)
class Place:
    """The file being read, for messages."""

    source: str
    file: str

    def refuse(self, message: str, remedy: str, *, row: int | None = None, column: str | None = None) -> NoReturn:
        raise DeliveryError(message, remedy=remedy, partner=self.source, file=self.file, row=row, column=column) from None


def ingest(source: Source, *, delivery: Delivery) -> Ingested:
    """Read every file of ``delivery``, which is in the layouts of ``source``, into one table a layout.

    Columns: ``_file`` (text), ``_row`` (int64, 1 is the first row below the headings), then the fields of the layout as text in
    its order; an empty cell is the empty text. Rows are ordered by file name and row. Raises DeliveryError.
    """
    paths = delivery.paths()
    if delivery.kind == "increment" and delivery.since:
        # Nothing new but an opt-out is a delivery too, if it says what it continues.
        source = replace(source, cases=replace(source.cases, may_be_empty=True))
    claimed = {path: table for table, layout in source.layouts.items() for path in paths if path.match(layout.file_pattern)}
    for path in paths:
        if path not in claimed:
            Place(source.name, path.name).refuse("no file of this name is expected", "Rename or remove it.")
    tables: dict[str, pa.Table] = {}
    reads: list[FileRead] = []
    unknown: list[tuple[str, str]] = []
    for table, layout in source.layouts.items():
        own = [path for path in paths if claimed[path] == table]
        if not own:
            place = Place(source.name, layout.file_pattern)
            place.refuse("the file is missing", f"Land the {layout.title.lower()} and run again.")
        parts: list[pa.Table] = []
        for path in own:
            part, extra = read(path, layout=layout, source=source.name)
            parts.append(part)
            unknown += [(path.name, column) for column in extra]
            (file,) = (file for file in delivery.files if file.name == path.name)
            reads.append(FileRead(table, file.name, file.size, file.sha256, part.num_rows))
        tables[table] = pa.concat_tables(parts)
    rows = {name: content.num_rows for name, content in tables.items()}
    summary = IngestSummary(source.name, tuple(reads), tuple(unknown), rows)
    return Ingested(delivery.content, source.cases.title, tables, summary)


def ingested_columns(layout: Layout) -> pa.Schema:
    """The columns of a table that ``ingest`` writes."""
    return pa.schema([("_file", pa.string()), ("_row", pa.int64()), *((field.name, pa.string()) for field in layout.fields)])


def read(path: Path, *, layout: Layout, source: str) -> tuple[pa.Table, tuple[str, ...]]:
    """One file as a table of the shape that ``ingest`` writes, and the columns that were kept out. Raises DeliveryError."""
    place = Place(source, path.name)
    try:
        size = path.stat().st_size
    except OSError:
        place.refuse("the file is missing or cannot be read", "Land it again and check its permissions.")
    if size == 0:
        place.refuse("the file is empty", "Ask the partner to send it again.")
    if size > MAX_BYTES:
        place.refuse(f"the file is larger than {MAX_BYTES} bytes", "Split it into several files.")
    raw = read_bytes(path)
    cells = layout.cells or {"csv": text_cells, "xlsx": _workbook}[layout.format]
    headings, table = cells(raw, layout, place)
    names = [field.name for field in layout.fields]
    if table.num_rows == 0 and not layout.may_be_empty:
        place.refuse("there are headings but no rows", "Ask the partner to send it again.")
    for position, heading in enumerate(headings, start=1):
        lengths = pc.call_function("utf8_length", [table.column(position - 1)]).to_numpy()
        for row in (lengths > MAX_CELL).nonzero()[0][:1] + 1:
            told = heading if heading in names else f"number {position}"
            place.refuse(f"a cell is longer than {MAX_CELL} characters", "Shorten it at the source.", row=row, column=told)
    empty = pa.array([""] * table.num_rows, pa.string())
    columns = {name: table.column(headings.index(name)) if name in headings else empty for name in names}
    origin = {
        "_file": pa.array([path.name] * table.num_rows, pa.string()),
        "_row": pa.array(range(1, table.num_rows + 1), pa.int64()),
    }
    return pa.table({**origin, **columns}), tuple(heading for heading in headings if heading not in names)


def check_headings(headings: Sequence[str], layout: Layout, place: Place) -> None:
    """Refuse a heading that occurs twice, and headings without a required one. Raises DeliveryError."""
    names = [field.name for field in layout.fields]
    if not {*names} & {*headings}:
        place.refuse("none of the expected headings is in the first row", "Export it with headings.")
    for position, heading in enumerate(headings, start=1):
        if heading in headings[: position - 1]:
            told = heading if heading in names else f"number {position}"
            place.refuse("the heading occurs twice", "Remove or rename one of the two columns.", column=told)
    missing = [field.name for field in layout.fields if field.required and field.name not in headings]
    if missing:
        told = ", ".join(missing)
        place.refuse(f"required columns are missing: {told}", "Export it again with all columns.", column=missing[0])


def text_cells(raw: bytes, layout: Layout, place: Place) -> tuple[list[str], pa.Table]:
    """The headings of a delimited text, and its cells as columns called by position. Raises DeliveryError."""
    raw = _plain(raw, place)
    first, _, rest = raw.partition(b"\n")
    try:
        splits = {delimiter: _headings(first.decode("utf-8"), delimiter) for delimiter in DELIMITERS}
    except csv.Error:
        place.refuse("the headings cannot be read", "End lines with a line feed, and keep line breaks out of headings.")
    headings = splits[layout.delimiter]
    known = {field.name for field in layout.fields}
    hits = {delimiter: len(known & {*split}) for delimiter, split in splits.items()}
    better = max(hits, key=lambda delimiter: hits[delimiter])
    if hits[better] > hits[layout.delimiter]:
        expected, found = DELIMITERS[layout.delimiter], DELIMITERS[better]
        place.refuse(f"columns are separated by {found}, not {expected}", f"Export with {expected} as separator.")
    check_headings(headings, layout, place)
    if not rest.strip():
        return headings, pa.table({str(i): pa.array([], pa.string()) for i in range(len(headings))})
    if not raw.endswith((b"\n", b"\r")):
        place.refuse("the last line is cut off", "Send the file again; it must end with a line break.", row=rest.count(b"\n") + 1)
    if raw.count(b'"') % 2:
        place.refuse("a quoted cell is never closed", "Send the file again; double the quotes within a cell.")
    names = [str(position) for position in range(len(headings))]
    broken: list[int] = []

    def note(row: arrow_csv.InvalidRow) -> str:
        broken.append(row.number or 0)
        return "skip"

    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(rest.rstrip(b"\r\n") + b"\n"),
            read_options=arrow_csv.ReadOptions(use_threads=False, column_names=names, block_size=max(1 << 24, 4 * MAX_CELL)),
            parse_options=arrow_csv.ParseOptions(
                delimiter=layout.delimiter, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=note
            ),
            convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        place.refuse("the rows cannot be told apart", f"Send a well-formed file with no cell over {MAX_CELL} characters.")
    if broken:
        place.refuse("the row has more or fewer cells than headings", "Quote cells that hold a separator.", row=broken[0])
    return headings, table


def _plain(raw: bytes, place: Place) -> bytes:
    """``raw`` without a byte order mark, known to be UTF-8 text. The mark is accepted, whether the layout announces it or not."""
    if raw.startswith((_OLE, _ZIP)):
        place.refuse("this is a workbook or an archive, not a text file", "Export it as CSV.")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        place.refuse("the encoding is UTF-16, not UTF-8", "Export it as UTF-8.")
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    nul = raw.find(b"\0")
    if nul >= 0:
        place.refuse("there is a NUL byte", "Send the file again; it was damaged.", row=raw.count(b"\n", 0, nul))
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start)
        place.refuse("the encoding is not UTF-8", "Export it as UTF-8.", row=row)
    return raw


def _headings(line: str, delimiter: str) -> list[str]:
    return [heading.strip() for heading in next(csv.reader(io.StringIO(line.strip("\r")), delimiter=delimiter), [])]


def _workbook(raw: bytes, layout: Layout, place: Place) -> tuple[list[str], pa.Table]:
    rows = sheet_rows(raw, layout.sheet, place)
    headings = [heading.strip() for heading in rows[0]]
    while headings and not headings[-1]:
        headings.pop()
    check_headings(headings, layout, place)
    columns = zip(*(row[: len(headings)] for row in rows[1:]), strict=True) if len(rows) > 1 else ([] for _ in headings)
    return headings, pa.table({str(i): pa.array(column, pa.string()) for i, column in enumerate(columns)})


def sheet_rows(raw: bytes, name: str, place: Place) -> list[list[str]]:
    """Every cell of the sheet called ``name`` ("" is the first one) as text, "=" where it is a formula. Raises DeliveryError."""
    if raw.startswith(_OLE):
        place.refuse("the workbook is protected by a password or in the old .xls format", "Save it as .xlsx without a password.")
    formulas = _formulas(raw, name, place)
    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(raw))
        sheet = workbook.get_sheet_by_name(name or workbook.sheet_names[0])
    except CalamineError:
        place.refuse("the workbook cannot be read", "Save it again as .xlsx.")
    rows = [[_cell(value) for value in row] for row in sheet.to_python(skip_empty_area=False)]
    if not rows:
        place.refuse("the sheet is empty", "Ask the partner to send it again.")
    for row, column in formulas:
        rows[row][column] = "="  # The reader gives a formula's last result, which may be nothing, as the value.
    return rows


def _formulas(raw: bytes, name: str, place: Place) -> list[tuple[int, int]]:
    """Row and column from 0 of each formula of a sheet; refuses what is no workbook or would grow beyond the limits."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                place.refuse(f"the workbook unpacks to more than {MAX_BYTES} bytes", "Send only the sheet that is asked for.")
            if archive.testzip():  # Also finds an entry that grows beyond the size it declares.
                raise zipfile.BadZipFile
            links = _parts(archive, "xl/_rels/workbook.xml.rels", "Relationship")
            targets = {link.get("Id"): link.get("Target", "") for link in links}
            sheets = {one.get("name"): one.get(f"{{{_OFFICE}}}id") for one in _parts(archive, "xl/workbook.xml", "sheet")}
            name = name or next(iter(sheets), "") or ""
            if name not in sheets:
                place.refuse(f"there is no sheet named {name}", "Name the sheet so.")
            target = targets[sheets[name]]
            sheet = archive.read(target.removeprefix("/") if target.startswith("/") else f"xl/{target}")
    except (
        zipfile.BadZipFile,
        zlib.error,
        ElementTree.ParseError,
        KeyError,
        ValueError,
        NotImplementedError,
        RuntimeError,
        OSError,
        EOFError,
    ):
        place.refuse("this is not a workbook, or it is damaged", "Save it as .xlsx and send it again.")
    cells = [(int(row), _position(letters), bool(formula)) for letters, row, formula in _CELL.findall(sheet)]
    if cells and max(cell[0] for cell in cells) * max(cell[1] for cell in cells) > MAX_CELLS:
        place.refuse(f"the sheet spans more than {MAX_CELLS} cells", "Delete the empty rows and columns around the data.")
    return [(row - 1, column - 1) for row, column, formula in cells if formula]


def _parts(archive: zipfile.ZipFile, entry: str, tag: str) -> list[ElementTree.Element]:
    """The elements called ``tag``, in any namespace, of one entry of a workbook."""
    content = archive.read(entry)
    if b"<!" in content:
        raise KeyError("a workbook declares no entities")  # They could grow without bound while being parsed.
    return [part for part in ElementTree.fromstring(content).iter() if part.tag.rpartition("}")[2] == tag]  # noqa: S314


@cache
def _position(letters: bytes) -> int:
    """The number of a column from its letters; A is 1."""
    position = 0
    for letter in letters:
        position = position * 26 + letter - ord("A") + 1
    return position


def _cell(value: object) -> str:
    """A cell as text: whole numbers without a decimal point, days as ISO dates."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == datetime.min.time() else value.isoformat(" ")
    return value.isoformat() if isinstance(value, date) else str(value)
