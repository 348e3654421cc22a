"""Tables on disk: what is read is what is there, bad files are refused without quoting them, writing is whole or not at all."""

from __future__ import annotations

import resource
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctdc_pipeline.errors import CtdcError, ResourceError, TableError
from ctdc_pipeline.tables import read_table, write_table

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
    assert list(zip(*found.to_pydict().values(), strict=True)) == rows


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
    assert read(tmp_path, text, sensitive_zeros=["b"]) == {"a": [None, "1"], "b": ["0", "0.0"], "c": ["00", None]}
    assert read(tmp_path, text, sensitive_zeros=[]) == {"a": [None, "1"], "b": [None, "0.0"], "c": ["00", None]}
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
        ("t.csv", f'a,b\n1,"{SENTINEL}\n'.encode(), "quotes are not in pairs"),
        ("t.parquet", SENTINEL.encode(), "not a Parquet file"),
        ("t.xlsx", SENTINEL.encode(), "unknown kind"),
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
