"""Figures of a differentially private release: those of the measurements, with intervals that hold as often as is told."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.privacy.domain import codebook_domain
from ctdc_pipeline.privacy.measurements import KINDS, Measurements, exact_counts, measure
from ctdc_pipeline.products import measured_figures, story_tables
from ctdc_pipeline.products.story_tables import STORIES, Story

ROWS = 2000
BY_YEAR = Story("gender_by_year", "", "gender", ("yearOfRegistration",))


@pytest.fixture(scope="module")
def victims() -> pa.Table:
    """Records of six values at most, fewer than the cap, so that each counts in full."""
    rng = np.random.Generator(np.random.PCG64(3))
    known = {"gender", "yearOfRegistration", "citizenship", "isForcedLabour", "isSexualExploit", "ageBroad"}
    columns: dict[str, pa.Array] = {}
    for variable in codebook().variables:
        few = {"year": ("2019", "2020"), "country": ("UKR", "PHL")}.get(variable.kind, variable.values or ("1",))
        picked = rng.integers(-1, len(few), ROWS) if variable.name in known else np.full(ROWS, -1)
        columns[variable.name] = pa.array([few[number] if number >= 0 else None for number in picked], pa.string())
    return pa.table(columns)


def encoded(victims: pa.Table) -> pa.Table:
    return pa.table([column.combine_chunks().dictionary_encode() for column in victims.columns], names=victims.column_names)


@pytest.fixture(scope="module")
def exact(victims: pa.Table) -> Measurements:
    """Measurements with hardly any noise."""
    domain = codebook_domain(2021, suppressed={})
    counts = exact_counts(domain.codes(encoded(victims))[0], domain=domain)
    return Measurements(domain, 4.0, 1e-6, dict.fromkeys(KINDS, 1), counts)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_without_noise_the_figures_are_the_counts_of_people(victims: pa.Table, exact: Measurements, story: Story) -> None:
    """Guards against a cell of another group or value, for variables that stand before and after that by which they are."""
    found = measured_figures.table(exact, story).to_pylist()
    people = victims.to_pylist()
    flags = [v.name for v in codebook().variables if v.kind == "flag" and v.group == story.of]
    (by,) = story.by or (None,)
    wanted: dict[tuple[str | None, ...], tuple[int, int]] = {}
    for name in flags or [story.of]:
        for group, value in {(person[by] if by else "", person[name]) for person in people}:
            if group is None or value is None:
                continue
            own = [person for person in people if by is None or person[by] == group]
            whole = len(own) if flags else sum(person[name] is not None for person in own)
            wanted[group, name, value] = sum(person[name] == value for person in own), whole
    assert {(row[by] if by else "", row["variable"], row["value"]): (row["count"], row["denominator"]) for row in found} == wanted
    for row in found:
        assert row["percentage"] == pytest.approx(100 * row["count"] / row["denominator"], abs=0.2)


def test_known_counts_are_those_of_people(victims: pa.Table, exact: Measurements) -> None:
    """Guards against a count of flags, which is not measured, and against another denominator than all people."""
    found = {row["variable"]: (row["count"], row["denominator"]) for row in measured_figures.known(exact).to_pylist()}
    names = ("gender", "yearOfRegistration", "citizenship", "ageBroad")
    assert found == {name: (ROWS - victims[name].null_count, ROWS) for name in names}


def test_intervals_hold_as_often_as_told(victims: pa.Table, exact: Measurements) -> None:
    """Guards against intervals that are too narrow: 95 of 100 must hold the true count, and the true percentage."""
    true = {(row["yearOfRegistration"], row["value"]): row for row in measured_figures.table(exact, BY_YEAR).to_pylist()}
    within, shares = list[bool](), list[bool]()
    for _ in range(40):
        noisy, _outside = measure(encoded(victims), domain=exact.domain, epsilon=4)
        for row in measured_figures.table(noisy, BY_YEAR).to_pylist():
            known = true.get((row["yearOfRegistration"], row["value"]))
            if known is not None:
                within.append(row["count_from"] <= known["count"] <= row["count_to"])
                share = 100 * known["count"] / known["denominator"]
                shares.append(row["percentage_from"] <= share <= row["percentage_to"])
    assert len(within) >= 200
    assert np.mean(within) > 0.9
    assert np.mean(shares) > 0.93


def test_counts_of_noise_are_not_told_and_wide_percentages_neither(victims: pa.Table, exact: Measurements) -> None:
    """Guards against a table in which nearly every row is a country that nobody has."""
    noisy, _ = measure(encoded(victims.slice(0, 300)), domain=exact.domain, epsilon=1)
    corridors = next(story for story in STORIES if story.name == "corridors")
    assert len(measured_figures.table(noisy, corridors)) < 300
    for figures in measured_figures.tables(noisy).values():
        for row in figures.to_pylist():
            assert row["count_from"] <= row["count"] <= row["count_to"]
            assert row["percentage_from"] <= row["percentage_to"]
            wide = row["percentage_to"] - row["percentage_from"] > story_tables.WIDEST + 0.2
            assert row["percentage"] is None or not wide
