"""Story tables: the official rule of denominators, and nothing hidden that can be had by subtraction."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctdc_pipeline.codebook import codebook
from ctdc_pipeline.products import stories
from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.products.stories import STORIES, Story
from tests.products import Row, inputs_of, table

AGES = Story("age_by_gender", "Age by gender", "ageBroad", ("gender",))
MEANS = Story("means", "Means of control", "means")


def told(rows: Sequence[Row], story: Story, *, k: int) -> dict[tuple[str, ...], tuple[int, int, float]]:
    found = stories.table(table(rows), story, k=k).to_pylist()
    names = (*story.by, "variable" if story.of == "means" else "value")
    return {tuple(row[name] for name in names): (row["count"], row["denominator"], row["percentage"]) for row in found}


def test_the_example_of_the_official_rule() -> None:
    """Five people of whom one tells nothing: 2, 2 and 1 of four are 50, 50 and 25 percent, not 40, 40 and 20."""
    threats, abuse, debt = "meansOfControlThreats", "meansOfControlPhysicalAbuse", "meansOfControlDebtBondage"
    people = [{threats: "1", abuse: "1"}, {threats: "1"}, {abuse: "1"}, {debt: "1"}, {}] * 20
    assert told(people, MEANS, k=10) == {
        (debt,): (20, 80, 25.0),
        (threats,): (40, 80, 50.0),
        (abuse,): (40, 80, 50.0),
    }


def test_counts_below_k_are_hidden_and_others_rounded_down() -> None:
    """Nine people in a cell, or exactly 29, would be told of the few whom others may know."""
    people = [{"gender": "Female", "ageBroad": "9--17"}] * 29 + [{"gender": "Male", "ageBroad": "9--17"}] * 9
    assert told(people, AGES, k=10) == {("Female", "9--17"): (20, 20, 100.0)}


def test_a_denominator_does_not_betray_what_is_hidden() -> None:
    """20 of at least 30 told, and no other cell: at least one person is in a band that is hidden."""
    people = [{"gender": "Female", "ageBroad": "9--17"}] * 20 + [{"gender": "Female", "ageBroad": "0--8"}] * 9
    people += [{"gender": "Female", "ageBroad": "48+"}] * 9
    assert told(people, AGES, k=10) == {("Female", "9--17"): (20, 20, 100.0)}


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
    frame = stories.table(table(people), story, k=k).to_pandas()
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
    stories.write(inputs, tmp_path / "some")
    stories.write(inputs_of([{"gender": "Female"}] * 30), tmp_path / "none")
    for folder in ("some", "none"):
        assert {path.name for path in (tmp_path / folder).iterdir()} == {f"story_{story.name}.csv" for story in STORIES}
    assert pd.read_csv(tmp_path / "some" / "story_corridors.csv").to_dict("records") == [
        {
            "citizenship": country, "variable": "CountryOfExploitation", "value": where,
            "count": count, "denominator": count, "percentage": 100.0,
        }
        for country, where, count in (("UKR", "RUS", 20), ("USA", "USA", 30))
    ]  # fmt: skip
    assert pd.read_csv(tmp_path / "none" / "story_corridors.csv").empty
