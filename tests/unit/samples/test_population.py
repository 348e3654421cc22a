"""Test that the sample world resembles published figures: CTDC's k-anonymised dataset of 14 April 2020."""

import numpy as np
import pytest

from ctdc_pipeline.samples.population import Persons, figures, lookup, population

# Of 48,773 records. The world also holds what k-anonymity took out, and more of the hotline, so it must come near, not agree.
FLAGS = {
    "isForcedLabour": 0.200,
    "isSexualExploit": 0.329,
    "typeOfLabourConstruction": 0.026,
    "typeOfLabourDomesticWork": 0.056,
    "typeOfSexProstitution": 0.090,
    "recruiterRelationIntimatePartner": 0.033,
    "recruiterRelationFriend": 0.043,
    "recruiterRelationFamily": 0.039,
    "recruiterRelationOther": 0.092,
}
AGES = {0: 0.043, 9: 0.237, 18: 0.122, 21: 0.116, 24: 0.095, 27: 0.073, 30: 0.194, 39: 0.077, 48: 0.043}
WOMEN_BY_AGE = {9: 0.78, 18: 0.95, 21: 0.89, 24: 0.81, 27: 0.71, 30: 0.59, 39: 0.48}


@pytest.fixture(scope="module")
def world() -> Persons:
    return population(np.random.Generator(np.random.PCG64(11)), victims=60_000)


def band(world: Persons) -> np.ndarray:
    return np.array([max(low for low in AGES if low <= age) for age in range(80)])[world["age"]]


def test_gender_age_and_their_dependence(world: Persons) -> None:
    """Guards against a world whose age and gender are drawn apart: 18 to 20 is nearly all female, 39 to 47 half."""
    female, known = world["gender"] == "Female", world["age_known"]
    assert female.mean() == pytest.approx(0.728, abs=0.04)
    assert (~known).mean() == pytest.approx(0.253, abs=0.03)
    for low, share in AGES.items():
        assert (band(world)[known] == low).mean() == pytest.approx(share, abs=0.06)
    for low, share in WOMEN_BY_AGE.items():
        assert female[band(world) == low].mean() == pytest.approx(share, abs=0.09)


def test_flags_are_as_rare_as_published(world: Persons) -> None:
    """Guards against a table much fuller than real ones: each means of control is 88 to 99.7 per cent missing."""
    for name, share in FLAGS.items():
        assert world[name].mean() == pytest.approx(share, abs=0.07 if name.startswith("is") else 0.03), name
    for name, figure in figures()["means"].items():
        if name != "specified":
            assert world[name].mean() == pytest.approx(figure["records"] / 48_773, abs=0.02), name
            assert 0.88 < 1 - world[name].mean() < 0.998, name


def test_purpose_hangs_on_gender_and_sector_on_purpose(world: Persons) -> None:
    """Guards against independent flags, which would flatter any synthesis."""
    female, male = world["gender"] == "Female", world["gender"] == "Male"
    sexual, labour = world["isSexualExploit"], world["isForcedLabour"]
    assert sexual[female].mean() > 4 * sexual[male].mean()
    assert labour[male].mean() > 2 * labour[female].mean()
    assert not (world["typeOfLabourDomesticWork"] & ~labour).any()
    assert not (world["typeOfSexProstitution"] & ~sexual).any()
    assert female[world["typeOfLabourDomesticWork"]].mean() > 0.8
    assert male[world["typeOfLabourConstruction"]].mean() > 0.8


def test_few_corridors_and_most_of_them_domestic(world: Persons) -> None:
    """Guards against citizenship and country drawn apart: two thirds of the known corridors stay in one country."""
    known = (world["citizenship"] != "") & (world["country"] != "")
    pairs = [*zip(world["citizenship"][known].tolist(), world["country"][known].tolist(), strict=True)]
    assert np.mean([home == away for home, away in pairs]) == pytest.approx(0.667, abs=0.04)
    counts = sorted((pairs.count(pair) for pair in set(pairs)), reverse=True)
    assert sum(counts[:100]) / len(pairs) > 0.9
    assert (world["country"] == "").mean() == pytest.approx(0.21, abs=0.06)


def test_years_with_their_spike_and_their_incomplete_end(world: Persons) -> None:
    """Guards against a smooth series: 2016 stands out for records that lack age and country; the last year is short."""
    year = world["registered"].astype("datetime64[Y]").astype(int) + 1970
    assert year.min() == 2002
    spike = year == 2016
    assert spike.mean() > 1.3 * (year == 2017).mean()
    assert (~world["age_known"][spike]).mean() > 0.5
    assert (world["country"][spike] == "").mean() > 0.3
    assert 0 < (year == 2021).sum() < 0.2 * (year == 2020).sum()
    recent = year >= 2015
    assert (world["source"][recent] == "polaris").mean() == pytest.approx(0.5, abs=0.06)


def test_persons_are_possible(world: Persons) -> None:
    """Guards against contradictions in sound rows: born, exploited and registered come in that order."""
    assert (world["born"] <= world["began"]).all()
    assert (world["began"] <= world["ended"]).all()
    assert (world["ended"] < world["registered"]).sum() >= 0.99 * len(world["age"])
    assert (world["age_at_start"] <= world["age"]).all()
    late = np.isin(world["gender"].astype(str), ["TransFemale", "TransMale", "NonConforming"])
    assert world["registered"][late].min() >= np.datetime64("2017-01-01")


def test_lookup_gives_the_default_for_what_it_does_not_know() -> None:
    """Guards against a citizenship without figures of its own dropping out."""
    assert lookup({"UA": 2.0}, np.array(["UA", "", "XX"], dtype=object), 7.0).tolist() == [2.0, 7.0, 7.0]
