"""Test refresh labels: what they mean, how they are ordered, and which texts are refused."""

from datetime import date

import pytest

from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.ingestion.refreshes import Refresh


@pytest.mark.parametrize(
    ("label", "last"),
    [
        ("2021", date(2021, 12, 31)),
        ("2021-H1", date(2021, 6, 30)),
        ("2021-H2", date(2021, 12, 31)),
        ("2021-Q3", date(2021, 9, 30)),
        ("2020-02", date(2020, 2, 29)),
        ("2021-06-30", date(2021, 6, 30)),
    ],
)
def test_a_label_stands_for_the_last_day_of_its_period(label: str, last: date) -> None:
    """Guards against a half-year that is taken for a month of it."""
    assert Refresh.parse(label).last == last


def test_refreshes_follow_each_other_whatever_their_form() -> None:
    """Guards against the current state of a partner who changes from years to months."""
    labels = ["2020", "2021-01", "2021-Q1", "2021-05-31", "2021-H1", "2021-Q3", "2021", "2021-12"]
    assert [refresh.label for refresh in sorted(map(Refresh.parse, reversed(labels)))] == labels


@pytest.mark.parametrize(
    "label",
    [
        "",
        "21",
        "2021-H3",
        "2021-Q0",
        "2021-13",
        "2021-00",
        "2021-02-30",
        "2021-06-00",
        "2021-h1",
        "2021\n",
        "1999",
        "..",
        "２０２１",
    ],
)
def test_anything_else_is_refused(label: str) -> None:
    """Guards against a folder that is taken for a delivery of a period nobody meant."""
    with pytest.raises(ParameterError, match="2021-H1"):
        Refresh.parse(label)
