"""The bound on memory."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from ctdc_pipeline.errors import ParameterError, ResourceError
from ctdc_pipeline.operations.memory_limit import bounded, size


def test_running_into_the_bound_is_an_error_that_says_so() -> None:
    """A machine that swaps, or a traceback, where somebody had said how much memory there is."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(ResourceError, match="does not suffice"), bounded("20GB"):
        np.zeros(10**11)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_less_than_is_held_already_is_refused_at_once() -> None:
    """Whatever fails first inside, such as a thread that cannot start, would be reported instead of the bound."""
    with pytest.raises(ResourceError, match="to begin"), bounded("1MB"):
        raise AssertionError("the block must not run")


def test_no_limit_bounds_nothing() -> None:
    """A default that stops a run nobody bounded."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with bounded(None):
        assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.mark.parametrize(("text", "number"), [("5", 5), ("500MB", 5 * 10**8), ("1.5 gib", 3 << 29), ("2TB", 2 * 10**12)])
def test_sizes_are_read(text: str, number: int) -> None:
    """A limit a thousand times too small or too large."""
    assert size(text) == number


@pytest.mark.parametrize("text", ["", "much", "4 apples", "infGB", "-5GB", "0", "nan", "1e30GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """A limit that is silently not applied."""
    with pytest.raises(ParameterError, match="not understood"):
        size(text)
