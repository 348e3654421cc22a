"""Releases of a table to attack: several runs, and in each of them a random half of the targets is inside.

Of all other people half are inside in every run and half never. So a target's chance is one half, whatever an attacker knows of
the others, and the same people can be attacked inside and outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ctdc_pipeline.audit.similarity import Codes, Flags, Reals, closest, weights
from ctdc_pipeline.counting.attributes import Progress
from ctdc_pipeline.counting.rounding import rounded_down
from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.operations.limits import ONE_THREAD, UNLIMITED, Limits
from ctdc_pipeline.privacy.contribution import UNIT
from ctdc_pipeline.privacy.domain import Domain
from ctdc_pipeline.privacy.measurements import exact_counts, measure
from ctdc_pipeline.products import k_anonymous
from ctdc_pipeline.storage.tables import TEXT
from ctdc_pipeline.synthesis.differentially_private import records_from
from ctdc_pipeline.synthesis.k_synthetic import synthesize

Ints = npt.NDArray[np.int64]

SYNTHETIC, PRIVATE, ANONYMOUS, SAMPLE = "k-synthetic records", "DP records", "k-anonymised records", "random sample"
RECORDS = (SYNTHETIC, PRIVATE, ANONYMOUS, SAMPLE)
ROUNDED, NOISY, EXACT = "rounded counts", "DP counts", "exact counts"
COUNTS = (ROUNDED, NOISY, EXACT)
"""Releases, by their names on the page. The sample is half of the people inside, as they are; counts are of all pairs."""

CANDIDATES = 4000
"""People of whom it is measured how isolated they are."""
LEAST_ROWS = 200


@dataclass(frozen=True)
class Settings:
    """What is released, and how often: ``runs`` of each release, ``repeats`` of a mechanism with one person and without.

    ``core`` as ``synthesize`` takes it.
    """

    k: int
    epsilon: float
    delta: float
    runs: int
    targets: int
    repeats: int
    seed: int
    core: tuple[str, ...] = ()
    limits: Limits = UNLIMITED


@dataclass(frozen=True)
class People:
    """A table as attribute numbers of ``domain``, and who is a target: rows of ``codes``, the isolated ones first."""

    table: pa.Table
    domain: Domain
    codes: Codes
    targets: Ints
    isolated: int
    always: Ints
    """Rows that are inside in every run."""

    @cached_property
    def weight(self) -> Reals:
        """What each attribute says, as an attacker knows it from the whole population."""
        return weights(self.codes, domain=self.domain)

    @property
    def groups(self) -> dict[str, Flags]:
        """Groups of targets by name, as marks."""
        first = np.arange(len(self.targets)) < self.isolated
        return {"all": np.ones(len(self.targets), np.bool_), "most isolated": first}


@dataclass(frozen=True)
class Run:
    """One release of each kind, of the people ``inside`` (rows): records as codes, counts of pairs by ``Domain.blocks``."""

    member: Flags
    """Per target, whether it is inside."""
    inside: Ints
    records: dict[str, Codes]
    counts: dict[str, Reals]
    values: Reals
    """The DP counts of values."""
    rows: int
    """How many people there are, as the DP counts say."""


def people(table: pa.Table, *, domain: Domain, settings: Settings) -> People:
    """Choose the targets: half of them the people least like anybody else, half of them at random. Raises ParameterError."""
    codes, _ = domain.codes(table)
    rng = np.random.Generator(np.random.PCG64([settings.seed, 1]))
    order = rng.permutation(len(codes))
    filled = order[(codes[order] >= 0).any(axis=1)]
    if len(filled) < LEAST_ROWS:
        remedy = f"Audit a table of which at least {LEAST_ROWS} rows have a value."
        raise ParameterError("the table has too few people to attack", remedy=remedy)
    number = min(settings.targets, len(filled) // 4) // 2 * 2
    candidates = np.sort(filled[: max(CANDIDATES, 2 * number)])
    likeness = closest(codes[candidates], codes, weights(codes, domain=domain), candidates)
    isolated = candidates[np.argsort(likeness, kind="stable")[: number // 2]]
    usual = np.setdiff1d(candidates, isolated)
    targets = np.concatenate([isolated, rng.permutation(usual)[: number // 2]])
    others = np.setdiff1d(order, targets)
    always = np.sort(rng.permutation(others)[: len(others) // 2])
    return People(table, domain, codes, targets, number // 2, always)


def runs(people: People, *, settings: Settings, progress: Progress | None = None) -> list[Run]:
    """Make all releases of every run."""
    rng = np.random.Generator(np.random.PCG64([settings.seed, 2]))
    members = rng.random((settings.runs, len(people.targets))) < 0.5
    done = 0

    def one(number: int) -> Run:
        nonlocal done
        made = _run(people, members[number], settings=settings, number=number)
        done += 1
        if progress:
            progress("releases", done / settings.runs)
        return made

    with ThreadPoolExecutor(settings.limits.workers) as pool:
        return list(pool.map(one, range(settings.runs)))


def pair_counts(codes: Codes, *, domain: Domain) -> Reals:
    """How many records have each pair of attributes, by ``Domain.blocks``."""
    return exact_counts(codes, domain=replace(domain, cap=len(domain.columns)))["pairs"] / UNIT


def has_anonymous(columns: Sequence[str]) -> bool:
    """Whether a table with these ``columns`` can be k-anonymised: it has the variables of the codebook that this needs."""
    return {*k_anonymous.quasi_identifiers()} <= {*columns}


def coded(published: pa.Table, *, domain: Domain) -> Codes:
    """Published records as attribute numbers; a column that they lack is empty."""
    if not len(published):
        return np.empty((0, len(domain.columns)), np.int32)
    nothing = pa.nulls(len(published), pa.string())
    columns = [published[name] if name in published.column_names else pa.chunked_array([nothing]) for name in domain.columns]
    return domain.codes(pa.table([column.cast(TEXT) for column in columns], names=list(domain.columns)))[0]


def _run(people: People, member: Flags, *, settings: Settings, number: int) -> Run:
    inside = np.sort(np.concatenate([people.always, people.targets[member]]))
    domain, table = people.domain, people.table.take(pa.array(inside))
    rng = np.random.Generator(np.random.PCG64([settings.seed, 3, number]))
    seed = int(rng.integers(1 << 62))
    measured, _ = measure(table, domain=domain, epsilon=settings.epsilon, delta=settings.delta)
    records = {
        SYNTHETIC: coded(synthesize(table, k=settings.k, seed=seed, core=settings.core, limits=ONE_THREAD), domain=domain),
        PRIVATE: coded(records_from(measured, seed=seed), domain=domain),
        SAMPLE: people.codes[np.sort(rng.permutation(inside)[: len(inside) // 2])],
    }
    if has_anonymous(table.column_names):
        least = k_anonymous.least_group(settings.k)
        records[ANONYMOUS] = coded(k_anonymous.anonymised(table, k=least), domain=domain)
    exact = pair_counts(people.codes[inside], domain=domain)
    counts = {ROUNDED: rounded_down(exact, settings.k), NOISY: measured.noisy["pairs"] / UNIT, EXACT: exact}
    return Run(
        member,
        inside,
        {name: records[name] for name in RECORDS if name in records},
        counts,
        values=measured.noisy["values"] / UNIT,
        rows=measured.rows,
    )
