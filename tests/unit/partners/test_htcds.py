"""Test that every serialisation of HTCDS becomes the same table, and that contradictions are refused without quoting values."""

import csv
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import openpyxl
import pyarrow as pa
import pytest

from ctdc_pipeline.errors import DeliveryError
from ctdc_pipeline.harmonisation.derivation import derive
from ctdc_pipeline.partners import htcds, reading
from ctdc_pipeline.partners.registry import SOURCES
from tests.support.deliveries import SENTINEL, harmonise_all, home, land, receive

SOURCE = SOURCES["polaris"]
TODAY = date(2021, 6, 30)
NAMES = (
    "", "cas_CaseOwner", "prs_Salutation", "prs_FirstName", "prs_SecondName", "con_Consent", "prs_Birthdate", "prs_Gender",
    "prs_Citizenship", "prs_Title", "prs_Email", "prs_HomePhone", "prs_MobilePhone", "prs_MailingCity", "prs_MailingCountry",
    "prs_MailingState", "prs_MailingStreet", "prs_MailingPostalCode", "vic_TraffickingStatus",
    "vic_TraffickinStatusDecisionMakingOrg", "vic_MethodOfRecruitment", "vic_LocationOfRecruitment", "vic_MethodsOfControl",
    "vic_TypeOfExploitation", "vic_ForcedLabourIndustry", "vic_TypeOfSexExploitation", "vic_LocationOfExploitation", "cas_Status",
    "cas_ReferringOrganisation", "cas_IncomingReferralDate", "cas_ReferringPrimaryCaseWorker", "cas_ReasonForIncomingReferral",
    "cas_IncomingReferralDetails", "cas_ReferredOrganisation", "cas_ReferredPrimaryCaseWorker", "", "cas_OutgoingReferralDate",
    "cas_OutgoingReferralDetails", "cas_ReasonForCaseClosure", "Case_ID", "Victim_ID",
)  # fmt: skip
LABELS = (
    "", "Case Owner", "Salutation", "First Name", "Second Name", "Consent", "Birthdate", "Gender", "Citizenship", "Title",
    "Email", "Home Phone", "Mobile Phone", "Mailing Street", "Mailing City", "Mailing State/Province", "Mailing Zip/Postal Code",
    "Mailing Country", "Trafficking Status", "Trafficking Status Decision Making Organization", "Method of Recruitment",
    "Location of Recruitment", "Methods of Control", "Type of Exploitation", "Forced Labour Industry", "Type of Sex Exploitation",
    "Location of Exploitation", "Status", "Referring Organisation", "Incoming Referral Date", "Referring Primary Case Worker",
    "Reason for Incoming Referral", "Incoming Referral Details", "Referred Organisation", "Referred Primary Case Worker",
    "Reason for Outgoing Referral", "Outgoing Referral Date", "Outgoing Referral Details", "Reason for Case Closure", "", "",
)  # fmt: skip
VALID = {
    "Case_ID": "C1", "Victim_ID": "V1", "con_Consent": "Yes", "vic_TraffickingStatus": "Actual victim of trafficking",
    "cas_IncomingReferralDate": "2016-03-07",
}  # fmt: skip
XLSFORM = {
    "prs_FirstName": "prs_First_Name",
    "prs_SecondName": "prs_Second_Name",
    "vic_MethodsOfControl": "vic_Methods_of_Control",
}


def form(
    path: Path, *rows: Mapping[str, object], names: Sequence[str] = NAMES, labels: Sequence[str] | None = LABELS, spare: int = 3
) -> Path:
    """The Excel core form: hidden names, labels, numbered rows, of which some are spare; then the sheet of the pick lists."""
    workbook = openpyxl.Workbook()
    sheet = workbook.worksheets[0]
    sheet.append([name or None for name in names])
    sheet.row_dimensions[1].hidden = True
    if labels:
        sheet.append([label or None for label in labels])
    for number in range(len(rows) + spare):
        row = {**VALID, **rows[number]} if number < len(rows) else {}
        sheet.append([number + 1, *(row.get(name) for name in names[1:])])
    workbook.create_sheet("validation").append(["Police"])
    workbook.save(path)
    return path


def survey(path: Path, *rows: Mapping[str, str], headings: Sequence[str] = ()) -> Path:
    """Submissions of the XLSForm as delimited text."""
    names = [*VALID, "vic_TypeOfExploitation", *(name for row in rows for name in row), *headings]
    names = list(dict.fromkeys(names))
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(XLSFORM.get(name, name) for name in names), "__version__"])
        writer.writerows([*({**VALID, **row}.get(name, "") for name in names), "v1"] for row in rows)
    return path


def read(path: Path) -> pa.Table:
    return htcds.read(path, source=SOURCE)[0]


def derived(table: pa.Table) -> dict[str, list[str | None]]:
    found = derive(table, source=htcds.as_source(SOURCE), as_of=TODAY)
    assert not [(field, rule) for field, rule, mask in found.broken if mask.any()]
    return {name: values.tolist() for name, values in found.values.items()}


FULL = {
    "prs_Birthdate": "1999-05-01", "prs_Gender": "Transgender Feminine", "prs_Citizenship": "NA;Philippines",
    "vic_MethodsOfControl": "DebtBondage ;Restricts movement;UsesChildren",
    "vic_TypeOfExploitation": "ForcedLabour;Forced begging",
    "vic_ForcedLabourIndustry": "Water supply; sewerage, waste management and remediation;F_Construction",
    "vic_LocationOfExploitation": "Viet Nam",
}  # fmt: skip


def test_the_excel_form_is_read(tmp_path: Path) -> None:
    """Guards against the row of labels read as a person, spare rows as persons, and quirks of the form that refuse it."""
    birth = {"prs_Birthdate": datetime(1999, 5, 1), "con_Consent": True}
    path = form(tmp_path / "form.xlsm", {**FULL, **birth}, {"vic_LocationOfExploitation": "a house near the river"})
    assert htcds.matches(path)
    table, unknown = htcds.read(path, source=SOURCE)
    assert table.column_names == ["_file", "_row", *(field.name for field in htcds.as_source(SOURCE).cases.fields)]
    assert table.column("_row").to_pylist() == [1, 2]
    assert unknown == ()
    values = derived(table)
    assert [name for name, (first, _) in values.items() if first] == [
        "yearOfRegistration", "gender", "ageBroad", "citizenship", "CountryOfExploitation", "meansOfControlDebtBondage",
        "meansOfControlRestrictsMovement", "meansOfControlOther", "isForcedLabour", "typeOfLabourConstruction",
        "typeOfLabourOther", "meansOfControlUsesChildren", "typeOfLabourBegging",
    ]  # fmt: skip
    assert (values["citizenship"][0], values["CountryOfExploitation"]) == ("NAM", ["VNM", None])
    assert (values["gender"][0], values["ageBroad"][0], values["yearOfRegistration"][0]) == (
        "Transgender/NonConforming",
        "9--17",
        "2016",
    )


def test_a_survey_gives_the_same_as_the_form(tmp_path: Path) -> None:
    """Guards against a meaning that depends on the serialisation."""
    spaced = {
        **FULL,
        "prs_Gender": "TransgenderFeminine",
        "prs_Citizenship": "NA PH",
        "vic_MethodsOfControl": "DebtBondage RestrictsMovement UsesChildren",
        "vic_TypeOfExploitation": "ForcedLabour ForcedBegging",
        "vic_ForcedLabourIndustry": "E_WaterSupplySewerageWasteManagement F_Construction",
        "con_Consent": "TRUE",
    }
    path = survey(tmp_path / "survey.csv", spaced)
    assert htcds.matches(path)
    table, unknown = htcds.read(path, source=SOURCE)
    assert unknown == ("__version__",)
    assert derived(table) == derived(read(form(tmp_path / "form.xlsx", FULL)))


def test_a_file_is_the_same_however_it_was_saved(tmp_path: Path) -> None:
    """Guards against a form saved as text, or submissions saved as a workbook, that are no longer recognised."""
    expected = derived(read(form(tmp_path / "form.xlsx", FULL)))
    submissions = form(tmp_path / "survey.xlsx", FULL, names=[XLSFORM.get(name, name) for name in NAMES if name], labels=None)
    workbook = openpyxl.load_workbook(submissions)
    workbook.worksheets[0].delete_rows(3, 9)
    for column, name in enumerate([name for name in NAMES if name], start=1):
        workbook.worksheets[0].cell(2, column, {**VALID, **FULL}.get(name, ""))
    workbook.save(submissions)
    assert derived(read(submissions)) == expected
    for delimiter in ",;\t":
        saved = tmp_path / "form.csv"
        with saved.open("w", encoding="utf-8", newline="") as file:
            full = {**VALID, **FULL}
            cells = [NAMES, LABELS, [full.get(name, "") for name in NAMES], ["2", *[""] * (len(NAMES) - 1)]]
            csv.writer(file, delimiter=delimiter).writerows(cells)
        assert htcds.matches(saved)
        assert derived(read(saved)) == expected


def test_reading_with_the_layout_is_the_same(tmp_path: Path) -> None:
    """Guards against ingestion, which reads by layout, getting another table than `htcds.read`."""
    path = form(tmp_path / "form.xlsx", FULL)
    layout = htcds.as_source(SOURCE).cases
    assert reading.read(path, layout=layout, source="polaris")[0].equals(read(path))


@pytest.mark.parametrize(
    ("cell", "flags"),
    [
        ("DebtBondage ", {"meansOfControlDebtBondage"}),
        ("debt bondage; Other;", {"meansOfControlDebtBondage", "meansOfControlOther"}),
        ("MethodsOfControlRestrictsMovement", {"meansOfControlRestrictsMovement"}),
        ("ThreatensChildrenFamily", {"meansOfControlThreats", "meansOfControlUsesChildren", "meansOfControlOther"}),
        ("Physical threats;FalsePromises", {"meansOfControlThreats", "meansOfControlFalsePromises"}),
        ("TakesEarnings FalsePromises", {"meansOfControlTakesEarnings", "meansOfControlFalsePromises"}),
    ],
)
def test_pick_lists_hold_names_or_labels(tmp_path: Path, cell: str, flags: set[str]) -> None:
    """Guards against losing values because of a space, a semicolon or a label."""
    values = derived(read(form(tmp_path / "form.xlsx", {"vic_MethodsOfControl": cell})))
    assert {name for name, (value,) in values.items() if value} - {"yearOfRegistration"} == flags


@pytest.mark.parametrize("cell", ["Unaquainted", "Unacquainted", "unaquainted "])
def test_a_misspelt_value_is_read_either_way(tmp_path: Path, cell: str) -> None:
    """Guards against quarantining rows of partners who spell a misspelt value correctly."""
    values = derived(read(survey(tmp_path / "survey.csv", {"vic_RelationshipToTrafficker": cell})))
    assert values["recruiterRelationOther"] == ["1"]


@pytest.mark.parametrize(
    ("cell", "flags"),
    [
        ("A_AgricultureForestryAndFishing", set[str]()),
        ("Agriculture, forestry and fishing;A01", {"typeOfLabourAgriculture"}),
        ("A03", {"typeOfLabourAquafarming", "typeOfLabourOther"}),
        (
            "Wholesale and retail trade; repair of motor vehicles and motorcycles;Construction",
            {"typeOfLabourConstruction", "typeOfLabourOther"},
        ),
        ("Water supply; sewerage, waste management and remediation", {"typeOfLabourOther"}),
    ],
)
def test_industries_become_sectors(tmp_path: Path, cell: str, flags: set[str]) -> None:
    """Guards against forestry and fishing counted as agriculture, and labels cut at their own semicolon."""
    values = derived(read(form(tmp_path / "form.xlsx", {"vic_ForcedLabourIndustry": cell})))
    assert {name for name, (value,) in values.items() if value and name.startswith("typeOf")} == flags


def test_a_value_that_is_not_in_the_list_is_left_for_quarantine(tmp_path: Path) -> None:
    """Guards against a guess, and against one bad cell that costs the whole file."""
    rows = [{"vic_MethodsOfControl": "DebtBondage Kindness"}, {"vic_MethodsOfControl": "Other;Kindness"}, {}]
    table = read(form(tmp_path / "form.xlsx", *rows))
    assert table.column("vic_MethodsOfControl").to_pylist() == ["DebtBondage Kindness", "Other;Kindness", ""]
    found = derive(table, source=htcds.as_source(SOURCE), as_of=TODAY)
    assert {rule for _, rule, mask in found.broken if mask.any()} == {"unknown-code"}
    assert found.quarantined.tolist() == [True, True, False]


def test_the_country_of_an_event_counts_where_the_event_is_exploitation(tmp_path: Path) -> None:
    """Guards against a country of transit published as the country of exploitation."""
    events = [
        {"hte_Type": "Transit", "hte_Country": "MY", "vic_LocationOfExploitation": "Bangkok, Thailand"},
        {"hte_Type": "Exploitation", "hte_Country": "MY", "vic_LocationOfExploitation": "Thailand"},
        {"vic_LocationOfExploitation": "LA"},
        {"vic_LocationOfExploitation": "Lao People's Democratic Republic"},
    ]
    found = derived(read(survey(tmp_path / "survey.csv", *events)))["CountryOfExploitation"]
    assert found == [None, "MYS", None, "LAO"]


def refusal(path: Path) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        read(path)
    assert SENTINEL not in repr((caught.value, caught.value.__cause__, caught.value.args))
    return caught.value


def test_two_separators_in_one_file_are_refused(tmp_path: Path) -> None:
    """Guards against two exports pasted into one file, whose rows nobody can attribute."""
    rows = [{"vic_TypeOfExploitation": "ForcedLabour;Servitude"}, {"vic_MethodsOfControl": "DebtBondage FalsePromises"}]
    found = refusal(survey(tmp_path / "survey.csv", *rows, {"prs_FirstName": SENTINEL}))
    assert found.column in ("vic_TypeOfExploitation", "vic_MethodsOfControl")
    inside = survey(tmp_path / "inside.csv", {"vic_MethodsOfControl": "DebtBondage FalsePromises;Other"})
    assert refusal(inside).column == "vic_MethodsOfControl"


def test_one_separator_is_read_under_the_names_of_either_serialisation(tmp_path: Path) -> None:
    """Guards against refusing a file that can be read in only one way."""
    for separator in " ;":
        cell = {"vic_MethodsOfControl": separator.join(["DebtBondage", "FalsePromises"])}
        for path in (form(tmp_path / "form.xlsx", cell), survey(tmp_path / "survey.csv", cell)):
            assert read(path).column("vic_MethodsOfControl").to_pylist() == ["DebtBondage;FalsePromises"]


def test_a_field_in_two_spellings_is_refused(tmp_path: Path) -> None:
    """Guards against one of two columns silently winning."""
    found = refusal(survey(tmp_path / "survey.csv", {"prs_FirstName": SENTINEL}, headings=["prs_firstname"]))
    assert (found.column, "two serialisations" in str(found)) == ("prs_FirstName", True)


def test_a_label_that_contradicts_its_system_name_is_refused(tmp_path: Path) -> None:
    """Guards against a sheet whose columns were moved below their hidden names."""
    moved = list(LABELS)
    moved[22], moved[23] = moved[23], moved[22]
    assert refusal(form(tmp_path / "form.xlsx", {"prs_FirstName": SENTINEL}, labels=moved)).column == "vic_MethodsOfControl"


def test_the_nameless_column_is_known_by_its_label(tmp_path: Path) -> None:
    """Guards against the quirk of the form that has one system name blank."""
    path = form(tmp_path / "form.xlsx", {})
    workbook = openpyxl.load_workbook(path)
    workbook.worksheets[0].cell(3, 36, "Other")
    workbook.save(path)
    assert read(path).column("cas_ReasonForOutgoingReferral").to_pylist() == ["Other"]


def test_the_identity_of_the_source_is_required(tmp_path: Path) -> None:
    """Guards against cases that no opt-out could reach: HTCDS itself has no case number."""
    names = [name for name in NAMES if name != "Victim_ID"]
    assert refusal(form(tmp_path / "form.xlsx", {}, names=names, labels=LABELS[: len(names)])).column == "Victim_ID"


def test_consent_must_be_stated_where_no_list_says_it() -> None:
    """Guards against admitting people whom nobody asked."""
    fields = {name: {one.name: one for one in htcds.as_source(SOURCES[name]).cases.fields} for name in ("iom_mimosa", "polaris")}
    assert fields["iom_mimosa"]["con_Consent"].filled
    assert not fields["polaris"]["con_Consent"].filled


def test_files_of_other_kinds_are_not_taken_for_htcds(tmp_path: Path) -> None:
    """Guards against a partner's own export, or damage, read by the wrong layout."""
    (tmp_path / "own.csv").write_text("Case_ID,Victim_ID,gender\n1,2,vic_TypeOfExploitation prs_Gender\n")
    (tmp_path / "broken.xlsx").write_bytes(b"PK\x03\x04 prs_Gender vic_TypeOfExploitation")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    assert [htcds.matches(path) for path in sorted(tmp_path.iterdir())] == [False, False, False]


def test_a_damaged_workbook_is_refused_as_any_other(tmp_path: Path) -> None:
    """Guards against a second reader without the checks of the first."""
    path = tmp_path / "form.xlsx"
    path.write_bytes(b"\xd0\xcf\x11\xe0" + b"x" * 99)
    assert "password" in str(refusal(path))
    path.write_bytes(b"PK\x03\x04" + b"x" * 99)
    assert "not a workbook" in str(refusal(path))


def test_formulas_end_in_quarantine(tmp_path: Path) -> None:
    """Guards against the last result of a formula taken for what a person typed."""
    table = read(form(tmp_path / "form.xlsx", {"prs_Gender": "=1+1"}))
    found = derive(table, source=htcds.as_source(SOURCE), as_of=TODAY)
    assert ("prs_Gender", "formula-text") in {(field, rule) for field, rule, mask in found.broken if mask.any()}


def test_a_delivery_in_htcds_is_harmonised_as_the_partner_s_own(tmp_path: Path) -> None:
    """Guards against a standard that is read but never reaches the table; opt-outs hold by the partner's own numbers."""
    folder = home(tmp_path).landing / "polaris" / "2021-H1"
    folder.mkdir(parents=True)
    rows = [FULL, {"Victim_ID": "V2"}, {"Victim_ID": "V3", "vic_TraffickingStatus": "NotAVictimOfTrafficking"}]
    form(folder / "polaris_core_form.xlsx", *rows)
    land(tmp_path, "polaris_opt_outs", {"Victim_ID": "V2"}, refresh="2021-H1")
    receive(tmp_path, "polaris", refresh="2021-H1")
    summary = harmonise_all(tmp_path, "polaris")
    assert (summary.accepted, summary.quarantined, summary.excluded) == (1, {}, {"opted-out": 1, "not-a-victim": 1})
