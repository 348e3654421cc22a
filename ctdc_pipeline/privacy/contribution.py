"""Bound how much one record adds to the counts, in whole units.

So the sensitivity is an inequality of whole numbers. A record with ``m`` values adds ``value_units[m]`` to the count of each of
its values and ``pair_units[m]`` to the count of each of its pairs. A full unit is ``UNIT``. A record of up to ``cap`` values
counts in full. A longer record counts less for each value, so that in L2 it never adds more than a record of ``cap`` values. No
value is left out: the gravest cases are the longest records.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, isqrt

import numpy as np
import numpy.typing as npt

UNIT = 1024
"""What a record adds to each of its counts if it counts in full."""


@dataclass(frozen=True)
class Contribution:
    """The bound for records of at most ``columns`` values."""

    cap: int
    columns: int

    @property
    def value_units(self) -> npt.NDArray[np.int64]:
        """What a record adds to each of its values, by its number of values; int64 (columns + 1)."""
        return np.array([_share(m, self.cap) for m in range(self.columns + 1)], np.int64)

    @property
    def pair_units(self) -> npt.NDArray[np.int64]:
        """What a record adds to each of its pairs, by its number of values; int64 (columns + 1)."""
        return np.array([_share(comb(m, 2), comb(self.cap, 2)) for m in range(self.columns + 1)], np.int64)

    @property
    def values_squared(self) -> int:
        """The largest sum of the squared changes of all value counts when one record comes or goes."""
        return self.cap * UNIT * UNIT

    @property
    def pairs_squared(self) -> int:
        """The largest sum of the squared changes of all pair counts when one record comes or goes.

        It is at least that of one pair, so that a cap of 1 still has a finite sigma.
        """
        return max(1, comb(self.cap, 2)) * UNIT * UNIT


def usual_cap(columns: int) -> int:
    """Return the cap for a schema that names none.

    It follows from the number of columns, which is public, not from records.
    """
    return columns if columns <= 10 else max(10, round(0.38 * columns))


def _share(parts: int, parts_in_full: int) -> int:
    return UNIT if parts <= parts_in_full else isqrt(UNIT * UNIT * parts_in_full // parts)
