"""Test A21's case files: a workbook that people filled in by hand, and the values that follow from its columns."""

from datetime import date
from pathlib import Path

import openpyxl
import pytest

from ctdc_pipeline.samples.a21 import AFTERCARE
from tests.support.deliveries import harmonise_all, harmonised, land, left_out, outcome, receive


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"Intake Date": "07 Mar 2016"}, {"yearOfRegistration": "2016"}),
        ({"Gender": "Non-binary"}, {"gender": "Transgender/NonConforming"}),
        ({"Date of Birth": "1998-03-08", "Age at Intake": "18"}, {"ageBroad": "9--17"}),
        ({"Age When Exploitation Began": "17"}, {"majorityStatusAtExploit": "Minor"}),
        ({"Citizenship": "Not disclosed", "Second Citizenship": "Bulgaria"}, {"citizenship": "BGR"}),
        ({"Exploited In": "Germany", "Aftercare Country": "Bulgaria"}, {"CountryOfExploitation": "DEU"}),
        ({"Identified In": "Greece", "Aftercare Country": "Bulgaria"}, {"CountryOfExploitation": "GRC"}),
        ({"Aftercare Country": "South Africa"}, {"CountryOfExploitation": "ZAF"}),
        ({"Exploitation Began": "2015-01-01", "Exploitation Ended": "2016-02-01"}, {"traffickMonths": "13--24 (1-2 yrs)"}),
        (
            {"Exploitation": "Domestic servitude; Sexual exploitation"},
            {"isForcedLabour": "1", "typeOfLabourDomesticWork": "1", "isSexualExploit": "1"},
        ),
        ({"Exploitation": "Bonded labor"}, {"isSlaveryAndPractices": "1", "isOtherExploit": "1", "isForcedLabour": None}),
        ({"Exploitation": "Not disclosed yet"}, {"isOtherExploit": None}),
        ({"Means of Control": "Children used;debt"}, {"meansOfControlOther": "1", "meansOfControlDebtBondage": "1"}),
        ({"Recruited By": "Job agency"}, {"recruiterRelationOther": "1"}),
    ],
)
def test_what_a_case_file_says(tmp_path: Path, cells: dict[str, str], expected: dict[str, str | None]) -> None:
    """Guards against a column or code of the workbook that is read as something else than what A21 meant."""
    assert harmonised(tmp_path, "a21", cells).quarantined == {}
    (case,) = outcome(tmp_path, "a21")
    assert {name: case[name] for name in expected} == expected


def test_who_stays_out(tmp_path: Path) -> None:
    """Guards against people who did not agree, family who came along, and staff training, published as victims."""
    rows = ({}, {"Consent to Share": "No"}, {"Client Category": "Family member"}, {"Client Category": "Training"})
    harmonised(tmp_path, "a21", *({"Case File No": f"A21-{number}", **row} for number, row in enumerate(rows)))
    assert left_out(tmp_path, "a21") == {2: "individual-without-consent", 3: "not-a-victim", 4: "test-record"}


def test_cells_that_excel_keeps_as_dates_and_numbers(tmp_path: Path) -> None:
    """Guards against days that arrive as serial numbers, and ages with a decimal point."""
    path = land(tmp_path, "a21", {})
    workbook = openpyxl.load_workbook(path)
    sheet = workbook.worksheets[0]
    headings = [cell.value for cell in sheet[1]]
    for heading, cell in {"Intake Date": "2016-03-07", "Date of Birth": "1990-05-01", "Age at Intake": "25"}.items():
        typed = int(cell) if cell.isdecimal() else date.fromisoformat(cell)
        sheet.cell(2, headings.index(heading) + 1, value=typed)
    workbook.save(path)
    receive(tmp_path, "a21")
    assert harmonise_all(tmp_path, "a21").accepted == 1
    (case,) = outcome(tmp_path, "a21")
    assert (case["yearOfRegistration"], case["ageBroad"]) == ("2016", "24--26")


@pytest.mark.parametrize("country", AFTERCARE)
def test_every_country_of_aftercare_is_known(tmp_path: Path, country: str) -> None:
    """Guards against a country of aftercare whose usual name the country table lacks."""
    assert harmonised(tmp_path, "a21", {"Aftercare Country": country}).quarantined == {}
