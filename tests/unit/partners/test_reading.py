"""Test that every damaged file is refused by name, with a remedy, and without quoting a cell."""

import re
import traceback
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path

import openpyxl
import openpyxl.utils
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctdc_pipeline.errors import DeliveryError, ResourceError
from ctdc_pipeline.partners import reading
from ctdc_pipeline.storage import sheets
from ctdc_pipeline.storage.files import sha256
from tests.support.deliveries import LAYOUTS, SENTINEL, home, ingested, land, receive
from tests.support.outside import tried

Damage = Callable[[bytes], bytes]


def test_a_delivery_is_read_exactly(tmp_path: Path) -> None:
    """Guards against trimmed, converted or reordered cells, and rows that lose their place."""
    notes = 'line one\nline "two"; ünïcode  '
    path = land(tmp_path, "iom_mimosa", {"CASE_NO": "NA", "CASE_NOTES": notes}, {"CASE_NO": " 007 ", "AGE_AT_REG": "1e3"})
    summary = receive(tmp_path, "iom_mimosa")
    table = pq.read_table(ingested(tmp_path, "iom_mimosa"))
    assert table.column_names == ["_file", "_row", *(field.name for field in LAYOUTS["iom_mimosa"].fields)]
    assert table.column("CASE_NO").to_pylist() == ["NA", " 007 "]
    assert table.column("CASE_NOTES").to_pylist() == [notes, ""]
    assert table.column("AGE_AT_REG").to_pylist() == ["", "1e3"]
    assert table.column("_row").to_pylist() == [1, 2]
    (file,) = summary.files
    assert (file.name, file.size, file.sha256, file.rows) == (path.name, path.stat().st_size, sha256(path), 2)
    assert summary.rows == {"iom_mimosa": 2}


def test_a_workbook_is_read_as_text(tmp_path: Path) -> None:
    """Guards against numbers that grow a decimal point and days that become serial numbers."""
    path = land(tmp_path, "iom_legacy", {}, {})
    workbook = openpyxl.load_workbook(path)
    sheet = workbook.worksheets[0]
    headings = [cell.value for cell in sheet[1]]
    sheet.cell(2, headings.index("Date reg.") + 1, value=2006)
    sheet.cell(2, headings.index("Age") + 1, value=17)
    sheet.cell(3, headings.index("Date reg.") + 1, value=date(2006, 1, 2))
    sheet.cell(3, headings.index("Remarks") + 1, value="=cmd|' /C calc'!A0")
    workbook.save(path)
    receive(tmp_path, "iom_legacy")
    table = pq.read_table(ingested(tmp_path, "iom_legacy"))
    assert table.column("Date reg.").to_pylist() == ["2006", "2006-01-02"]
    assert table.column("Age").to_pylist() == ["17", ""]
    assert table.column("Remarks").to_pylist()[1].startswith("=")


def test_files_of_several_organisations_become_one_table(tmp_path: Path) -> None:
    """Guards against rows of one NGO that shadow another's."""
    land(tmp_path, "liberty_shared", {}, {}, name="vcms_B.csv")
    land(tmp_path, "liberty_shared", {}, name="vcms_A.csv")
    land(tmp_path, "liberty_shared_consents", {})
    summary = receive(tmp_path, "liberty_shared")
    table = pq.read_table(ingested(tmp_path, "liberty_shared"))
    assert table.column("_file").to_pylist() == ["vcms_A.csv", "vcms_B.csv", "vcms_B.csv"]
    assert table.column("_row").to_pylist() == [1, 1, 2]
    assert summary.rows == {"liberty_shared": 3, "liberty_shared_consents": 1}


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_accepted(tmp_path: Path, mark: bytes) -> None:
    """Guards against missing the first heading because an invisible mark precedes it."""
    path = land(tmp_path, "iom_mimosa", {})
    path.write_bytes(mark + path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    assert receive(tmp_path, "iom_mimosa").rows == {"iom_mimosa": 1}


def test_an_unknown_column_is_kept_out_and_reported(tmp_path: Path) -> None:
    """Guards against a new column of a partner that is taken in, or that nobody is told about."""
    path = land(tmp_path, "iom_mimosa", {})
    lines = path.read_text("utf-8").splitlines()
    path.write_text(f"{lines[0]};SHOE_SIZE\n{lines[1]};{SENTINEL}\n", "utf-8")
    assert receive(tmp_path, "iom_mimosa").unknown_columns == ((path.name, "SHOE_SIZE"),)
    assert SENTINEL.encode() not in (ingested(tmp_path, "iom_mimosa")).read_bytes()


def test_a_line_break_in_a_heading_adds_no_row(tmp_path: Path) -> None:
    """Guards against reading the rest of a heading as a person, and against not knowing a heading with invisible characters."""
    path = land(tmp_path, "iom_mimosa", {"CASE_NO": "C1"}, {"CASE_NO": "C2"})
    lines = path.read_text("utf-8")
    path.write_text(
        lines.replace("AGE_AT_REG", '"AGE_AT_REG\n"', 1).replace("GENDER_CD", "GENDER_CD\u200b\u00a0", 1), "utf-8", newline=""
    )
    summary = receive(tmp_path, "iom_mimosa")
    assert summary.unknown_columns == ()
    assert pq.read_table(ingested(tmp_path, "iom_mimosa")).column("CASE_NO").to_pylist() == ["C1", "C2"]


def test_an_optional_column_may_be_absent(tmp_path: Path) -> None:
    """Guards against an older export being refused for a column nobody needs."""
    path = land(tmp_path, "iom_mimosa", {})
    lines = path.read_text("utf-8").splitlines()
    path.write_text("".join(line.rpartition(";")[0] + "\n" for line in lines), "utf-8")
    receive(tmp_path, "iom_mimosa")
    assert pq.read_table(ingested(tmp_path, "iom_mimosa")).column("LAST_UPDATED").to_pylist() == [""]


def _without_rows(content: bytes) -> bytes:
    return content.partition(b"\n")[0] + b"\n"


def _latin(content: bytes) -> bytes:
    return content.replace(TARGET, "Müller".encode("cp1252"))


def _nul(content: bytes) -> bytes:
    return content.replace(TARGET, b"a\0b")


TARGET = b"target"
"""The cell of the second row that is damaged."""

DAMAGES: dict[str, tuple[Damage, str, int | None]] = {
    "empty": (lambda _: b"", "the file is empty", None),
    "header only": (_without_rows, "headings but no rows", None),
    "other delimiter": (lambda content: content.replace(b";", b","), "separated by comma, not semicolon", None),
    "UTF-16": (lambda content: content.decode().encode("utf-16"), "UTF-16", None),
    "Latin-1": (_latin, "encoding is not UTF-8", 2),
    "NUL byte": (_nul, "NUL byte", 2),
    "cut off": (lambda content: content[:-9], "last line is cut off", 2),
    "open quote": (lambda content: content.replace(b";;", b';";', 1), "never closed", None),
    "stray quote": (lambda content: content.replace(TARGET, b'a 5" nail'), "a quote stands within a cell", 2),
    "two stray quotes": (
        lambda content: content.replace(SENTINEL.encode(), b'"B', 1).replace(TARGET, b'C"'),
        "two quotes may make one row of several",
        1,
    ),
    "extra cell": (lambda content: content.replace(TARGET, b"a;b"), "more or fewer cells", 2),
    "long cell": (lambda content: content.replace(TARGET, b"x" * 40_000), "longer than 32767", 2),
    "huge cell": (lambda content: content.replace(TARGET, b"x" * 40_000_000), "cell", None),
    "column twice": (lambda content: content.replace(b"BIRTH_DATE", b"REG_DATE"), "heading occurs twice", None),
    "column missing": (lambda content: content.replace(b"GENDER_CD", b"GENRE"), "required columns are missing: GENDER_CD", None),
    "headings missing": (lambda content: content.partition(b"\n")[2], "none of the expected headings", None),
    "a workbook": (lambda _: b"PK\x03\x04", "workbook or an archive", None),
    "lone returns": (lambda content: content.replace(b"\r\n", b"\r"), "headings cannot be read", None),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_text_file_is_refused(tmp_path: Path, damage: str) -> None:
    """Guards against taking in half a delivery, a bare traceback, and a cell quoted in a message."""
    change, message, row = DAMAGES[damage]
    marked = {field.name: SENTINEL for field in LAYOUTS["iom_mimosa"].fields}
    path = land(
        tmp_path, "iom_mimosa", marked, {**marked, "FIRST_NAME": TARGET.decode(), "MEDICAL_ISSUE_YN": "", "RETURN_DATE": ""}
    )
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DeliveryError, match=message) as caught:
        receive(tmp_path, "iom_mimosa")
    assert caught.value.partner == "iom_mimosa"
    assert caught.value.file == path.name
    assert caught.value.remedy
    assert SENTINEL not in "".join(traceback.format_exception(caught.value))
    assert row is None or caught.value.row == row
    assert not list(home(tmp_path).ingested("iom_mimosa").rglob("*.parquet"))


def _password(path: Path) -> None:
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("xl/media/x.bin", "w") as entry:
        for _ in range(129):
            entry.write(bytes(1 << 23))


def _vast(path: Path) -> None:
    workbook = openpyxl.load_workbook(path)
    workbook.worksheets[0]["XFD1048576"] = 1
    workbook.save(path)


def _renamed(path: Path) -> None:
    workbook = openpyxl.load_workbook(path)
    workbook.worksheets[0].title = "Sheet1"
    workbook.save(path)


def _entities(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", '<!DOCTYPE x [<!ENTITY a "aa">]><x>&a;</x>')
        archive.writestr("xl/_rels/workbook.xml.rels", "<x/>")


WORKBOOKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "password": (_password, "protected by a password"),
    "not a workbook": (lambda path: path.write_text("a,b\n1,2\n"), "not a workbook"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-200]), "not a workbook, or it is damaged"),
    "bomb": (_bomb, "unpacks to more than"),
    "vast sheet": (_vast, "spans more than"),
    "other sheet": (_renamed, "no sheet named VoT 2002-2011"),
    "entities": (_entities, "not a workbook, or it is damaged"),
}


@pytest.mark.parametrize("damage", WORKBOOKS)
def test_a_damaged_workbook_is_refused(tmp_path: Path, damage: str) -> None:
    """Guards against a workbook that exhausts memory, needs a password, or is not a workbook."""
    change, message = WORKBOOKS[damage]
    path = land(tmp_path, "iom_legacy", {"Surname": SENTINEL})
    change(path)
    with pytest.raises(DeliveryError, match=message) as caught:
        receive(tmp_path, "iom_legacy")
    assert caught.value.file == path.name
    assert SENTINEL not in "".join(traceback.format_exception(caught.value))


def _edited(path: Path, change: Callable[[str], str], entry: str = "xl/worksheets/sheet1.xml") -> None:
    """Rewrite one entry of a workbook as text."""
    with zipfile.ZipFile(path) as archive:
        entries = {one: archive.read(one) for one in archive.namelist()}
    before = entries[entry].decode()
    entries[entry] = change(before).encode()
    assert entries[entry] != before.encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def _legacy(tmp_path: Path, change: Callable[[openpyxl.Workbook], object], rows: int = 3) -> Path:
    path = land(tmp_path, "iom_legacy", *({"Surname": f"row {number}"} for number in range(1, rows + 1)))
    workbook = openpyxl.load_workbook(path)
    change(workbook)
    workbook.save(path)
    return path


def _with_cell(tmp_path: Path, xml: str) -> Path:
    """A workbook whose cell B3 is written as ``xml``."""
    path = _legacy(tmp_path, lambda book: book.worksheets[0].cell(3, 2, value=2))
    _edited(path, lambda text: re.sub(r'<c r="B3".*?</c>', lambda _: xml, text))
    return path


def _column(name: str) -> int:
    return [field.name for field in LAYOUTS["iom_legacy"].fields].index(name) + 1


def _read(path: Path) -> dict[str, list[str]]:
    return reading.read(path, layout=LAYOUTS["iom_legacy"], source="iom_legacy")[0].to_pydict()


@pytest.mark.parametrize("error", ["#N/A", "#REF!", "#DIV/0!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!"])
def test_an_error_of_excel_is_no_blank(tmp_path: Path, error: str) -> None:
    """Guards against a row whose entry type is an error, accepted as a victim."""
    path = _legacy(tmp_path, lambda book: book.worksheets[0].cell(3, _column("Age"), value=error))
    assert _read(path)["Age"][1] == error


def test_errors_of_excel_as_they_were_tried() -> None:
    """Guards against reading an Excel error as blank, on a file that we did not write."""
    path = tried("excel_errors_iom_legacy.xlsx")
    rows = reading.sheet_rows(path.read_bytes(), LAYOUTS["iom_legacy"].sheet, reading.InputFile("iom_legacy", path.name))
    assert [[cell for cell in row if cell.startswith("#")] for row in rows[1:4]].count(["#N/A"]) == 1
    assert [[cell for cell in row if cell.startswith("#")] for row in rows[1:4]].count(["#REF!"]) == 1


def test_merged_cells_refuse_the_file_with_their_range(tmp_path: Path) -> None:
    """Guards against a merged value that counts only for its first row, so that two people who are not victims are admitted."""
    path = _legacy(tmp_path, lambda book: book.worksheets[0].merge_cells("B2:B4"))
    with pytest.raises(DeliveryError, match="the cells B2:B4 are merged"):
        _read(path)


def test_cells_merged_in_the_headings_or_beside_the_table_are_read(tmp_path: Path) -> None:
    """Guards against a file refused for a title that says nothing of a person."""
    far = len(LAYOUTS["iom_legacy"].fields) + 3
    path = _legacy(tmp_path, lambda book: book.worksheets[0].merge_cells(None, 2, far, 3, far + 1))
    assert len(_read(path)["Surname"]) == 3


def test_a_day_with_a_time_is_that_day(tmp_path: Path) -> None:
    """Guards against a date that no rule understands because a time was exported with it."""
    path = _legacy(
        tmp_path, lambda book: book.worksheets[0].cell(2, _column("Date reg."), value=datetime(2006, 1, 2, 23, 59, 30))
    )
    assert _read(path)["Date reg."][0] == "2006-01-02"


def test_a_workbook_in_strict_form_is_read(tmp_path: Path) -> None:
    """Guards against reading "Strict Open XML", which Excel offers, as empty or with other cells."""
    path = _legacy(tmp_path, lambda book: book.worksheets[0].cell(3, _column("Age"), value=17))
    plain = _read(path)
    strict = {
        "http://schemas.openxmlformats.org/spreadsheetml/2006/main": "http://purl.oclc.org/ooxml/spreadsheetml/main",
        "http://schemas.openxmlformats.org/officeDocument/2006/relationships": "http://purl.oclc.org/ooxml/officeDocument/relationships",
    }

    def rewritten(text: str) -> str:
        for old, new in strict.items():
            text = text.replace(old, new)
        return text

    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if any(old.encode() in archive.read(name) for old in strict)]
    for name in names:
        _edited(path, rewritten, name)
    # Days are written as ISO dates there.
    letter = openpyxl.utils.get_column_letter(_column("Date reg."))
    _edited(
        path,
        lambda text: re.sub(
            rf'<c r="{letter}2"[^>]*?(/>|>.*?</c>)', f'<c r="{letter}2" t="d"><v>2006-01-02T10:30:00</v></c>', text
        ),
    )
    found = _read(path)
    assert found["Date reg."][0] == "2006-01-02"
    assert {**found, "Date reg.": 0} == {**plain, "Date reg.": 0}


def test_a_second_sheet_of_rows_is_no_loss(tmp_path: Path) -> None:
    """Guards against rows that nobody reads because they are on another sheet; notes beside the table are nobody's rows."""

    def notes(book: openpyxl.Workbook) -> None:
        book.create_sheet("Notes").append(["see", "above"])

    assert len(_read(_legacy(tmp_path, notes))["Surname"]) == 3

    def more(book: openpyxl.Workbook) -> None:
        for row in book.worksheets[0].values:
            (book["VoT 2"] if "VoT 2" in book.sheetnames else book.create_sheet("VoT 2")).append(row)

    with pytest.raises(DeliveryError, match="a second sheet has the same headings"):
        _read(_legacy(tmp_path, more))


@pytest.mark.parametrize(
    "cell",
    [
        '<c r="B3"><v>1</v></c><c r="B3"><v>2</v></c>',
        '<c r="C3"><v>1</v></c><c r="B3"><v>2</v></c>',
        '<c r="B4"><v>1</v></c>',
        '<c r="B3"><v>9007199254740993</v></c>',
        '<c r="B3" t="e"><v>#BLOCKED!</v></c>',
        '<c r="B3" t="zz"><v>1</v></c>',
        '<c r="B3" t="s"><v>99999</v></c>',
        '<c r="B3" t="n"><v>one</v></c>',
    ],
)
def test_a_cell_that_could_be_read_as_another_value_refuses_the_file(tmp_path: Path, cell: str) -> None:
    """Guards against choosing one of two values, rounding to another number, and reading an unknown error as nothing."""
    path = _with_cell(tmp_path, cell)
    with pytest.raises(DeliveryError):
        _read(path)


@pytest.mark.parametrize(
    ("cell", "value"), [('t="e"/>', "#N/A"), ('t="e"><v/></c>', "#N/A"), ("><v>9007199254740992</v></c>", "9007199254740992")]
)
def test_an_error_without_a_text_and_the_largest_number_are_kept(tmp_path: Path, cell: str, value: str) -> None:
    """Guards against reading an error as blank, and against refusing a number that a workbook can store."""
    path = _with_cell(tmp_path, f'<c r="B3" {cell}')
    assert [*_read(path).values()][3][1] == value


def test_every_cell_that_one_formula_fills_is_a_formula(tmp_path: Path) -> None:
    """Guards against taking the results of an array formula for entered values, because only its first cell has the formula."""
    path = _legacy(tmp_path, lambda book: [book.worksheets[0].cell(row, 2, value=2) for row in (2, 3, 4)])
    formula = '<c r="B2"><f t="array" ref="B2:B3">C2:C3</f><v>2</v></c>'
    _edited(path, lambda text: re.sub(r'<c r="B2".*?</c>', lambda _: formula, text))
    assert [*_read(path).values()][3] == [sheets.FORMULA, sheets.FORMULA, "2"]


def test_a_day_of_the_strict_form_may_have_a_zone(tmp_path: Path) -> None:
    """Guards against a date that no layout understands because its time has a zone."""
    letter = openpyxl.utils.get_column_letter(_column("Date reg."))
    path = _legacy(tmp_path, lambda book: book.worksheets[0].cell(2, _column("Date reg."), value=2006))
    cell = f'<c r="{letter}2" t="d"><v>2006-01-02T10:30:00Z</v></c>'
    _edited(path, lambda text: re.sub(rf'<c r="{letter}2".*?</c>', lambda _: cell, text))
    assert _read(path)["Date reg."][0] == "2006-01-02"


@pytest.mark.parametrize(
    "cell",
    [
        "<c r='B3'><f>1+1</f><v>2</v></c>",
        '<c r="B3"><!-- before --><f>1+1</f><v>2</v></c>',
        '<c r="b3"><f>1+1</f><v>2</v></c>',
        '<c r="$B$3"><f>1+1</f><v>2</v></c>',
        '<c r="B3"><v>2</v><f>1+1</f></c>',
        '<c r="B3"><f/><v>2</v></c>',
        '<c\nr="B3" ><f t="shared" si="0"/><v>2</v></c>',
        '<c r="B3"><?x y?><f><![CDATA[1+1]]></f><v>2</v></c>',
        '<x:c xmlns:x="http://schemas.openxmlformats.org/spreadsheetml/2006/main" r="B3"><x:f>1+1</x:f><x:v>2</x:v></x:c>',
    ],
)
def test_a_formula_is_a_formula_however_its_xml_is_written(tmp_path: Path, cell: str) -> None:
    """Guards against taking the last result of a formula for a value that somebody entered."""
    path = _with_cell(tmp_path, cell)
    with suppress(DeliveryError):
        assert [*_read(path).values()][3][1] == sheets.FORMULA


def test_a_cell_in_the_last_row_is_refused_at_once(tmp_path: Path) -> None:
    """Guards against creating a million blank rows, for over a minute, because of one stray cell."""
    path = _legacy(tmp_path, lambda book: book.worksheets[0].cell(1_048_576, 1, value="x"))
    with pytest.raises(DeliveryError, match="blank above the last one, row 1048576"):
        _read(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["iom_mimosa", "iom_legacy"]), st.floats(0, 0.999), st.integers(0, 40), st.binary(max_size=40))
def test_any_damage_is_read_or_refused(tmp_path: Path, table: str, where: float, length: int, noise: bytes) -> None:
    """Guards against unforeseen damage that ends in a traceback of a library, which may quote a cell."""
    path = land(tmp_path, table, {"CASE_NOTES": 'a "b"\n;', "Remarks": "x"}, {})
    content = path.read_bytes()
    start = int(where * len(content))
    path.write_bytes(content[:start] + noise + content[start + length :])
    # ResourceError: what begins like an encrypted file is taken for one, and refused for want of its key.
    with suppress(DeliveryError, ResourceError):
        reading.read(path, layout=LAYOUTS[table], source=table)


@pytest.mark.parametrize(("table", "missing"), [("polaris", "polaris_opt_outs"), ("polaris_opt_outs", "polaris")])
def test_a_missing_file_is_named(tmp_path: Path, table: str, missing: str) -> None:
    """Guards against publishing without the opt-out list because it did not arrive."""
    land(tmp_path, table, {})
    with pytest.raises(DeliveryError, match="the file is missing") as caught:
        receive(tmp_path, "polaris")
    assert caught.value.file == LAYOUTS[missing].file_pattern


def test_a_missing_folder_is_a_missing_file(tmp_path: Path) -> None:
    """Guards against a traceback on the first day."""
    with pytest.raises(DeliveryError, match="nothing was delivered for 2021-H1"):
        receive(tmp_path, "iom_mimosa")


def test_a_file_nobody_expects_is_refused(tmp_path: Path) -> None:
    """Guards against a misnamed export whose rows would be lost without a word."""
    land(tmp_path, "iom_mimosa", {})
    land(tmp_path, "iom_mimosa", {}, name="export_final(2).csv")
    with pytest.raises(DeliveryError, match="no file of this name is expected"):
        receive(tmp_path, "iom_mimosa")


def test_an_oversized_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a file that does not fit into memory."""
    monkeypatch.setattr(reading, "MAX_BYTES", 10)
    land(tmp_path, "iom_mimosa", {})
    with pytest.raises(DeliveryError, match="larger than 10 bytes"):
        receive(tmp_path, "iom_mimosa")


def test_an_opt_out_list_may_be_empty(tmp_path: Path) -> None:
    """Guards against a partner being refused because nobody opted out."""
    land(tmp_path, "polaris", {})
    land(tmp_path, "polaris_opt_outs")
    assert receive(tmp_path, "polaris").rows == {"polaris": 1, "polaris_opt_outs": 0}


def test_the_same_delivery_gives_the_same_bytes(tmp_path: Path) -> None:
    """Guards against a rerun that looks like a change."""
    land(tmp_path, "polaris", {}, {"Victim_ID": "V2"})
    land(tmp_path, "polaris_opt_outs", {})
    hashes: list[str] = []
    for _ in range(2):
        receive(tmp_path, "polaris")
        hashes.append(sha256(ingested(tmp_path, "polaris")))
    assert hashes[0] == hashes[1]
