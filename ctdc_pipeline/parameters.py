"""Check whole numbers that people enter, such as k, a length or a number of threads."""

from __future__ import annotations

from ctdc_pipeline.errors import ParameterError

MAX_WHOLE_NUMBER = 2**31 - 1
"""No table has more rows than this."""
MAX_THREADS = 1024
MAX_LENGTH = 1000
"""The longest combination that can be asked for, in attributes."""


def require_whole(name: str, number: int, *, minimum: int = 1, maximum: int = MAX_WHOLE_NUMBER) -> int:
    """Return ``number`` if it is within its range.

    Args:
        name: What the number is, for the error message.
        number: The number that was entered.
        minimum: The smallest accepted number.
        maximum: The largest accepted number.

    Raises:
        ParameterError: If ``number`` is smaller than ``minimum`` or larger than ``maximum``.
    """
    if number < minimum:
        raise ParameterError(f"{name} is {number}", remedy=f"Choose at least {minimum}.")
    if number > maximum:
        raise ParameterError(f"{name} is more than {maximum}", remedy=f"Choose at most {maximum}.")
    return number


def require_seed(seed: int) -> None:
    """Raise ParameterError unless ``seed`` is a whole number from 0 to 2**63 - 1."""
    if not 0 <= seed < 1 << 63:
        raise ParameterError("the seed is out of range", remedy="Give a whole number from 0 to 2**63 - 1.")
