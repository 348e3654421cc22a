"""Aggregates: nothing below k, nothing exact, nothing lost that may be told."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctdc_pipeline.counting import aggregates
from ctdc_pipeline.errors import ParameterError, TableError


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    """Counts of lengths 1 and 2 as the counting writes them, on either side of k = 10 and of its multiples."""
    singles = {"gender=Female": 29, "gender=Male": 10, "ageBroad=0--8": 9, "ageBroad=48+": 1, "isForcedLabour=1": 20}
    pairs = {("ageBroad=0--8", "gender=Female"): 8, ("isForcedLabour=1", "gender=Female"): 20}
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    for length, tallies in ((1, {(name,): count for name, count in singles.items()}), (2, pairs)):
        rows = []
        for parts, count in tallies.items():
            names = {f"variable_{i}": part.split("=")[0] for i, part in enumerate(parts, 1)}
            rows.append({**names, **{f"value_{i}": part.split("=")[1] for i, part in enumerate(parts, 1)}, "count": count})
        pq.write_table(pa.Table.from_pylist(rows), folder / f"length_{length}.parquet")
    return folder


def test_counts_are_rounded_down_and_rare_ones_left_out(counts: Path) -> None:
    """Rounded to nearest, 29 would tell of a person who is not there; 9 reported at all would tell of nine who are."""
    rows = aggregates.reportable_aggregates(counts, k=10, length=2).to_pylist()

    assert [(row["length"], row["value_1"], row["value_2"], row["count"]) for row in rows] == [
        (1, "Female", None, 20),
        (1, "Male", None, 10),
        (1, "1", None, 20),
        (2, "1", "Female", 20),
    ]
    aggregates.aggregates_schema(k=10, length=2).validate(aggregates.reportable_aggregates(counts, k=10, length=2).to_pandas())


def test_rarity_adds_up(counts: Path) -> None:
    """The approver reads from it how much is held back."""
    table = aggregates.rarity_by_length(counts, k=10, length=2)

    assert table.to_pylist() == [
        {"length": 1, "distinct": 5, "reportable": 3, "rare": 2, "unique": 1},
        {"length": 2, "distinct": 2, "reportable": 1, "rare": 1, "unique": 0},
    ]
    aggregates.rarity_schema(length=2).validate(table.to_pandas())


def test_single_counts_are_exact(counts: Path) -> None:
    """Gates compare the synthetic records against them."""
    table = aggregates.single_counts(counts)

    assert {row["value"]: row["count"] for row in table.to_pylist()} == {"Female": 29, "Male": 10, "0--8": 9, "48+": 1, "1": 20}
    aggregates.single_counts_schema().validate(table.to_pandas())


@pytest.mark.parametrize(("k", "length"), [(1, 2), (0, 2), (10, 0)])
def test_parameters_out_of_range_are_refused(counts: Path, k: int, length: int) -> None:
    """k = 1 would report single people."""
    with pytest.raises(ParameterError):
        aggregates.reportable_aggregates(counts, k=k, length=length)


def test_a_length_that_was_not_counted_is_an_error(counts: Path) -> None:
    """Leaving it out in silence would look as if nothing of that length could be reported."""
    with pytest.raises(TableError, match="length 3"):
        aggregates.reportable_aggregates(counts, k=10, length=3)
