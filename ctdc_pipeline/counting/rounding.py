"""How what is told of combinations is written: counts rounded down, and the names of the columns.

Verification and the proofs have their own, so that they do not share a fault.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Counts = TypeVar("Counts", int, npt.NDArray[np.int64])


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
    return [f"{part}_{place}" for place in range(1, length + 1) for part in ("variable", "value")]
