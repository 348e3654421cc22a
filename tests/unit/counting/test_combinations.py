"""Exact counts: against counting by hand, for any table, any key, any number of threads; and what bad input meets."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctdc_pipeline.counting import combinations as counting
from ctdc_pipeline.counting.combinations import Layout, count_combinations, count_to_file
from ctdc_pipeline.errors import ParameterError, ResourceError
from ctdc_pipeline.operations.limits import Limits

Row = tuple[str | None, ...]
Attribute = tuple[str, str]

# Values that look alike to a reader that strips, folds or takes text for numbers.
VALUES = st.sampled_from([None, None, "1", "1.0", "01", " a", "a", "A", "\u00e9", "e\u0301", "\U0001f600", "nan", "NULL", "-1"])


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Small tables; often with equal rows, with rows and columns without any value, and of one column."""
    width = draw(st.integers(1, 6))
    distinct = draw(st.lists(st.tuples(*[VALUES] * width), min_size=1, max_size=8))
    return draw(st.lists(st.sampled_from(distinct), min_size=1, max_size=20))


def as_table(rows: list[Row]) -> pa.Table:
    return pa.table([pa.array(column, pa.string()) for column in zip(*rows, strict=True)], names=names(rows))


def names(rows: list[Row]) -> list[str]:
    return [f"c{position}" for position in range(len(rows[0]))]


def by_hand(rows: list[Row], length: int) -> Counter[tuple[Attribute, ...]]:
    found: Counter[tuple[Attribute, ...]] = Counter()
    for row in rows:
        attributes = [(name, value) for name, value in zip(names(rows), row, strict=True) if value is not None]
        found.update(combinations(attributes, length))
    return found


def written(path: Path, *, length: int) -> list[tuple[tuple[Attribute, ...], int]]:
    """The combinations of ``length`` in a file of counts, in its order."""
    found: list[tuple[tuple[Attribute, ...], int]] = []
    for row in pq.read_table(path).to_pylist():
        *cells, count = row.values()
        attributes = [pair for pair in zip(cells[::2], cells[1::2], strict=True) if pair[0] is not None]
        if len(attributes) == length:
            found.append((tuple(attributes), count))
    return found


@given(rows=rows(), length=st.integers(1, 7), minimum=st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_counts_are_those_counted_by_hand(rows: list[Row], length: int, minimum: int) -> None:
    """A combination that is lost, doubled, miscounted, or merged with one that looks alike."""
    with TemporaryDirectory() as folder:
        summary = count_combinations(as_table(rows), Path(folder), length=length, minimum=minimum, k=3, limits=Limits(threads=1))
        for size in range(1, length + 1):
            expected = {combination: n for combination, n in by_hand(rows, size).items() if n >= minimum}
            found = written(Path(folder, f"length_{size}.parquet"), length=size)
            assert found == sorted(expected.items())
            assert summary.distinct[size] == len(expected)
            assert summary.common[size] == sum(n >= 3 for n in expected.values())
            assert summary.rare[size] == sum(n < 3 for n in expected.values())
            assert summary.unique[size] == sum(n == 1 for n in expected.values())


@given(rows=rows(), bits=st.integers(4, 12), piece=st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_keys_of_several_numbers_and_small_pieces_count_the_same(rows: list[Row], bits: int, piece: int) -> None:
    """More attributes than one key holds, and combinations spread over pieces: the paths that small tables never take."""
    patch = pytest.MonkeyPatch()
    patch.setattr(counting, "KEY_BITS", max(bits, Layout(len(rows) * len(rows[0]), 1).bits))
    patch.setattr(counting, "PIECE", piece)
    with patch.context(), TemporaryDirectory() as folder:
        count_combinations(as_table(rows), Path(folder), length=4, limits=Limits(threads=2))
        for size in range(1, 5):
            assert written(Path(folder, f"length_{size}.parquet"), length=size) == sorted(by_hand(rows, size).items())
    patch.undo()


def many(rows: int = 2_000) -> pa.Table:
    """Records of eight columns, of which no two are alike."""
    return as_table([(*(str(number * step % (7 + step)) for step in range(1, 8)), str(number)) for number in range(rows)])


def test_any_number_of_threads_writes_the_same_bytes(tmp_path: Path) -> None:
    """Batches, row groups or sums that depend on which thread came first."""
    written: set[tuple[bytes, ...]] = set()
    for threads in (1, 2, 8):
        count_combinations(many(), tmp_path / str(threads), length=3, limits=Limits(threads=threads))
        count_to_file(many(), tmp_path / f"{threads}.parquet", length=3, limits=Limits(threads=threads))
        paths = [*sorted((tmp_path / str(threads)).iterdir()), tmp_path / f"{threads}.parquet"]
        written.add(tuple(path.read_bytes() for path in paths))
    assert len(written) == 1


def test_row_groups_do_not_depend_on_how_batches_come(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rows lost or doubled where batches are cut anew, or a count cut in two with them."""
    monkeypatch.setattr(counting, "ROW_GROUP", 1_000)
    monkeypatch.setattr(counting, "PIECE", 100)
    count_combinations(many(), tmp_path, length=2)
    file = pq.ParquetFile(tmp_path / "length_2.parquet")
    groups = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
    assert set(groups[:-1]) == {1_000}
    rows = [tuple(row) for row in zip(*many().to_pydict().values(), strict=True)]
    assert written(tmp_path / "length_2.parquet", length=2) == sorted(by_hand(rows, 2).items())


@given(rows=rows())
@settings(deadline=None, max_examples=20)
def test_one_file_holds_what_the_folder_holds(rows: list[Row]) -> None:
    """A combination under another length, or a null where a value belongs."""
    with TemporaryDirectory() as folder:
        count_to_file(as_table(rows), Path(folder, "all.parquet"), length=3)
        table = pq.read_table(Path(folder, "all.parquet"))
        assert table.column_names == ["variable_1", "value_1", "variable_2", "value_2", "variable_3", "value_3", "count"]
        for size in range(1, 4):
            assert written(Path(folder, "all.parquet"), length=size) == sorted(by_hand(rows, size).items())


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    """Counts that carry a trace of the input's order."""
    table = many()
    count_combinations(table, tmp_path / "a", length=2)
    count_combinations(table.take(list(range(len(table)))[::-1]), tmp_path / "b", length=2)
    assert (tmp_path / "a/length_2.parquet").read_bytes() == (tmp_path / "b/length_2.parquet").read_bytes()


def test_counting_again_replaces_what_was_there(tmp_path: Path) -> None:
    """Longer combinations of an earlier count, left beside those of this one; files that others may read."""
    count_combinations(many(), tmp_path / "counts", length=3)
    count_combinations(many(50), tmp_path / "counts", length=2)
    assert sorted(path.name for path in (tmp_path / "counts").iterdir()) == ["length_1.parquet", "length_2.parquet"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "counts").iterdir()} == {0o600}


def test_memory_that_suffices_by_spilling_gives_the_same_counts(tmp_path: Path) -> None:
    """Counts that go wrong, or temp files that stay, once DuckDB spills."""
    count_combinations(many(20_000), tmp_path / "a", length=4)
    count_combinations(many(20_000), tmp_path / "b", length=4, limits=Limits(memory="30MB", temp_folder=tmp_path))
    for size in range(1, 5):
        name = f"length_{size}.parquet"
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_memory_that_does_not_suffice_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    """A crash of DuckDB instead of an error of ours, a half-written count, a spill folder left behind."""
    with pytest.raises(ResourceError, match="memory"):
        count_combinations(many(20_000), tmp_path / "counts", length=4, limits=Limits(memory="1MB", temp_folder=tmp_path))
    assert [path.name for path in tmp_path.rglob("*")] == ["counts"]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    """A half-written count after the disk refused. The limit on file sizes stands for the full disk."""
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(ResourceError, match="could not be written"):
            count_combinations(many(), tmp_path / "counts", length=3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [path.name for path in tmp_path.rglob("*")] == ["counts"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"length": 0}, "length is 0"),
        ({"minimum": 0}, "minimum is 0"),
        ({"limits": Limits(threads=0)}, "threads is 0"),
        ({"limits": Limits(memory="much")}, "memory limit"),
    ],
)
def test_parameters_out_of_range_are_errors(wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
    """A count that silently does something else."""
    with pytest.raises(ParameterError, match=message):
        count_combinations(many(10), tmp_path / "counts", **wrong)


def test_progress_is_told_for_every_length(tmp_path: Path) -> None:
    """A bar that never fills."""
    told: dict[str, float] = {}
    count_combinations(many(), tmp_path, length=2, progress=lambda name, share: told.update({name: share}))
    assert told == {"counting combinations of length 1": 1.0, "counting combinations of length 2": 1.0}


def test_counting_does_not_load_the_compiler() -> None:
    """Half a second of start-up for every count."""
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, ctdc_pipeline.counting.combinations, ctdc_pipeline.cli.main; print('numba' in sys.modules)",
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    assert loaded.stdout.strip() == "False"
