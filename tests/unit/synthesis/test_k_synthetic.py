"""k-synthetic data: its guarantees against brute force, its phases, its determinism."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ctdc_pipeline.counting.attributes import decode, encode
from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.operations.limits import ONE_THREAD, Limits
from ctdc_pipeline.synthesis import kernel
from ctdc_pipeline.synthesis.k_synthetic import METHODS, Synthesis, pack, synthesize

Row = tuple[str | None, ...]

# What the codebook's Figure 1 prints, before the final suppression (its counts of 3 are no multiples of 2).
FIGURE: list[Row] = [("Female", "18--20", "1"), *[("Male", "18--20", "1")] * 2, *[("Female", "30--38", None)] * 2]
FIGURE_SYNTHETIC = Counter(
    [
        ("Female", None, None),
        (None, "18--20", "1"),
        *[("Male", "18--20", "1")] * 2,
        *[("Female", "30--38", None)] * 2,
    ]
)

VALUES = st.sampled_from([None, "1", "1.0", " 1", "a", "A", "é", "e\u0301", "NA", "=1", "0"])


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    """Small tables with few values, so that combinations are sometimes common: also all missing, all equal, one column."""
    columns = draw(st.integers(1, 6))
    distinct = draw(st.lists(st.tuples(*[VALUES] * columns), min_size=1, max_size=12))
    return draw(st.lists(st.sampled_from(distinct), min_size=1, max_size=60))


def table(rows: list[Row]) -> pa.Table:
    names = [f"v{number}" for number in range(len(rows[0]))]
    return pa.table([pa.array(column, pa.string()) for column in zip(*rows, strict=True)], names=names)


def rows_of(made: pa.Table) -> list[Row]:
    return list(zip(*(column.cast(pa.string()).to_pylist() for column in made.columns), strict=True))


def support(row: Row, rows: list[Row]) -> int:
    return sum(all(value is None or value == other[at] for at, value in enumerate(row)) for other in rows)


def counts(rows: list[Row]) -> Counter[tuple[int, str]]:
    return Counter((at, value) for row in rows for at, value in enumerate(row) if value is not None)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=150)
@given(rows=tables(), k=st.integers(2, 6), seed=st.integers(0, 5))
@example(rows=[(None, None)] * 5, k=2, seed=0)
@example(rows=[("a", "b")] * 9, k=4, seed=0)
@example(rows=FIGURE, k=2, seed=0)
def test_guarantees_hold_against_brute_force(method: str, rows: list[Row], k: int, seed: int) -> None:
    """A record that fewer than k people share, a count that tells more than its multiple of k, or an empty record."""
    made = rows_of(synthesize(table(rows), k=k, seed=seed, method=method, limits=ONE_THREAD))
    assert all(any(value is not None for value in row) for row in made)
    assert all(support(row, rows) >= k for row in set(made))
    expected = {attribute: count // k * k for attribute, count in counts(rows).items() if count >= k}
    assert counts(made) == expected


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=100)
@given(rows=tables(), k=st.integers(2, 5))
def test_each_phase_keeps_its_promise(method: str, rows: list[Row], k: int) -> None:
    """A value lost or doubled between the phases, or a rare combination before suppression could hide it."""
    records = encode(table(rows)).common(k)
    if not records.value:
        return
    run = Synthesis(records, k=k, seed=1, guided=method == "faithful", limits=ONE_THREAD)
    kept = run.redact()
    made = rows_of(decode(kept.codes(records=records), records=records))
    assert all(support(row, rows) >= k for row in made)
    remaining = np.bincount(kept.items, minlength=len(records.value)) + run.supply.pool
    assert (remaining == records.support).all()

    built = run.consolidate(kept)
    codes = built.codes(records=records)
    made = rows_of(decode(codes, records=records))
    assert not run.supply.pool.any()
    assert all(support(row, rows) >= k for row in made)
    assert counts(made) == {attribute: count for attribute, count in counts(rows).items() if count >= k}

    left = run.suppress(built)
    made = rows_of(decode(left, records=records))
    assert counts(made) == {attribute: n // k * k for attribute, n in counts(rows).items() if n >= k}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(5))
def test_figure_1_of_the_codebook(method: str, seed: int) -> None:
    """Consolidation that stops early or joins a rare pair would not give the published example."""
    records = encode(table(FIGURE)).common(2)
    run = Synthesis(records, k=2, seed=seed, guided=method == "faithful", limits=ONE_THREAD)
    made = decode(run.consolidate(run.redact()).codes(records=records), records=records)
    assert Counter(rows_of(made)) == FIGURE_SYNTHETIC


@pytest.fixture(scope="module")
def wide() -> pa.Table:
    """3,000 dependent records over 14 columns, about half of the cells missing."""
    draw = np.random.default_rng(5)
    group = draw.integers(0, 6, 3000)
    columns: list[Any] = []
    for number in range(14):
        values = np.where(draw.random(3000) < 0.7, group, draw.integers(0, 3 + number, 3000)).astype(str)
        columns.append(pa.array(values, pa.string(), mask=draw.random(3000) < 0.5))
    return pa.table(columns, names=[f"v{number}" for number in range(14)])


def test_same_bytes_for_any_number_of_threads(wide: pa.Table) -> None:
    """A result that depends on the machine could not be reproduced or audited."""
    one, two, eight = (synthesize(wide, seed=3, limits=Limits(threads=threads)) for threads in (1, 2, 8))
    assert one.equals(two)
    assert one.equals(eight)


def test_suppression_takes_no_pair_away(wide: pa.Table) -> None:
    """Guards against rounding a count down at the only record that shows a pair, where others could give the value."""

    def pairs(codes: npt.NDArray[np.int32]) -> set[tuple[int, int]]:
        return {pair for row in codes.tolist() for pair in combinations([value for value in row if value >= 0], 2)}

    records = encode(wide).common(25)
    run = Synthesis(records, k=25, seed=1, limits=ONE_THREAD)
    built = run.consolidate(run.redact())
    assert (records.support % 25).sum() > 500, "hardly any value is suppressed"
    assert pairs(run.suppress(built)) == pairs(built.codes(records=records))


def test_input_order_leaves_no_trace(wide: pa.Table) -> None:
    """A record's place in the output must tell nothing of its place in the partner's file."""
    order = np.random.default_rng(1).permutation(wide.num_rows)
    assert synthesize(wide, seed=3, limits=ONE_THREAD).equals(synthesize(wide.take(order), seed=3, limits=ONE_THREAD))


def test_the_seed_changes_the_records(wide: pa.Table) -> None:
    """A seed without effect would make the choices predictable."""
    assert not synthesize(wide, seed=3).equals(synthesize(wide, seed=4))


def test_more_values_than_a_mask_holds() -> None:
    """Records with more attributes than a bit mask has bits must lose no value."""
    rows: list[Row] = [tuple(str(number) for number in range(70))] * 25
    made = rows_of(synthesize(table(rows), k=10))
    assert counts(made) == dict.fromkeys(counts(rows), 20)


def test_a_record_of_more_values_than_the_first_table_of_pairs_has_slots_for() -> None:
    """Guards against a search for a free slot that never ends: 120 values form 7,140 pairs."""
    rows: list[Row] = [tuple(str(number) for number in range(120))] * 25
    assert counts(rows_of(synthesize(table(rows), k=10, limits=ONE_THREAD))) == dict.fromkeys(counts(rows), 20)


@settings(max_examples=100)
@given(rows=tables(), k=st.integers(2, 5))
def test_a_table_of_common_records_comes_back_as_it_is(rows: list[Row], k: int) -> None:
    """Guards against a table that was publishable as it is, and comes back with other records."""
    records = encode(table(rows * k)).common(k)
    if not records.value:
        return
    run = Synthesis(records, k=k, seed=1, limits=ONE_THREAD)
    made = Counter(rows_of(decode(run.consolidate(run.redact()).codes(records=records), records=records)))
    before = Counter(rows_of(decode(np.repeat(records.codes, records.weights, axis=0), records=records)))
    assert made == Counter({row: number for row, number in before.items() if any(value is not None for value in row)})


@settings(max_examples=50)
@given(rows=tables(), k=st.integers(2, 5))
def test_few_whole_records_are_never_taken_apart(rows: list[Row], k: int) -> None:
    """Below the share from which it is asked whether taking them apart helps, what is common as a whole must stay."""
    records = encode(table(rows)).common(k)
    if not records.value:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ctdc_pipeline.synthesis.kernel.MIN_WHOLE_SHARE", 1.0)
        run = Synthesis(records, k=k, seed=1, limits=ONE_THREAD)
        made = Counter(rows_of(decode(run.consolidate(run.redact()).codes(records=records), records=records)))
    before = Counter(rows_of(decode(np.repeat(records.codes, records.weights, axis=0), records=records)))
    for row, number in before.items():
        if number >= k and any(value is not None for value in row):
            assert made[row] >= number


def test_core_columns_are_counted_more_accurately(wide: pa.Table) -> None:
    """Guards against a setting without effect."""

    def error(core: list[str]) -> int:
        before, after = (
            Counter(row[:3][a : a + 2] for row in rows_of(made) for a in (0, 1) if None not in row[a : a + 2])
            for made in (wide, synthesize(wide, seed=1, core=core, limits=ONE_THREAD))
        )
        return sum(abs(before[pair] - after[pair]) for pair in before)

    assert error(["v0", "v1", "v2"]) < error([])


def test_records_wider_than_one_word(wide: pa.Table) -> None:
    """A column packed beyond the first 64 bits must be compared too, or rare combinations would pass as common."""
    double = pa.table(
        [*wide.columns, *wide.columns, *wide.columns], names=[f"{part}{name}" for part in "abc" for name in wide.column_names]
    )
    records = encode(double).common(10)
    packed, where, width, bits = pack(records)
    assert packed.shape[1] > 1
    for attribute in range(len(records.value)):
        word, shift = divmod(int(where[attribute]), 64)
        held = packed[:, word] >> np.uint64(shift) & np.uint64((1 << width[attribute]) - 1) == np.uint64(bits[attribute])
        assert (held == (records.codes == attribute).any(axis=1)).all()
    rows = rows_of(double)
    assert all(support(row, rows) >= 10 for row in set(rows_of(synthesize(double, k=10, seed=1))))


def test_long_lists_only_ever_reject(wide: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guarantee must not depend on how many rows of a frequent pair are looked at."""
    assert kernel.MAX_LISTED_RECORDS >= 1
    # The interpreter runs the same source, so that a shorter list can be tried without compiling again.
    monkeypatch.setattr(kernel, "MAX_LISTED_RECORDS", 12)
    records = encode(wide).common(10)
    offsets, items = kernel.flat_records(records.codes)
    keys, count = kernel.count_pairs(offsets, items, records.weights, len(records.value))
    _start, length, _rows = kernel.list_rows.py_func(offsets, items, keys, len(records.value))
    assert length.max() == 12
    assert (length[keys >= 0] <= count[keys >= 0]).all()


def test_nothing_common_gives_an_empty_table() -> None:
    """A table in which everything is rare must give no records rather than an error or a leak."""
    made = synthesize(table([("a", "b"), ("c", None)]), k=2)
    assert made.num_rows == 0
    assert made.column_names == ["v0", "v1"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"k": 1}, "k is 1"),
        ({"seed": -1}, "seed"),
        ({"seed": 1 << 63}, "seed"),
        ({"method": "best"}, "no method"),
        ({"core": ["x"]}, "no core column x"),
    ],
)
def test_parameters_out_of_range_are_refused(arguments: dict[str, Any], what: str) -> None:
    """k below 2 would publish single people."""
    with pytest.raises(ParameterError, match=what):
        synthesize(table([("a",)] * 3), **arguments)


@pytest.mark.parametrize("phase", ["redaction", "consolidation", "suppression"])
def test_an_interrupt_in_any_phase_gets_through(wide: pa.Table, phase: str) -> None:
    """A run that cannot be stopped, or that carries on after being told to stop."""

    def stop(at: str) -> Callable[[str, float], None]:
        def tell(now: str, _share: float) -> None:
            if now == at:
                raise KeyboardInterrupt

        return tell

    with pytest.raises(KeyboardInterrupt):
        synthesize(wide, limits=Limits(threads=2), progress=stop(phase))
