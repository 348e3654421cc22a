"""Workbooks: what goes in comes out in Excel's readers, and nothing is a formula."""

import csv
import shutil
import subprocess
import zipfile
from itertools import repeat
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from ctdc_pipeline.errors import TableError
from ctdc_pipeline.storage import workbook
from ctdc_pipeline.storage.workbook import Sheet, write_workbook

HARD = [
    "=1+1", "+1", "-1", "@SUM(A1)", "'quoted", 'quo"te', "a,b", "line\nbreak", "tab\there", "<b>&amp;</b>", "çãü–Ω漢字😀", " x ",
    "carriage\r\nreturn", "_x0041_", "bell\x07",
]  # fmt: skip

SHOWN = [text for text in HARD if not set(text) & set("\r\x07")]
"""Texts of which nothing is lost where a program shows them and writes them as CSV."""


def test_every_text_comes_back_as_text(tmp_path: Path) -> None:
    """A value that begins like a formula would be run in the reader's spreadsheet; a stray character would spoil the file."""
    path = tmp_path / "hard.xlsx"
    write_workbook(path, [Sheet("Data", [["text"], *([text] for text in HARD)])], title="Hard <texts>")

    assert pd.read_excel(path, engine="calamine", dtype=str, keep_default_na=False)["text"].tolist() == HARD
    cells = [row[0] for row in openpyxl.load_workbook(path)["Data"].iter_rows(min_row=2)]
    assert {cell.data_type for cell in cells} == {"s"}
    assert all(cell.quotePrefix for cell in cells[:4])


def test_numbers_and_empty_cells_come_back_as_such(tmp_path: Path) -> None:
    """A count stored as text cannot be added up; an empty cell filled with a text is no longer missing."""
    path = tmp_path / "numbers.xlsx"
    rows = [["name", "count", "share"], ["a", 3, 0.25], [None, None, 1.5], ["c", 0, None]]
    write_workbook(path, [Sheet("One", rows), Sheet("Two & three", [["only"]])], title="Numbers")

    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["One", "Two & three"]
    assert [list(row) for row in book["One"].iter_rows(values_only=True)] == rows
    assert book["One"].freeze_panes == "A2"
    assert book.properties.title == "Numbers"


def test_many_columns_stand_where_they_belong(tmp_path: Path) -> None:
    """Past Z and ZZ the letters of columns carry over."""
    path = tmp_path / "wide.xlsx"
    write_workbook(path, [Sheet("Wide", [list(range(800)), [*repeat(None, 799), "last"]])], title="Wide")

    sheet = openpyxl.load_workbook(path)["Wide"]
    assert [cell.value for cell in sheet[1]] == list(range(800))
    assert sheet.cell(2, 800).value == "last"


def test_the_file_tells_no_time(tmp_path: Path) -> None:
    """The time of writing in the archive or its properties would change the hash of every release."""
    write_workbook(tmp_path / "a.xlsx", [Sheet("Data", [["x"], [1]])], title="Same")
    with zipfile.ZipFile(tmp_path / "a.xlsx") as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
        assert archive.read("docProps/core.xml").count(b"1980-01-01T00:00:00Z") == 2


def test_more_rows_than_a_sheet_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Excel would cut the table off without a word."""
    monkeypatch.setattr(workbook, "MOST_ROWS", 3)
    with pytest.raises(TableError, match="more rows"):
        write_workbook(tmp_path / "long.xlsx", [Sheet("Data", [["x"], [1], [2], [3]])], title="Long")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not shutil.which("soffice"), reason="LibreOffice is not installed; make test-services installs it")
def test_libreoffice_opens_it_and_finds_the_same(tmp_path: Path) -> None:
    """Our own writer could leave out a part that other readers forgive; half of the users have no Excel."""
    write_workbook(
        tmp_path / "book.xlsx", [Sheet("One", [["text", "n"], *([text, 1.5] for text in SHOWN)]), Sheet("Two", [[7]])], title="x"
    )
    every_sheet = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1"
    home = f"-env:UserInstallation=file://{tmp_path}/profile"
    command = ["soffice", "--headless", home, "--convert-to", every_sheet, "--outdir", str(tmp_path), str(tmp_path / "book.xlsx")]
    subprocess.run(command, check=True, capture_output=True, timeout=300)

    with (tmp_path / "book-One.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["text", "n"], *([text, "1.5"] for text in SHOWN)]
    assert (tmp_path / "book-Two.csv").read_text().strip() == "7"
