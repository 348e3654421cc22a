"""What the figures of an audit are: shares with their intervals, detection rates, and lower bounds of epsilon."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.special
import scipy.stats

from ctdc_pipeline.privacy.accounting import epsilon_of

Reals = npt.NDArray[np.float64]

CONFIDENCE = 0.95
SURE = 0.999
"""Confidence of a bound that a verdict rests on: an audit without a fault raises a false alarm once in a thousand times."""
FALSE_ALARMS = (0.001, 0.01)
"""Shares of the people outside whom an attacker takes for people inside, at which detection is told."""
GUESSES = (10, 30, 100, 300, 1000)
"""Of how many targets an attacker claims to be sure, for the bound of epsilon from whole releases."""
_THRESHOLDS = 60


@dataclass(frozen=True)
class Figure:
    """One measured figure: of a ``game`` against a ``release``, with its interval, and of how many attacks it is."""

    game: str
    release: str
    targets: str
    what: str
    value: float
    low: float
    high: float
    attacks: int

    def to_dict(self) -> dict[str, Any]:
        """The figure, as JSON can hold it: no upper end is None."""
        return {**asdict(self), "high": self.high if math.isfinite(self.high) else None}


def interval(hits: int, tries: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson for a share.

    Args:
        hits: how many attacks were right.
        tries: how many there were.
        confidence: how often such an interval contains the true share.

    Returns:
        The lower and the upper end, between 0 and 1.
    """
    if not tries:
        return 0.0, 1.0
    return (
        float(_lower(np.array([hits]), tries, (1 - confidence) / 2)[0]),
        float(1 - _lower(np.array([tries - hits]), tries, (1 - confidence) / 2)[0]),
    )


def share(game: str, release: str, targets: str, what: str, hits: int, tries: int) -> Figure:
    """Return a share of attacks with its interval; 0 if none was possible.

    Args:
        game: which attack it is.
        release: which kind of release was attacked.
        targets: which people were its targets.
        what: what counts as a hit.
        hits: how many attacks were right.
        tries: how many there were.
    """
    low, high = interval(hits, tries)
    return Figure(game, release, targets, what, hits / max(1, tries), low, high, tries)


def difference(first: Figure, second: Figure, *, what: str) -> Figure:
    """By how much ``first`` is above ``second``; the interval is that of both shares at their worst, so rather too wide."""
    value, low, high = first.value - second.value, first.low - second.high, first.high - second.low
    return Figure(first.game, first.release, first.targets, what, value, low, high, first.attacks + second.attacks)


def detection(game: str, release: str, targets: str, inside: Reals, outside: Reals) -> list[Figure]:
    """Measure how well scores tell those inside from those outside.

    Args:
        game: which attack it is.
        release: which kind of release was attacked.
        targets: which people were its targets.
        inside: a score of each person who is in the release; higher ones say so.
        outside: the same of people who are not.

    Returns:
        The share of right guesses, and the share of those inside who are found at each of ``FALSE_ALARMS``. Empty without scores.
    """
    if not len(inside) or not len(outside):
        return []
    middle = float(np.median(np.concatenate([inside, outside])))
    # A score on the middle decides nothing: half of such guesses are right.
    right = float((inside > middle).sum() + (outside < middle).sum())
    right += ((inside == middle).sum() + (outside == middle).sum()) / 2
    figures = [share(game, release, targets, "right guesses", round(right), len(inside) + len(outside))]
    ordered = np.sort(outside)[::-1]
    for rate in FALSE_ALARMS:
        hits = int((inside > ordered[int(rate * len(ordered))]).sum())
        figures.append(share(game, release, targets, f"found at {100 * rate:g}% false alarms", hits, len(inside)))
    return figures


def epsilon_of_guesses(
    right: int, guesses: int, *, delta: float = 0.0, targets: int = 0, confidence: float = CONFIDENCE
) -> float:
    """Return the epsilon that guesses about independent coin flips prove to be exceeded.

    Source: Steinke, Nasr and Jagielski, *Privacy auditing with one training run* (2023).

    Args:
        right: how many guesses were right.
        guesses: how many were made.
        delta: the delta that the release promises.
        targets: of how many flips the guesses were chosen.
        confidence: how sure the proof is.
    """

    def refuted(epsilon: float) -> bool:
        chance = scipy.stats.binom.pmf(np.arange(guesses + 1), guesses, scipy.special.expit(epsilon))
        below = np.cumsum(chance[:right][::-1]) / np.arange(1, right + 1)
        slack = 2 * targets * delta * float(below.max(initial=0.0))
        return float(chance[right:].sum()) + slack < 1 - confidence

    low, high = 0.0, 20.0
    if not refuted(low):
        return 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def epsilon_of_scores(inside: Reals, outside: Reals, *, delta: float) -> float:
    """The epsilon that the best of ``GUESSES`` proves, where whoever scores highest is claimed to be inside."""
    labels = np.concatenate([np.ones(len(inside), np.int64), np.zeros(len(outside), np.int64)])
    # Those outside come first among equal scores, so that a tie is never counted in the attacker's favour.
    order = np.lexsort([labels, -np.concatenate([inside, outside])])
    confidence = 1 - (1 - CONFIDENCE) / len(GUESSES)
    possible = [guesses for guesses in GUESSES if guesses <= len(labels)]
    return max(
        (
            epsilon_of_guesses(
                int(labels[order[:guesses]].sum()), guesses, delta=delta, targets=len(labels), confidence=confidence
            )
            for guesses in possible
        ),
        default=0.0,
    )


@dataclass(frozen=True)
class Bounds:
    """What runs with and without one person prove of a mechanism: the least epsilon that it has, and the least of its mu."""

    epsilon: float
    mu: float
    runs: int

    def gaussian_epsilon(self, *, delta: float) -> float:
        """The least epsilon, if the mechanism's noise is Gaussian, as ours is said to be. The closer bound."""
        return epsilon_of(mu=self.mu, delta=delta) if self.mu > 0 else 0.0


def bounds(inside: Reals, outside: Reals, *, delta: float) -> Bounds:
    """Return lower bounds of epsilon and of the distance of two distributions, at confidence ``SURE``.

    For epsilon, half of the runs choose the threshold, and the others are judged by it.

    Args:
        inside: scores of runs with the person; higher ones say that the person is inside.
        outside: scores of runs without.
        delta: the delta that the release promises.
    """
    chosen = [np.array_split(scores, 2) for scores in (inside, outside)]
    thresholds = np.unique(np.quantile(np.concatenate([halves[0] for halves in chosen]), np.linspace(0, 1, _THRESHOLDS)))
    first = _epsilons(chosen[0][0], chosen[1][0], thresholds, delta=delta)
    best = thresholds[[int(np.argmax(first))]]
    epsilon = float(_epsilons(chosen[0][1], chosen[1][1], best, delta=delta)[0])
    return Bounds(max(0.0, epsilon), _least_distance(inside, outside), len(inside) + len(outside))


def _epsilons(inside: Reals, outside: Reals, thresholds: Reals, *, delta: float) -> Reals:
    """The epsilon that each threshold proves: detection against false alarms, or those rightly passed over against misses."""
    tail = (1 - SURE) / 2
    detected = (inside[:, None] > thresholds).sum(axis=0)
    alarms = (outside[:, None] > thresholds).sum(axis=0)
    least_found, least_passed = _lower(detected, len(inside), tail), _lower(len(outside) - alarms, len(outside), tail)
    return np.maximum(_log_ratio(least_found - delta, 1 - least_passed), _log_ratio(least_passed - delta, 1 - least_found))


def _least_distance(inside: Reals, outside: Reals) -> float:
    """The least distance of two normal distributions of equal spread, in standard deviations; exact, by a noncentral t."""
    freedom = len(inside) + len(outside) - 2
    spread = math.sqrt((((inside - inside.mean()) ** 2).sum() + ((outside - outside.mean()) ** 2).sum()) / freedom)
    if not spread:
        return 0.0
    unit = math.sqrt(1 / len(inside) + 1 / len(outside))
    t = float(inside.mean() - outside.mean()) / spread / unit
    low, high = 0.0, max(0.0, t)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if scipy.stats.nct.sf(t, freedom, middle) < 1 - SURE else (low, middle)
    return low * unit


def _lower(hits: npt.NDArray[np.int64], tries: int, tail: float) -> Reals:
    return np.where(hits > 0, scipy.stats.beta.ppf(tail, np.maximum(hits, 1), tries - hits + 1), 0.0)


def _log_ratio(part: Reals, other: Reals) -> Reals:
    return np.where(part > 0, np.log(np.maximum(part, 1e-300) / np.maximum(other, 1e-300)), -math.inf)
