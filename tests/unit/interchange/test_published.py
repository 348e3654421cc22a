"""Test that published files become tables in the codebook's terms, row for row, or are refused with a named position."""

import csv
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import TableError
from ctdc_pipeline.interchange.published import formats, imported, load, recognise
from ctdc_pipeline.products import records
from ctdc_pipeline.storage.tables import TEXT, read_table, write_table
from ctdc_pipeline.storage.workbook import Sheet, write_workbook
from tests.support.outside import tried
from tests.support.products import inputs_of

PUBLISHED = Path(__file__).parents[4] / "shared/data/ctdc_global_dataset_2020_extract.csv"
SENTINEL = "zqsentinelzq"
FORMATS = {form.name: form for form in formats()}
NAMES_2020 = (
    "yearOfRegistration", "Datasource", "gender", "ageBroad", "majorityStatus", "majorityStatusAtExploit", "majorityEntry",
    "citizenship", "meansOfControlDebtBondage", "meansOfControlTakesEarnings", "meansOfControlRestrictsFinancialAccess",
    "meansOfControlThreats", "meansOfControlPsychologicalAbuse", "meansOfControlPhysicalAbuse", "meansOfControlSexualAbuse",
    "meansOfControlFalsePromises", "meansOfControlPsychoactiveSubstances", "meansOfControlRestrictsMovement",
    "meansOfControlRestrictsMedicalCare", "meansOfControlExcessiveWorkingHours", "meansOfControlUsesChildren",
    "meansOfControlThreatOfLawEnforcement", "meansOfControlWithholdsNecessities", "meansOfControlWithholdsDocuments",
    "meansOfControlOther", "meansOfControlNotSpecified", "meansOfControlConcatenated", "isForcedLabour", "isSexualExploit",
    "isOtherExploit", "isSexAndLabour", "isForcedMarriage", "isForcedMilitary", "isOrganRemoval", "isSlaveryAndPractices",
    "typeOfExploitConcatenated", "typeOfLabourAgriculture", "typeOfLabourAquafarming", "typeOfLabourBegging",
    "typeOfLabourConstruction", "typeOfLabourDomesticWork", "typeOfLabourHospitality", "typeOfLabourIllicitActivities",
    "typeOfLabourManufacturing", "typeOfLabourMiningOrDrilling", "typeOfLabourPeddling", "typeOfLabourTransportation",
    "typeOfLabourOther", "typeOfLabourNotSpecified", "typeOfLabourConcatenated", "typeOfSexProstitution",
    "typeOfSexPornography", "typeOfSexRemoteInteractiveServices", "typeOfSexPrivateSexualServices", "typeOfSexConcatenated",
    "isAbduction", "RecruiterRelationship", "CountryOfExploitation", "recruiterRelationIntimatePartner",
    "recruiterRelationFriend", "recruiterRelationFamily", "recruiterRelationOther", "recruiterRelationUnknown",
)  # fmt: skip
NAMES_2024 = (
    "yearOfRegistration", "gender", "ageBroad", "citizenship", "CountryOfExploitation", "traffickMonths",
    "meansDebtBondageEarnings", "meansThreats", "meansAbusePsyPhySex", "meansFalsePromises", "meansDrugsAlcohol",
    "meansDenyBasicNeeds", "meansExcessiveWorkHours", "meansWithholdDocs", "isForcedLabour", "isSexualExploit",
    "isOtherExploit", "typeOfLabourAgriculture", "typeOfLabourConstruction", "typeOfLabourDomesticWork",
    "typeOfLabourHospitality", "typeOfSexProstitution", "typeOfSexPornography", "recruiterRelationIntimatePartner",
    "recruiterRelationFriend", "recruiterRelationFamily", "recruiterRelationOther",
)  # fmt: skip
DASHES = ("-", "--", "---", "–", "—", "‑", " - ", " – ")


def publish(path: Path, names: Sequence[str], *rows: dict[str, str], blank: str = "") -> Path:
    """A file of ``names``, in which cells that ``rows`` do not give hold ``blank``."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerow(names)
        writer.writerows([row.get(name, blank) for name in names] for row in rows)
    return path


def first(path: Path) -> dict[str, str]:
    return {name: value for name, value in load(path).to_pylist()[0].items() if value}


def test_the_k_anonymised_file(tmp_path: Path) -> None:
    """Guards against details that vanish, countries that were suppressed read as a place, and Namibia read as missing."""
    rows = [
        {
            "yearOfRegistration": "2016", "Datasource": "Case Management", "gender": "Female", "ageBroad": "9--17",
            "majorityStatusAtExploit": "Minor", "citizenship": "NA", "CountryOfExploitation": "00",
            "meansOfControlUsesChildren": "1", "meansOfControlOther": "0", "isForcedLabour": "0", "isForcedMarriage": "1",
            "typeOfLabourBegging": "1", "typeOfSexRemoteInteractiveServices": "1", "isAbduction": "1",
            "meansOfControlThreatOfLawEnforcement": "1", "meansOfControlConcatenated": "Threats;Uses children",
        },
        {"citizenship": "0", "CountryOfExploitation": "PH"},
    ]  # fmt: skip
    path = publish(tmp_path / "The Global Dataset 14 Apr 2020.csv", NAMES_2020, *rows, blank="-99")
    assert recognise(path).name == "2020"
    assert load(path).column_names == list(codebook().names)
    assert first(path) == {
        "yearOfRegistration": "2016", "gender": "Female", "ageBroad": "9--17", "majorityStatusAtExploit": "Minor",
        "citizenship": "NAM", "meansOfControlThreatOfLawEnforce": "1", "meansOfControlOther": "1", "isOtherExploit": "1",
        "typeOfLabourOther": "1", "typeOfSexOther": "1",
    }  # fmt: skip
    assert load(path).to_pylist()[1]["CountryOfExploitation"] == "PHL"
    assert load(path).to_pylist()[1]["citizenship"] is None
    found = imported(path)
    assert ("meansOfControlUsesChildren", "meansOfControlOther") in found.mapped
    assert len(found.dropped) == 13
    assert found.absent == ("traffickMonths",)


def test_the_synthetic_file_of_2021(tmp_path: Path) -> None:
    """Guards against a name or value of the first synthetic release that is not known."""
    row = {"citizenship": "NAM", "traffickMonths": "61+ (5+ yrs)", "ageBroad": "48+", "gender": "Transgender/NonConforming"}
    flags = dict.fromkeys([one.name for one in codebook().variables if one.kind == "flag"], "1")
    path = publish(tmp_path / "CTDC_synthetic_20210825.tsv", codebook().names, {**row, **flags})
    assert recognise(path).name == "2021"
    assert first(path) == {**row, **flags}
    assert imported(path).mapped == imported(path).dropped == ()


@pytest.mark.parametrize(("name", "word"), [("2024", "typeOf"), ("2026", "sectorOf")])
def test_the_files_of_27_variables(tmp_path: Path, name: str, word: str) -> None:
    """Guards against the later releases' own names and genders."""
    headings = [one.replace("typeOf", word) for one in NAMES_2024]
    row = {"gender": "Trans/Transgender/NonConforming", "traffickMonths": "25+ (2+ yrs)", "ageBroad": "09--17"}
    rows = [{**row, "citizenship": "NAM", headings[20]: "1.0"}, {"gender": "Woman"}, {"gender": "Man"}]
    path = publish(tmp_path / "v.csv", headings, *rows)
    assert recognise(path).name == name
    assert load(path).column_names == list(NAMES_2024)
    expected = {**row, "gender": "Transgender/NonConforming", "ageBroad": "9--17", "citizenship": "NAM"}
    assert first(path) == {**expected, "typeOfLabourHospitality": "1"}
    assert load(path).column("gender").to_pylist()[1:] == ["Female", "Male"]


@pytest.mark.parametrize("alias", ["CountryOfExploition", "meansWithholdDocuments", "YEAROFREGISTRATION"])
def test_names_that_drifted_are_known(tmp_path: Path, alias: str) -> None:
    """Guards against the spellings of official texts that differ from their own lists."""
    of = {"CountryOfExploition": "CountryOfExploitation", "meansWithholdDocuments": "meansWithholdDocs"}
    real = of.get(alias, "yearOfRegistration")
    value = {"CountryOfExploitation": "PHL", "meansWithholdDocs": "1"}.get(real, "2020")
    path = publish(tmp_path / "v.csv", [alias if name == real else name for name in NAMES_2024], {alias: value})
    assert first(path) == {real: value}
    assert imported(path).mapped == ((alias, real),)


def test_the_columns_are_those_of_the_crosswalk() -> None:
    """Guards against a column of a release that no longer has a place."""
    assert {name.casefold() for name in NAMES_2020} <= set(FORMATS["2020"].columns)
    assert FORMATS["2024"].names == FORMATS["2026"].names == NAMES_2024
    merged = {one.merges_into or one.name for one in FORMATS["2020"].columns.values() if one}
    assert merged == set(codebook().names) - {"traffickMonths"}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_bands_in_any_spelling(tmp_path: Path, data: st.DataObject) -> None:
    """Guards against a dash, a zero or a space that makes another band; no two bands may fall together."""
    name = data.draw(st.sampled_from(["2021", "2024"]))
    variable = data.draw(st.sampled_from([one for one in FORMATS[name].variables if one.bands]))
    low, high, value = data.draw(st.sampled_from(variable.bands))
    dash, width = data.draw(st.sampled_from(DASHES)), data.draw(st.integers(1, 3))
    band = f"{low:0{width}}+" if high is None else f"{low:0{width}}{dash}{high:0{width}}"
    remark = value[value.find("(") :].replace("-", dash) if "(" in value else ""
    text = data.draw(st.sampled_from([band, f" {band} ", f"{band} {remark}", f"{band}{remark.upper()}"]))
    names = codebook().names if name == "2021" else NAMES_2024
    path = publish(tmp_path / "v.csv", names, {variable.name: text, "yearOfRegistration": "2020"})
    assert first(path) == {variable.name: value, "yearOfRegistration": "2020"}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(low=st.integers(0, 99), high=st.integers(0, 99), dash=st.sampled_from(DASHES), name=st.sampled_from(["2021", "2024"]))
def test_no_other_band_is_accepted(tmp_path: Path, low: int, high: int, dash: str, name: str) -> None:
    """Guards against a file with other bands that is taken for one of these."""
    for variable in (one for one in FORMATS[name].variables if one.bands):
        path = publish(
            tmp_path / "v.csv", codebook().names if name == "2021" else NAMES_2024, {variable.name: f"{low}{dash}{high}"}
        )
        known = [value for least, most, value in variable.bands if (least, most) == (low, high)]
        if known:
            assert first(path) == {variable.name: known[0]}
        else:
            with pytest.raises(TableError, match=f"column {variable.name}, row 1"):
                load(path)


def test_rows_stay_as_they_are(tmp_path: Path) -> None:
    """Guards against rows lost, doubled or sorted, empty ones included."""
    years = ["2019", "", "2002", "2002", ""]
    path = publish(tmp_path / "v.csv", NAMES_2024, *({"yearOfRegistration": year} for year in years))
    assert load(path).column("yearOfRegistration").to_pylist() == [year or None for year in years]


@pytest.mark.parametrize(
    ("name", "cell", "column"),
    [
        ("2020", "CHE", "citizenship"), ("2020", "2", "isForcedLabour"), ("2020", "1999", "yearOfRegistration"),
        ("2021", "-99", "citizenship"), ("2021", "CH", "citizenship"), ("2021", "00", "isForcedLabour"),
        ("2024", "61+ (5+ yrs)", "traffickMonths"), ("2024", SENTINEL, "gender"), ("2021", "9--18", "ageBroad"),
    ],
)  # fmt: skip
def test_a_value_outside_the_code_list_is_refused(tmp_path: Path, name: str, cell: str, column: str) -> None:
    """Guards against a value of another release, or of none, that passes; the message tells the place and not the value."""
    names = {"2020": NAMES_2020, "2021": codebook().names, "2024": NAMES_2024}[name]
    path = publish(
        tmp_path / "v.csv", names, {"gender": "Male"} if name != "2024" else {}, {column: cell, "isSexualExploit": "1"}
    )
    with pytest.raises(TableError, match=rf"v\.csv: column {column}, row 2: ") as caught:
        load(path)
    assert cell not in str(caught.value).replace("row 2", "").replace("(2020)", "").replace("(2021)", "")


def test_unknown_headings_are_refused(tmp_path: Path) -> None:
    """Guards against a column silently left out, or the cells of a file without headings being quoted."""
    strange = publish(tmp_path / "v.csv", [*NAMES_2024[:5], SENTINEL, *NAMES_2024[5:]], {"gender": "Man"})
    with pytest.raises(TableError, match="the heading of column 6 is unknown in the Global Synthetic Dataset") as caught:
        recognise(strange)
    headless = publish(tmp_path / "h.csv", ["2016", SENTINEL, "PHL"], {"2016": "2017"})
    with pytest.raises(TableError, match="no published CTDC file") as other:
        recognise(headless)
    assert SENTINEL not in str(caught.value) + str(other.value)


def test_names_of_two_releases_in_one_file_are_refused(tmp_path: Path) -> None:
    """Guards against two releases pasted together."""
    mixed = [name.replace("typeOfSex", "sectorOfSex") for name in NAMES_2024]
    with pytest.raises(TableError, match="heading of column"):
        recognise(publish(tmp_path / "v.csv", mixed, {"gender": "Man"}))


def test_a_part_of_a_file_is_told_by_its_countries(tmp_path: Path) -> None:
    """Guards against an extract read by the codes of another release, or by chance."""
    names = ["yearOfRegistration", "gender", "citizenship"]
    for code, name in (("NA", "2020"), ("NAM", "2021")):
        path = publish(
            tmp_path / "v.csv", names, {"citizenship": code}, {"citizenship": "-99"} if name == "2020" else {"gender": "Male"}
        )
        assert recognise(path).name == name
    for codes in ([""], ["NA", "NAM"]):
        with pytest.raises(TableError, match="too few columns"):
            recognise(publish(tmp_path / "v.csv", names, *({"citizenship": code, "gender": "Male"} for code in codes)))


def test_what_was_written_is_recognised_again(tmp_path: Path) -> None:
    """Guards against a table of ours that ours cannot read: every value of every variable, out and in."""
    for name, form in FORMATS.items():
        values = [[None, *(one.values or {"year": ("2020",), "country": ("NAM",)}[one.kind])] for one in form.variables]
        rows = [*itertools.zip_longest(*values)]
        table = pa.Table.from_pylist([dict(zip(form.names, row, strict=True)) for row in rows], schema=_schema(form.names))
        write_table(table, tmp_path / "out.parquet")
        again = load(tmp_path / "out.parquet")
        assert again.to_pylist() == table.to_pylist(), name


def _schema(names: Sequence[str]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in names])


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published extract is not on this machine")
def test_the_published_extract() -> None:
    """Guards against a form that only our own fixtures have: every row and every value of the real file is accounted for."""
    before, found = read_table(PUBLISHED), imported(PUBLISHED)
    assert (found.format.name, len(found.table)) == ("2020", len(before))
    for name in ("yearOfRegistration", "gender", "ageBroad"):
        assert found.table[name].to_pylist() == before[name].to_pylist()
    for name in ("citizenship", "CountryOfExploitation"):
        told = [value if value != "0" else None for value in before[name].to_pylist()]
        assert [value is None for value in told] == [value is None for value in found.table[name].to_pylist()]
    flags = [value if value == "1" else None for value in before["isForcedLabour"].to_pylist()]
    assert found.table["isForcedLabour"].to_pylist() == flags


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".xlsx", ".dta"])
def test_each_format_of_a_release_is_read_again(tmp_path: Path, suffix: str) -> None:
    """Guards against a release of our own that we cannot import: names cut by Stata, numbers and labels for text."""
    variables = codebook().variables
    rows: list[dict[str, str | None]] = [
        {one.name: {"year": "2015", "country": "NAM"}.get(one.kind, one.values[-1] if one.values else "") for one in variables},
        dict.fromkeys((one.name for one in variables), None),
        {**dict.fromkeys((one.name for one in variables), None), "ageBroad": "9--17", "citizenship": "NOR"},
        {one.name: None if one.kind == "flag" else "2002" if one.kind == "year" else None for one in variables},
    ]
    synthetic = pa.table(
        {one.name: pa.array([row[one.name] for row in rows], pa.string()).dictionary_encode().cast(TEXT) for one in variables}
    )
    records.write(replace(inputs_of([], []), synthetic=synthetic), tmp_path)
    found = imported(tmp_path / f"{records.NAME}{suffix}")
    assert found.format.name == "2021"
    assert found.table.to_pylist() == rows
    assert found.dropped == found.absent == ()
    assert len(found.mapped) == (4 if suffix == ".dta" else 0)


def test_a_workbook_over_several_sheets_is_read_whole(tmp_path: Path) -> None:
    """Guards against a release of over a million records of which the first sheet is imported."""
    headings = list(codebook().names)
    row = ["2015", *[None] * (len(headings) - 1)]
    sheets = [Sheet(f"Data {number}", [headings, *[row] * number]) for number in (1, 2)] + [Sheet("About", [["no", "table"]])]
    write_workbook(tmp_path / "v.xlsx", sheets)
    assert len(load(tmp_path / "v.xlsx")) == 3


def test_the_terms_of_use_of_2020_are_left_out_and_reported(tmp_path: Path) -> None:
    """Guards against the file as published being refused for its first heading, and a filled column lost with it."""
    terms = "By using this data you agree to the Terms of Use: https://www.ctdatacollaborative.org/terms-use"
    row = dict.fromkeys(NAMES_2020, "-99") | {"citizenship": "PH", "gender": "Male", "isForcedLabour": "1"}
    found = imported(publish(tmp_path / "v.csv", [terms, *NAMES_2020], row))
    assert found.format.name == "2020"
    assert found.dropped[0] == terms
    assert len(found.dropped) == 14
    with pytest.raises(TableError, match="the heading of column 1 is unknown"):
        imported(publish(tmp_path / "w.csv", [terms, *NAMES_2020], {**row, terms: "filled"}))


def test_the_terms_of_use_as_they_were_tried() -> None:
    """Guards against the same fault, on a file that we did not write."""
    found = imported(tried("terms_column_2020.csv"))
    assert found.format.name == "2020"
    assert "Terms of Use" in found.dropped[0]
    assert len(found.table) == 30


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".xlsx"])
def test_the_names_of_2026_in_each_format(tmp_path: Path, suffix: str) -> None:
    """Guards against the newest release read in one format only, or its numbers as other values."""
    frame = pd.DataFrame([[None] * len(NAMES_2024)] * 2, columns=[one.replace("typeOf", "sectorOf") for one in NAMES_2024])
    frame["sectorOfSexProstitution"] = [1.0, None]
    frame["sectorOfLabourAgriculture"] = [0.0, 1.0]
    frame["yearOfRegistration"] = [2024, 2023]
    frame["citizenship"] = ["NAM", "PHL"]
    path = tmp_path / f"v{suffix}"
    {".csv": frame.to_csv, ".parquet": frame.to_parquet, ".xlsx": frame.to_excel}[suffix](path, index=False)
    found = imported(path)
    assert found.format.name == "2026"
    assert found.table.column("typeOfSexProstitution").to_pylist() == ["1", None]
    assert found.table.column("typeOfLabourAgriculture").to_pylist() == [None, "1"]
    assert found.table.column("yearOfRegistration").to_pylist() == ["2024", "2023"]
