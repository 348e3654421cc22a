"""How what is told of combinations is written: counts rounded down, and the names of the columns.

Verification and the proofs have their own, so that they do not share a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Counts = TypeVar("Counts", int, npt.NDArray[np.int64], npt.NDArray[np.float64])


def rounded_down(counts: Counts, k: int) -> Counts:
    """``counts``, a whole number or an array of them, each rounded down to a multiple of ``k``.

    Example:
        >>> rounded_down(29, 10)
        20
    """
    return counts // k * k


def combination_columns(length: int) -> list[str]:
    """The names of the columns of a combination of up to ``length`` attributes, in order.

    Example:
        >>> combination_columns(2)
        ['variable_1', 'value_1', 'variable_2', 'value_2']
    """
    return [name for columns in attribute_columns(length) for name in columns]


def attribute_columns(length: int) -> list[tuple[str, str]]:
    """The names of the two columns of each attribute of a combination: its variable and its value.

    Example:
        >>> attribute_columns(2)
        [('variable_1', 'value_1'), ('variable_2', 'value_2')]
    """
    return [(f"variable_{place}", f"value_{place}") for place in range(1, length + 1)]


def longest_combination(columns: Sequence[str]) -> int:
    """How many attributes a combination can have in a table of these ``columns``.

    Example:
        >>> longest_combination(["length", "variable_1", "value_1", "variable_2", "value_2", "count"])
        2
    """
    return next(length for length in range(len(columns), -1, -1) if set(combination_columns(length)) <= set(columns))
