"""Test that every layout can be harmonised: its codes mean something in the codebook, and it has the fields that are needed."""

import pytest

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.harmonisation.exclusions import EXCLUSIONS
from ctdc_pipeline.partners.layout import Layout
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES

LAYOUTS: dict[str, Layout] = {name: layout for source in SOURCES.values() for name, layout in source.layouts.items()}


def test_every_source_belongs_to_one_partner() -> None:
    """Guards against a source that is registered and never harmonised."""
    assert sorted(source.name for sources in PARTNERS.values() for source in sources) == sorted(SOURCES)


@pytest.mark.parametrize("name", LAYOUTS)
def test_field_names_and_codes_are_unique(name: str) -> None:
    """Guards against a code that means two things."""
    fields = LAYOUTS[name].fields
    assert len({field.name for field in fields}) == len(fields)
    for field in fields:
        assert len({code.code.casefold() for code in field.codes}) == len(field.codes)


@pytest.mark.parametrize("name", SOURCES)
def test_meanings_are_values_of_the_codebook(name: str) -> None:
    """Guards against a typing error in a layout that would silently lose an attribute."""
    layout, book = SOURCES[name].cases, codebook()
    flags = {variable.name for variable in book.harmonised if variable.kind == "flag"}
    allowed = {
        "flags": flags,
        "gender": {*book.variable("gender").values},
        "majority": {*book.variable("majorityStatusAtExploit").values},
        "status": {*EXCLUSIONS},
    }
    for field in layout.fields:
        for code in field.codes:
            assert {*code.means} <= allowed.get(field.role or "", set()), field.name


@pytest.mark.parametrize("name", SOURCES)
def test_a_case_has_identity_year_and_country_and_no_identifying_flag(name: str) -> None:
    """Guards against a layout whose rows cannot be told apart, dated or placed."""
    layout = SOURCES[name].cases
    assert all(field.filled for field in layout.having("case_id"))
    assert len(layout.having("registered")) == 1
    assert layout.having("citizenship")
    assert layout.having("exploitation_country")
    assert not any(field.identifying for field in layout.having("flags"))


def test_polaris_sends_over_120_fields_and_no_other_exploitation() -> None:
    """Guards against forced marriage, organ removal or other exploitation attributed to a partner that records none."""
    layout = SOURCES["polaris"].cases
    assert len(layout.fields) > 120
    other = {"isOtherExploit", *(detail.name for detail in codebook().details if detail.merges_into == "isOtherExploit")}
    assert not other & {name for field in layout.fields for code in field.codes for name in code.means}


def test_agriculture_is_division_01_only() -> None:
    """Guards against forestry or fishing published as agriculture."""
    (field,) = [field for field in SOURCES["iom_mimosa"].cases.fields if field.name == "LABOUR_SECTOR_CD"]
    assert [code.code for code in field.codes if "typeOfLabourAgriculture" in code.means] == ["A01"]


def test_a_broker_is_another_relation() -> None:
    """Guards against Liberty Shared's longer list of recruiters collapsing to the wrong relation."""
    (field,) = [field for field in SOURCES["liberty_shared"].cases.fields if field.name == "Recruiter Relationship"]
    assert {code.code: code.means for code in field.codes}["Broker"] == ("recruiterRelationOther",)


@pytest.mark.parametrize("name", SOURCES)
def test_only_open_findings_may_be_set_aside(name: str) -> None:
    """Guards against a layout by which an installation could publish people who did not consent, or who are no victims."""
    source = SOURCES[name]
    told = {rule for field in source.cases.having("status") for code in field.codes for rule in code.means}
    assert {*source.waivable} <= {"pending", "not-confirmed"} & told
