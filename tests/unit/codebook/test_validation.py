"""Test that failures are reported without values."""

import traceback

import pandas as pd
import pandera.pandas as pa
import pytest

from ctdc_pipeline.codebook.validation import Failure, failures, validate
from ctdc_pipeline.errors import TableError
from tests.support.deliveries import SENTINEL

SCHEMA = pa.DataFrameSchema(
    {"colour": pa.Column(str, pa.Check.isin(["red"]), unique=True), "size": pa.Column("int64", pa.Check.ge(0))}, strict=True
)
BAD = [
    pd.DataFrame({"colour": [SENTINEL, SENTINEL, "red"], "size": [1, -7, 3]}),
    pd.DataFrame({"colour": ["red"], "size": [SENTINEL]}),
    pd.DataFrame({"colour": ["red"], SENTINEL: [1]}),
]


def test_failures_are_counted_by_column_and_check() -> None:
    """Guards against a report that nobody can act on."""
    failed = failures(BAD[0], schema=SCHEMA)
    assert Failure("size", "greater_than_or_equal_to", 1) in failed
    assert {failure.column for failure in failed} == {"colour", "size"}


@pytest.mark.parametrize("frame", BAD)
def test_no_value_shows_in_the_error_or_its_traceback(frame: pd.DataFrame) -> None:
    """Guards against a failing cell, or a heading that contains a value, in event logs and compute logs."""
    with pytest.raises(TableError) as caught:
        validate(frame, schema=SCHEMA, table="toys")
    printed = "".join(traceback.format_exception(caught.value))
    assert SENTINEL not in printed
    assert "-7" not in printed
    assert "toys" in str(caught.value)
    assert "at least" in str(caught.value)


def test_a_conforming_table_passes() -> None:
    """Guards against a check that rejects every table."""
    validate(pd.DataFrame({"colour": ["red"], "size": [1]}), schema=SCHEMA, table="toys")
