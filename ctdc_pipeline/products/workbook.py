"""Workbooks (XLSX) of plain tables, written row by row: the same cells give the same bytes, whatever their number.

Only what tables need: text, whole and decimal numbers, empty cells, a bold first row that stays in view. Nothing is ever a
formula: text is text whatever it begins with, and is marked so that editing a cell does not make one of it.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from ctdc_pipeline.errors import TableError
from ctdc_pipeline.files import staged

Cell = str | int | float | None

MOST_ROWS = 1_048_576
EPOCH = (1980, 1, 1, 0, 0, 0)
_PLAIN, _HEADING, _QUOTED = 0, 1, 2
_BLOCK = 5_000

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_STYLES = (
    f'<styleSheet xmlns="{_MAIN}"><fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>'
    "<borders count='1'><border/></borders>"
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs><cellXfs count="3">'
    '<xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>'
    '<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" quotePrefix="1" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)
# What XML cannot hold or would change, and what the format itself takes for such an escape.
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


@dataclass(frozen=True)
class Sheet:
    """One table: its first row are headings; ``widths`` of the first columns in characters."""

    name: str
    rows: Iterable[Sequence[Cell]]
    widths: Sequence[int] = ()


def write_workbook(path: Path, sheets: Sequence[Sheet], *, title: str) -> None:
    """Write ``sheets`` to ``path``, whole or not at all. Raises OSError, and TableError for more rows than a sheet can have."""
    texts: dict[str, int] = {}
    with staged(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for number, sheet in enumerate(sheets, 1):
            with archive.open(_entry(f"xl/worksheets/sheet{number}.xml"), "w", force_zip64=True) as file:
                for text in _sheet(sheet, texts):
                    file.write(text.encode())
        numbers = range(1, len(sheets) + 1)
        shared = "".join(f'<si><t xml:space="preserve">{_text(text)}</t></si>' for text in texts)
        named = "".join(
            f'<sheet name={quoteattr(sheet.name)} sheetId="{number}" r:id="rId{number}"/>'
            for number, sheet in zip(numbers, sheets, strict=True)
        )
        parts = {f"worksheets/sheet{number}.xml": "worksheet" for number in numbers}
        parts |= {"styles.xml": "styles", "sharedStrings.xml": "sharedStrings"}
        links = "".join(
            f'<Relationship Id="rId{number}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
            for number, (target, kind) in enumerate(parts.items(), 1)
        )
        kinds = "".join(f'<Override PartName="/xl/{target}" ContentType="{_KIND}.{kind}+xml"/>' for target, kind in parts.items())
        core = "docProps/core.xml"
        for name, text in {
            "xl/sharedStrings.xml": f'<sst xmlns="{_MAIN}" uniqueCount="{len(texts)}">{shared}</sst>',
            "xl/styles.xml": _STYLES,
            "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{named}</sheets></workbook>',
            "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{links}</Relationships>',
            core: f'<cp:coreProperties xmlns:cp="{_PACKAGE}/metadata/core-properties" '
            f'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{_text(title)}</dc:title>'
            "<dc:language>en</dc:language></cp:coreProperties>",
            "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
            f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/>'
            f'<Relationship Id="rId2" Type="{_PACKAGE}/relationships/metadata/core-properties" Target="{core}"/></Relationships>',
            "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{_KIND}.sheet.main+xml"/>{kinds}'
            f'<Override PartName="/{core}" ContentType="application/vnd.openxmlformats-package.core-properties+xml"/></Types>',
        }.items():
            archive.writestr(_entry(name), _XML + text)


def _sheet(sheet: Sheet, texts: dict[str, int]) -> Iterable[str]:
    """The sheet's XML in blocks of rows; ``texts`` numbers every text on the way."""
    widths = "".join(
        f'<col min="{number}" max="{number}" width="{width}" customWidth="1"/>' for number, width in enumerate(sheet.widths, 1)
    )
    yield f'{_XML}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
    yield '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>'
    yield (f"<cols>{widths}</cols>" if widths else "") + "<sheetData>"
    letters: list[str] = []
    block: list[str] = []
    for row, cells in enumerate(sheet.rows, 1):
        if row > MOST_ROWS:
            raise TableError(
                f"sheet {sheet.name} has more rows than a workbook can", remedy="Write the table over several sheets."
            )
        letters += [_letters(number) for number in range(len(letters), len(cells))]
        block.append(f'<row r="{row}">')
        for letter, cell in zip(letters, cells, strict=False):
            if isinstance(cell, str):
                style = _HEADING if row == 1 else _QUOTED if cell.startswith(("=", "+", "-", "@", "'")) else _PLAIN
                styled = f' s="{style}"' if style else ""
                block.append(f'<c r="{letter}{row}"{styled} t="s"><v>{texts.setdefault(cell, len(texts))}</v></c>')
            elif cell is not None:
                block.append(f'<c r="{letter}{row}"><v>{cell}</v></c>')
        block.append("</row>")
        if row % _BLOCK == 0:
            yield "".join(block)
            block.clear()
    yield f"{''.join(block)}</sheetData></worksheet>"


def _letters(number: int) -> str:
    """A column's name: A for 0, Z, AA, ..."""
    return (_letters(number // 26 - 1) if number > 25 else "") + chr(65 + number % 26)


def _text(text: str) -> str:
    return escape(_UNWRITABLE.sub(lambda hit: f"_x{ord(hit[0]):04X}_", text))


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
