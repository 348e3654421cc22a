"""Who enters, who does not and why."""

import csv
import traceback
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile

import pytest

from ctdc_pipeline.errors import DeliveryError
from tests.support.deliveries import (
    FILES,
    REFRESH,
    SENTINEL,
    deliver,
    harmonise_all,
    harmonised,
    home,
    left_out,
    outcome,
    receive,
)
from tests.support.outside import tried

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
        {"Case_ID": " C2", "Victim_ID": "V9", "Victim_Gender": "?"},
        {"Case_ID": "C3"},
    )
    listed = ({"Case_ID": "C1 ", "Victim_ID": " V1"}, {"Case_ID": "C2", "Victim_ID": ""})
    summary = harmonised(tmp_path, "polaris", *rows, listed=listed)
    assert left_out(tmp_path, "polaris") == {1: "opted-out", 3: "opted-out", 4: "opted-out"}
    assert (summary.quarantined, summary.warnings) == ({}, ())


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
    harmonised(tmp_path, "iom", {}, fuller, {"GENDER_CD": "F", "AGE_AT_REG": "21"}, {"CASE_NO": " MD-1 "}, {"CASE_NO": "MD-2"})
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


LOOK_ALIKES = {
    "right-to-left mark": ("C1", "C1\u200f"),
    "zero-width space": ("C1", "\u200bC1"),
    "byte order mark": ("C1", "C1\ufeff"),
    "full-width digit": ("C1", "C\uff11"),
    "no-break space": ("C 1", "C\u00a01"),
    "decomposed accent": ("C\u00e91", "Ce\u03011"),
    "two spaces": ("C 1", "C  1"),
    "soft hyphen": ("C1", "C\u00ad1"),
    "no-break hyphen": ("C-1", "C\u20111"),
}


@pytest.mark.parametrize(("case", "listed"), LOOK_ALIKES.values(), ids=LOOK_ALIKES)
@pytest.mark.parametrize("swapped", [False, True])
def test_an_opt_out_holds_however_its_number_was_typed(tmp_path: Path, case: str, listed: str, *, swapped: bool) -> None:
    """Guards against a person who stays in the data because of a character that nobody can see."""
    case, listed = (listed, case) if swapped else (case, listed)
    harmonised(tmp_path, "polaris", {"Case_ID": case}, {"Case_ID": "C9"}, listed=({"Case_ID": listed},))
    assert left_out(tmp_path, "polaris") == {1: "opted-out"}


def test_the_identities_that_were_tried_from_outside_are_left_out(tmp_path: Path) -> None:
    """Guards against the same, with the pairs that were found."""
    with tried("identities.csv").open(encoding="utf-8", newline="") as file:
        pairs = [(row["number in the case"], row["number in the opt-out list"]) for row in csv.DictReader(file)]
    for number, (case, listed) in enumerate(pairs):
        folder = tmp_path / str(number)
        harmonised(folder, "polaris", {"Case_ID": case}, {"Case_ID": "C9"}, listed=({"Case_ID": listed},))
        assert left_out(folder, "polaris") == {1: "opted-out"}


@pytest.mark.parametrize(("case", "listed"), LOOK_ALIKES.values(), ids=LOOK_ALIKES)
@pytest.mark.parametrize("said", ["No", "Yes"])
def test_a_word_on_consent_holds_however_its_number_was_typed(tmp_path: Path, case: str, listed: str, said: str) -> None:
    """Guards against a refusal that misses its person, and a consent that does not count, because of characters nobody sees."""
    entries = (*CONSENTED, {"Client ID": "8"}, {"Client ID": listed, "Consent to CTDC": said})
    summary = harmonised(tmp_path, "liberty_shared", {"Client ID": case}, {"Client ID": "8"}, listed=entries)
    assert left_out(tmp_path, "liberty_shared") == ({1: "individual-without-consent"} if said == "No" else {})
    assert summary.quarantined == {}


def test_the_identities_that_were_tried_from_outside_are_without_consent(tmp_path: Path) -> None:
    """Guards against the same, with the pairs that were found."""
    with tried("identities.csv").open(encoding="utf-8", newline="") as file:
        pairs = [(row["number in the case"], row["number in the opt-out list"]) for row in csv.DictReader(file)]
    for number, (case, listed) in enumerate(pairs):
        folder = tmp_path / str(number)
        entries = (*CONSENTED, {"Client ID": "8"}, {"Client ID": listed, "Consent to CTDC": "No"})
        harmonised(folder, "liberty_shared", {"Client ID": case}, {"Client ID": "8"}, listed=entries)
        assert left_out(folder, "liberty_shared") == {1: "individual-without-consent"}


def test_a_withdrawn_consent_holds_however_its_number_was_typed(tmp_path: Path) -> None:
    """Guards against consent that is read from one spelling of a number while another withdraws it."""
    listed = (*CONSENTED, {"Client ID": "8"}, {"Client ID": "\uff18", "Consent to CTDC": "No"})
    harmonised(tmp_path, "liberty_shared", {}, {"Client ID": "8\u200b"}, listed=listed)
    assert left_out(tmp_path, "liberty_shared") == {2: "individual-without-consent"}


@pytest.mark.parametrize(("case", "other"), LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_two_identities_that_look_the_same_are_quarantined(tmp_path: Path, case: str, other: str) -> None:
    """Guards against two people taken for one, or one for two, without anybody being told."""
    rows = ({"Case_ID": case}, {"Case_ID": other}, {"Case_ID": "C9"}, {"Case_ID": "C9 "})
    summary = harmonised(tmp_path, "polaris", *rows, listed=())
    assert (summary.accepted, summary.quarantined) == (1, {"look-alike-identity": 2})
    assert left_out(tmp_path, "polaris") == {4: "duplicate-case"}
    assert "1 identities are each written in several ways" in summary.warnings[0]


def test_numbers_that_differ_in_letter_case_are_two_people(tmp_path: Path) -> None:
    """Guards against two people taken for one where a system tells them apart by upper and lower case."""
    summary = harmonised(tmp_path, "polaris", {"Case_ID": "aB1"}, {"Case_ID": "AB1"}, {"Case_ID": "C9"}, listed=())
    assert (summary.accepted, summary.quarantined, summary.excluded) == (3, {}, {})
    assert "1 identities are found in several ways of upper and lower case" in summary.warnings[0]


def test_an_opt_out_in_one_letter_case_may_mean_another(tmp_path: Path) -> None:
    """Guards against a member of a case that opted out who stays in the data because the number was typed differently."""
    rows = ({"Case_ID": "C2"}, {"Case_ID": "c2", "Victim_ID": "V9"}, {"Case_ID": "C9"})
    summary = harmonised(tmp_path, "polaris", *rows, listed=({"Case_ID": "C2", "Victim_ID": ""},))
    assert left_out(tmp_path, "polaris") == {1: "opted-out"}
    assert (summary.accepted, summary.quarantined) == (1, {"look-alike-identity": 1})


@pytest.mark.parametrize("entry", [{"Case_ID": "c1"}, {"Case_ID": "c1", "Victim_ID": ""}, {"Victim_ID": "v1"}])
def test_an_opt_out_in_other_letter_case_is_not_missed(tmp_path: Path, entry: Mapping[str, str]) -> None:
    """Guards against a person who stays in the data because somebody typed the number in lower case."""
    summary = harmonised(tmp_path, "polaris", {}, {"Case_ID": "C9"}, listed=(entry,))
    assert (summary.accepted, summary.quarantined) == (1, {"look-alike-identity": 1})


@pytest.mark.parametrize(
    "entries",
    [
        ({"Client ID": "a7"}, {"Client ID": "A7", "Consent to CTDC": "No"}),
        ({"Client ID": "A7"},),
        ({"Client ID": "A7", "Consent to CTDC": "No"},),
        ({"Client ID": "a7"}, {"NGO Code": "np01", "Consent to CTDC": "No"}),
    ],
)
def test_a_consent_in_other_letter_case_decides_nothing(tmp_path: Path, entries: tuple[Mapping[str, str], ...]) -> None:
    """Guards against a withdrawn consent that is missed, and against consent that was another person's."""
    rows = ({"Client ID": "a7"}, {"Client ID": "8"})
    listed = ({"Client ID": ""}, {"Client ID": "8"}, *entries)
    summary = harmonised(tmp_path, "liberty_shared", *rows, listed=listed)
    assert summary.quarantined["look-alike-identity"] >= 1
    assert 1 not in {row["source_row"] for row in outcome(tmp_path, "liberty_shared")}


@pytest.mark.parametrize("entry", ["=A1", "#N/A", "#REF!"])
def test_a_list_that_names_somebody_by_a_formula_or_an_error_is_refused(tmp_path: Path, entry: str) -> None:
    """Guards against an opt-out that a spreadsheet spoiled and that protects no one."""
    with pytest.raises(DeliveryError, match=r"formula|an error of a spreadsheet") as caught:
        harmonised(tmp_path, "polaris", {}, listed=({}, {"Victim_ID": entry}))
    assert (caught.value.row, caught.value.column) == (2, "Victim_ID")


def spoiled(tmp_path: Path) -> set[tuple[object, object, object]]:
    """Row, field and rule of each row of the legacy workbook in quarantine."""
    deliver(tmp_path, "iom_mimosa", {})
    harmonise_all(tmp_path, "iom")
    rows = outcome(tmp_path, "iom_quarantine")
    return {(row["source_row"], row["field"], row["rule"]) for row in rows if row["source"] == "iom_legacy"}


def test_a_row_that_excel_spoiled_is_quarantined(tmp_path: Path) -> None:
    """Guards against a row accepted as a victim because the error in its entry type was read as nothing."""
    deliver(tmp_path, "iom_legacy", {"Case ref": "09/1"}, {"Entry type": "#N/A"}, {"Case ref": "09/3", "Age": "#REF!"})
    assert spoiled(tmp_path) >= {(2, "Entry type", "spreadsheet-error"), (3, "Age", "spreadsheet-error")}
    assert [row["source_row"] for row in outcome(tmp_path, "iom") if row["source"] == "iom_legacy"] == [1]


def test_the_workbook_that_excel_spoiled_as_it_was_tried(tmp_path: Path) -> None:
    """Guards against the same fault, on a file that we did not write."""
    folder = home(tmp_path).landing / "iom_legacy" / REFRESH
    folder.mkdir(parents=True)
    copyfile(tried("excel_errors_iom_legacy.xlsx"), folder / "excel_errors_iom_legacy.xlsx")
    receive(tmp_path, "iom_legacy")
    assert spoiled(tmp_path) >= {(2, "Entry type", "spreadsheet-error"), (3, "Age", "spreadsheet-error")}
    assert {row["source_row"] for row in outcome(tmp_path, "iom") if row["source"] == "iom_legacy"} == {1, 4, 5, 6}
