"""Who enters, who does not and why; nobody's row is lost, and nothing that identifies anybody goes on."""

import hmac
import traceback
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctdc_pipeline.errors import DeliveryError, ParameterError, TableError
from ctdc_pipeline.files import sha256, write_parquet
from ctdc_pipeline.harmonise import HarmoniseSummary, harmonise, harmonised_columns, prove, unite
from ctdc_pipeline.partners.reading import ingest
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES
from ctdc_pipeline.samples.generate import generate
from ctdc_pipeline.schemas import harmonised_schema
from ctdc_pipeline.validation import failures
from tests.deliveries import FILES, KEY, SENTINEL, TODAY, VALID, land, raw

Cells = Mapping[str, str]
CONSENTED = ({}, {"Client ID": "7"})


def run(
    tmp_path: Path,
    partner: str,
    *rows: Cells,
    listed: tuple[Cells, ...] = (),
    key: bytes = KEY,
    proxies: dict[str, list[str]] | None = None,
) -> HarmoniseSummary:
    """Harmonise ``rows`` of the partner's first source (the workbook of IOM has one valid row besides)."""
    ingested = tmp_path / "ingestion"
    for source in PARTNERS[partner]:
        own = ({},) if source.name == "iom_legacy" else rows
        tables = {source.name: own, f"{source.name}_opt_outs": listed, f"{source.name}_consents": listed}
        for name in source.layouts:
            write_parquet(raw(name, *tables[name]), ingested / f"{name}.parquet")
    return harmonise(partner, ingested=ingested, folder=tmp_path / "harmonised", key=key, as_of=TODAY, proxies=proxies)


def table(tmp_path: Path, name: str) -> list[dict[str, object]]:
    return pq.read_table(tmp_path / "harmonised" / f"{name}.parquet").to_pylist()


def left_out(tmp_path: Path, partner: str) -> dict[object, object]:
    return {row["source_row"]: row["rule"] for row in table(tmp_path, f"{partner}_exclusions")}


def test_nothing_that_identifies_anybody_goes_on(tmp_path: Path) -> None:
    """Guards against a name, a number or a note of a case in any table after ingestion, accepted or not."""
    marked = {field.name: SENTINEL for field in SOURCES["iom_mimosa"].cases.fields if field.identifying and field.type == "text"}
    run(tmp_path, "iom", marked, {**marked, "GENDER_CD": SENTINEL}, {**marked, "DATA_CONSENT_YN": "N", "CASE_NO": SENTINEL})
    for path in (tmp_path / "harmonised").iterdir():
        assert SENTINEL not in str(pq.read_table(path).to_pylist()), path.name
        assert path.stat().st_mode & 0o077 == 0


def test_the_pseudonym_is_keyed_and_bound_to_the_source(tmp_path: Path) -> None:
    """Guards against pseudonyms that anybody can compute, or that join two systems which number cases alike."""
    run(tmp_path, "polaris", {})
    expected = hmac.digest(KEY, b"polaris\x1fC1\x1fV1", "sha256").hex()
    assert table(tmp_path, "polaris")[0]["case_key"] == expected
    run(tmp_path, "polaris", {}, key=b"another key")
    assert table(tmp_path, "polaris")[0]["case_key"] != expected


def test_columns_are_those_of_the_contract(tmp_path: Path) -> None:
    """Guards against stages downstream that look for a column which is not there."""
    run(tmp_path, "polaris", {})
    found = pq.read_schema(tmp_path / "harmonised" / "polaris.parquet")
    assert found.equals(harmonised_columns())
    assert found.field("source_row").type == pa.int64()


def test_polaris_reports_before_2015_stay_out(tmp_path: Path) -> None:
    """Guards against records of an older structure entering, and against the first day itself being lost."""
    early = {"Victim_ID": "V2", "Report_Date": "12/31/2014 23:59"}
    summary = run(tmp_path, "polaris", {"Report_Date": "01/01/2015 00:00"}, early)
    assert left_out(tmp_path, "polaris") == {2: "reported-too-early"}
    assert summary.accepted == 1


def test_an_opt_out_removes_a_victim_or_a_whole_case(tmp_path: Path) -> None:
    """Guards against publishing people who asked to be left out, also where their row has errors or other spelling."""
    rows = (
        {},
        {"Victim_ID": "V2"},
        {"Case_ID": "C2"},
        {"Case_ID": " c2", "Victim_ID": "V9", "Victim_Gender": "?"},
        {"Case_ID": "C3"},
    )
    listed = ({"Case_ID": "c1 ", "Victim_ID": "v1"}, {"Case_ID": "C2", "Victim_ID": ""})
    summary = run(tmp_path, "polaris", *rows, listed=listed)
    assert left_out(tmp_path, "polaris") == {1: "opted-out", 3: "opted-out", 4: "opted-out"}
    assert summary.quarantined == {}
    assert summary.warnings == ()


def test_an_opt_out_that_matches_nobody_is_a_warning(tmp_path: Path) -> None:
    """Guards against a request that is dropped in silence."""
    summary = run(tmp_path, "polaris", {}, {"Victim_ID": "V2"}, listed=({}, {"Case_ID": SENTINEL}))
    assert summary.warnings == ("polaris: 1 of 2 opt-outs match no case of the export",)


def test_an_opt_out_list_that_matches_nobody_stops_everything(tmp_path: Path) -> None:
    """Guards against everybody's opt-out being ignored because the list numbers cases differently."""
    with pytest.raises(DeliveryError, match="matches no case") as caught:
        run(tmp_path, "polaris", {}, listed=({"Case_ID": SENTINEL},))
    assert caught.value.file == FILES["polaris_opt_outs"]
    assert SENTINEL not in "".join(traceback.format_exception(caught.value))
    assert not (tmp_path / "harmonised").exists()


def test_an_entry_that_names_nobody_is_refused(tmp_path: Path) -> None:
    """Guards against an incomplete opt-out that silently protects no one."""
    with pytest.raises(DeliveryError, match="names nobody") as caught:
        run(tmp_path, "polaris", {}, listed=({}, {"Case_ID": " "}))
    assert (caught.value.row, caught.value.column) == (2, "Case_ID")


def test_only_consenting_people_of_consenting_organisations_enter(tmp_path: Path) -> None:
    """Guards against publishing without consent: refused by the NGO, refused by the person, or never asked."""
    rows = ({}, {"Client ID": "8"}, {"Client ID": "9"}, {"NGO Code": "NP02"}, {"Client ID": "10"})
    listed = (
        *CONSENTED,
        {"Client ID": "8", "Consent to CTDC": "No"},
        {"NGO Code": "NP02", "Consent to CTDC": "No"},
        {"NGO Code": "NP02", "Client ID": "7"},
        {"Client ID": "10"},
        {"Client ID": "10", "Consent to CTDC": "no"},
    )
    summary = run(tmp_path, "liberty_shared", *rows, listed=listed)
    without = "individual-without-consent"
    assert left_out(tmp_path, "liberty_shared") == {2: without, 3: without, 4: "organisation-without-consent", 5: without}
    assert summary.accepted == 1


def test_an_organisation_the_register_does_not_know_stops_everything(tmp_path: Path) -> None:
    """Guards against a file whose consent nobody recorded."""
    with pytest.raises(DeliveryError, match="no entry for the organisation") as caught:
        run(tmp_path, "liberty_shared", {"NGO Code": SENTINEL}, listed=CONSENTED)
    assert caught.value.file == FILES["liberty_shared"]
    assert SENTINEL not in "".join(traceback.format_exception(caught.value))


def test_a_mistyped_organisation_in_one_row_is_quarantined(tmp_path: Path) -> None:
    """Guards against one typing error holding up forty organisations."""
    summary = run(tmp_path, "liberty_shared", {}, {"NGO Code": "NP0l"}, listed=CONSENTED)
    assert summary.quarantined == {"unknown-organisation": 1}


def test_a_consenting_organisation_that_sent_nothing_is_a_warning(tmp_path: Path) -> None:
    """Guards against a missing file that nobody notices."""
    summary = run(tmp_path, "liberty_shared", {}, listed=(*CONSENTED, {"NGO Code": "NP99"}))
    assert summary.warnings == ("liberty_shared: 1 consenting organisations sent no rows",)


@pytest.mark.parametrize("code", ["", "maybe", "Unknown"])
def test_a_register_that_does_not_say_yes_or_no_is_refused(tmp_path: Path, code: str) -> None:
    """Guards against a blank taken for consent."""
    with pytest.raises(DeliveryError, match="does not say whether consent was given") as caught:
        run(tmp_path, "liberty_shared", {}, listed=(*CONSENTED, {"Consent to CTDC": code}))
    assert (caught.value.row, caught.value.column) == (3, "Consent to CTDC")


@pytest.mark.parametrize(
    ("cells", "rule"),
    [
        ({"VICTIM_STATUS_CD": "NVT"}, "not-a-victim"),
        ({"VICTIM_STATUS_CD": "TST"}, "test-record"),
        ({"DATA_CONSENT_YN": "N"}, "individual-without-consent"),
        ({"DATA_CONSENT_YN": "N", "GENDER_CD": "XX"}, "individual-without-consent"),
    ],
)
def test_a_status_leaves_a_row_out(tmp_path: Path, cells: Cells, rule: str) -> None:
    """Guards against people who are no victims, or did not consent, being counted or examined."""
    run(tmp_path, "iom", cells)
    assert left_out(tmp_path, "iom") == {1: rule}
    assert table(tmp_path, "iom_quarantine") == []


def test_of_a_repeated_case_the_most_complete_record_stays(tmp_path: Path) -> None:
    """Guards against a victim counted twice, or known worse than the data allow."""
    fuller = {"GENDER_CD": "F", "AGE_AT_REG": "20"}
    run(tmp_path, "iom", {}, fuller, {"GENDER_CD": "F", "AGE_AT_REG": "21"}, {"CASE_NO": "md-1 "}, {"CASE_NO": "MD-2"})
    kept = [row["source_row"] for row in table(tmp_path, "iom") if row["source"] == "iom_mimosa"]
    assert kept == [2, 5]
    assert left_out(tmp_path, "iom") == dict.fromkeys((1, 3, 4), "duplicate-case")


def test_a_faulty_repeat_does_not_displace_a_good_record(tmp_path: Path) -> None:
    """Guards against a victim lost because a later copy of the record has an error."""
    summary = run(tmp_path, "iom", {}, {"GENDER_CD": "F", "AGE_AT_REG": "999"})
    assert summary.quarantined == {"age-out-of-range": 1}
    assert summary.excluded == {}


def test_a_quarantined_row_is_listed_with_every_rule_and_counted_once(tmp_path: Path) -> None:
    """Guards against an account in which one row weighs as much as its errors."""
    summary = run(tmp_path, "iom", {"GENDER_CD": "X", "AGE_AT_REG": "x"})
    found = [(row["source_file"], row["source_row"], row["field"], row["rule"]) for row in table(tmp_path, "iom_quarantine")]
    file = FILES["iom_mimosa"]
    assert found == [(file, 1, "GENDER_CD", "unknown-code"), (file, 1, "AGE_AT_REG", "not-a-whole-number")]
    assert summary.quarantined == {"unknown-code": 1}


def test_a_row_without_identity_is_quarantined_whatever_else_it_says(tmp_path: Path) -> None:
    """Guards against a row that cannot be held against the opt-outs being let in or left out on other grounds."""
    summary = run(tmp_path, "polaris", {}, {"Victim_ID": "", "Situation_Status": "Low"}, listed=({"Victim_ID": ""},))
    assert summary.quarantined == {"missing-value": 1}


def test_the_proxy_order_is_configured_by_source(tmp_path: Path) -> None:
    """Guards against a configuration that never reaches the rule."""
    places = {"LAST_EXPLOIT_CTRY_CD": "RU", "REG_CTRY_CD": "MD"}
    run(tmp_path, "iom", places, proxies={"iom_mimosa": ["REG_CTRY_CD"]})
    (row,) = [row for row in table(tmp_path, "iom") if row["source"] == "iom_mimosa"]
    assert row["CountryOfExploitation"] == "MDA"


def test_an_unknown_partner_is_named(tmp_path: Path) -> None:
    """Guards against a bare KeyError."""
    with pytest.raises(ParameterError, match="there is no partner 'nobody'"):
        harmonise("nobody", ingested=tmp_path, folder=tmp_path, key=KEY, as_of=TODAY)


def test_a_partner_that_was_not_ingested_is_named(tmp_path: Path) -> None:
    """Guards against a traceback where an earlier step was skipped."""
    with pytest.raises(TableError, match="Ingest iom_legacy first"):
        harmonise("iom", ingested=tmp_path, folder=tmp_path, key=KEY, as_of=TODAY)


def test_uniting_expects_every_partner(tmp_path: Path) -> None:
    """Guards against a release that lacks a partner because its step failed."""
    run(tmp_path, "polaris", {})
    with pytest.raises(TableError, match="the harmonised tables of iom are missing"):
        unite(["polaris", "iom"], ingested=tmp_path / "ingestion", folder=tmp_path / "harmonised")


def test_rows_that_came_in_since_are_not_overlooked(tmp_path: Path) -> None:
    """Guards against uniting yesterday's harmonised tables with today's account."""
    run(tmp_path, "polaris", {})
    write_parquet(raw("polaris", {}, {"Victim_ID": "V2"}), tmp_path / "ingestion" / "polaris.parquet")
    with pytest.raises(TableError, match="polaris: 2 rows came in, 1 have an outcome"):
        unite(["polaris"], ingested=tmp_path / "ingestion", folder=tmp_path / "harmonised")


@pytest.mark.parametrize("fault", ["lost", "twice", "miscounted"])
def test_an_account_that_does_not_add_up_is_an_error(tmp_path: Path, fault: str) -> None:
    """Guards against a proof that proves anything."""
    run(tmp_path, "polaris", {}, {"Victim_ID": "V2", "Victim_Gender": "?"})
    folder = tmp_path / "harmonised"
    harmonised, quarantine, exclusions, accounting = (
        pq.read_table(folder / f"polaris{part}.parquet") for part in ("", "_quarantine", "_exclusions", "_accounting")
    )
    if fault == "lost":
        quarantine = quarantine.slice(0, 0)
    elif fault == "twice":
        harmonised = pa.concat_tables([harmonised, harmonised])
    else:
        accounting = accounting.slice(0, 1)
    with pytest.raises(TableError, match=r"rows came in|account does not match"):
        prove(harmonised, quarantine=quarantine, exclusions=exclusions, accounting=accounting, rows={"polaris": 2})


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


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=12))
def test_whatever_comes_in_each_row_has_one_outcome(rows: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Guards against rows lost or counted twice in a combination of rules nobody thought of."""
    folder = tmp_path_factory.mktemp("rows")
    summary = run(folder, "polaris", VALID["polaris"], *rows, listed=({"Victim_ID": "V1"},))
    assert summary.rows == len(rows) + 1
    assert summary.accepted + sum(summary.quarantined.values()) + sum(summary.excluded.values()) == summary.rows
    accepted = table(folder, "polaris")
    assert len({row["case_key"] for row in accepted}) == len(accepted)


@pytest.fixture(scope="module")
def united(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sample exports of all partners, ingested, harmonised and united."""
    root = tmp_path_factory.mktemp("united")
    generate(root / "landing", victims=3_000, seed=5)
    _refresh(root)
    return root


def _refresh(root: Path) -> None:
    for source in SOURCES.values():
        ingest(source, landing=root / "landing" / source.name, folder=root / "ingestion")
    for partner in PARTNERS:
        harmonise(partner, ingested=root / "ingestion", folder=root / "harmonised", key=KEY, as_of=date(2021, 12, 31))
    unite(PARTNERS, ingested=root / "ingestion", folder=root / "harmonised")


def test_sample_exports_give_conforming_victims(united: Path) -> None:
    """Guards against a union that the schema of the codebook would refuse."""
    frame = pq.read_table(united / "harmonised" / "victims.parquet").to_pandas()
    assert failures(frame, schema=harmonised_schema(2021)) == ()
    assert set(frame["partner"]) == set(PARTNERS)


def test_the_union_is_totally_ordered(united: Path) -> None:
    """Guards against row order that depends on the order of the steps."""
    frame = pq.read_table(united / "harmonised" / "victims.parquet").to_pandas()
    keys = list(frame[["partner", "source", "source_file", "source_row"]].itertuples(index=False, name=None))
    assert keys == sorted(set(keys))


def test_the_same_deliveries_give_the_same_bytes(united: Path) -> None:
    """Guards against a rerun that cannot be told from a change."""
    paths = sorted(path for stage in ("ingestion", "harmonised") for path in (united / stage).iterdir())
    before = [sha256(path) for path in paths]
    _refresh(united)
    assert [sha256(path) for path in paths] == before


def test_landing_and_harmonising_a_delivery_agree(tmp_path: Path) -> None:
    """Guards against a reader and a harmoniser that were only ever tested apart."""
    land(tmp_path, "polaris", {}, {"Victim_ID": "V2", "Victim_Gender": "Gender Minority"})
    land(tmp_path, "polaris_opt_outs", {})
    ingest(SOURCES["polaris"], landing=tmp_path / "polaris", folder=tmp_path / "ingestion")
    harmonise("polaris", ingested=tmp_path / "ingestion", folder=tmp_path / "harmonised", key=KEY, as_of=TODAY)
    assert [(row["source_row"], row["gender"]) for row in table(tmp_path, "polaris")] == [(2, "Transgender/NonConforming")]
