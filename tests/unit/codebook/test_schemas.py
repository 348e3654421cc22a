"""Test that the schemas follow the codebook."""

import pandas as pd
import pytest

from ctdc_pipeline.codebook.schemas import harmonised_schema, release_schema
from ctdc_pipeline.codebook.validation import failures
from ctdc_pipeline.codebook.variables import codebook

GOOD = {"yearOfRegistration": "2016", "gender": "Female", "ageBroad": "9--17", "citizenship": "NAM", "isForcedLabour": "1"}


def record(**changes: str | None) -> pd.DataFrame:
    values = {**dict.fromkeys(codebook().names), **GOOD, **changes}
    return pd.DataFrame({name: pd.Series([value], dtype="str") for name, value in values.items()})


def test_a_conforming_record_passes() -> None:
    """Guards against a schema that no record can meet."""
    assert failures(record(), schema=release_schema(2021)) == ()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("yearOfRegistration", "2001"),
        ("yearOfRegistration", "2022"),
        ("gender", "F"),
        ("ageBroad", "9-17"),
        ("citizenship", "NA"),
        ("citizenship", "XKX"),
        ("isForcedLabour", "0"),
        ("traffickMonths", "0--12"),
    ],
)
def test_values_outside_the_code_lists_fail(variable: str, value: str) -> None:
    """Guards against values in a spelling that only we would understand."""
    failed = failures(record(**{variable: value}), schema=release_schema(2021))
    assert [(failure.column, failure.rows) for failure in failed] == [(variable, 1)]


def test_columns_are_exactly_the_37_in_order() -> None:
    """Guards against an extra column, such as a pseudonym, in a release."""
    assert failures(record().assign(case_key="x"), schema=release_schema(2021))
    assert failures(record().reindex(columns=[*codebook().names[::-1]]), schema=release_schema(2021))


def test_the_harmonised_schema_has_origin_release_and_details() -> None:
    """Guards against losing the details of the release variables one stage too early."""
    columns = list(harmonised_schema(2021).columns)
    assert columns[:6] == ["partner", "source", "refresh", "source_file", "source_row", "case_key"]
    assert columns[6:43] == list(codebook().names)
    assert "meansOfControlUsesChildren" in columns[43:]
