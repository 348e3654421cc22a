"""Evaluation: against checking by hand, and that each broken guarantee is seen."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import astuple
from itertools import combinations
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctdc_pipeline.errors import ParameterError, TableError
from ctdc_pipeline.operations.limits import Limits
from ctdc_pipeline.quality.evaluation import evaluate, kept

Row = tuple[str | None, ...]
Counted = Counter[tuple[tuple[int, str], ...]]
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


def counted(rows: list[Row], length: int) -> Counted:
    return Counter(combination for row in rows for combination in combinations(attributes(row), length))


@given(tables=two_tables(), length=st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_every_figure_is_the_one_found_by_hand(tables: tuple[list[Row], list[Row]], length: int) -> None:
    """A leak not seen, or a fidelity that is better than it is."""
    sensitive, synthetic = tables
    found = evaluate(
        as_table(sensitive), as_table(synthetic, width=len(sensitive[0])), k=K, length=length, limits=Limits(threads=1)
    )

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
        assert astuple(part.fidelity) == pytest.approx(by_hand(before, after, least=K), abs=2e-6)
        for bucket in found.buckets:
            if bucket.length == part.length:
                assert astuple(bucket.fidelity) == pytest.approx(
                    by_hand(before, after, least=bucket.least, most=bucket.most), abs=2e-6
                )


def by_hand(before: Counted, after: Counted, *, least: int, most: int | None = None) -> tuple[float | None, ...]:
    """What a ``Fidelity`` should hold."""
    common = [(n, after[key]) for key, n in before.items() if n >= least and n <= (most or n)]
    if not common:
        return 0, 0, None, None, None
    differences = sum(abs(kept - n) for n, kept in common)
    preserved = sum(min(kept / n, 1) for n, kept in common)
    lost = sum(not kept for _, kept in common)
    return len(common), lost, preserved / len(common), differences / sum(n for n, _ in common), differences / len(common)


def common_table() -> pa.Table:
    """Forty rows, of which each attribute and each whole row is in ten or twenty."""
    return as_table([(f"x{number % 2}", f"y{number % 4}") for number in range(40)])


def test_a_faithful_copy_of_common_records_is_private() -> None:
    """A verdict that is never good, by which nobody would be warned."""
    found = evaluate(common_table(), common_table(), k=10, length=2)
    assert found.private
    assert found.row_ratio == 1
    assert [part.fidelity.preservation for part in found.combinations] == [1, 1]


@pytest.mark.parametrize(
    ("rows", "breach"),
    [
        ([("x0", "y1")] * 10, "combination of two common values that no row has"),
        ([("new", None)] * 10, "value that no row has"),
        ([(None, None)], "empty row"),
        ([("x0", None)], "count that is not exact"),
    ],
)
def test_each_broken_guarantee_is_seen(rows: list[Row], breach: str) -> None:
    """A synthesizer that breaks one guarantee, and an evaluation that says it holds."""
    synthetic = pa.concat_tables([common_table(), as_table(rows)])
    assert not evaluate(common_table(), synthetic, k=10, length=2).private, breach


def test_a_rare_record_is_seen_however_long_it_is() -> None:
    """A leak beyond the reporting length."""
    row = tuple(f"v{place}" for place in range(8))
    others = [tuple(None if place == missing else value for place, value in enumerate(row)) for missing in range(8)]
    sensitive = as_table([row, *others * 10])
    found = evaluate(sensitive, as_table([row] * 10), k=10, length=1)
    assert [(part.length, part.rare_records, part.rare_rows) for part in found.leakage] == [(8, 1, 10)]
    assert found.smallest_support == 1


def test_columns_are_matched_by_name_and_must_be_the_same() -> None:
    """Values compared with those of another column."""
    table = common_table()
    assert evaluate(table, table.select(["b", "a"]), k=10, length=2).private
    with pytest.raises(TableError, match="different columns"):
        evaluate(table, table.rename_columns(["a", "c"]), k=10)


@pytest.mark.parametrize(
    ("wrong", "message"), [({"k": 1}, "k is"), ({"length": 0}, "length is"), ({"limits": Limits(threads=-1)}, "threads is")]
)
def test_parameters_out_of_range_are_errors(wrong: dict[str, Any], message: str) -> None:
    """A privacy check with a k that protects nobody."""
    with pytest.raises(ParameterError, match=message):
        evaluate(common_table(), common_table(), **wrong)


def test_the_document_is_json_and_the_same_for_any_number_of_threads() -> None:
    """Figures that cannot be stored, or that change from run to run."""
    synthetic = common_table().slice(3, 31)
    documents = {
        json.dumps(evaluate(common_table(), synthetic, limits=Limits(threads=threads)).to_dict()) for threads in (1, 2, 8)
    }
    (document,) = documents
    assert json.loads(document)["combinations"][1]["fidelity"]["common"] == 4


@given(tables=two_tables(), length=st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_reported_counts_are_compared_as_sensitive_records_are(tables: tuple[list[Row], list[Row]], length: int) -> None:
    """What the public finds from exact counts of the common combinations is what is found with the records."""
    sensitive, synthetic = as_table(tables[0]), as_table(tables[1], width=len(tables[0][0]))
    told: list[dict[str, str | int | None]] = []
    for size in range(1, length + 1):
        for combination, count in sorted(counted(tables[0], size).items()):
            names = {f"variable_{n}": sensitive.column_names[place] for n, (place, _) in enumerate(combination, 1)}
            values = {f"value_{n}": value for n, (_, value) in enumerate(combination, 1)}
            told += [{"length": size, **names, **values, "count": count}] if count >= K else []
    places = [(f"{part}_{n}", pa.string()) for n in range(1, length + 1) for part in ("variable", "value")]
    columns = pa.schema([("length", pa.int64()), *places, ("count", pa.int64())])
    found = kept(pa.Table.from_pylist(told, schema=columns), synthetic, k=K, length=length, limits=Limits(threads=1))

    expected = evaluate(sensitive, synthetic, k=K, length=length, limits=Limits(threads=1))
    assert [one.fidelity for one in found if (one.least, one.most) == (K, None)] == [c.fidelity for c in expected.combinations]
    assert tuple(one for one in found if (one.least, one.most) != (K, None)) == expected.buckets


def test_pairs_of_core_columns_are_judged_by_themselves() -> None:
    """Guards against an error of core pairs that counts others, and against a misspelt column that is ignored."""
    sensitive = pa.table({"a": ["1"] * 6, "b": ["x"] * 6, "c": ["y"] * 6})
    synthetic = pa.table({"a": ["1"] * 6, "b": ["x"] * 6, "c": ["y"] * 3 + [None] * 3})
    assert evaluate(sensitive, synthetic, k=2).core is None
    exact, off = (evaluate(sensitive, synthetic, k=2, length=1, core=core).core for core in (["a", "b"], ["a", "c"]))
    assert exact
    assert exact.relative_error == 0
    assert off
    assert (off.common, off.relative_error) == (1, 0.5)
    with pytest.raises(ParameterError, match="no core column d"):
        evaluate(sensitive, synthetic, core=["d"])
