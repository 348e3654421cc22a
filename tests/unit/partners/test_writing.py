"""Test files as partners send them."""

import csv
from datetime import date
from pathlib import Path

import pandas as pd
from python_calamine import CalamineWorkbook

from ctdc_pipeline.partners.layout import Layout
from ctdc_pipeline.partners.writing import write

AWKWARD = ["", "plain", "a,b;c", 'say "no"', "two\nlines", "Ñandú", " spaces ", "=1+1", "0012", "NA"]


def test_text_comes_back_cell_by_cell(tmp_path: Path) -> None:
    """Guards against cells split by separators, quotes, line breaks or accents, and against blanks that become values."""
    frame = pd.DataFrame({"First one": AWKWARD, "b": AWKWARD[::-1]}, dtype=object)
    for delimiter, encoding in ((",", "utf-8"), (";", "utf-8-sig")):
        path = tmp_path / "file.csv"
        write(frame, path, layout=Layout("Cases", "*.csv", (), delimiter=delimiter, encoding=encoding))
        with path.open(encoding=encoding, newline="") as file:
            headings, *rows = csv.reader(file, delimiter=delimiter)
        assert headings == ["First one", "b"]
        assert rows == [list(row) for row in zip(AWKWARD, AWKWARD[::-1], strict=True)]
        assert path.read_bytes().startswith(b"\xef\xbb\xbf") == (encoding == "utf-8-sig")


def test_a_workbook_keeps_dates_numbers_and_blanks(tmp_path: Path) -> None:
    """Guards against dates written as text: the legacy workbook mixes both, and readers must see the difference."""
    frame = pd.DataFrame({"Day": [date(2006, 12, 31), "31/12/2006", 2006], "Note": [None, "x", "ü"]}, dtype=object)
    write(frame, tmp_path / "file.xlsx", layout=Layout("Cases", "*.xlsx", (), format="xlsx", sheet="A sheet"))
    rows = CalamineWorkbook.from_path(tmp_path / "file.xlsx").get_sheet_by_name("A sheet").to_python()
    assert rows == [["Day", "Note"], [date(2006, 12, 31), ""], ["31/12/2006", "x"], [2006, "ü"]]
