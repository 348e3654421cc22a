"""Runs with and without one person: what they prove of a mechanism, whoever knows everybody else.

The other people are chosen to help the attacker. They number few, and hold as many records like the person's as a threshold at k
turns on. A mechanism is attacked as it is called in earnest; only the flip table's is rebuilt here, as the positive control.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ctdc_pipeline.audit.releases import (
    ANONYMOUS,
    PRIVATE,
    SAMPLE,
    SYNTHETIC,
    Ints,
    People,
    Settings,
    coded,
    has_anonymous,
)
from ctdc_pipeline.audit.similarity import Codes, Reals
from ctdc_pipeline.audit.statistics import Bounds, bounds
from ctdc_pipeline.counting.attributes import MISSING
from ctdc_pipeline.operations.limits import ONE_THREAD
from ctdc_pipeline.privacy.domain import Domain
from ctdc_pipeline.privacy.measurements import Measurements, exact_counts, measure
from ctdc_pipeline.products import k_anonymous
from ctdc_pipeline.synthesis.k_synthetic import synthesize

OTHERS = 200
"""People besides the one in question."""
SLOWER = 5
"""How many times fewer repeats a mechanism gets that takes longer than some milliseconds."""
FLIP = "flip table (positive control)"
FLIP_EPSILON = 1.0
FLIP_ROWS, FLIP_LONG, FLIP_PERCENTAGE = 200_000, 2_000, 99
PERCENTILE_SHARE = 0.01

Measure = Callable[[pa.Table, Domain], Measurements]


@dataclass(frozen=True)
class Proved:
    """What was proved of a mechanism that promises ``epsilon`` (None: nothing) at ``delta``."""

    mechanism: str
    epsilon: float | None
    delta: float
    bounds: Bounds
    gaussian: bool

    @property
    def least(self) -> float:
        """The least epsilon that the mechanism has."""
        close = self.bounds.gaussian_epsilon(delta=self.delta) if self.gaussian else 0.0
        return max(self.bounds.epsilon, close)

    @property
    def broken(self) -> bool:
        """Whether it promises less than it was proved to have."""
        return self.epsilon is not None and self.least > self.epsilon


def attack_all(people: People, *, settings: Settings) -> list[Proved]:
    """Attack every mechanism, DP at the epsilon of ``settings`` and at 1."""
    rng = np.random.Generator(np.random.PCG64([settings.seed, 4]))
    found: list[Proved] = []
    for epsilon in sorted({1.0, settings.epsilon}):

        def in_earnest(table: pa.Table, domain: Domain, epsilon: float = epsilon) -> Measurements:
            return measure(table, domain=domain, epsilon=epsilon, delta=settings.delta)[0]

        proved = attack_measuring(people, in_earnest, delta=settings.delta, rng=rng, repeats=settings.repeats)
        found.append(Proved(f"{PRIVATE} and counts", epsilon, settings.delta, proved, gaussian=True))
    delta = 1 / (FLIP_ROWS * math.log(FLIP_ROWS))
    flipped = attack_flip_table(delta=delta, rng=rng, repeats=settings.repeats)
    found.append(Proved(FLIP, FLIP_EPSILON, delta, flipped, gaussian=False))
    for name, proved in attack_thresholds(people, settings=settings, rng=rng).items():
        found.append(Proved(name, None, settings.delta, proved, gaussian=False))
    return found


def attack_measuring(people: People, measuring: Measure, *, delta: float, rng: np.random.Generator, repeats: int) -> Bounds:
    """Attack noisy counts of the table with and without the person who changes them most.

    Only that person's values are in the domain: other counts the person does not change.
    """
    row = _heaviest(people)
    record = people.codes[row]
    filled = np.flatnonzero(record >= 0)
    names = [people.domain.columns[at] for at in filled]
    texts = [text for values in people.domain.values for text in values]
    domain = Domain(tuple(names), tuple((texts[record[at]],) for at in filled), people.domain.cap)
    others = people.table.take(pa.array(_others(people, row, rng))).select(names)
    tables = others, _joined(others, people.table.slice(row, 1).select(names))
    without, with_person = (exact_counts(domain.codes(table)[0], domain=domain) for table in tables)

    def score(measured: Measurements) -> float:
        """By how much likelier what was measured is with the person, as a logarithm and up to a constant."""
        return sum(
            float(((with_person[kind] - without[kind]) * (measured.noisy[kind] - without[kind]) / sigma**2).sum())
            for kind, sigma in measured.sigma.items()
        )

    outside, inside = (np.array([score(measuring(table, domain)) for _ in range(repeats)]) for table in tables)
    return bounds(inside, outside, delta=delta)


def attack_thresholds(people: People, *, settings: Settings, rng: np.random.Generator) -> dict[str, Bounds]:
    """Attack what has no epsilon: with the person, as many are alike as a threshold asks for; without, one less."""
    row = int(people.targets[0])
    own, record = people.table.slice(row, 1), people.codes[row]

    def attack(release: Callable[[pa.Table], Codes], alike: int, wanted: Codes) -> Bounds:
        others = people.table.take(pa.array(_others(people, row, rng)))
        tables = [_joined(others, *[own] * copies) for copies in (alike - 1, alike)]
        repeats = range(settings.repeats // SLOWER)
        alike_published = [[int((release(table) == wanted).all(axis=1).sum()) for _ in repeats] for table in tables]
        outside, inside = (np.array(numbers, float) for numbers in alike_published)
        return bounds(inside, outside, delta=settings.delta)

    def synthetic(table: pa.Table) -> Codes:
        made = synthesize(table, k=settings.k, seed=int(rng.integers(1 << 62)), core=settings.core, limits=ONE_THREAD)
        return coded(made, domain=people.domain)

    def sample(table: pa.Table) -> Codes:
        codes = coded(table, domain=people.domain)
        return codes[rng.permutation(len(codes))[: len(codes) // 2]]

    found = {SYNTHETIC: attack(synthetic, settings.k, record)}
    if has_anonymous(people.table.column_names):
        least = k_anonymous.least_group(settings.k)
        shown = np.isin(people.domain.columns, k_anonymous.quasi_identifiers())
        wanted = np.where(shown, record, np.int32(MISSING))
        found[ANONYMOUS] = attack(
            lambda table: coded(k_anonymous.anonymised(table, k=least), domain=people.domain), least, wanted
        )
    return {**found, SAMPLE: attack(sample, 1, record)}


def attack_flip_table(*, delta: float, rng: np.random.Generator, repeats: int) -> Bounds:
    """Attack the published engine's counts of values at ``FLIP_EPSILON``, on the table that its percentile step gives away.

    All of 200,000 people have three values, 2,000 a fourth; one person more with four. Whether three or four values of each count
    then turns on that person, and with it a quarter of the fourth value's count.
    """
    scores: list[Reals] = []
    for more in (0, 1):
        lengths = np.full(FLIP_ROWS + more, 3)
        lengths[: FLIP_LONG + more] = 4
        scores.append(np.array([_published_count(lengths, 4, delta=delta, rng=rng) for _ in range(repeats)]))
    return bounds(scores[1], scores[0], delta=delta)


def _published_count(lengths: Ints, length: int, *, delta: float, rng: np.random.Generator) -> float:
    """The noisy count of a value that all records of at least ``length`` values have, as `pac-synth` 0.0.8 makes it."""
    log = math.log(2 / delta)
    rho = (math.sqrt(FLIP_EPSILON + log) - math.sqrt(log)) ** 2
    cap = chosen_percentile(lengths, epsilon=math.sqrt(2 * rho * PERCENTILE_SHARE), rng=rng)
    sigma = math.sqrt(1 / (2 * rho * (1 - PERCENTILE_SHARE)))
    holders = lengths[lengths >= length]
    # A longer record counts for a random choice of as many of its values as the cap is.
    kept = rng.random(len(holders)) < np.minimum(1.0, cap / holders)
    return float(kept.sum() + rng.normal(0.0, sigma * math.sqrt(max(1, cap))))


def chosen_percentile(lengths: Ints, *, epsilon: float, rng: np.random.Generator) -> int:
    """How many values count: the noisy best by how many records would have to change to make it the percentile."""
    below = np.cumsum(np.bincount(lengths))
    rank = int((len(lengths) + 1 / 3) * FLIP_PERCENTAGE / 100 + 1 / 3)
    percentile = int(np.searchsorted(below, rank, side="left"))
    scores = -np.abs(below - below[percentile])
    return int(np.argmax(scores + rng.exponential(2 / epsilon, len(scores))))


def _joined(*tables: pa.Table) -> pa.Table:
    """The rows of all ``tables``, with one dictionary a column."""
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _others(people: People, row: int, rng: np.random.Generator) -> Ints:
    rows = rng.permutation(len(people.codes))[: OTHERS + 1]
    return rows[rows != row][:OTHERS]


def _heaviest(people: People) -> int:
    """The person who may change counts most: with as many values as count in full, or as near to it as anybody is."""
    lengths = (people.codes >= 0).sum(axis=1)
    return int(np.argmin(np.abs(lengths - people.domain.cap)))
