"""Test that suppressed countries disappear, are counted, and cannot come back."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ctdc_pipeline.errors import ParameterError, PrivacyError
from ctdc_pipeline.harmonisation.account import harmonised_columns
from ctdc_pipeline.harmonisation.harmonise import harmonise, unite
from ctdc_pipeline.harmonisation.policy import HarmonisationPolicy
from ctdc_pipeline.ingestion.delivery_store import Store
from ctdc_pipeline.privacy.suppressed_countries import SUPPRESSED, SuppressedCountries, by_variable, published
from ctdc_pipeline.storage.files import read_parquet
from tests.support.deliveries import KEY, TODAY, deliver, home

LISTED = {"citizenship": ["PRK", "ERI"], "CountryOfExploitation": ["ERI"]}


def harmonised(*rows: dict[str, Any]) -> pa.Table:
    """Harmonised records of one source; what is not given is missing."""
    place = {"partner": "iom", "source": "iom_mimosa", "refresh": "2021", "source_file": "f", "case_key": "0"}
    full = [{**place, "source_row": number, **row} for number, row in enumerate(rows, start=1)]
    return pa.Table.from_pylist(full, schema=harmonised_columns())


def test_listed_values_become_missing_and_all_others_stay() -> None:
    """Guards against a list that is applied to the wrong variable, or to too much."""
    cells = [("PRK", "ERI"), ("UKR", "PRK"), (None, None), ("ERI", "UKR")]
    table = harmonised(*({"citizenship": one, "CountryOfExploitation": two, "gender": "Male"} for one, two in cells))
    kept, counted = SuppressedCountries.of(LISTED).suppress(table)
    found = list(zip(kept["citizenship"].to_pylist(), kept["CountryOfExploitation"].to_pylist(), strict=True))
    assert found == [(None, None), ("UKR", "PRK"), (None, None), (None, "UKR")]
    assert kept.schema.equals(table.schema)
    assert kept.drop_columns([*LISTED]).equals(table.drop_columns([*LISTED]))
    assert [(row["variable"], row["values"]) for row in counted.to_pylist()] == [("CountryOfExploitation", 1), ("citizenship", 2)]


def test_counts_are_told_by_place_and_name_no_country() -> None:
    """Guards against an account of the suppression that holds what was suppressed."""
    table = harmonised({"citizenship": "PRK"}, {"citizenship": "ERI", "refresh": "2020"}, {"citizenship": "PRK"})
    _, counted = SuppressedCountries.of(LISTED).suppress(table)
    assert counted.schema.equals(SUPPRESSED)
    assert [(row["refresh"], row["values"]) for row in counted.to_pylist()] == [("2020", 1), ("2021", 2)]
    assert not {"PRK", "ERI"} & {cell for column in counted.columns for cell in column.to_pylist()}


def test_no_list_changes_nothing() -> None:
    """Guards against an empty list that is read as everything."""
    table = harmonised({"citizenship": "PRK"})
    for listed in (None, {}, {"citizenship": []}):
        kept, counted = SuppressedCountries.of(listed).suppress(table)
        assert kept.equals(table)
        assert counted.num_rows == 0


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ({"citizenship": ["KP"]}, "'KP'"),
        ({"citizenship": ["PRK", "prk"]}, "'prk'"),
        ({"CountryOfExploitation": ["Eritrea"]}, "'Eritrea'"),
        ({"gender": ["PRK"]}, "cannot be suppressed in gender"),
        ({"countryOfExploitation": ["PRK"]}, "Choose among citizenship, CountryOfExploitation"),
    ],
)
def test_a_list_that_would_have_no_effect_is_refused(listed: dict[str, list[str]], told: str) -> None:
    """Guards against a typing error that leaves a country in the release."""
    with pytest.raises(ParameterError, match=told):
        SuppressedCountries.of(listed)


def test_a_table_from_before_the_list_is_refused() -> None:
    """Guards against releasing tables that were harmonised before a country was put on the list."""
    suppressed, table = SuppressedCountries.of(LISTED), harmonised({"citizenship": "ERI"}, {"CountryOfExploitation": "PRK"})
    with pytest.raises(PrivacyError, match="citizenship contains suppressed countries in 1 rows") as caught:
        suppressed.require(table)
    assert "ERI" not in str(caught.value)
    suppressed.require(suppressed.suppress(table)[0])
    suppressed.require(table.select(["gender"]))


def test_a_release_tells_totals_rounded_down() -> None:
    """Guards against a manifest from which exact counts, partners or small groups could be read."""
    rows = [("iom", "iom_mimosa", "2020", "citizenship", 9), ("polaris", "polaris", "2021", "citizenship", 14)]
    counted = pa.Table.from_pylist([dict(zip(SUPPRESSED.names, row, strict=True)) for row in rows], schema=SUPPRESSED)
    assert published(counted, k=10) == {"citizenship": 20, "CountryOfExploitation": 0}


def test_a_harmonised_partner_holds_no_listed_country_and_its_account_still_adds_up(tmp_path: Path) -> None:
    """Guards against a denied country in any table after ingestion, or a person who is lost with the value."""
    rows = [
        {"Citizenship_1": "North Korea", "Citizenship_2": "Mexico"},
        {"Victim_ID": "V2", "Trafficking_Country": "Eritrea"},
        {"Victim_ID": "V3", "Citizenship_1": "Eritrea", "Victim_Gender": "?"},
    ]
    deliver(tmp_path, "polaris", *rows)
    store, stages = Store(home(tmp_path).deliveries), tmp_path / "sensitive"
    ingested, folder = stages / "ingestion", stages / "harmonised"
    suppressed = SuppressedCountries.of(LISTED)
    summary = harmonise(
        "polaris",
        store=store,
        ingested=ingested,
        folder=folder,
        key=KEY,
        policy=HarmonisationPolicy(TODAY, suppressed=suppressed),
    )
    assert (summary.rows, summary.accepted, summary.quarantined) == (3, 2, {"unknown-code": 1})
    assert summary.suppressed == {"CountryOfExploitation": 1, "citizenship": 1}
    unite(["polaris"], store=store, ingested=ingested, folder=folder)
    for path in folder.iterdir():
        assert not {"PRK", "ERI"} & {cell for column in read_parquet(path).columns for cell in column.to_pylist()}, path.name
    (first, _) = read_parquet(folder / "victims.parquet").to_pylist()
    assert first["citizenship"] is None, "the second citizenship does not take the place of a suppressed first"
    assert by_variable(read_parquet(folder / "suppressed.parquet")) == summary.suppressed
