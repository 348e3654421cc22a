"""Test that the contribution of one record is bounded, in whole numbers."""

from __future__ import annotations

from math import comb

import pytest

from ctdc_pipeline.privacy.contribution import UNIT, Contribution, usual_cap


@pytest.mark.parametrize("columns", [1, 2, 7, 37, 100])
def test_no_record_adds_more_than_the_bound(columns: int) -> None:
    """Guards against a share that is rounded up by one unit, which would break the promise."""
    for cap in range(1, columns + 1):
        bound = Contribution(cap, columns)
        for m, (value, pair) in enumerate(zip(bound.value_units.tolist(), bound.pair_units.tolist(), strict=True)):
            assert m * value**2 <= bound.values_squared
            assert comb(m, 2) * pair**2 <= bound.pairs_squared
            assert (value, pair) == (UNIT, UNIT) or m > cap


def test_the_longest_record_uses_what_it_may() -> None:
    """Guards against cutting more than necessary, which would undercount the gravest cases."""
    bound = Contribution(14, 37)
    assert 37 * (bound.value_units[37] + 1) ** 2 > bound.values_squared
    assert comb(37, 2) * (bound.pair_units[37] + 1) ** 2 > bound.pairs_squared


def test_the_usual_cap_is_that_of_the_published_tables() -> None:
    """Guards against another cap than 14 for 37 columns and 10 for 27."""
    assert [usual_cap(columns) for columns in (1, 7, 27, 37)] == [1, 7, 10, 14]
