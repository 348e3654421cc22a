"""The codebook: 37 variables in the published order, and values recognised however they are spelt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctdc_pipeline.codebook import codebook, countries
from ctdc_pipeline.errors import ParameterError

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
    """Guards against a renamed, lost or moved column, which breaks every reader of the release."""
    assert list(codebook().names) == NAMES
    assert [variable.position for variable in codebook().variables] == list(range(1, 38))


def test_every_variable_is_described_and_belongs_to_a_group() -> None:
    """Guards against a data dictionary with holes."""
    for variable in codebook().harmonised:
        assert variable.definition
        assert variable.label
        assert variable.group in codebook().groups
        assert len(variable.meanings) in (0, len(variable.values))


def test_details_merge_into_variables_of_the_same_group() -> None:
    """Guards against a detail that vanishes, or counts as something else, in the release."""
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
    """Guards against a published file whose headings differ being refused."""
    assert codebook().variable(alias).name == name


def test_an_unknown_name_is_an_error_with_a_remedy() -> None:
    """Guards against a bare KeyError."""
    with pytest.raises(ParameterError, match="Use a name of the codebook"):
        codebook().variable("nothing")


@given(st.integers(-5, 200))
def test_age_bands_hold_each_age_from_0_on_once(age: int) -> None:
    """Guards against a gap or an overlap between two bands."""
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
    """Guards against an edge that falls in the neighbouring band."""
    assert MONTHS.band(months) == band


@given(st.sampled_from([*AGE.bands, *MONTHS.bands]), st.sampled_from(DASHES), st.integers(0, 3), st.booleans())
def test_every_dash_and_padding_of_a_band_is_read(band: tuple[int, int | None, str], dash: str, zeros: int, remark: bool) -> None:
    """Guards against bands of older releases (9—17, 09--17, 9-17) that read as unknown values."""
    low, high, value = band
    variable = AGE if value in AGE.values else MONTHS
    pad = "0" * zeros
    text = f"{pad}{low}+" if high is None else f"{pad}{low}{dash}{pad}{high}"
    assert variable.canonical(f" {text} {'(0-1 yr)' if remark else ''}") == value


@pytest.mark.parametrize("text", ["", "9", "9--18", "48", "17--9", "9--17--20", "nine"])
def test_what_is_no_band_stays_unknown(text: str) -> None:
    """Guards against a near miss that is taken for a band."""
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
    """Guards against Namibia read as missing, Kosovo and Tibet as countries of their own, and names in one spelling only."""
    assert countries().alpha3(text, system=system) == alpha3  # type: ignore[arg-type]


def test_no_name_or_code_stands_for_two_countries() -> None:
    """Guards against a victim assigned to the wrong country because two rows share an alias."""
    codes = [code for country in countries().rows for code in (country.iso2, country.iso3, *country.other_codes)]
    assert len(codes) == len(set(codes))
    for country in countries().rows:
        for name in (country.name, *country.aliases):
            assert countries().alpha3(name, system="name") == country.iso3
