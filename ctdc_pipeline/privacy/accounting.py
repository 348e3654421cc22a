"""Convert the cost of noise: from Gaussian mechanisms to (epsilon, delta), and back.

A mechanism that adds Gaussian noise of standard deviation ``sigma`` to counts that one record changes by at most ``d`` (in L2)
costs ``mu**2 = (d / sigma)**2``. Costs of mechanisms on the same persons add up. One formula (Balle, Wang 2018; Dong, Roth, Su
2022) converts the sum; it is exact for continuous noise. For the discrete Gaussian on units this fine the two differ by less
than ``MARGIN``, which is kept as a reserve.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from ctdc_pipeline.errors import ParameterError

MARGIN = 1e-6
"""The share of epsilon that is never spent."""
MAX_EPSILON = 100.0


def delta_of(*, mu: float, epsilon: float) -> float:
    """Return the delta at which a total cost ``mu`` equals ``epsilon``."""
    if mu <= 0:
        return 0.0
    return max(0.0, _tail(epsilon / mu - mu / 2) - _scaled_tail(epsilon / mu + mu / 2, epsilon))


def epsilon_of(*, mu: float, delta: float) -> float:
    """Return the epsilon at which a total cost ``mu`` has ``delta``.

    It is rounded up by less than a billionth.
    """
    low, high = 0.0, 1.0
    while delta_of(mu=mu, epsilon=high) > delta:
        high *= 2
    return _bisect(low, high, lambda epsilon: delta_of(mu=mu, epsilon=epsilon) <= delta)


def mu_of(*, epsilon: float, delta: float) -> float:
    """Return the greatest cost that is within ``epsilon`` at ``delta``, less the margin.

    Raises:
        ParameterError: If the two are not a budget.
    """
    require_budget(epsilon=epsilon, delta=delta)
    usable_epsilon = epsilon * (1 - MARGIN)
    low, high = 0.0, 1.0
    while delta_of(mu=high, epsilon=usable_epsilon) < delta:
        high *= 2
    return high - _bisect(0.0, high - low, lambda reduction: delta_of(mu=high - reduction, epsilon=usable_epsilon) <= delta)


def mu_squared(costs: list[tuple[int, int]]) -> Fraction:
    """Return the exact total cost of mechanisms, as mu squared.

    Args:
        costs: (squared sensitivity, sigma) of each mechanism, both in the same whole units.
    """
    return sum((Fraction(squared, sigma * sigma) for squared, sigma in costs), Fraction(0))


def require_budget(*, epsilon: float, delta: float) -> None:
    """Refuse a budget that promises nothing, or that is impossible. Raises ParameterError."""
    if not math.isfinite(epsilon) or not 0 < epsilon <= MAX_EPSILON:
        raise ParameterError(
            "epsilon is not a budget",
            remedy=f"Give a number above 0, at most {MAX_EPSILON:g}; 1 to 4 are usual, above 12 protects little.",
        )
    if not math.isfinite(delta) or not 1e-30 <= delta < 0.01:
        raise ParameterError("delta is not a budget", remedy="Give a number far below 1 / rows, such as 1e-6.")


def _tail(z: float) -> float:
    """Return the probability that a standard normal draw exceeds ``z``."""
    return math.erfc(z / math.sqrt(2)) / 2


def _scaled_tail(z: float, epsilon: float) -> float:
    """Return ``exp(epsilon)`` times the tail at ``z``, without overflow where the tail is tiny."""
    tail = _tail(z)
    return math.exp(epsilon + math.log(tail)) if tail > 0 else 0.0


def _bisect(low: float, high: float, holds: Callable[[float], bool]) -> float:
    """Return the least number from ``low`` to ``high`` at which ``holds``.

    It is approached from above; ``holds`` is true at ``high``.
    """
    for _ in range(200):
        middle = (low + high) / 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
