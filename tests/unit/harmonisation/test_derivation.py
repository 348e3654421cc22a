"""The rules of the codebook, one by one, and each way in which a row can break one."""

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.harmonisation.derivation import RULES, Derived, completed_months, derive
from ctdc_pipeline.partners.registry import SOURCES
from tests.support.deliveries import TODAY, raw


def derived(source: str, cells: Mapping[str, str], *, proxies: tuple[str, ...] = ()) -> Derived:
    """One row over the valid one."""
    return derive(raw(source, cells), source=SOURCES[source], as_of=TODAY, proxies=proxies)


def value(found: Derived, variable: str) -> str | None:
    return found.values[variable][0]


def broken(found: Derived) -> set[tuple[str, str]]:
    return {(field, rule) for field, rule, mask in found.broken if mask.any()}


@pytest.mark.parametrize("source", SOURCES)
def test_a_valid_row_breaks_nothing(source: str) -> None:
    """Guards against rules that no real row can meet."""
    found = derived(source, {})
    assert broken(found) == set()
    assert value(found, "yearOfRegistration") in ("2006", "2016")


@pytest.mark.parametrize(
    ("source", "cells", "expected"),
    [
        ("iom_mimosa", {"GENDER_CD": "TF"}, {"gender": "Transgender/NonConforming"}),
        ("iom_mimosa", {"GENDER_CD": " f "}, {"gender": "Female"}),
        ("iom_mimosa", {"GENDER_CD": "U"}, {"gender": None}),
        ("iom_mimosa", {"AGE_AT_REG": "17"}, {"ageBroad": "9--17"}),
        ("iom_mimosa", {"BIRTH_DATE": "08-Mar-1998"}, {"ageBroad": "9--17"}),
        ("iom_mimosa", {"BIRTH_DATE": "07-Mar-1998"}, {"ageBroad": "18--20"}),
        ("iom_mimosa", {"BIRTH_DATE": "07-Mar-1998", "AGE_AT_REG": "17"}, {"ageBroad": "18--20"}),
        ("iom_mimosa", {"CITIZENSHIP_CD": "NA"}, {"citizenship": "NAM"}),
        ("iom_mimosa", {"CITIZENSHIP_CD": "Y1"}, {"citizenship": "SRB"}),
        ("iom_mimosa", {"CITIZENSHIP_CD": "TB"}, {"citizenship": "CHN"}),
        ("polaris", {"Citizenship_2": "Mexico", "Citizenship_3": "Guatemala"}, {"citizenship": "MEX"}),
        ("polaris", {"Citizenship_1": "Unknown", "Citizenship_2": "mexico"}, {"citizenship": "MEX"}),
        ("polaris", {"Citizenship_1": "United States", "Citizenship_2": "Mexico"}, {"citizenship": "USA"}),
        ("liberty_shared", {"Country of Origin": "NPL"}, {"citizenship": "NPL"}),
        ("iom_mimosa", {"AGE_AT_EXPLOIT": "17"}, {"majorityStatusAtExploit": "Minor"}),
        ("iom_mimosa", {"AGE_AT_EXPLOIT": "18"}, {"majorityStatusAtExploit": "Adult"}),
        (
            "iom_mimosa",
            {"BIRTH_DATE": "07-Mar-1998", "EXPLOIT_START_DT": "06-Mar-2016"},
            {"majorityStatusAtExploit": "Minor", "ageBroad": "18--20"},
        ),
        ("polaris", {"Minor_At_Start": "Minor", "Victim_Age_At_Report": "30"}, {"majorityStatusAtExploit": "Minor"}),
        ("iom_mimosa", {"EXPLOIT_MONTHS": "0"}, {"traffickMonths": "0--12 (0-1 yr)"}),
        ("iom_mimosa", {"EXPLOIT_MONTHS": "61"}, {"traffickMonths": "61+ (5+ yrs)"}),
        (
            "iom_mimosa",
            {"EXPLOIT_START_DT": "15-Jan-2014", "EXPLOIT_END_DT": "14-Feb-2015"},
            {"traffickMonths": "0--12 (0-1 yr)"},
        ),
        (
            "iom_mimosa",
            {"EXPLOIT_START_DT": "15-Jan-2014", "EXPLOIT_END_DT": "15-Feb-2015", "EXPLOIT_MONTHS": "12"},
            {"traffickMonths": "13--24 (1-2 yrs)"},
        ),
        (
            "iom_mimosa",
            {"CONTROL_MEANS_CD": "DB| fp |NS"},
            {"meansOfControlDebtBondage": "1", "meansOfControlFalsePromises": "1"},
        ),
        ("iom_mimosa", {"CONTROL_MEANS_CD": "CH"}, {"meansOfControlUsesChildren": "1", "meansOfControlOther": "1"}),
        ("iom_mimosa", {"CONTROL_MEANS_CD": "FA"}, {"meansOfControlRestrictsFinancialAccess": "1", "meansOfControlOther": "1"}),
        ("iom_mimosa", {"EXPLOIT_TYPE_CD": "FM"}, {"isForcedMarriage": "1", "isOtherExploit": "1", "isForcedLabour": None}),
        ("iom_mimosa", {"EXPLOIT_TYPE_CD": "OR|MS|SL"}, {"isOrganRemoval": "1", "isForcedMilitary": "1", "isOtherExploit": "1"}),
        ("iom_mimosa", {"LABOUR_SECTOR_CD": "A01"}, {"typeOfLabourAgriculture": "1", "typeOfLabourOther": None}),
        ("iom_mimosa", {"LABOUR_SECTOR_CD": "A02"}, {"typeOfLabourAgriculture": None, "typeOfLabourOther": "1"}),
        ("iom_mimosa", {"SEX_TYPE_CD": "RIS"}, {"typeOfSexRemoteInteractiveServices": "1", "typeOfSexOther": "1"}),
        ("iom_mimosa", {"ABDUCTED_YN": "Y"}, {"isAbduction": "1", "isOtherExploit": None}),
        ("iom_mimosa", {"ABDUCTED_YN": "N"}, {"isAbduction": None}),
        ("iom_legacy", {"Purpose": "30"}, {"isForcedLabour": "1", "isSexualExploit": "1"}),
        ("iom_legacy", {"Date reg.": "31/12/2005"}, {"yearOfRegistration": "2005"}),
        ("iom_legacy", {"Nationality (country)": "Ivory Coast"}, {"citizenship": "CIV"}),
        ("iom_legacy", {"Means": "a, n", "Sex": "?"}, {"meansOfControlDebtBondage": "1", "gender": None}),
        ("polaris", {"Trafficking_Type": "Sex and Labor"}, {"isForcedLabour": "1", "isSexualExploit": "1"}),
        ("polaris", {"Type_Peddling_Begging": "Yes"}, {"typeOfLabourOther": "1"}),
        ("polaris", {"Control_Threats": "No"}, {"meansOfControlThreats": None}),
        ("liberty_shared", {"Recruiter Relationship": "Broker"}, {"recruiterRelationOther": "1"}),
    ],
)
def test_values_follow_the_codebook(source: str, cells: dict[str, str], expected: dict[str, str | None]) -> None:
    """Guards against an attribute of a person that is lost, invented or put in the wrong place."""
    found = derived(source, cells)
    assert broken(found) == set()
    assert {variable: value(found, variable) for variable in expected} == expected


@pytest.mark.parametrize(
    ("cells", "field", "rule"),
    [
        ({"CASE_NO": " "}, "CASE_NO", "missing-value"),
        ({"REG_DATE": ""}, "REG_DATE", "missing-value"),
        ({"VICTIM_STATUS_CD": "XXX"}, "VICTIM_STATUS_CD", "unknown-code"),
        ({"GENDER_CD": "X"}, "GENDER_CD", "unknown-code"),
        ({"CONTROL_MEANS_CD": "DB|XX"}, "CONTROL_MEANS_CD", "unknown-code"),
        ({"EXPLOIT_TYPE_CD": "FL,SE"}, "EXPLOIT_TYPE_CD", "unknown-code"),
        ({"CITIZENSHIP_CD": "ZZ"}, "CITIZENSHIP_CD", "unknown-country"),
        ({"CITIZENSHIP_CD": "YU"}, "CITIZENSHIP_CD", "unknown-country"),
        ({"MISSION_CTRY_CD": "Moldova"}, "MISSION_CTRY_CD", "unknown-country"),
        ({"REG_DATE": "30-Feb-2016"}, "REG_DATE", "impossible-date"),
        ({"REG_DATE": "2016"}, "REG_DATE", "impossible-date"),
        ({"REG_DATE": "31-Dec-2001"}, "REG_DATE", "registered-too-early"),
        ({"REG_DATE": "01-Jul-2021"}, "REG_DATE", "registered-in-the-future"),
        ({"REG_DATE": "01-Jan-2999"}, "REG_DATE", "registered-in-the-future"),
        ({"BIRTH_DATE": "08-Mar-2016"}, "BIRTH_DATE", "age-out-of-range"),
        ({"BIRTH_DATE": "01-Jan-1890"}, "BIRTH_DATE", "age-out-of-range"),
        ({"BIRTH_DATE": "07-Mar-1998", "AGE_AT_REG": "20"}, "BIRTH_DATE", "conflicting-values"),
        ({"AGE_AT_REG": "-1"}, "AGE_AT_REG", "age-out-of-range"),
        ({"AGE_AT_REG": "121"}, "AGE_AT_REG", "age-out-of-range"),
        ({"AGE_AT_REG": "17.5"}, "AGE_AT_REG", "not-a-whole-number"),
        ({"AGE_AT_REG": "teen"}, "AGE_AT_REG", "not-a-whole-number"),
        ({"AGE_AT_EXPLOIT": "19", "AGE_AT_REG": "18"}, "AGE_AT_EXPLOIT", "conflicting-values"),
        ({"EXPLOIT_MONTHS": "-2"}, "EXPLOIT_MONTHS", "duration-out-of-range"),
        ({"EXPLOIT_START_DT": "01-Feb-2016", "EXPLOIT_END_DT": "31-Jan-2016"}, "EXPLOIT_END_DT", "conflicting-values"),
        ({"EXPLOIT_START_DT": "08-Mar-2016"}, "EXPLOIT_START_DT", "conflicting-values"),
        ({"EXPLOIT_END_DT": "01-Jul-2021"}, "EXPLOIT_END_DT", "date-in-the-future"),
        ({"CASE_NO": "=cmd|' /C calc'!A0"}, "CASE_NO", "formula-text"),
        ({"CASE_NO": " @SUM(A1)"}, "CASE_NO", "formula-text"),
        ({"CASE_NO": "+cmd|x"}, "CASE_NO", "formula-text"),
        ({"CASE_NO": "-2+3+cmd|x"}, "CASE_NO", "formula-text"),
        ({"CASE_NO": "\t=1"}, "CASE_NO", "formula-text"),
        ({"CASE_NO": "＝1"}, "CASE_NO", "formula-text"),
    ],
)
def test_a_row_that_breaks_a_rule_is_named_with_field_and_rule(cells: dict[str, str], field: str, rule: str) -> None:
    """Guards against a wrong value carried on, and a quarantine that does not say what to correct."""
    assert rule in RULES
    found = derived("iom_mimosa", cells)
    assert (field, rule) in broken(found)
    assert found.quarantined.tolist() == [True]


@pytest.mark.parametrize("text", ["+380 44 123-45-67", "-", "- asked for help (twice)", "+1(202)555-0100", "a=b", "-99"])
def test_phone_numbers_and_remarks_are_no_formulas(text: str) -> None:
    """Guards against a good row quarantined for a plus sign."""
    assert broken(derived("iom_mimosa", {"PHONE": text, "CASE_NOTES": text})) == set()


def test_all_broken_rules_of_a_row_are_listed() -> None:
    """Guards against a partner who corrects one error a month because only the first was told."""
    assert len(broken(derived("iom_mimosa", {"GENDER_CD": "X", "CITIZENSHIP_CD": "ZZ", "AGE_AT_REG": "x"}))) == 3


PLACES = {"LAST_EXPLOIT_CTRY_CD": "RU", "SCREENING_CTRY_CD": "UA", "REG_CTRY_CD": "MD", "MISSION_CTRY_CD": "RO"}


@pytest.mark.parametrize(("known", "expected"), [(4, "RUS"), (3, "UKR"), (2, "MDA"), (1, "ROU"), (0, None)])
def test_the_country_of_exploitation_falls_back_in_order(known: int, expected: str | None) -> None:
    """Guards against a proxy that wins over the country of exploitation itself."""
    found = derived("iom_mimosa", dict(list(PLACES.items())[4 - known :]))
    assert value(found, "CountryOfExploitation") == expected


def test_the_order_of_the_proxies_can_be_configured() -> None:
    """Guards against an order that only a programmer can change; the official text does not settle it."""
    found = derived("iom_mimosa", PLACES, proxies=("MISSION_CTRY_CD", "REG_CTRY_CD"))
    assert value(found, "CountryOfExploitation") == "ROU"
    with pytest.raises(ParameterError, match="not a field for the country of exploitation: CASE_NO"):
        derived("iom_mimosa", {}, proxies=("CASE_NO",))


@given(st.integers(0, 120), st.integers(0, 364))
def test_age_from_the_day_of_birth_is_the_age_in_completed_years(age: int, days: int) -> None:
    """Guards against ages off by one around birthdays, over all ages and days of the year."""
    registered = date(2019, 1, 1) + timedelta(days=days)
    born = registered.replace(year=registered.year - age)
    form = "%d-%b-%Y"
    found = derived("iom_mimosa", {"REG_DATE": registered.strftime(form), "BIRTH_DATE": born.strftime(form)})
    assert value(found, "ageBroad") == codebook().variable("ageBroad").band(age)
    later = born + timedelta(days=1)
    if age > 0:
        found = derived("iom_mimosa", {"REG_DATE": registered.strftime(form), "BIRTH_DATE": later.strftime(form)})
        assert value(found, "ageBroad") == codebook().variable("ageBroad").band(age - 1)


@given(st.dates(date(1990, 1, 1), date(2030, 1, 1)), st.dates(date(1990, 1, 1), date(2030, 1, 1)))
def test_completed_months_agree_with_counting_them(start: date, end: date) -> None:
    """Guards against a month too many at month ends and in leap years."""
    expected = (end.year - start.year) * 12 + end.month - start.month - (end.day < start.day)
    days = [np.array([day], "datetime64[D]") for day in (start, end)]
    assert completed_months(days[0], days[1])[0] == expected


@given(st.text(max_size=20))
def test_no_text_in_any_field_stops_the_derivation(text: str) -> None:
    """Guards against a cell that nobody thought of taking down a whole delivery."""
    layout = SOURCES["iom_mimosa"].cases
    found = derive(raw("iom_mimosa", {field.name: text for field in layout.fields}), source=SOURCES["iom_mimosa"], as_of=TODAY)
    assert found.quarantined.tolist() == [True]


@pytest.mark.parametrize(
    "text",
    [
        "#N/A", "#REF!", "#DIV/0!", " #VALUE! ", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#NV", "#BEZUG!", "#¡REF!", "#¿NOMBRE?",
        "#N/B", "#Н/Д", "#I/T", "#名前?", "#####", "Err:508",
    ],
)  # fmt: skip
def test_an_error_of_a_spreadsheet_is_a_rule_of_its_own(text: str) -> None:
    """Guards against a cell that a spreadsheet could not reckon taken for a blank, or blamed on its code list."""
    assert broken(derived("iom_mimosa", {"GENDER_CD": text})) == {("GENDER_CD", "spreadsheet-error")}


@pytest.mark.parametrize("text", ["#1", "#", "# 7", "#metoo!"])
def test_a_number_sign_is_no_error(text: str) -> None:
    """Guards against a case number with a number sign that is quarantined."""
    assert broken(derived("iom_mimosa", {"CASE_NO": text})) == set()


@pytest.mark.parametrize("text", ["@handle", "=1+1", "#REF!", "+cmd|x"])
def test_what_stops_in_ingestion_is_not_judged(text: str) -> None:
    """Guards against a case that is lost for a field that nobody will ever see, such as a name in social media."""
    handles = {"Social_Media_Handle": text, "Narrative": text}
    known = {field.name for field in SOURCES["polaris"].cases.fields if not field.role}
    assert known & handles.keys()
    assert broken(derived("polaris", {name: cell for name, cell in handles.items() if name in known})) == set()


@pytest.mark.parametrize("text", ["F\u200b", "\uff26", "\ufefff", "F\u00a0"])
def test_codes_are_compared_as_they_look(text: str) -> None:
    """Guards against a code that is unknown for a character that nobody can see."""
    assert value(derived("iom_mimosa", {"GENDER_CD": text}), "gender") == "Female"
