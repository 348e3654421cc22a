"""The tables that result: nothing identifying goes on, and every row is accounted for."""

import hmac
import shutil
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctdc_pipeline.codebook.schemas import harmonised_schema
from ctdc_pipeline.codebook.validation import failures
from ctdc_pipeline.errors import DeliveryError, ParameterError, TableError
from ctdc_pipeline.harmonisation.account import HarmoniseSummary, harmonised_columns, prove_account
from ctdc_pipeline.harmonisation.harmonise import unite
from ctdc_pipeline.ingestion.delivery_store import Store
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES
from ctdc_pipeline.storage.files import sha256, write_parquet
from ctdc_pipeline.storage.zones import Zones
from tests.support.deliveries import (
    FILES,
    KEY,
    REFRESH,
    SENTINEL,
    VALID,
    deliver,
    harmonise_all,
    harmonised,
    home,
    ingested,
    land_sample,
    outcome,
    raw,
    receive_all,
)


def test_nothing_that_identifies_anybody_goes_on(tmp_path: Path) -> None:
    """Guards against a name, a number or a note of a case in any table after ingestion, accepted or not."""
    marked = {field.name: SENTINEL for field in SOURCES["iom_mimosa"].cases.fields if field.identifying and field.type == "text"}
    harmonised(
        tmp_path, "iom", marked, {**marked, "GENDER_CD": SENTINEL}, {**marked, "DATA_CONSENT_YN": "N", "CASE_NO": SENTINEL}
    )
    for path in (home(tmp_path).sensitive / "harmonised").iterdir():
        assert SENTINEL not in str(pq.read_table(path).to_pylist()), path.name
        assert path.stat().st_mode & 0o077 == 0


def test_the_pseudonym_is_keyed_and_bound_to_the_source(tmp_path: Path) -> None:
    """Guards against pseudonyms that anybody can compute, or that join two systems which number cases alike."""
    harmonised(tmp_path, "polaris", {})
    expected = hmac.digest(KEY, b'["polaris", "C1", "V1"]', "sha256").hex()
    assert outcome(tmp_path, "polaris")[0]["case_key"] == expected
    harmonise_all(tmp_path, "polaris", key=b"another key")
    assert outcome(tmp_path, "polaris")[0]["case_key"] != expected


def test_columns_are_those_of_the_contract(tmp_path: Path) -> None:
    """Guards against stages downstream that look for a column which is not there."""
    harmonised(tmp_path, "polaris", {})
    found = pq.read_schema(home(tmp_path).table("harmonised", "polaris"))
    assert found.equals(harmonised_columns())
    assert found.field("source_row").type == pa.int64()


def test_a_quarantined_row_is_listed_with_every_rule_and_counted_once(tmp_path: Path) -> None:
    """Guards against an account in which one row weighs as much as its errors."""
    summary = harmonised(tmp_path, "iom", {"GENDER_CD": "X", "AGE_AT_REG": "x"})
    found = [(row["source_file"], row["source_row"], row["field"], row["rule"]) for row in outcome(tmp_path, "iom_quarantine")]
    file = FILES["iom_mimosa"]
    assert found == [(file, 1, "GENDER_CD", "unknown-code"), (file, 1, "AGE_AT_REG", "not-a-whole-number")]
    assert summary.quarantined == {"unknown-code": 1}


def test_the_proxy_order_is_configured_by_source(tmp_path: Path) -> None:
    """Guards against a configuration that never reaches the rule."""
    places = {"LAST_EXPLOIT_CTRY_CD": "RU", "REG_CTRY_CD": "MD"}
    harmonised(tmp_path, "iom", places, proxies={"iom_mimosa": ["REG_CTRY_CD"]})
    (row,) = [row for row in outcome(tmp_path, "iom") if row["source"] == "iom_mimosa"]
    assert row["CountryOfExploitation"] == "MDA"


def test_an_unknown_partner_is_named(tmp_path: Path) -> None:
    """Guards against a bare KeyError."""
    with pytest.raises(ParameterError, match="there is no partner 'nobody'"):
        harmonise_all(tmp_path, "nobody")


def test_a_delivery_that_was_not_ingested_is_named(tmp_path: Path) -> None:
    """Guards against a traceback, or a delivery left out, where an earlier step was skipped."""
    harmonised(tmp_path, "polaris", {})
    ingested(tmp_path, "polaris").unlink()
    with pytest.raises(TableError, match="Ingest polaris for 2021-H1 again"):
        harmonise_all(tmp_path, "polaris")


def test_a_source_that_never_delivered_is_told(tmp_path: Path) -> None:
    """Guards against one partner who is late holding up all others, and against nobody noticing."""
    summary = harmonise_all(tmp_path, "polaris")
    assert summary.rows == 0
    assert summary.warnings == ("polaris: nothing was ever delivered",)


def test_a_delivery_that_has_gone_is_not_forgotten(tmp_path: Path) -> None:
    """Guards against people who opted out coming back because the list that named them was lost."""
    harmonised(tmp_path, "polaris", {})
    shutil.rmtree(home(tmp_path).deliveries / "polaris")
    with pytest.raises(DeliveryError, match="no longer in the store"):
        harmonise_all(tmp_path, "polaris")


def united(tmp_path: Path, *partners: str) -> HarmoniseSummary:
    zones = home(tmp_path)
    stages = {"ingested": zones.sensitive / "ingestion", "folder": zones.sensitive / "harmonised"}
    return unite(partners, store=Store(zones.deliveries), **stages)


def test_uniting_expects_every_partner(tmp_path: Path) -> None:
    """Guards against a release that lacks a partner because its step failed."""
    harmonised(tmp_path, "polaris", {})
    deliver(tmp_path, "iom_mimosa", {})
    with pytest.raises(TableError, match="the harmonised tables of iom are missing"):
        united(tmp_path, "polaris", "iom")


def test_uniting_goes_on_without_a_partner_who_never_delivered(tmp_path: Path) -> None:
    """Guards against one partner who is late holding up the others."""
    harmonised(tmp_path, "polaris", {})
    assert united(tmp_path, "polaris", "iom").accepted == 1


def test_uniting_nothing_is_refused(tmp_path: Path) -> None:
    """Guards against an empty release on the first day."""
    harmonise_all(tmp_path, "polaris")
    with pytest.raises(TableError, match="no partner has delivered anything"):
        united(tmp_path, "polaris")


def test_rows_that_came_in_since_are_not_overlooked(tmp_path: Path) -> None:
    """Guards against uniting yesterday's harmonised tables with today's account."""
    harmonised(tmp_path, "polaris", {})
    write_parquet(raw("polaris", {}, {"Victim_ID": "V2"}), ingested(tmp_path, "polaris"))
    with pytest.raises(TableError, match="polaris, 2021-H1: 2 rows came in, 1 have an outcome"):
        united(tmp_path, "polaris")


def test_a_delivery_that_came_in_since_is_not_overlooked(tmp_path: Path) -> None:
    """Guards against a release that claims a delivery which is not in it."""
    harmonised(tmp_path, "polaris", {})
    deliver(tmp_path, "polaris", {"Case_ID": "C2"}, refresh="2021-H2")
    with pytest.raises(TableError, match="the deliveries of polaris have changed"):
        united(tmp_path, "polaris")


@pytest.mark.parametrize("fault", ["lost", "twice", "miscounted"])
def test_an_account_that_does_not_add_up_is_an_error(tmp_path: Path, fault: str) -> None:
    """Guards against a proof that proves anything."""
    harmonised(tmp_path, "polaris", {}, {"Victim_ID": "V2", "Victim_Gender": "?"})
    folder = home(tmp_path).sensitive / "harmonised"
    cases, quarantine, exclusions, accounting = (
        pq.read_table(folder / f"polaris{part}.parquet") for part in ("", "_quarantine", "_exclusions", "_accounting")
    )
    if fault == "lost":
        quarantine = quarantine.slice(0, 0)
    elif fault == "twice":
        cases = pa.concat_tables([cases, cases])
    else:
        accounting = accounting.slice(0, 1)
    with pytest.raises(TableError, match=r"rows came in|account does not match"):
        prove_account(cases, quarantine=quarantine, exclusions=exclusions, accounting=accounting, rows={("polaris", REFRESH): 2})


ROW = st.fixed_dictionaries(
    {
        "Case_ID": st.sampled_from(["C1", "C2", "c2 ", ""]),
        "Victim_ID": st.sampled_from(["V1", "V2", ""]),
        "Situation_Status": st.sampled_from(["High", "Low", "Test", "?", ""]),
        "Report_Date": st.sampled_from(["03/07/2016", "12/31/2014 10:00", "03/07/2030", "13/13/2016", ""]),
        "Victim_Age_At_Report": st.sampled_from(["", "17", "130", "x", "=1"]),
        "Citizenship_1": st.sampled_from(["", "Mexico", "Nowhere"]),
    }
)


@settings(max_examples=60)
@given(rows=st.lists(ROW, min_size=1, max_size=12))
def test_whatever_comes_in_each_row_has_one_outcome(rows: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Guards against rows lost or counted twice in a combination of rules nobody thought of."""
    folder = tmp_path_factory.mktemp("rows")
    summary = harmonised(folder, "polaris", VALID["polaris"], *rows, listed=({"Victim_ID": "V1"},))
    assert summary.rows == len(rows) + 1
    assert summary.accepted + sum(summary.quarantined.values()) + sum(summary.excluded.values()) == summary.rows
    accepted = outcome(folder, "polaris")
    assert len({row["case_key"] for row in accepted}) == len(accepted)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Zones:
    """Sample deliveries of all partners, ingested, harmonised and united."""
    zones = home(tmp_path_factory.mktemp("sample"))
    land_sample(zones, victims=3_000, seed=5)
    refresh_all(zones)
    return zones


def refresh_all(zones: Zones) -> None:
    receive_all(zones)
    for partner in PARTNERS:
        harmonise_all(zones.root, partner, as_of=date(2021, 12, 31))
    united(zones.root, *PARTNERS)


def test_sample_exports_give_conforming_victims(sample: Zones) -> None:
    """Guards against a union that the schema of the codebook would refuse."""
    frame = pq.read_table(sample.table("harmonised", "victims")).to_pandas()
    assert failures(frame, schema=harmonised_schema(2021)) == ()
    assert set(frame["partner"]) == set(PARTNERS)


def test_the_union_is_totally_ordered(sample: Zones) -> None:
    """Guards against row order that depends on the order of the steps."""
    frame = pq.read_table(sample.table("harmonised", "victims")).to_pandas()
    keys = list(frame[["partner", "source", "refresh", "source_file", "source_row"]].itertuples(index=False, name=None))
    assert keys == sorted(set(keys))


def test_the_same_deliveries_give_the_same_bytes(sample: Zones) -> None:
    """Guards against a rerun that cannot be told from a change."""
    paths = sorted(path for stage in ("ingestion", "harmonised") for path in (sample.sensitive / stage).rglob("*.parquet"))
    before = [sha256(path) for path in paths]
    refresh_all(sample)
    assert [sha256(path) for path in paths] == before


def test_landing_and_harmonising_a_delivery_agree(tmp_path: Path) -> None:
    """Guards against a reader and a harmoniser that were only ever tested apart."""
    rows = ({}, {"Victim_ID": "V2", "Victim_Gender": "Gender Minority"})
    harmonised(tmp_path, "polaris", *rows, listed=({},))
    assert [(row["source_row"], row["gender"]) for row in outcome(tmp_path, "polaris")] == [(2, "Transgender/NonConforming")]
