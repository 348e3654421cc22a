"""Test noisy counts: what one record changes, what the noise is, and that altered files are refused."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctdc_pipeline.errors import ParameterError, ResourceError, TableError
from ctdc_pipeline.privacy.accounting import epsilon_of
from ctdc_pipeline.privacy.contribution import UNIT, Contribution
from ctdc_pipeline.privacy.domain import Domain
from ctdc_pipeline.privacy.measurements import (
    KINDS,
    SHARES,
    Measurements,
    exact_counts,
    measure,
    read_measurements,
    with_noise,
    write_measurements,
)
from ctdc_pipeline.storage.tables import TEXT

DOMAIN = Domain(("a", "b", "c", "d"), (("x", "y"), ("1",), ("p", "q", "r"), ("z",)), 2)


def table(rows: int, *, seed: int = 0) -> pa.Table:
    draw = np.random.default_rng(seed)
    return pa.table(
        {
            name: pa.array([None if draw.random() < 0.3 else str(draw.choice(values)) for _ in range(rows)], TEXT)
            for name, values in zip(DOMAIN.columns, DOMAIN.values, strict=True)
        }
    )


@settings(deadline=None)
@given(st.data())
def test_one_record_changes_the_counts_by_no_more_than_the_bound(data: st.DataObject) -> None:
    """Guards against breaking the promise itself, by brute force: any table, any record removed, every kind of count."""
    cap = data.draw(st.integers(1, 4))
    domain = replace(DOMAIN, cap=cap)
    cell = [st.sampled_from([-1, *range(domain.first[at], domain.first[at + 1])]) for at in range(4)]
    rows = data.draw(st.lists(st.tuples(*cell), min_size=1, max_size=6))
    codes = np.array(rows, np.int32).reshape(-1, 4)
    out = data.draw(st.integers(0, len(rows) - 1))
    here, there = exact_counts(codes, domain=domain), exact_counts(np.delete(codes, out, axis=0), domain=domain)
    bound = Contribution(cap, 4)
    most = {"records": UNIT**2, "lengths": UNIT**2, "values": bound.values_squared, "pairs": bound.pairs_squared}
    for kind in KINDS:
        assert int(((here[kind] - there[kind]) ** 2).sum()) <= most[kind]


def test_counts_are_those_of_the_table() -> None:
    """Guards against counting a pair in another pair's cell, an error that noise hides."""
    codes = np.array([[0, 2, -1, -1], [1, -1, 5, -1], [0, 2, 4, 6], [-1, -1, -1, -1]], np.int32)
    counts = exact_counts(codes, domain=replace(DOMAIN, cap=4))
    assert counts["records"].tolist() == [4 * UNIT]
    assert counts["lengths"].tolist() == [UNIT, 0, 2 * UNIT, 0, UNIT]
    assert counts["values"].tolist() == [2 * UNIT, UNIT, 2 * UNIT, 0, UNIT, UNIT, UNIT]
    block = DOMAIN.blocks
    of_pair = {(0, 2): counts["pairs"][block[0, 1]], (1, 5): counts["pairs"][block[0, 2] + 1 * 3 + 2]}
    assert of_pair == {(0, 2): 2 * UNIT, (1, 5): UNIT}
    assert counts["pairs"].sum() == (1 + 1 + 6) * UNIT


def test_the_noise_is_gaussian_of_the_stated_sigma_and_never_the_same() -> None:
    """Guards against noise of another size or shape, shared noise, or a seed. Each bound is at least five standard errors."""
    number, sigma = 40_000, 5000
    drawn = with_noise(np.zeros(number, np.int64), sigma=sigma) / sigma
    assert abs(drawn.mean()) < 5 / np.sqrt(number)
    assert abs(drawn.var() - 1) < 5 * np.sqrt(2 / number)
    assert abs((np.abs(drawn) < 1).mean() - 0.6827) < 5 * np.sqrt(0.25 / number)
    assert abs((drawn[1:] * drawn[:-1]).mean()) < 5 / np.sqrt(number)
    assert (drawn != with_noise(np.zeros(number, np.int64), sigma=sigma) / sigma).mean() > 0.99


def test_noise_is_added_to_the_counts() -> None:
    """Guards against counts that come back in another order when they are drawn in parts."""
    counts = np.arange(25_000, dtype=np.int64) * 1_000_000
    assert np.abs(with_noise(counts, sigma=100) - counts).max() < 1000


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0, 12.0])
def test_all_counts_together_cost_the_budget_and_no_more(epsilon: float) -> None:
    """Guards against a kind of counts that the account forgets."""
    found, _ = measure(table(200), domain=DOMAIN, epsilon=epsilon)
    assert sum(SHARES.values()) == 1
    spent = epsilon_of(mu=float(found.mu_squared) ** 0.5, delta=found.delta)
    assert 0.998 * epsilon < spent <= epsilon


def test_a_file_gives_back_what_was_measured(tmp_path: Path) -> None:
    """Guards against a file that loses the domain, a sigma or a cell, which could not be judged."""
    found, _ = measure(table(200), domain=DOMAIN, epsilon=4)
    path = tmp_path / "m.parquet"
    write_measurements(found, path)
    again = read_measurements(path)
    assert (again.domain, again.epsilon, again.delta, again.sigma) == (DOMAIN, 4, found.delta, found.sigma)
    assert all((again.noisy[kind] == found.noisy[kind]).all() for kind in KINDS)


@pytest.mark.parametrize("attack", ["count", "row", "domain", "rubbish", "text"])
def test_an_altered_file_is_refused(tmp_path: Path, attack: str) -> None:
    """Guards against records made from other numbers than those measured."""
    path = tmp_path / "m.parquet"
    write_measurements(measure(table(200), domain=DOMAIN, epsilon=4)[0], path)
    stored = pq.read_table(path)
    if attack == "count":
        counts = stored["count"].to_numpy().copy()
        counts[-1] += 1
        stored = stored.set_column(stored.num_columns - 1, "count", pa.array(counts))
    elif attack == "row":
        stored = stored.slice(0, stored.num_rows - 1)
    elif attack == "domain":
        told = json.loads(stored.schema.metadata[b"ctdc"])
        told["domain"]["columns"]["a"] = ["x", "other"]
        stored = stored.replace_schema_metadata({b"ctdc": json.dumps(told).encode()})
    elif attack == "rubbish":
        stored = pa.table({"a": ["x"]})
    pq.write_table(stored, path)
    if attack == "text":
        path.write_text("count\n1\n")
    with pytest.raises(TableError, match=r"altered after|contains no measurements"):
        read_measurements(path)


def test_a_file_with_less_noise_than_it_promises_is_refused(tmp_path: Path) -> None:
    """Guards against an epsilon that is stated but not kept."""
    found, _ = measure(table(200), domain=DOMAIN, epsilon=4)
    path = tmp_path / "m.parquet"
    write_measurements(replace(found, epsilon=1.0), path)
    with pytest.raises(TableError, match="less noise than its epsilon needs"):
        read_measurements(path)


def test_delta_must_be_below_one_in_the_rows() -> None:
    """Guards against a delta of 1 / rows, which allows publishing one person in full."""
    with pytest.raises(ParameterError, match="delta is not below 1 / rows"):
        measure(table(2000), domain=DOMAIN, epsilon=4, delta=0.005)


def test_nothing_is_measured_without_randomness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against predictable noise."""

    def refuses(_size: int) -> bytes:
        raise NotImplementedError

    monkeypatch.setattr(os, "urandom", refuses)
    with pytest.raises(ResourceError, match="no random numbers"):
        measure(table(10), domain=DOMAIN, epsilon=4)


@pytest.mark.parametrize("rows", [0, 1])
def test_a_table_of_hardly_a_record_is_measured(rows: int) -> None:
    """Guards against a refusal that reveals how few records there are."""
    found, _ = measure(table(rows), domain=DOMAIN, epsilon=1)
    assert isinstance(found, Measurements)
    assert found.rows >= 0


def test_a_hundred_columns_of_blanks_are_measured() -> None:
    """Guards against a cap and lengths for which only 37 columns have room."""
    names = [f"c{number}" for number in range(100)]
    domain = Domain(tuple(names), (("1",),) * 100, 38)
    blank = pa.table({name: pa.array([None] * 50, TEXT) for name in names})
    found, outside = measure(blank, domain=domain, epsilon=4)
    assert (outside, len(found.noisy["lengths"]), len(found.noisy["pairs"])) == ({}, 101, 4950)
