"""Measure how far two distributions are apart, and how far chance alone would move them."""

from __future__ import annotations

from collections.abc import Mapping
from math import log, sqrt
from statistics import NormalDist

import numpy as np

CHANCE = 0.001
"""The probability that chance alone makes one comparison warn."""
Z = NormalDist().inv_cdf(1 - CHANCE / 2)
"""Standard errors that chance exceeds, in either direction, with the probability `CHANCE`."""
FEW = 5
"""Values with fewer expected rows than this are compared together."""


def js_distance(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """Return the Jensen-Shannon distance (base 2) between two distributions, given as counts by value.

    Neither may be empty. 0 means equal, 1 means that no value is common to both.
    """
    names = sorted({*one, *other})
    p, q = (np.array([counts.get(name, 0) for name in names], float) for counts in (one, other))
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    parts = [side[side > 0] * np.log2(side[side > 0] / middle[side > 0]) for side in (p, q)]
    return sqrt(max(0.0, sum(float(part.sum()) for part in parts) / 2))


def noise(one: int, other: int, values: int) -> float:
    """Return the distance that two samples of one distribution exceed with probability `CHANCE`.

    Around equality 8 ln 2 JSD / (1/n + 1/m) follows a chi-squared distribution with `values` - 1 degrees of freedom. Its quantile
    is approximated as by Wilson and Hilferty (1931). This needs values that are not rare: see `pooled`.
    """
    freedom = max(1, values - 1)
    upper = NormalDist().inv_cdf(1 - CHANCE)
    quantile = freedom * (1 - 2 / (9 * freedom) + upper * sqrt(2 / (9 * freedom))) ** 3
    return sqrt(quantile * (1 / one + 1 / other) / (8 * log(2)))


def pooled(one: Mapping[str, int], other: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Merge the values for which the smaller sample expects fewer than `FEW` rows if both samples are alike."""
    sizes = sum(one.values()), sum(other.values())
    share = min(sizes) / sum(sizes)
    rare = {name for name in {*one, *other} if (one.get(name, 0) + other.get(name, 0)) * share < FEW}

    def pool(side: Mapping[str, int]) -> dict[str, int]:
        others = sum(rows for name, rows in side.items() if name in rare)
        return {name: rows for name, rows in side.items() if name not in rare} | ({"(others)": others} if others else {})

    return pool(one), pool(other)


def beyond_chance(one: int, of: int, other: int, out_of: int) -> bool:
    """Return whether two shares differ by more than `Z` standard errors of the share in both samples together."""
    share = (one + other) / (of + out_of)
    return abs(one / of - other / out_of) > Z * sqrt(share * (1 - share) * (1 / of + 1 / out_of))
