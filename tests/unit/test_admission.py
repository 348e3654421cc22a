"""Who enters, who does not and why."""

import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest

from ctdc_pipeline.errors import DeliveryError
from tests.deliveries import FILES, SENTINEL, harmonised, home, left_out, outcome

CONSENTED = ({}, {"Client ID": "7"})


def test_polaris_reports_before_2015_stay_out(tmp_path: Path) -> None:
    """Guards against records of an older structure entering, and against the first day itself being lost."""
    early = {"Victim_ID": "V2", "Report_Date": "12/31/2014 23:59"}
    summary = harmonised(tmp_path, "polaris", {"Report_Date": "01/01/2015 00:00"}, early)
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
    summary = harmonised(tmp_path, "polaris", *rows, listed=listed)
    assert left_out(tmp_path, "polaris") == {1: "opted-out", 3: "opted-out", 4: "opted-out"}
    assert summary.quarantined == {}
    assert summary.warnings == ()


def test_an_opt_out_that_matches_nobody_is_a_warning(tmp_path: Path) -> None:
    """Guards against a request that is dropped in silence."""
    summary = harmonised(tmp_path, "polaris", {}, {"Victim_ID": "V2"}, listed=({}, {"Case_ID": SENTINEL}))
    assert summary.warnings == ("polaris: 1 of 2 opt-outs match no case of the export",)


def test_an_opt_out_list_that_matches_nobody_stops_everything(tmp_path: Path) -> None:
    """Guards against everybody's opt-out being ignored because the list numbers cases differently."""
    with pytest.raises(DeliveryError, match="matches no case") as caught:
        harmonised(tmp_path, "polaris", {}, listed=({"Case_ID": SENTINEL},))
    assert caught.value.file == FILES["polaris_opt_outs"]
    assert SENTINEL not in "".join(traceback.format_exception(caught.value))
    assert not home(tmp_path).table("harmonised", "polaris").exists()


def test_an_entry_that_names_nobody_is_refused(tmp_path: Path) -> None:
    """Guards against an incomplete opt-out that silently protects no one."""
    with pytest.raises(DeliveryError, match="names nobody") as caught:
        harmonised(tmp_path, "polaris", {}, listed=({}, {"Case_ID": " "}))
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
    summary = harmonised(tmp_path, "liberty_shared", *rows, listed=listed)
    without = "individual-without-consent"
    assert left_out(tmp_path, "liberty_shared") == {2: without, 3: without, 4: "organisation-without-consent", 5: without}
    assert summary.accepted == 1


def test_an_organisation_the_register_does_not_know_stops_everything(tmp_path: Path) -> None:
    """Guards against a file whose consent nobody recorded."""
    with pytest.raises(DeliveryError, match="no entry for the organisation") as caught:
        harmonised(tmp_path, "liberty_shared", {"NGO Code": SENTINEL}, listed=CONSENTED)
    assert caught.value.file == FILES["liberty_shared"]
    assert SENTINEL not in "".join(traceback.format_exception(caught.value))


def test_a_mistyped_organisation_in_one_row_is_quarantined(tmp_path: Path) -> None:
    """Guards against one typing error holding up forty organisations."""
    summary = harmonised(tmp_path, "liberty_shared", {}, {"NGO Code": "NP0l"}, listed=CONSENTED)
    assert summary.quarantined == {"unknown-organisation": 1}


def test_a_consenting_organisation_that_sent_nothing_is_a_warning(tmp_path: Path) -> None:
    """Guards against a missing file that nobody notices."""
    summary = harmonised(tmp_path, "liberty_shared", {}, listed=(*CONSENTED, {"NGO Code": "NP99"}))
    assert summary.warnings == ("liberty_shared: 1 consenting organisations sent no rows",)


@pytest.mark.parametrize("code", ["", "maybe", "Unknown"])
def test_a_register_that_does_not_say_yes_or_no_is_refused(tmp_path: Path, code: str) -> None:
    """Guards against a blank taken for consent."""
    with pytest.raises(DeliveryError, match="does not say whether consent was given") as caught:
        harmonised(tmp_path, "liberty_shared", {}, listed=(*CONSENTED, {"Consent to CTDC": code}))
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
def test_a_status_leaves_a_row_out(tmp_path: Path, cells: Mapping[str, str], rule: str) -> None:
    """Guards against people who are no victims, or did not consent, being counted or examined."""
    harmonised(tmp_path, "iom", cells)
    assert left_out(tmp_path, "iom") == {1: rule}
    assert outcome(tmp_path, "iom_quarantine") == []


def test_of_a_repeated_case_the_most_complete_record_stays(tmp_path: Path) -> None:
    """Guards against a victim counted twice, or known worse than the data allow."""
    fuller = {"GENDER_CD": "F", "AGE_AT_REG": "20"}
    harmonised(tmp_path, "iom", {}, fuller, {"GENDER_CD": "F", "AGE_AT_REG": "21"}, {"CASE_NO": "md-1 "}, {"CASE_NO": "MD-2"})
    kept = [row["source_row"] for row in outcome(tmp_path, "iom") if row["source"] == "iom_mimosa"]
    assert kept == [2, 5]
    assert left_out(tmp_path, "iom") == dict.fromkeys((1, 3, 4), "duplicate-case")


def test_a_faulty_repeat_does_not_displace_a_good_record(tmp_path: Path) -> None:
    """Guards against a victim lost because a later copy of the record has an error."""
    summary = harmonised(tmp_path, "iom", {}, {"GENDER_CD": "F", "AGE_AT_REG": "999"})
    assert summary.quarantined == {"age-out-of-range": 1}
    assert summary.excluded == {}


def test_a_row_without_identity_is_quarantined_whatever_else_it_says(tmp_path: Path) -> None:
    """Guards against a row that cannot be held against the opt-outs being let in or left out on other grounds."""
    summary = harmonised(tmp_path, "polaris", {}, {"Victim_ID": "", "Situation_Status": "Low"}, listed=({"Victim_ID": ""},))
    assert summary.quarantined == {"missing-value": 1}
