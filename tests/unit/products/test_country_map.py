"""The map: what it tells of a country, what it hides, and that its files say the same."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from ctdc_pipeline.products import country_map as product
from ctdc_pipeline.products.country_map import ROLES, SCHEMA, geojson, profiles
from ctdc_pipeline.products.inputs import Inputs
from tests.support.products import inputs_of, table

Row = dict[str, str]


def told(rows: list[Row], *, k: int = 10) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in profiles(table(rows), k=k).to_pylist()]


def test_a_country_is_counted_rounded_down_and_hidden_below_k() -> None:
    """29 people are 20, and 9 are nobody."""
    rows = [{"citizenship": "UKR"}] * 29 + [{"citizenship": "MDA"}] * 9
    assert told(rows) == [("citizenship", "UKR", "Ukraine", None, None, 20, None, None, None, None)]


def test_the_two_roles_are_kept_apart() -> None:
    """A row with both countries would be a route."""
    found = told([{"citizenship": "UKR", "CountryOfExploitation": "POL"}] * 20)
    assert [row[:2] for row in found] == [("citizenship", "UKR"), ("CountryOfExploitation", "POL")]
    assert not {"UKR", "POL"} & {row[4] for row in found}
    assert not set(ROLES) & {row[3] for row in found}


def test_percentages_follow_the_official_rule() -> None:
    """Of 40 with any means of control 30 were threatened; the 60 of whom no means is known do not count."""
    rows: list[Row] = [{"citizenship": "UKR", "meansOfControlThreats": "1"}] * 30
    rows += [{"citizenship": "UKR", "meansOfControlDebtBondage": "1"}] * 10 + [{"citizenship": "UKR"}] * 60
    assert ("citizenship", "UKR", "Ukraine", "meansOfControlThreats", "1", 30, 40, None, 61.2, 97.5) in told(rows)


def test_every_figure_is_a_multiple_of_k(inputs: Inputs) -> None:
    """One exact count is enough to tell who came or went between two releases."""
    for row in profiles(inputs.victims, k=10).to_pylist():
        assert row["count"] >= 10
        assert row["count"] % 10 == 0
        assert (row["denominator"] or 0) % 10 == 0


def test_the_files_say_the_same(inputs: Inputs, tmp_path: Path) -> None:
    """People compare the map they see with the table they load."""
    product.write(inputs, tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        *("map.csv", "map.html", "map_citizenship.geojson", "map_CountryOfExploitation.geojson"),
    }  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "new" / "map.csv").open(encoding="utf-8", newline="")))
    assert list(rows[0]) == SCHEMA.names
    for role in ROLES:
        features = json.loads((tmp_path / "new" / f"map_{role}.geojson").read_text("utf-8"))["features"]
        assert {(feature["id"], feature["properties"]["count"]) for feature in features} == {
            (row["country"], int(row["count"])) for row in rows if row["by"] == role and not row["variable"]
        }


def test_a_country_without_a_shape_is_in_the_files_without_one() -> None:
    """Guadeloupe is no shape of its own, but people were registered there."""
    feature = geojson(profiles(table([{"citizenship": "GLP"}] * 20), k=10), role="citizenship")["features"][0]
    assert feature["geometry"] is None
    assert feature["properties"]["name"] == "Guadeloupe"


@pytest.mark.parametrize("rows", [[], [{"gender": "Female"}] * 20, [{"citizenship": "UKR"}] * 3])
def test_nothing_to_tell_is_an_empty_map(rows: list[Row], tmp_path: Path) -> None:
    """A variable that is missing everywhere must not stop a release."""
    assert told(rows) == []
    assert b"map.csv" in product.render(profiles(table(rows), k=10), inputs_of(rows))


def test_the_disclaimer_is_in_every_file_that_can_hold_one(inputs: Inputs) -> None:
    """A map of counts is read as a map of trafficking."""
    figures = profiles(inputs.victims, k=10)
    assert "detection, not prevalence" in geojson(figures, role="citizenship")["note"]
    assert "detection, not prevalence" in product.render(figures, inputs).decode()
