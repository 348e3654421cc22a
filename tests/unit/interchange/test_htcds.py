"""HTCDS in its serialisations becomes one table, and what contradicts itself is refused with the column, never with a value."""

import csv
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import openpyxl
import pyarrow as pa

from ctdc_pipeline.derivation import derive
from ctdc_pipeline.interchange import htcds
from ctdc_pipeline.partners import reading
from ctdc_pipeline.partners.registry import SOURCES

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
    "", "Case Owner", "Salutation", "First Name", "Second Name", "Consent", "Birthdate", "Gender", "Citizenship", "Title", "Email",
    "Home Phone", "Mobile Phone", "Mailing Street", "Mailing City", "Mailing State/Province", "Mailing Zip/Postal Code",
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
    names = [*VALID, *(name for row in rows for name in row), *headings]
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
    assert not found.quarantined.any()
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
    """Guards against meaning that hangs on the serialisation."""
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


def test_reading_with_the_layout_is_the_same(tmp_path: Path) -> None:
    """Ingestion reads by layout; it must not get another table."""
    path = form(tmp_path / "form.xlsx", FULL)
    layout = htcds.as_source(SOURCE).cases
    assert reading.read(path, layout=layout, source="polaris")[0].equals(read(path))
