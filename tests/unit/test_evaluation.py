"""Evaluation: against checking by hand, and that each broken guarantee is seen."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctdc_pipeline.evaluation import Fidelity, evaluate

Row = tuple[str | None, ...]
K = 2

VALUES = st.sampled_from([None, "1", "1.0", " a", "a", "\u00e9", "e\u0301"])


@st.composite
def two_tables(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """Two small tables of the same columns, whose rows often agree; the synthetic one may be empty."""
    width = draw(st.integers(1, 5))
    row = st.tuples(*[VALUES] * width)
    sensitive = draw(st.lists(row, min_size=1, max_size=16)) * draw(st.integers(1, 3))
    return sensitive, draw(st.lists(st.one_of(st.sampled_from(sensitive), row), max_size=16))


def as_table(rows: list[Row], *, width: int | None = None) -> pa.Table:
    width = width or len(rows[0])
    return pa.table(
        [pa.array([row[place] for row in rows], pa.string()) for place in range(width)], names=list("abcdefgh"[:width])
    )


def attributes(row: Row) -> list[tuple[int, str]]:
    return [(place, value) for place, value in enumerate(row) if value is not None]


def counted(rows: list[Row], length: int) -> Counter[tuple[tuple[int, str], ...]]:
    return Counter(combination for row in rows for combination in combinations(attributes(row), length))


@given(tables=two_tables(), length=st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_every_figure_is_the_one_found_by_hand(tables: tuple[list[Row], list[Row]], length: int) -> None:
    """A leak not seen, or a fidelity that is better than it is."""
    sensitive, synthetic = tables
    found = evaluate(as_table(sensitive), as_table(synthetic, width=len(sensitive[0])), k=K, length=length, threads=1)

    def support(row: Row) -> int:
        return sum(set(attributes(row)) <= set(attributes(other)) for other in sensitive)

    filled = [row for row in synthetic if attributes(row)]
    assert found.sensitive_rows == len(sensitive)
    assert found.synthetic_rows == len(synthetic)
    assert found.empty_rows == len(synthetic) - len(filled)
    assert found.smallest_support == min((support(row) for row in filled), default=None)
    for part in found.leakage:
        rows = [row for row in filled if len(attributes(row)) == part.length]
        rare = [row for row in rows if support(row) < K]
        assert (part.records, part.rows, part.rare_records, part.rare_rows) == (
            len(set(rows)),
            len(rows),
            len(set(rare)),
            len(rare),
        )
    assert sum(part.rows for part in found.leakage) == len(filled)
    before, after = counted(sensitive, 1), counted(synthetic, 1)
    assert found.inexact_counts == sum(after[key] != before[key] // K * K for key in before | after)
    for part in found.combinations:
        before, after = counted(sensitive, part.length), counted(synthetic, part.length)
        assert (part.distinct, part.rare, part.unique) == (
            len(before),
            sum(n < K for n in before.values()),
            sum(n == 1 for n in before.values()),
        )
        assert (part.synthetic, part.leaked, part.fabricated) == (
            len(after),
            sum(before[key] < K for key in after),
            sum(key not in before for key in after),
        )
        assert part.fidelity == by_hand(before, after, least=K)
        for bucket in found.buckets:
            if bucket.length == part.length:
                assert bucket.fidelity == by_hand(before, after, least=bucket.least, most=bucket.most)


def by_hand(
    before: Counter[tuple[tuple[int, str], ...]],
    after: Counter[tuple[tuple[int, str], ...]],
    *,
    least: int,
    most: int | None = None,
) -> Fidelity:
    common = [(n, after[key]) for key, n in before.items() if n >= least and n <= (most or n)]
    if not common:
        return Fidelity(0, 0, None, None, None)
    differences = sum(abs(kept - n) for n, kept in common)
    return Fidelity(
        len(common),
        sum(not kept for _, kept in common),
        preservation=pytest.approx(sum(min(kept / n, 1) for n, kept in common) / len(common), abs=2e-6),
        relative_error=pytest.approx(differences / sum(n for n, _ in common), abs=2e-6),
        mean_absolute_error=pytest.approx(differences / len(common), abs=2e-6),
    )
