"""Story tables: the official rule of denominators, and nothing hidden that can be had by subtraction."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.products import story_tables
from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.products.story_tables import STORIES, Story
from tests.support.products import Row, inputs_of, table

AGES = Story("age_by_gender", "Age by gender", "ageBroad", ("gender",))
MEANS = Story("means", "Means of control", "means")


Figure = tuple[int, int, float | None, float, float]


def told(rows: Sequence[Row], story: Story, *, k: int) -> dict[tuple[str, ...], Figure]:
    found = story_tables.table(table(rows), story, k=k).to_pylist()
    names = (*story.by, "variable" if story.of == "means" else "value")
    return {tuple(row[name] for name in names): tuple(row[name] for name in story_tables.FIGURES.names[2:]) for row in found}  # pyright: ignore[reportReturnType]


def test_the_example_of_the_official_rule() -> None:
    """Five people of whom one tells nothing: 2, 2 and 1 of four are 50, 50 and 25 percent, not 40, 40 and 20."""
    threats, abuse, debt = "meansOfControlThreats", "meansOfControlPhysicalAbuse", "meansOfControlDebtBondage"
    people = [{threats: "1", abuse: "1"}, {threats: "1"}, {abuse: "1"}, {debt: "1"}, {}] * 200
    assert told(people, MEANS, k=10) == {
        (debt,): (200, 800, 25.0, 24.7, 26.2),
        (threats,): (400, 800, 50.0, 49.4, 51.2),
        (abuse,): (400, 800, 50.0, 49.4, 51.2),
    }


def test_counts_below_k_are_hidden_and_others_rounded_down() -> None:
    """Nine people in a cell, or exactly 29, would be told of the few whom others may know."""
    people = [{"gender": "Female", "ageBroad": "9--17"}] * 29 + [{"gender": "Male", "ageBroad": "9--17"}] * 9
    assert told(people, AGES, k=10) == {("Female", "9--17"): (20, 20, None, 68.9, 100.0)}


def test_a_denominator_does_not_betray_what_is_hidden() -> None:
    """20 of at least 30 told, and no other cell: at least one person is in a band that is hidden."""
    people = [{"gender": "Female", "ageBroad": "9--17"}] * 20 + [{"gender": "Female", "ageBroad": "0--8"}] * 9
    people += [{"gender": "Female", "ageBroad": "48+"}] * 9
    assert told(people, AGES, k=10) == {("Female", "9--17"): (20, 20, None, 51.2, 100.0)}


def test_a_lowered_denominator_gives_no_percentage() -> None:
    """Guards against 100% of a corridor in which all other countries are hidden: 140 of 176 people are 80%."""
    people = [{"citizenship": "UKR", "CountryOfExploitation": "POL"}] * 140
    people += [{"citizenship": "UKR", "CountryOfExploitation": code} for code in ("RUS", "TUR", "DEU", "ITA") for _ in range(9)]
    found = told(people, next(story for story in STORIES if story.name == "corridors"), k=10)
    assert found == {("UKR", "POL"): (140, 140, None, 78.2, 100.0)}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_whatever_is_hidden_could_be_nobody(story: Story, seed: int) -> None:
    """Brute force on random people: with every hidden cell empty, what is told still adds up."""
    rng = np.random.default_rng(seed)
    flags = [variable.name for variable in codebook().variables if variable.group == story.of and variable.kind == "flag"]
    people: list[Row] = []
    for _ in range(250):
        row = {name: str(rng.choice(["1", ""], p=[0.1, 0.9])) for name in flags}
        for name in {*story.by, *({story.of} if not flags else ())}:
            values = codebook().variable(name).values or ("AAA", "BBB", "CCC", "2016")
            row[name] = str(rng.choice(["", *values]))
        people.append({name: value for name, value in row.items() if value})
    k = 10
    frame = story_tables.table(table(people), story, k=k).to_pandas()
    everybody = pd.DataFrame(table(people).to_pydict())
    for row in frame.to_dict("records"):
        own = everybody
        for name in story.by:
            own = own[own[name] == row[name]]
        whole = len(pd.DataFrame(own).dropna(subset=flags or [story.of], how="all"))
        true = 100 * int((own[row["variable"]] == row["value"]).sum()) / whole
        assert row["percentage_from"] <= true <= row["percentage_to"]
        assert pd.isna(row["percentage"]) == (row["percentage_to"] - row["percentage_from"] > story_tables.WIDEST + 1e-9)
        assert pd.isna(row["percentage"]) or row["denominator"] >= 100
    assert (frame["count"] % k == 0).all()
    assert (frame["count"] >= k).all()
    assert (frame["denominator"] % k == 0).all()
    assert (frame["count"] <= frame["denominator"]).all()
    groups = frame.groupby(list(story.by)) if story.by else [("all", frame)]
    for _, group in groups:
        assert group["denominator"].nunique() == 1
        assert group["denominator"].iloc[0] <= (group["count"] + k - 1).sum()


def test_every_story_is_written_even_where_nothing_may_be_told(inputs: Inputs, tmp_path: Path) -> None:
    """A page that links a table finds it; a variable that is missing in all records leaves a table of headings."""
    story_tables.write(inputs, tmp_path / "some")
    story_tables.write(inputs_of([{"gender": "Female"}] * 30), tmp_path / "none")
    for folder in ("some", "none"):
        assert {path.name for path in (tmp_path / folder).iterdir()} == {
            *(f"story_{story.name}.csv" for story in STORIES),
            "known_values.csv",
        }
    assert pd.read_csv(tmp_path / "some" / "story_corridors.csv").replace({np.nan: None}).to_dict("records") == [
        {
            "citizenship": country, "variable": "CountryOfExploitation", "value": where,
            "count": count, "denominator": count, "percentage": None, "percentage_from": low, "percentage_to": 100.0,
        }
        for country, where, count, low in (("UKR", "RUS", 20, 68.9), ("USA", "USA", 30, 76.9))
    ]  # fmt: skip
    assert pd.read_csv(tmp_path / "none" / "story_corridors.csv").empty


@pytest.mark.parametrize("known", [100, 105, 109])
def test_how_many_lack_a_variable_could_be_nobody_or_a_large_group(known: int) -> None:
    """Brute force: guards against a difference of two rounded counts that is a small group of people for certain."""
    k = 10
    for people in (known, known + 1, known + 5, known + 10, known + 19):
        rows = [{"gender": "Female"}] * known + [{}] * (people - known)
        told = {row["variable"]: row for row in story_tables.known(table(rows), k=k).to_pylist()}["gender"]
        all_told, known_told = told["denominator"], told["count"]
        missing = {a - b for a in range(all_told, all_told + k) for b in range(known_told, known_told + k) if a >= b}
        assert people - known in missing
        assert 0 in missing or max(missing) >= k
        assert told["percentage_from"] <= 100 * known / people <= told["percentage_to"]
