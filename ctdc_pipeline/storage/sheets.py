"""Read the cells of a workbook (XLSX) as text, and mark formulas and Excel errors, which are not values.

python-calamine reads the values. It returns an error as an empty cell and a formula as its last result. So expat reads the XML of
the sheet a second time, for errors, formulas, merged cells and the extent of the sheet.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import IO
from xml.sax import SAXException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

from defusedxml.expatreader import DefusedExpatParser
from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum

from ctdc_pipeline.errors import UnreadableError

OLE = b"\xd0\xcf\x11\xe0"
ZIP = b"PK\x03\x04"
MAX_CELLS = 50_000_000
"""Most cells of a sheet: rows times columns."""
MAX_BLANK_ROWS = 10_000
"""Most rows without a value above the last row with one."""
FORMULA = "="
"""The text that replaces a formula."""

ERRORS = frozenset({"#N/A", "#REF!", "#DIV/0!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!", "#GETTING_DATA"})
"""The errors of Excel. Files store newer errors, such as #SPILL!, as one of these."""
MARKS = ERRORS | {FORMULA}
"""The texts that replace formulas and errors."""

_WHOLE = re.compile(r"\s*-?\d+\s*", re.ASCII)
_EXACT_DIGITS = 15
"""Excel keeps this many digits of a number."""
_ISO_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_REFERENCE = re.compile(r"\$?([A-Z]{1,3})\$?([1-9]\d{0,6})", re.ASCII)


@dataclass
class _Marks:
    """What the XML of a sheet contains besides the values. Rows and columns count from 0.

    `marks` are texts by (row, column), `computed` the ranges that one formula fills, and `inexact` the cells whose whole number
    has more digits than Excel keeps.
    """

    marks: dict[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])
    merged: list[str] = field(default_factory=list[str])
    computed: list[str] = field(default_factory=list[str])
    inexact: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    rows: set[int] = field(default_factory=set[int])
    width: int = 0


def all_rows(raw: bytes, *, max_bytes: int) -> list[list[str]]:
    """Read the first sheet and every other sheet with the same headings as one table.

    Args:
        raw: the bytes of the workbook.
        max_bytes: most bytes that the workbook may unpack to.

    Returns:
        The rows as text, headings first, all of the same length. A date with a time of day keeps the time.

    Raises:
        UnreadableError: as `sheet_rows`.

    """
    rows = sheet_rows(raw, "", max_bytes=max_bytes, moments=True)
    headings = _without_blank_end(rows[0])
    for name, own in other_headings(raw, "").items():
        if own == headings:
            rows += sheet_rows(raw, name, max_bytes=max_bytes, moments=True)[1:]
    width = max(map(len, rows))
    return [[*row, *[""] * (width - len(row))] for row in rows]


def other_headings(raw: bytes, name: str) -> dict[str, list[str]]:
    """Return the first row of every sheet except the one called `name`, by sheet name.

    Args:
        raw: a workbook that `sheet_rows` has read.
        name: the sheet to leave out; "" is the first one.

    """
    headings_by_sheet: dict[str, list[str]] = {}
    workbook = CalamineWorkbook.from_filelike(io.BytesIO(raw))
    for sheet in workbook.sheets_metadata:
        if sheet.typ == SheetTypeEnum.WorkSheet and sheet.name != (name or workbook.sheet_names[0]):
            top = workbook.get_sheet_by_name(sheet.name).to_python(skip_empty_area=False, nrows=1)
            headings_by_sheet[sheet.name] = _without_blank_end([_text(cell) for cell in top[0]]) if top else []
    return headings_by_sheet


def _without_blank_end(row: list[str]) -> list[str]:
    return row[: max((position for position, cell in enumerate(row, start=1) if cell.strip()), default=0)]


def sheet_rows(raw: bytes, name: str, *, max_bytes: int, moments: bool = False) -> list[list[str]]:
    """Read every cell of one sheet as text, starting at A1.

    Whole numbers have no decimal point and days are ISO dates. A formula becomes `FORMULA`, an error its own text, such as
    ``#N/A``.

    Args:
        raw: the bytes of the workbook.
        name: the sheet; "" is the first one.
        max_bytes: most bytes that the workbook may unpack to.
        moments: keep the time of day of a date cell, which is cut otherwise.

    Raises:
        UnreadableError: not a workbook, cells merged below the headings, or content above `max_bytes`, `MAX_CELLS` or
            `MAX_BLANK_ROWS`.

    """
    if raw.startswith(OLE):
        raise UnreadableError(
            "the workbook is protected by a password or in the old .xls format", remedy="Save it as .xlsx without a password."
        )
    marks = _marks(raw, name, max_bytes)
    if (last := max(marks.rows, default=-1) + 1) * marks.width > MAX_CELLS:
        raise UnreadableError(
            f"the sheet spans more than {MAX_CELLS} cells", remedy="Delete the empty rows and columns around the data."
        )
    if last - len(marks.rows) > MAX_BLANK_ROWS:
        raise UnreadableError(
            f"more than {MAX_BLANK_ROWS} rows are blank above the last one, row {last} of the sheet",
            remedy="Delete what is far below the data.",
        )
    for (row, column), mark in marks.marks.items():
        if mark and mark != FORMULA and mark.strip() not in ERRORS:
            raise UnreadableError(f"the cell {_reference(row, column)} is an error", remedy="Put the value in its place.")
    for row, column in marks.inexact:
        raise UnreadableError(
            f"the number in the cell {_reference(row, column)} has more digits than a workbook keeps of a number",
            remedy="Format the column as text and fill it again.",
        )
    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(raw))
        sheet = workbook.get_sheet_by_name(name or workbook.sheet_names[0])
        rows = [[_text(value, moments=moments) for value in row] for row in sheet.to_python(skip_empty_area=False)]
    except (CalamineError, ValueError, OverflowError):
        raise UnreadableError("the workbook cannot be read", remedy="Save it again as .xlsx.") from None
    if not rows:
        raise UnreadableError("the sheet is empty", remedy="Ask the partner to send it again.")
    if len(rows) > last or len(rows[0]) > marks.width:
        raise UnreadableError("two readers find other cells in the sheet", remedy="Save it again as .xlsx.")
    # Cells without a value at the right and lower edge are not in the rows, but a mark may be there.
    rows = [[*row, *[""] * (marks.width - len(row))] for row in rows]
    rows += [[""] * marks.width for _ in range(len(rows), max((row for row, _ in marks.marks), default=-1) + 1)]
    for (row, column), mark in marks.marks.items():
        rows[row][column] = mark.strip() or "#N/A"
    _fill(rows, marks.computed)
    headed = len(_without_blank_end(rows[0]))
    for area in marks.merged:
        _, left, bottom, _ = _corners(area)
        if bottom > 0 and left < headed:
            raise UnreadableError(
                f"the cells {area} are merged, so only the first of their rows would have the value",
                remedy="Unmerge them and fill every row.",
            )
    return rows


def _marks(raw: bytes, name: str, max_bytes: int) -> _Marks:
    """Read the XML of the sheet; refuse files that are not workbooks or unpack beyond the limit."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > max_bytes:
                raise UnreadableError(
                    f"the workbook unpacks to more than {max_bytes} bytes", remedy="Send only the sheet that is asked for."
                )
            if archive.testzip():  # Also finds an entry that grows beyond the size it declares.
                raise zipfile.BadZipFile
            targets = {link["Id"]: link["Target"] for link in _elements(archive, "xl/_rels/workbook.xml.rels", "Relationship")}
            sheets = [
                (sheet.get("name", ""), next(value for key, value in sheet.items() if key.rpartition(":")[2] == "id"))
                for sheet in _elements(archive, "xl/workbook.xml", "sheet")
            ]
            name = name or sheets[0][0]
            if name not in dict(sheets):
                raise UnreadableError(f"there is no sheet named {name}", remedy="Name the sheet so.")
            if len(dict(sheets)) < len(sheets):
                raise zipfile.BadZipFile
            with archive.open(posixpath.normpath(posixpath.join("/xl", targets[dict(sheets)[name]]))[1:]) as sheet:
                return _scan(sheet)
    except (
        zipfile.BadZipFile,
        zlib.error,
        SAXException,
        LookupError,
        StopIteration,
        ValueError,
        NotImplementedError,
        RuntimeError,
        OSError,
        EOFError,
    ):
        raise UnreadableError("this is not a workbook, or it is damaged", remedy="Save it as .xlsx and send it again.") from None


def _elements(archive: zipfile.ZipFile, entry: str, tag: str) -> list[dict[str, str]]:
    """Return the attributes of each element called `tag`, in any namespace, of one entry of a workbook."""
    elements: list[dict[str, str]] = []
    with archive.open(entry) as file:
        _parse(file, lambda name, attributes: elements.append(attributes) if name == tag else None)
    return elements


def _scan(sheet: IO[bytes]) -> _Marks:
    """Read the XML of a sheet. Cells that are out of order or repeated mean a damaged file."""
    marks = _Marks()
    row, column, kind, is_error, is_number = -1, -1, "", False, False

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal row, column, kind, is_error, is_number
        is_error, is_number = tag == "v" and kind == "e", tag == "v" and kind == "n"
        if tag == "c":
            before, (cell_row, column) = column, _place(attributes["r"]) if "r" in attributes else (row, column + 1)
            if cell_row != row or column <= before:
                raise ValueError
            kind = attributes.get("t", "n")
            if kind == "e":
                filled()
                marks.marks[row, column] = ""
        elif tag in ("v", "f", "is"):
            filled()
            if tag == "f":
                marks.marks[row, column] = FORMULA
                if attributes.get("t") in ("array", "dataTable"):
                    _corners(attributes["ref"])
                    marks.computed.append(attributes["ref"])
        elif tag == "row":
            before, row, column = row, int(attributes["r"]) - 1 if "r" in attributes else row + 1, -1
            if row <= before:
                raise ValueError
        elif tag == "mergeCell":
            _corners(attributes["ref"])
            marks.merged.append(attributes["ref"])

    def filled() -> None:
        marks.rows.add(row)
        marks.width = max(marks.width, column + 1)

    def text(content: str) -> None:
        if is_error and marks.marks[row, column] != FORMULA:
            marks.marks[row, column] += content
        elif is_number and len(content) > _EXACT_DIGITS and _WHOLE.fullmatch(content) and int(content) != int(float(content)):
            marks.inexact.append((row, column))

    _parse(sheet, start, text)
    return marks


class _Handler(ContentHandler):
    """Pass each start tag, without its prefix, and each text to two functions."""

    def __init__(self, start: Callable[[str, dict[str, str]], object], text: Callable[[str], object]) -> None:
        super().__init__()
        self._start, self._text = start, text

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802
        self._start(name.rpartition(":")[2], dict(attrs.items()))

    def characters(self, content: str) -> None:
        self._text(content)


def _parse(
    file: IO[bytes], start: Callable[[str, dict[str, str]], object], text: Callable[[str], object] = lambda _: None
) -> None:
    """Parse XML and refuse document types, because entities could grow without limit.

    `start` receives each tag without its prefix, `text` the whole text between two tags.
    """
    parser = DefusedExpatParser(forbid_dtd=True)
    parser.setContentHandler(_Handler(start, text))
    parser.parse(file)


def _place(reference: str) -> tuple[int, int]:
    """Return the row and column, from 0, of a cell such as B7. Raises ValueError."""
    if not (parts := _REFERENCE.fullmatch(reference.upper())):
        raise ValueError
    column = 0
    for letter in parts[1]:
        column = column * 26 + ord(letter) - ord("A") + 1
    return int(parts[2]) - 1, column - 1


def _reference(row: int, column: int) -> str:
    """Return the name of a cell, such as B7."""
    letters = ""
    column += 1
    while column:
        column, letter = divmod(column - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"{letters}{row + 1}"


def _corners(area: str) -> tuple[int, int, int, int]:
    """Return the first row and column and the last row and column of a range such as B2:C7 or C7:B2. Raises ValueError."""
    places = [_place(corner) for corner in area.split(":")]
    rows, columns = zip(*places, strict=True)
    return min(rows), min(columns), max(rows), max(columns)


def _fill(rows: list[list[str]], computed: list[str]) -> None:
    """Mark every cell of the ranges that one formula fills. Raises UnreadableError for more than `MAX_CELLS` in total."""
    cells = 0
    for area in computed:
        top, left, bottom, right = _corners(area)
        width = min(right + 1, len(rows[0])) - left
        for row in rows[top : bottom + 1]:
            row[left : left + width] = [FORMULA] * width
            cells += width
        if cells > MAX_CELLS:
            raise UnreadableError("formulas fill more cells than the sheet has", remedy="Put the values in their place.")


def _text(value: object, *, moments: bool = False) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime):
        return value.isoformat(" ") if moments else value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    text = str(value)
    # A date cell of the strict form may give the zone of its time, which nothing else understands as a date.
    return moment[1] if not moments and (moment := _ISO_MOMENT.fullmatch(text)) else text
