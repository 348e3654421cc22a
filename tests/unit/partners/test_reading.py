"""Each way in which a file can be wrong is refused by name, with what to do, and with nothing of a cell in the message."""

import traceback
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path

import openpyxl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctdc_pipeline.errors import DeliveryError, ResourceError
from ctdc_pipeline.files import sha256
from ctdc_pipeline.partners import reading
from tests.deliveries import LAYOUTS, SENTINEL, home, ingested, land, receive

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
    """Guards against a first heading that hides behind an invisible mark."""
    path = land(tmp_path, "iom_mimosa", {})
    path.write_bytes(mark + path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    assert receive(tmp_path, "iom_mimosa").rows == {"iom_mimosa": 1}


def test_an_unknown_column_is_kept_out_and_reported(tmp_path: Path) -> None:
    """Guards against a new field of the partner's that slips through, or that nobody hears of."""
    path = land(tmp_path, "iom_mimosa", {})
    lines = path.read_text("utf-8").splitlines()
    path.write_text(f"{lines[0]};SHOE_SIZE\n{lines[1]};{SENTINEL}\n", "utf-8")
    assert receive(tmp_path, "iom_mimosa").unknown_columns == ((path.name, "SHOE_SIZE"),)
    assert SENTINEL.encode() not in (ingested(tmp_path, "iom_mimosa")).read_bytes()


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
    """Guards against half a delivery taken in, a bare traceback, and a cell quoted in a message."""
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
    """Guards against a workbook that exhausts memory, asks for a password or is none."""
    change, message = WORKBOOKS[damage]
    path = land(tmp_path, "iom_legacy", {"Surname": SENTINEL})
    change(path)
    with pytest.raises(DeliveryError, match=message) as caught:
        receive(tmp_path, "iom_legacy")
    assert caught.value.file == path.name
    assert SENTINEL not in "".join(traceback.format_exception(caught.value))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["iom_mimosa", "iom_legacy"]), st.floats(0, 0.999), st.integers(0, 40), st.binary(max_size=40))
def test_any_damage_is_read_or_refused(tmp_path: Path, table: str, where: float, length: int, noise: bytes) -> None:
    """Guards against damage nobody thought of that ends in a traceback of some library, which may quote a cell."""
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
