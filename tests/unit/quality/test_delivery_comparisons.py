"""Comparisons of two states: each warns of what it is for, and stays silent when there is nothing."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from ctdc_pipeline.ingestion.profiles import MISSING, UNLISTED, Profile
from ctdc_pipeline.quality import delivery_comparisons as dq
from ctdc_pipeline.quality import drift

YEARS = {
    # The published marginals of 2020: 2016 is a spike, and the last year is incomplete as it always is.
    2010: 943,
    2011: 1340,
    2012: 1367,
    2013: 1832,
    2014: 3000,
    2015: 4276,
    2016: 16399,
    2017: 6508,
    2018: 5818,
    2019: 28,
}


def profile(
    rows: int = 1_000,
    *,
    outcomes: Mapping[tuple[str, str], int] | None = None,
    kind: str = "snapshot",
    until: date = date(2019, 12, 31),
    **values: Mapping[str, int],
) -> Profile:
    """A state of which some variables are told; the rows that are left have no value."""
    blank = {name: {MISSING: rows - sum(counts.values()), **counts} for name, counts in values.items()}
    empty: dict[str, Mapping[str, int]] = {name: {} for name in ("yearOfRegistration", "citizenship", "CountryOfExploitation")}
    return Profile("2019", "x", kind, until, rows, empty | blank, outcomes or {("accepted", ""): rows})  # type: ignore[arg-type]


def by_year(counts: Mapping[int, int]) -> Profile:
    return profile(sum(counts.values()), yearOfRegistration={str(year): rows for year, rows in counts.items()})


PLAIN = profile(gender={"Female": 700, "Male": 250}, citizenship={"UKR": 600, "MDA": 390, "PHL": 10})
CASES = [
    ("row_counts", PLAIN, profile(900), "900 rows, where 2019 had 1000"),
    ("row_counts", PLAIN, profile(1600), "1600 rows"),
    ("row_counts", replace(PLAIN, kind="increment"), profile(450, kind="increment"), "450 rows"),
    (
        "missingness",
        PLAIN,
        profile(gender={"Female": 600, "Male": 200}, citizenship={"UKR": 1000}),
        "gender: 20 % missing, 5 before",
    ),
    ("missingness", PLAIN, profile(gender={"Female": 800, "Male": 200}, citizenship={"UKR": 700}), "citizenship: 30 % missing"),
    ("codes", PLAIN, profile(gender={"Female": 950}), "gender: Male has vanished"),
    ("codes", PLAIN, profile(gender={"Female": 700, "Male": 250, "Trans": 20}), "gender: Trans is new"),
    ("codes", PLAIN, profile(gender={"Female": 700, UNLISTED: 250}), r"gender: \(not listed\) is new"),
    (
        "codes",
        profile(gender={"Female": 949, UNLISTED: 1}),
        profile(gender={"Female": 700, UNLISTED: 250}),
        r"gender: \(not listed\) is more frequent than before",
    ),
    ("codes", None, profile(gender={"Female": 900, UNLISTED: 100}), r"gender: \(not listed\) is new"),
    ("codes", profile(gender={}), profile(gender={"Female": 900, UNLISTED: 100}), r"gender: \(not listed\) is new"),
    ("distributions", PLAIN, profile(gender={"Female": 500, "Male": 450}), "gender has shifted by a distance of 0.1"),
    ("distributions", PLAIN, profile(citizenship={"PHL": 900, "UKR": 100}), "citizenship has shifted"),
    ("coverage", PLAIN, profile(citizenship={"UKR": 990}), "citizenship: MDA has vanished"),
    ("coverage", by_year({2017: 500, 2018: 500}), by_year({2018: 1000}), "yearOfRegistration: 2017 has vanished"),
    ("coverage", PLAIN, profile(citizenship={"UKR": 600, "MDA": 300, "KHM": 100}), "citizenship: KHM is new"),
    (
        "quarantined",
        profile(outcomes={("accepted", ""): 990, ("quarantined", "unknown-code"): 10}),
        profile(outcomes={("accepted", ""): 960, ("quarantined", "unknown-code"): 40}),
        "unknown-code: 4 % quarantined, 1 before",
    ),
    (
        "excluded",
        profile(outcomes={("accepted", ""): 900, ("excluded", "opted-out"): 100, ("excluded", "superseded"): 5}),
        profile(outcomes={("accepted", ""): 995, ("excluded", "opted-out"): 5, ("excluded", "superseded"): 1000}),
        "opted-out: 0 % excluded, 10 before",
    ),
    ("years", None, by_year(YEARS), "2016: spike; 2019: partial"),
    ("years", None, by_year({2014: 500, 2015: 510, 2016: 5, 2017: 480, 2018: 520, 2019: 530}), "2016: gap"),
    ("years", None, by_year({2014: 500, 2015: 510, 2017: 480, 2018: 520, 2019: 530}), "2016: gap"),
    ("years", None, by_year({2015: 500, 2016: 510, 2017: 480}), "the latest year is 2017, where 2019 was expected"),
    ("years", by_year({2017: 500, 2018: 510, 2019: 500}), by_year({2017: 900, 2018: 510, 2019: 900}), "2017: grown since"),
]
COMPARISONS = {one.name: one for one in (*dq.OF_DELIVERIES, *dq.OF_PARTNERS)}


@pytest.mark.parametrize(("name", "before", "now", "told"), CASES)
def test_each_comparison_warns_of_what_it_is_for(name: str, before: Profile | None, now: Profile, told: str) -> None:
    """Guards against a check that is green whatever arrives."""
    finding = COMPARISONS[name].find(now, before, 10)
    assert re.search(told, "; ".join(finding.concerns)), finding.concerns
    assert finding.plot().startswith("<svg")


def test_a_year_that_is_not_over_is_not_partial() -> None:
    """Guards against a warning with every first half-year, which nobody reads any more when a year is partial indeed."""
    counts = {2015: 500, 2016: 510, 2017: 480, 2018: 520, 2019: 80}
    told = {
        until: dq.years(replace(by_year(counts), until=until), None, 10).concerns
        for until in (date(2019, 6, 30), date(2019, 9, 30), date(2019, 12, 31), date(2020, 12, 31))
    }
    assert [*told.values()] == [(), (), ("2019: partial",), ("2019: partial", "the latest year is 2019, where 2020 was expected")]


USUAL = by_year({2015: 480, 2016: 510, 2017: 505, 2018: 500, 2019: 498})


@pytest.mark.parametrize("name", [*COMPARISONS])
@pytest.mark.parametrize(
    ("before", "now"),
    [
        (None, USUAL),
        (USUAL, by_year({2015: 481, 2016: 511, 2017: 505, 2018: 505, 2019: 530})),
        (PLAIN, replace(PLAIN, until=date(2019, 6, 1))),
        (by_year(YEARS), by_year({year: rows + 1 for year, rows in YEARS.items()})),
        (profile(20, gender={"Female": 15, "Male": 5}), profile(19, gender={"Female": 10, "Male": 6})),
        (None, profile(0, until=date.min)),
    ],
    ids=["first", "a little more", "the same", "the same spike", "too few to tell", "never delivered"],
)
def test_no_comparison_warns_of_nothing(name: str, before: Profile | None, now: Profile) -> None:
    """Guards against warnings that come with every delivery, and that nobody reads any more."""
    assert COMPARISONS[name].find(now, before, 10).concerns == ()


def test_many_rows_in_quarantine_are_worth_a_warning_from_the_first_delivery_on() -> None:
    """Guards against a comparison that has nothing to compare with, and therefore nothing to say."""
    finding = dq.quarantined(profile(outcomes={("accepted", ""): 80, ("quarantined", "unknown-code"): 20}), None, 10)
    assert finding.concerns == ("20% of the current rows are in quarantine",)


def test_values_of_few_people_are_not_named() -> None:
    """Guards against figures in Dagster's storage from which a single person could be told."""
    now = profile(
        citizenship={"UKR": 985, "ERI": 9}, gender={"Female": 998, "Trans": 2}, yearOfRegistration={"2018": 993, "2019": 7}
    )
    for comparison in COMPARISONS.values():
        finding = comparison.find(now, PLAIN, 10)
        told = str(finding)
        assert "ERI" not in told
        assert "Trans" not in told
        for row in finding.figures:
            assert "rows" not in row or comparison.name == "row_counts" or row["rows"] % 10 == 0, comparison.name


def test_the_distance_is_that_of_lin() -> None:
    """Guards against a distance under a name that belongs to another."""
    assert drift.js_distance({"a": 5}, {"a": 50}) == 0
    assert drift.js_distance({"a": 5}, {"b": 50}) == pytest.approx(1)
    # By hand: p = (1/2, 1/2), q = (1, 0), m = (3/4, 1/4); JSD = (log2(2/3) + log2(2)) / 4 + log2(4/3) / 2.
    by_hand = (np.log2(2 / 3) + 1) / 4 + np.log2(4 / 3) / 2
    assert drift.js_distance({"a": 1, "b": 1}, {"a": 7}) == pytest.approx(np.sqrt(by_hand))
    assert drift.js_distance({"a": 500, "b": 500}, {"a": 382, "b": 618}) == pytest.approx(dq.SHIFTED, abs=0.002)


@pytest.mark.parametrize(("one", "other", "values"), [(60, 400, 3), (2_000, 500, 40), (300, 300, 150)])
def test_chance_alone_hardly_ever_exceeds_the_noise_floor(one: int, other: int, values: int) -> None:
    """Guards against a floor that is no bound where samples are small or values rare."""
    random = np.random.default_rng(4)
    shares = random.dirichlet(np.full(values, 0.3))
    names = [str(value) for value in range(values)]
    exceeded = 0
    for _ in range(2_000):
        drawn = [dict(zip(names, random.multinomial(size, shares).tolist(), strict=True)) for size in (one, other)]
        new, old = drift.pooled(*drawn)
        exceeded += drift.js_distance(new, old) > drift.noise(one, other, len({*new, *old}))
    assert exceeded <= 10, "ten of 2,000 are five times what CHANCE says"


def test_layouts_with_nothing_in_common_are_compared_by_rows_alone() -> None:
    """Guards against a partner that moves to the standard form and gets a warning for every field."""
    other = Profile("2020", "y", "snapshot", date(2020, 12, 31), 1_000, {"prs_Gender": {"Feminine": 1_000}}, {})
    for comparison in dq.OF_DELIVERIES:
        assert comparison.find(other, PLAIN, 10).concerns == ()


def test_every_comparison_says_what_to_do() -> None:
    """Guards against a warning that leaves its reader alone."""
    for comparison in COMPARISONS.values():
        assert "Warns" in comparison.about
        assert comparison.remedy
