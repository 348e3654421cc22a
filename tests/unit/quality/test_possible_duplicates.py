"""Possible duplicates across partners: planted ones are found, chance is told apart, nothing is merged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.harmonisation.account import harmonised_columns
from ctdc_pipeline.quality.possible_duplicates import COUNTS, PAIRS, SHARED, beyond_chance, possible_duplicates
from ctdc_pipeline.storage.files import sha256, write_parquet

Case = dict[str, Any]
MERGED = {variable.merges_into for variable in codebook().harmonised}
FLAGS = [variable.name for variable in codebook().harmonised if variable.kind == "flag" and variable.name not in MERGED]


def population(size: int, *, seed: int = 1) -> list[Case]:
    """Cases of two partners, drawn alike and independently; each flag is set in one case of thirty."""
    random = np.random.default_rng(seed)
    cases: list[Case] = []
    for number in range(size):
        case: Case = {
            "partner": random.choice(["iom", "polaris"]),
            "case_key": f"{number:064x}",
            "yearOfRegistration": str(random.integers(2005, 2020)),
            "gender": random.choice(["Female", "Male"]),
            "ageBroad": random.choice(["9--17", "18--20", "30--38"]),
            "citizenship": random.choice(["UKR", "MDA", "PHL"]),
            "CountryOfExploitation": random.choice(["RUS", "USA"]),
        }
        cases.append(case | {name: "1" for name in FLAGS if random.random() < 1 / 30})
    return cases


def write(path: Path, cases: list[Case]) -> Path:
    place = {"source": "s", "refresh": "2021", "source_file": "f"}
    rows = [{**place, "source_row": number, **case} for number, case in enumerate(cases, start=1)]
    write_parquet(pa.Table.from_pylist(rows, schema=harmonised_columns()), path)
    return path


def twin(case: Case, **changes: str | None) -> Case:
    """The same person at the other partner."""
    other = {"iom": "polaris", "polaris": "iom"}[case["partner"]]
    return {**case, "partner": other, "case_key": case["case_key"].replace("0", "f", 1), **changes}


PERSON: Case = {
    "partner": "iom",
    "case_key": "0" * 60 + "abcd",
    "yearOfRegistration": "2016",
    "gender": "Female",
    "ageBroad": "18--20",
    "citizenship": "UKR",
    "CountryOfExploitation": "RUS",
    **dict.fromkeys(FLAGS[:5], "1"),
}


def keys(table: pa.Table) -> set[tuple[str, str]]:
    return {*zip(table["case_key_a"].to_pylist(), table["case_key_b"].to_pylist(), strict=True)}


@pytest.mark.parametrize("year", ["2015", "2016", "2017"])
def test_a_person_at_two_partners_is_found(tmp_path: Path, year: str) -> None:
    """Guards against counting a person twice without anybody's notice."""
    other = twin(PERSON, yearOfRegistration=year)
    found = possible_duplicates(write(tmp_path / "v.parquet", [*population(2_000), PERSON, other]))
    assert (PERSON["case_key"], other["case_key"]) in keys(found.pairs)
    assert found.pairs.schema.equals(PAIRS)
    assert found.counts.schema.equals(COUNTS)
    (row,) = (row for row in found.pairs.to_pylist() if row["case_key_a"] == PERSON["case_key"])
    assert (row["partner_a"], row["partner_b"], row["shared"]) == ("iom", "polaris", 5)


@pytest.mark.parametrize(
    "changes",
    [
        {"yearOfRegistration": "2018"},
        {"gender": "Male"},
        {"ageBroad": "30--38"},
        {"citizenship": None},
        {"CountryOfExploitation": "USA"},
        dict.fromkeys(FLAGS[SHARED - 1 : 5], None),
        {"partner": "iom"},
    ],
    ids=["year", "gender", "age", "unknown citizenship", "country", "one rare attribute", "same partner"],
)
def test_whoever_differs_is_no_duplicate(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Guards against a list of pairs that contradict each other, in which nobody finds the likely ones."""
    other = twin(PERSON, **changes)
    found = possible_duplicates(write(tmp_path / "v.parquet", [*population(2_000), PERSON, other]))
    assert (PERSON["case_key"], other["case_key"]) not in keys(found.pairs)


def test_majority_stands_in_for_an_age_band_that_is_missing(tmp_path: Path) -> None:
    """Guards against partners without exact ages that can have no duplicates."""
    person = {**PERSON, "ageBroad": None, "majorityStatusAtExploit": "Adult"}
    found = possible_duplicates(write(tmp_path / "v.parquet", [*population(2_000), person, twin(person)]))
    assert (person["case_key"], twin(person)["case_key"]) in keys(found.pairs)


@pytest.mark.parametrize("seed", range(4))
def test_independent_partners_give_what_chance_gives(tmp_path: Path, seed: int) -> None:
    """Guards against an expectation that is no expectation: a warning with every run."""
    found = possible_duplicates(write(tmp_path / "v.parquet", population(3_000, seed=seed)))
    (row,) = found.counts.to_pylist()
    assert row["comparable"] > 10_000
    assert beyond_chance(found.counts) == []


def dependent(case: Case, random: np.random.Generator) -> Case:
    """The same with flags that come together, as in a network that recruits one way: weights of single flags mislead."""
    return {**case, **(dict.fromkeys(FLAGS[:5], "1") if random.random() < 0.012 else {})}


def test_attributes_that_come_together_are_chance_as_well(tmp_path: Path) -> None:
    """Guards against the weights' promise of less than one pair by chance, where attributes depend on each other."""
    random = np.random.default_rng(5)
    found = possible_duplicates(write(tmp_path / "v.parquet", [dependent(case, random) for case in population(8_000)]))
    (row,) = found.counts.to_pylist()
    assert row["expected"] > 10
    assert row["observed"] == pytest.approx(row["expected"], rel=0.5)
    assert beyond_chance(found.counts) == []


def test_more_than_chance_explains_is_told(tmp_path: Path) -> None:
    """Guards against a check that cannot fail."""
    cases = population(2_000)
    random = np.random.default_rng(6)
    people = [{**case, **dict.fromkeys(random.choice(FLAGS, 5), "1")} for case in cases[:30]]
    found = possible_duplicates(write(tmp_path / "v.parquet", [*people, *cases[30:], *map(twin, people)]))
    (told,) = beyond_chance(found.counts)
    assert told.startswith("iom and polaris: ")
    assert told.endswith("by chance")


def test_chance_is_what_dealing_the_years_anew_gives(tmp_path: Path) -> None:
    """Guards against a closed form that is not what the documentation says."""
    random = np.random.default_rng(8)
    cases = [dependent(case, random) for case in population(6_000)]
    expected = possible_duplicates(write(tmp_path / "v.parquet", cases)).counts["expected"][0].as_py()
    assert expected > 3
    block: Callable[[Case], tuple[str, ...]] = lambda case: tuple(  # noqa: E731
        case[name] for name in ("partner", "gender", "ageBroad", "citizenship", "CountryOfExploitation")
    )
    dealt: list[int] = []
    for _ in range(12):
        years: dict[tuple[str, ...], list[str]] = {}
        for case in cases:
            years.setdefault(block(case), []).append(case["yearOfRegistration"])
        hands = {name: iter(random.permutation(hand).tolist()) for name, hand in years.items()}
        anew = [{**case, "yearOfRegistration": next(hands[block(case)])} for case in cases]
        dealt.append(possible_duplicates(write(tmp_path / "v.parquet", anew)).counts["observed"][0].as_py())
    assert np.mean(dealt) == pytest.approx(expected, abs=4 * np.std(dealt) / np.sqrt(len(dealt)) + 0.1)


def test_the_same_cases_give_the_same_bytes(tmp_path: Path) -> None:
    """Guards against a rerun that cannot be told from a change."""
    victims = write(tmp_path / "v.parquet", [*population(1_000), PERSON, twin(PERSON)])
    for name in ("one", "two"):
        found = possible_duplicates(victims)
        write_parquet(found.pairs, tmp_path / f"{name}.pairs")
        write_parquet(found.counts, tmp_path / f"{name}.counts")
    assert sha256(tmp_path / "one.pairs") == sha256(tmp_path / "two.pairs")
    assert sha256(tmp_path / "one.counts") == sha256(tmp_path / "two.counts")


@pytest.mark.parametrize("cases", [[], [PERSON], [{**PERSON, "yearOfRegistration": None}, twin(PERSON)]])
def test_too_little_to_compare_is_no_failure(tmp_path: Path, cases: list[Case]) -> None:
    """Guards against a first refresh with one partner that ends here."""
    found = possible_duplicates(write(tmp_path / "v.parquet", cases))
    assert found.pairs.num_rows == 0
    assert beyond_chance(found.counts) == []
