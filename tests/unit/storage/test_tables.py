"""Tables on disk: what is read is what is there, bad files are refused without quoting them, writing is whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctdc_pipeline.errors import CtdcError, ResourceError, TableError
from ctdc_pipeline.storage.tables import plain, read_table, write_table
from tests.support.outside import tried

CELL = st.one_of(
    st.none(),
    st.sampled_from(["0", "1", "1.0", " a", "a", 'q"q', "c,c", "t\tt", "n\nn", "r\r\nn", "'", "é"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=3),
)


@given(rows=st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[CELL] * width), min_size=1, max_size=6)))
@settings(deadline=None)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_what_is_written_is_read_again(suffix: str, rows: list[tuple[str | None, ...]]) -> None:
    """A value changed, a row lost, a missing value that becomes a text, in a way through the disk."""
    columns = {f"c{place}": pa.array(column, pa.string()) for place, column in enumerate(zip(*rows, strict=True))}
    with TemporaryDirectory() as folder:
        write_table(pa.table(columns), Path(folder, f"table{suffix}"))
        found = read_table(Path(folder, f"table{suffix}"))
    assert found.column_names == list(columns)
    assert list(zip(*found.to_pydict().values(), strict=True)) == [tuple(cell and plain(cell) for cell in row) for row in rows]


def read(tmp_path: Path, text: str | bytes, *, name: str = "t.csv", **options: object) -> dict[str, list[str | None]]:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(tmp_path / name, **options).to_pydict()  # pyright: ignore[reportArgumentType]


def test_empty_and_named_texts_are_missing(tmp_path: Path) -> None:
    """A missing value counted as an attribute, or a value lost because it looks like one."""
    text = 'a,b\n,""\nunknown,NULL\n0,0\nx,nan\n'
    assert read(tmp_path, text, missing=["unknown"]) == {"a": [None, None, "0", "x"], "b": [None, "NULL", "0", "nan"]}


def test_zero_is_no_attribute_but_in_the_columns_where_it_is(tmp_path: Path) -> None:
    """Flags of 0 counted as attributes; or an answer of 0 dropped."""
    text = "a,b,c\n0,0,00\n1,0.0,0\n"
    assert read(tmp_path, text, sensitive_zeros=["b"]) == {"a": [None, "1"], "b": ["0", "0"], "c": ["00", None]}
    assert read(tmp_path, text, sensitive_zeros=[]) == {"a": [None, "1"], "b": [None, None], "c": ["00", None]}
    with pytest.raises(TableError, match="no column d"):
        read(tmp_path, text, sensitive_zeros=["d"])


def test_byte_order_mark_and_either_line_end_are_read(tmp_path: Path) -> None:
    """A first column that nobody finds, or carriage returns within values."""
    assert read(tmp_path, b"\xef\xbb\xbfa,b\r\n1,2\r\n") == {"a": ["1"], "b": ["2"]}


def test_quotes_far_down_a_long_file_are_seen(tmp_path: Path) -> None:
    """A line end within quotes, taken for the end of a row because no early row has quotes."""
    text = "a,b\n" + "x,y\n" * 2_000_000 + '"p\nq",z\n'
    assert read(tmp_path, text)["a"][-1] == "p\nq"


def test_numbers_in_parquet_are_read_as_the_text_they_would_have(tmp_path: Path) -> None:
    """The flag 1, stored as 1.0 because its column has missing values, that is no longer the value 1."""
    table = pa.table(
        {
            "flag": [1.0, None, 1.0],
            "part": [0.5, 1.0, None],
            "whole": pa.array([1, 2, None], pa.int8()),
            "yes": [True, False, None],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").to_pydict() == {
        "flag": ["1", None, "1"],
        "part": ["0.5", "1", None],
        "whole": ["1", "2", None],
        "yes": ["true", "false", None],
    }


SENTINEL = "Sentinel-7391"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.csv", None, "no such file"),
        ("t.csv", b"", "the file is empty"),
        ("t.csv", b"\n", "the file is empty"),
        ("t.csv", b"a,b\n", "no rows"),
        ("t.csv", f"a,b\n1,2\n{SENTINEL}\n".encode(), "row 2 has 1 cells where the header has 2"),
        ("t.csv", f"a,b\n1,2,{SENTINEL}\n".encode(), "row 1 has 3 cells"),
        ("t.csv", f"a,b\n1,{SENTINEL}\xff\n".encode("latin-1"), "UTF-8"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "UTF-8"),
        ("t.csv", f"a;b\n1;{SENTINEL}\n".encode(), "one column only"),
        ("t.csv", f"a,a\n1,{SENTINEL}\n".encode(), "repeated column a"),
        ("t.csv", f"a,a\u200b\n1,{SENTINEL}\n".encode(), "repeated column a"),
        ("t.csv", f"a,a \n1,{SENTINEL}\n".encode(), "repeated column a"),
        ("t.csv", f'a,b\n1,"{SENTINEL}\n'.encode(), "quotes are not in pairs"),
        ("t.parquet", SENTINEL.encode(), "not a Parquet file"),
        ("t.xlsx", SENTINEL.encode(), "not a workbook"),
        ("t.dta", SENTINEL.encode(), "not a Stata file"),
        ("t.txt", SENTINEL.encode(), "unknown kind"),
    ],
)
def test_bad_files_are_refused_without_quoting_them(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    """A table read wrongly, a bare traceback, or a case's value in a message."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=message) as caught:
        read_table(tmp_path / name)
    assert SENTINEL not in str(caught.value)
    assert name in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """Guards against waiting for ever at a pipe, and against "no such file" of what is there."""
    make(tmp_path / "t.csv")
    with pytest.raises(TableError, match="a folder, a pipe or a device"):
        read_table(tmp_path / "t.csv")


def test_lists_in_parquet_are_refused(tmp_path: Path) -> None:
    """Nested values taken for categories."""
    pq.write_table(pa.table({"a": [[1, 2], [3]]}), tmp_path / "t.parquet")
    with pytest.raises(TableError, match="column a is not categorical"):
        read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_without_rows_is_read_where_that_is_allowed(tmp_path: Path, suffix: str) -> None:
    """A synthetic table in which nothing was common, that cannot be evaluated."""
    empty = pa.table({"a": pa.array([], pa.string()), "b": pa.array([], pa.string())})
    write_table(empty, tmp_path / f"t{suffix}")
    assert read_table(tmp_path / f"t{suffix}", may_be_empty=True).to_pydict() == {"a": [], "b": []}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    """A half-written table after the disk refused. The limit on file sizes stands for the full disk."""
    table = pa.table({"a": [str(number) for number in range(50_000)]})
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(ResourceError, match="could not be written"):
            write_table(table, tmp_path / f"t{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_refused_before_work_begins(tmp_path: Path) -> None:
    """Minutes of work, and then an error; or a table in a format that nobody asked for."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "t.xlsx", tmp_path / "file" / "t.csv"):
        with pytest.raises(CtdcError):
            write_table(pa.table({"a": ["1"]}), path)


def frame(tmp_path: Path, columns: dict[str, list[Any]]) -> dict[str, dict[str, list[str | None]]]:
    """What is read of the same data frame from each format that pandas writes it in."""
    made = pd.DataFrame(columns)
    made.to_csv(tmp_path / "t.csv", index=False)
    made.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    made.to_parquet(tmp_path / "t.parquet")
    made.to_excel(tmp_path / "t.xlsx", index=False)
    return {
        path.suffix: read_table(path, sensitive_zeros=[], may_be_empty=True).to_pydict()
        for path in (tmp_path / f"t{suffix}" for suffix in (".csv", ".tsv", ".parquet", ".xlsx"))
    }


COLUMNS = st.one_of(
    *[
        st.tuples(*[values] * 4).map(list)
        for values in (
            st.one_of(st.none(), st.integers(-(2**31), 2**31).map(float)),
            st.one_of(st.none(), st.sampled_from([0.0, -0.0, 0.5, 2.25, 1e15, 1e20, 1e-7, 0.1, 1 / 3])),
            st.integers(-(2**50), 2**50),
            st.booleans(),
            st.one_of(st.none(), st.booleans()),
            st.decimals(-1000, 1000, places=2),
            st.dates(date(1950, 1, 1), date(2050, 1, 1)),
            st.datetimes(datetime(1950, 1, 1), datetime(2050, 1, 1)).map(lambda moment: moment.replace(microsecond=0)),
            st.one_of(
                st.none(), st.sampled_from(["a", "007", "1E5", "1.50", "TRUE", "2021-05-01", "-", "é", "a,b", 'q"q', "1.0"])
            ),
        )
    ]
)


@given(columns=st.lists(COLUMNS, min_size=1, max_size=3), categorical=st.booleans())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_the_same_frame_is_the_same_table_in_every_format(columns: list[list[Any]], categorical: bool) -> None:
    """A number, truth value or date whose spelling depends on the file: combinations counted apart, and leaks that are none."""
    named = {f"c{number}": column for number, column in enumerate(columns)} | {"row": ["p", "q", "r", "s"]}
    if categorical:
        named = {name: pd.Categorical(column) if isinstance(column[0], str) else column for name, column in named.items()}
    with TemporaryDirectory() as folder:
        found = frame(Path(folder), named)
    assert found[".csv"] == found[".tsv"] == found[".parquet"] == found[".xlsx"]


def test_the_frame_that_was_tried(tmp_path: Path) -> None:
    """18 combinations of the CSV and 13 of the Parquet file, because 0.0 was a value in one only."""
    found = frame(tmp_path, {"flag": [None, 0.0, 1.0, 0.0], "sex": ["F", "M", "F", "F"], "kids": [1, 0, 2, 0]})
    assert found[".csv"] == found[".parquet"] == found[".xlsx"]
    assert found[".csv"] == {"flag": [None, None, "1", None], "sex": ["F", "M", "F", "F"], "kids": ["1", None, "2", None]}


def test_zeros_of_a_frame_as_they_were_tried() -> None:
    """As above, on the files themselves."""
    paths = tried("float_zeros.csv"), tried("float_zeros.parquet")
    first, second = (read_table(path, sensitive_zeros=[]).to_pydict() for path in paths)
    assert first == second
    assert not {"0", "0.0"} & {*first["flag"]}


def test_a_column_of_decimals_dictionaries_or_halves_is_read_as_numbers_are(tmp_path: Path) -> None:
    """A type of Parquet whose values are spelled another way than in CSV."""
    table = pa.table(
        {
            "decimal": pa.array([Decimal("1.50"), Decimal("2.00")]),
            "half": pa.array([1, 0.5], pa.float16()),
            "single": pa.array([0.1, 3], pa.float32()),
            "dictionary": pa.array([1.0, 2.5]).dictionary_encode(),
            "numbers": pa.array([7, 7]).dictionary_encode(),
            "moment": pa.array([datetime(2021, 5, 1), datetime(2021, 5, 1, 9, 30)], pa.timestamp("ns")),
            "large": pa.array(["x", "1.0"], pa.large_string()),
            "small": pa.array([Decimal("0.00000001"), Decimal("0E-8")], pa.decimal128(12, 8)),
            "zone": pa.array([datetime(2021, 5, 1), datetime(2021, 5, 1, 9, 30)], pa.timestamp("us", "UTC")),
            "west": pa.array([datetime(2021, 5, 1), datetime(2021, 5, 1, 9, 30)], pa.timestamp("us", "America/New_York")),
            "clock": pa.array([time(9, 30), time(9, 30, 0, 500_000)]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").to_pydict() == {
        "decimal": ["1.5", "2"],
        "half": ["1", "0.5"],
        "single": ["0.1", "3"],
        "dictionary": ["1", "2.5"],
        "numbers": ["7", "7"],
        "moment": ["2021-05-01", "2021-05-01 09:30:00"],
        "large": ["x", "1"],
        "small": ["0.00000001", "0"],
        "zone": ["2021-05-01 00:00:00+00:00", "2021-05-01 09:30:00+00:00"],
        "west": ["2021-04-30 20:00:00-04:00", "2021-05-01 05:30:00-04:00"],
        "clock": ["09:30:00", "09:30:00.5"],
    }
    pq.read_table(tmp_path / "t.parquet").to_pandas().to_csv(tmp_path / "t.csv", index=False)
    assert read_table(tmp_path / "t.csv").to_pydict() == read_table(tmp_path / "t.parquet").to_pydict()


def test_a_duration_is_refused(tmp_path: Path) -> None:
    """A number of microseconds that is taken for a value, where every other format has another number."""
    pq.write_table(pa.table({"a": pa.array([timedelta(days=1)]), "b": ["x"]}), tmp_path / "t.parquet")
    with pytest.raises(TableError, match="column a is not categorical"):
        read_table(tmp_path / "t.parquet")


def test_sheets_go_on_where_the_first_has_blank_cells_beside_the_table(tmp_path: Path) -> None:
    """The rows of a second sheet that nobody reads, because a blank text stands to the right of the first one's headings."""
    book = openpyxl.Workbook()
    for sheet, value in ((book.worksheets[0], "1"), (book.create_sheet("more"), "2")):
        sheet.append(["a", "b"])
        sheet.append([value, "x"])
    book.worksheets[0].cell(2, 5, value=" ")
    book.create_chartsheet("chart")
    book.save(tmp_path / "t.xlsx")
    assert read_table(tmp_path / "t.xlsx").column("a").to_pylist() == ["1", "2"]


def test_two_spellings_are_one_value(tmp_path: Path) -> None:
    """One value under two numbers in the dictionary, which would be counted apart."""
    (tmp_path / "t.csv").write_text("a,b\n1,x\n1.0,x\n1.00,x\n")
    column = read_table(tmp_path / "t.csv")["a"].combine_chunks()
    assert column.dictionary.to_pylist() == ["1"]
    assert column.indices.to_pylist() == [0, 0, 0]


def test_a_named_missing_value_is_missing_in_each_spelling(tmp_path: Path) -> None:
    """-99 is missing, and -99.0 counted as an attribute."""
    assert read(tmp_path, "a,b\n-99.0,x\n-99,y\n", missing=["-99"])["a"] == [None, None]
    assert read(tmp_path, "a,b\n-99,x\n", missing=["-99.0"])["a"] == [None]


def test_a_line_break_in_a_heading_adds_no_record(tmp_path: Path) -> None:
    """The rest of the heading read as a record: 301 for 300."""
    found = read(tmp_path, 'a,"part\nse\r\nx"\n' + "1,2\n" * 300)
    assert list(found) == ["a", "part\nse\r\nx"]
    assert found["a"] == ["1"] * 300
    assert len(read(tmp_path, b'\xef\xbb\xbf"a\nb",c\r\n1,2\r\n')["c"]) == 1


def test_a_line_break_in_a_heading_as_it_was_tried() -> None:
    """As above, on the file itself."""
    assert len(read_table(tried("header_newline.csv"))) == 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'g,c,h\nF,A,1\nM,"B,2\nF,{SENTINEL}",3\nM,D,4\n', "row 2: two quotes may make one row of several"),
        (f'g,c,h\nF,5",{SENTINEL}\n', "row 1: a quote stands within a cell"),
        (f'g,c,h\nF,5",{SENTINEL}\nM,6",2\n', "row 1: a quote stands within a cell"),
        (f'g,c,h\nF,A,1\nF,"{SENTINEL}" x,2\n', "row 2: a quote stands within a cell"),
        ('g,"c" x,h\nF,A,1\n', "row 0: a quote stands within a cell"),
        (f'g,c,h\n"F, x",A,1\nM,"{SENTINEL}\n', "row 2: the quotes are not in pairs"),
    ],
)
def test_stray_quotes_are_refused_with_their_row(tmp_path: Path, text: str, message: str) -> None:
    """Two people in one row, because an inch mark began a cell and the next one ended it."""
    for name, delimiter in (("t.csv", ","), ("t.tsv", "\t")):
        with pytest.raises(TableError, match=message) as caught:
            read(tmp_path, text.replace(",", delimiter), name=name)
        assert SENTINEL not in str(caught.value)


def test_two_stray_quotes_as_they_were_tried() -> None:
    """As above, on the file itself."""
    with pytest.raises(TableError, match="row 2"):
        read_table(tried("two_stray_quotes.csv"))


def test_a_formula_or_an_error_in_a_workbook_is_refused(tmp_path: Path) -> None:
    """A value of a categorical table that a spreadsheet has not worked out."""
    for value in ("=1+1", "#N/A"):
        book = openpyxl.Workbook()
        assert book.active is not None
        for row in (["a", "b"], ["x", "y"], ["x", value]):
            book.active.append(row)
        book.save(tmp_path / "t.xlsx")
        with pytest.raises(TableError, match="row 2: column b holds a formula or an error"):
            read_table(tmp_path / "t.xlsx")


def test_a_link_is_no_output(tmp_path: Path) -> None:
    """A link replaced by a file, while its target stays as it was."""
    (tmp_path / "there.csv").write_text("before")
    for target in ("there.csv", "nowhere.csv"):
        link = tmp_path / f"to-{target}"
        link.symlink_to(target)
        with pytest.raises(ResourceError, match="is a link"):
            write_table(pa.table({"a": ["1"]}), link)
        assert link.is_symlink()
    assert (tmp_path / "there.csv").read_text() == "before"
