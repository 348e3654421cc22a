"""Test the proof of a release: it must see every disclosure, and report nothing where there is none."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as text
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctdc_pipeline.errors import PrivacyError
from ctdc_pipeline.privacy.k_synthetic_proof import inexact_counts, prove_k_synthetic, record_supports, wrong_aggregates

NAMES = ("a", "b", "c")
CELLS = st.sampled_from([None, "1", "x", "x,y", 'quo"te', "ü", " ", "NULL"])
Rows = Sequence[tuple[str | None, ...]]
ROWS = st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=12)


def table(rows: Rows) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table({name: pa.array(column, pa.string()) for name, column in zip(NAMES, columns, strict=True)})


def parquet(path: Path, rows: Rows) -> Path:
    pq.write_table(table(rows), path)
    return path


def aggregate_file(path: Path, rows: list[dict[str, str | int | None]]) -> Path:
    names = ("length", "variable_1", "value_1", "variable_2", "value_2", "count")
    text.write_csv(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
    return path


def contains(record: tuple[str | None, ...], part: tuple[str | None, ...]) -> bool:
    return all(wanted is None or wanted == found for wanted, found in zip(part, record, strict=True))


@settings(max_examples=60)
@given(sensitive=ROWS, synthetic=ROWS)
def test_supports_equal_brute_force(tmp_path_factory: pytest.TempPathFactory, sensitive: Rows, synthetic: Rows) -> None:
    """Guards against a support that is counted too high, which would pass a record that describes fewer than k people."""
    folder = tmp_path_factory.mktemp("supports")
    found = record_supports(parquet(folder / "s.parquet", sensitive), parquet(folder / "y.parquet", synthetic), variables=NAMES)

    expected = sorted(sum(contains(record, part) for record in sensitive) for part in set(synthetic))
    assert sorted(found.tolist()) == expected


@settings(max_examples=60)
@given(sensitive=ROWS, synthetic=ROWS, k=st.integers(2, 4))
def test_inexact_counts_equal_brute_force(
    tmp_path_factory: pytest.TempPathFactory, sensitive: Rows, synthetic: Rows, k: int
) -> None:
    """Guards against a count that is not rounded down to a multiple of k, which would reveal single people joining or leaving."""
    folder = tmp_path_factory.mktemp("counts")
    paths = parquet(folder / "s.parquet", sensitive), parquet(folder / "y.parquet", synthetic)
    found = inexact_counts(*paths, variables=NAMES, k=k)

    attributes = {(i, row[i]) for row in (*sensitive, *synthetic) for i in range(3) if row[i] is not None}
    counts = {a: [sum(row[a[0]] == a[1] for row in rows) for rows in (sensitive, synthetic)] for a in attributes}
    assert found == (len(attributes), sum(after != before - before % k for before, after in counts.values()))


@settings(max_examples=30)
@given(sensitive=ROWS, k=st.integers(2, 3), lie=st.integers(-3, 3))
def test_wrong_aggregates_are_found(tmp_path_factory: pytest.TempPathFactory, sensitive: Rows, k: int, lie: int) -> None:
    """Guards against publishing an exact or a rare count: an aggregate below k, or not its support rounded down."""
    folder = tmp_path_factory.mktemp("aggregates")
    rows: list[dict[str, str | int | None]] = []
    for size in (1, 2):
        for places in combinations(range(3), size):
            for part in sorted({tuple(row[i] for i in places) for row in sensitive if all(row[i] for i in places)}):
                n = sum(all(row[i] == value for i, value in zip(places, part, strict=True)) for row in sensitive)
                named = {f"variable_{j}": NAMES[i] for j, i in enumerate(places, 1)}
                values = {f"value_{j}": value for j, value in enumerate(part, 1)}
                rows += [{"length": size, **named, **values, "count": n - n % k}] if n >= k else []
    for row in rows[:1]:
        row["count"] = int(row["count"] or 0) + lie
    paths = parquet(folder / "s.parquet", sensitive), aggregate_file(folder / "a.csv", rows)

    assert wrong_aggregates(*paths, variables=NAMES, k=k) == (len(rows), int(bool(rows and lie)))


def test_csv_and_parquet_are_read_alike(tmp_path: Path) -> None:
    """Guards against proving something else than the published bytes: quotes, commas and blanks of a CSV cell belong to the
    value.
    """
    rows = [("x,y", 'quo"te', None), ("x,y", 'quo"te', None), (" ", "NULL", "1"), (" ", "NULL", "1")]
    sensitive = parquet(tmp_path / "s.parquet", rows)
    text.write_csv(table(rows), tmp_path / "y.csv")

    assert inexact_counts(sensitive, tmp_path / "y.csv", variables=NAMES, k=2) == (5, 0)
    assert record_supports(sensitive, tmp_path / "y.csv", variables=NAMES).tolist() == [2, 2]


BROKEN = {
    "rare record": [("1", "x", None), ("1", None, None)],
    "empty record": [("1", None, None), ("1", "x", None), (None, None, None)],
    "value never seen": [("1", None, None), ("1", "new", None)],
    "one too few": [("1", None, None)],
}


@pytest.mark.parametrize("synthetic", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_guarantee_is_refused_without_naming_a_value(tmp_path: Path, synthetic: Rows) -> None:
    """Guards against passing a release with one broken guarantee, and against a refusal that itself discloses."""
    sensitive = parquet(tmp_path / "s.parquet", [("1", "x", None), ("1", "secret", None)])
    published = parquet(tmp_path / "y.parquet", synthetic)
    aggregates = aggregate_file(tmp_path / "a.csv", [{"length": 1, "variable_1": "a", "value_1": "1", "count": 2}])

    proof = prove_k_synthetic(sensitive, published, aggregates, variables=NAMES, k=2)
    with pytest.raises(PrivacyError) as caught:
        proof.require()
    assert "secret" not in str(caught.value)


def test_a_sound_release_passes(tmp_path: Path) -> None:
    """Guards against refusing sound releases, as such a proof would be switched off."""
    sensitive = parquet(tmp_path / "s.parquet", [("1", "x", None), ("1", "y", None)])
    published = parquet(tmp_path / "y.parquet", [("1", None, None), ("1", None, None)])
    aggregates = aggregate_file(tmp_path / "a.csv", [{"length": 1, "variable_1": "a", "value_1": "1", "count": 2}])

    proof = prove_k_synthetic(sensitive, published, aggregates, variables=NAMES, k=2).require()
    assert (proof.synthetic_records, proof.distinct_records, proof.smallest_support) == (2, 1, 2)


def test_records_whose_people_share_more_are_counted(tmp_path: Path) -> None:
    """Guards against a share that misses about whom can be learnt: all of 'a' are also 'x', those of 'b' differ."""
    people: Rows = [("a", "x", None)] * 3 + [("b", "x", None), ("b", "y", None), ("b", None, "z")]
    sensitive, made = (
        parquet(tmp_path / "s.parquet", people),
        parquet(tmp_path / "m.parquet", [("a", None, None), ("b", None, None)]),
    )
    none = aggregate_file(tmp_path / "a.csv", [])
    assert prove_k_synthetic(sensitive, made, none, variables=NAMES, k=3).homogeneous_percent == 50
