"""Test the codebook: 37 variables in the published order, and values recognised in every spelling."""

import csv

import pycountry
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import ParameterError
from tests.support.outside import tried

AGE = codebook().variable("ageBroad")
MONTHS = codebook().variable("traffickMonths")
DASHES = ["-", "--", "–", "—", "−", "‑", " - ", "——"]

NAMES = [
    "yearOfRegistration",
    "gender",
    "ageBroad",
    "majorityStatusAtExploit",
    "citizenship",
    "CountryOfExploitation",
    "traffickMonths",
    "meansOfControlDebtBondage",
    "meansOfControlTakesEarnings",
    "meansOfControlThreats",
    "meansOfControlPsychologicalAbuse",
    "meansOfControlPhysicalAbuse",
    "meansOfControlSexualAbuse",
    "meansOfControlFalsePromises",
    "meansOfControlPsychoactiveSubstances",
    "meansOfControlRestrictsMovement",
    "meansOfControlRestrictsMedicalCare",
    "meansOfControlExcessiveWorkingHours",
    "meansOfControlThreatOfLawEnforce",
    "meansOfControlWithholdsNecessities",
    "meansOfControlWithholdsDocuments",
    "meansOfControlOther",
    "isForcedLabour",
    "isSexualExploit",
    "isOtherExploit",
    "typeOfLabourAgriculture",
    "typeOfLabourConstruction",
    "typeOfLabourDomesticWork",
    "typeOfLabourHospitality",
    "typeOfLabourOther",
    "typeOfSexProstitution",
    "typeOfSexPornography",
    "typeOfSexOther",
    "recruiterRelationIntimatePartner",
    "recruiterRelationFriend",
    "recruiterRelationFamily",
    "recruiterRelationOther",
]


def test_names_and_order_are_the_published_ones() -> None:
    """Guards against a renamed, lost or moved column, which would break every program that reads the release."""
    assert list(codebook().names) == NAMES
    assert [variable.position for variable in codebook().variables] == list(range(1, 38))


def test_every_variable_is_described_and_belongs_to_a_group() -> None:
    """Guards against gaps in the data dictionary."""
    for variable in codebook().harmonised:
        assert variable.definition
        assert variable.label
        assert variable.group in codebook().groups
        assert len(variable.meanings) in (0, len(variable.values))


def test_details_merge_into_variables_of_the_same_group() -> None:
    """Guards against a detail that disappears, or is counted as something else, in the release."""
    for detail in codebook().details:
        if detail.name == "isAbduction":
            assert detail.merges_into == ""
        else:
            assert codebook().variable(detail.merges_into).group == detail.group


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("meansOfControlThreatOfLawEnforcement", "meansOfControlThreatOfLawEnforce"),
        ("CountryOfExploition", "CountryOfExploitation"),
        ("gender", "gender"),
    ],
)
def test_other_spellings_of_a_name_are_aliases(alias: str, name: str) -> None:
    """Guards against rejecting a published file because its headings are spelt differently."""
    assert codebook().variable(alias).name == name


def test_an_unknown_name_is_an_error_with_a_remedy() -> None:
    """Guards against a bare KeyError."""
    with pytest.raises(ParameterError, match="Use a name of the codebook"):
        codebook().variable("nothing")


@given(st.integers(-5, 200))
def test_age_bands_hold_each_age_from_0_on_once(age: int) -> None:
    """Guards against a gap or an overlap between two age bands."""
    band = AGE.band(age)
    if age < 0:
        assert band is None
    else:
        assert [value for low, high, value in AGE.bands if low <= age and (high is None or age <= high)] == [band]


@pytest.mark.parametrize(
    ("months", "band"),
    [
        (0, "0--12 (0-1 yr)"),
        (12, "0--12 (0-1 yr)"),
        (13, "13--24 (1-2 yrs)"),
        (24, "13--24 (1-2 yrs)"),
        (25, "25--60 (2-5 yrs)"),
        (60, "25--60 (2-5 yrs)"),
        (61, "61+ (5+ yrs)"),
        (600, "61+ (5+ yrs)"),
    ],
)
def test_month_bands_break_where_the_codebook_says(months: int, band: str) -> None:
    """Guards against a boundary value that is put in the neighbouring band."""
    assert MONTHS.band(months) == band


@given(st.sampled_from([*AGE.bands, *MONTHS.bands]), st.sampled_from(DASHES), st.integers(0, 3), st.booleans())
def test_every_dash_and_padding_of_a_band_is_read(band: tuple[int, int | None, str], dash: str, zeros: int, remark: bool) -> None:
    """Guards against reading the bands of older releases (9—17, 09--17, 9-17) as unknown values."""
    low, high, value = band
    variable = AGE if value in AGE.values else MONTHS
    pad = "0" * zeros
    text = f"{pad}{low}+" if high is None else f"{pad}{low}{dash}{pad}{high}"
    assert variable.canonical(f" {text} {'(0-1 yr)' if remark else ''}") == value


@pytest.mark.parametrize("text", ["", "9", "9--18", "48", "17--9", "9--17--20", "nine"])
def test_a_text_that_is_not_a_band_stays_unknown(text: str) -> None:
    """Guards against taking a near miss for a band."""
    assert AGE.canonical(text) is None


@pytest.mark.parametrize(
    ("text", "system", "alpha3"),
    [
        ("NA", "iom", "NAM"),
        ("NA", "iso2", "NAM"),
        ("Y1", "iom", "SRB"),
        ("TB", "iom", "CHN"),
        ("TP", "iom", "TLS"),
        ("ZR", "iom", "COD"),
        ("YU", "iom", None),
        ("ZZ", "iom", None),
        ("", "iom", None),
        ("SX", "iom", "SXM"),
        ("usa", "iso3", "USA"),
        ("Kosovo", "name", "SRB"),
        ("Tibet", "name", "CHN"),
        ("Côte d'Ivoire", "name", "CIV"),
        ("COTE D’IVOIRE", "name", "CIV"),
        ("Ivory Coast", "name", "CIV"),
        ("The Gambia", "name", "GMB"),
        ("Viet Nam", "name", "VNM"),
        ("Vietnam", "name", "VNM"),
        ("Niger", "name", "NER"),
        ("Congo", "name", "COG"),
        ("Atlantis", "name", None),
    ],
)
def test_countries_are_recognised_in_each_code_system(text: str, system: str, alpha3: str | None) -> None:
    """Guards against reading Namibia as missing, Kosovo and Tibet as countries, and names in one spelling only."""
    assert countries().alpha3(text, system=system) == alpha3  # type: ignore[arg-type]


def test_no_name_or_code_stands_for_two_countries() -> None:
    """Guards against assigning a victim to the wrong country because two rows share an alias."""
    codes = [code for country in countries().rows for code in (country.iso2, country.iso3, *country.other_codes)]
    assert len(codes) == len(set(codes))
    for country in countries().rows:
        for name in (country.name, *country.aliases):
            assert countries().alpha3(name, system="name") == country.iso3


NAMES_IN_OTHER_LISTS = {
    "COD": "Democratic Republic of Congo|The Democratic Republic of the Congo|Dem. Rep. of the Congo|Congo, Dem. Rep.|D.R. Congo"
    "|Congo DR|D.R.C.|Congo-Kinshasa|CONGO (DEMOCRATIC REPUBLIC OF THE)",
    "COG": "Republic of the Congo|Republic of Congo|Congo, Rep.|Congo (Brazzaville)|Congo-Brazzaville",
    "IRN": "Iran, Islamic Rep.|Iran (Islamic Republic of)|Islamic Republic of Iran",
    "ARE": "U.A.E.|UAE|U. A. E.|The United Arab Emirates",
    "USA": "U.S.A.|U.S.|United States of America|the United States",
    "GBR": "U.K.|United Kingdom of Great Britain & Northern Ireland|Great Britain",
    "TTO": "Trinidad & Tobago|Tobago and Trinidad|Republic of Trinidad and Tobago",
    "BIH": "Bosnia & Herzegovina|Bosnia-Herzegovina",
    "ATG": "Antigua & Barbuda",
    "STP": "Sao Tome & Principe|São Tomé and Príncipe",
    "EGY": "Egypt, Arab Rep.|Arab Republic of Egypt",
    "PRK": "Korea, Dem. People's Rep.|Korea, Dem. Rep.|Democratic People\u2019s Republic of Korea|North Korea|Korea, North",
    "KOR": "Korea, Rep.|Republic of Korea|Korea (South)|South Korea",
    "VEN": "Venezuela, RB|Venezuela (Bolivarian Republic of)|Bolivarian Republic of Venezuela",
    "BOL": "Bolivia (Plurinational State of)|Plurinational State of Bolivia",
    "SRB": "Kosovo (under UNSCR 1244/99)|Kosovo (UNSCR 1244)|Republic of Kosovo",
    "HMD": "Heard and McDonald Islands|Heard Island and McDonald Islands",
    "YEM": "Yemen, Rep.",
    "FSM": "Micronesia, Fed. Sts.|Micronesia (Federated States of)",
    "LAO": "Lao PDR|Lao People's Democratic Republic|Laos",
    "GMB": "Gambia, The|The Gambia|Republic of the Gambia",
    "BHS": "Bahamas, The|The Bahamas",
    "HKG": "Hong Kong SAR, China|China, Hong Kong Special Administrative Region",
    "MAC": "Macao SAR, China|China, Macao Special Administrative Region",
    "KGZ": "Kyrgyz Republic|Kyrgyzstan",
    "SVK": "Slovak Republic",
    "CZE": "Czech Republic|Czechia",
    "LCA": "St. Lucia|St Lucia|Saint Lucia",
    "VCT": "St. Vincent and the Grenadines|Saint Vincent & Grenadines",
    "KNA": "St. Kitts and Nevis",
    "VIR": "Virgin Islands (U.S.)|United States Virgin Islands|U.S. Virgin Islands",
    "VGB": "British Virgin Islands|Virgin Islands, British",
    "PSE": "West Bank and Gaza|Gaza Strip|Occupied Palestinian Territory|State of Palestine",
    "MKD": "Macedonia, FYR|The former Yugoslav Republic of Macedonia|North Macedonia",
    "MDA": "Republic of Moldova|Moldova, Republic of",
    "TZA": "United Republic of Tanzania|Tanzania, United Republic of",
    "SYR": "Syrian Arab Republic|Syrian Arab Rep.|Syria",
    "RUS": "Russian Federation|Russia",
    "TUR": "T\u00fcrkiye|Turkiye|Turkey|Republic of T\u00fcrkiye",
    "IRL": "Republic of Ireland|Ireland, Republic of|Irish Republic|Ireland",
    "DOM": "Dominican Republic|Dominican Rep.",
    "DMA": "Dominica|Commonwealth of Dominica",
    "GIN": "Guinea|Republic of Guinea",
    "GNB": "Guinea Bissau|Guinea-Bissau",
    "GNQ": "Equatorial Guinea|Eq. Guinea",
    "PNG": "Papua New Guinea|P.N.G.",
    "NER": "Niger|Republic of the Niger|The Niger",
    "NGA": "Nigeria|Federal Republic of Nigeria",
    "SSD": "Southern Sudan|South Sudan",
    "SDN": "Sudan|The Sudan",
    "SLB": "Solomon Is.|Solomon Islands",
    "CHN": "P.R. China|People's Republic of China",
    "TWN": "Taiwan, China|China, Taiwan Province of China|Taiwan, Province of China",
}


@pytest.mark.parametrize(
    ("alpha3", "name"), [(code, name) for code, names in NAMES_IN_OTHER_LISTS.items() for name in names.split("|")]
)
def test_names_as_other_lists_write_them(alpha3: str, name: str) -> None:
    """Guards against an unknown citizenship because the United Nations or the World Bank write the name differently."""
    for spelled in (name, name.upper(), f" {name.lower()} "):
        assert countries().alpha3(spelled, system="name") == countries().alpha3(spelled, system="any") == alpha3


def test_names_of_the_reviewers_list() -> None:
    """Guards against an unknown citizenship, on a list of names that we did not write."""
    with tried("country_names.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            assert countries().alpha3(row["name"], system="name") == row["alpha3"]


@pytest.mark.parametrize(
    "text",
    [
        "", "the", "of the", "Republic", "Democratic Republic", "Islands", "Saint", "Guinea and Mali", "Niger Nigeria",
        "Georgia (USA)", "New Mexico", "Congo and Rwanda", "South America", "not Kenya", "Indian", "Federal Republic", "United",
        "Yugoslavia", "Virgin", "Republic of China", "Samoa or Tonga", "Arab Emirates and Oman", "North",
        "Guinea Guinea Bissau Mali", "Sudan and South Sudan", "Niger and Niger", "Guinea, Guinea",
    ],
)  # fmt: skip
def test_text_that_names_no_country_or_two_is_unknown(text: str) -> None:
    """Guards against assigning a person to a country because some words occur in its name."""
    assert countries().alpha3(text, system="name") is None


def test_every_name_of_a_well_kept_list_is_that_country() -> None:
    """Guards against a name that means another country in pycountry, and against pycountry names that we do not know."""
    for country in countries().rows:
        pycountry_entry = pycountry.countries.get(alpha_3=country.iso3)
        if pycountry_entry is None:
            assert country.iso3 == "ANT"  # Netherlands Antilles, which no longer exist
            continue
        for form in ("name", "official_name", "common_name"):
            if name := getattr(pycountry_entry, form, None):
                assert countries().alpha3(name, system="name") == country.iso3
                assert countries().alpha3(", ".join(reversed(name.split(", "))), system="name") == country.iso3
