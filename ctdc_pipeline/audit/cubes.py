"""Reconstruction: solve small sub-cubes of published counts for the people in them, by linear programming.

A cube is a target's values in up to five variables. Its cells are who has which of them; every published count is a sum of cells.
The attacker solves for the cell of those who have all the values, of whom no count is published, and concludes how likely it is
that somebody is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.optimize

from ctdc_pipeline.audit.games import pairs_of
from ctdc_pipeline.audit.releases import EXACT, NOISY, ROUNDED, People, Run, Settings, has_anonymous
from ctdc_pipeline.audit.similarity import Codes, Reals
from ctdc_pipeline.audit.statistics import Figure, detection, share
from ctdc_pipeline.counting.aggregates import reportable_aggregates
from ctdc_pipeline.counting.combinations import count_combinations
from ctdc_pipeline.counting.rounding import rounded_down
from ctdc_pipeline.products import k_anonymous
from ctdc_pipeline.storage.files import scratch

RECONSTRUCTION, PROOF = "reconstruction", "small groups proved"
NAIVE = "naive guess from single counts"
NONE_WITHHELD = "rounded counts, none withheld (positive control)"
CUBES = 500
MOST_VARIABLES = 5
LENGTH = 4
"""Values of the longest combination that a release counts."""
UNTOLD_WEIGHT, EXPECTED_WEIGHT = 0.1, 0.01
"""What it weighs, against a count that is told, to miss what an untold one, or a cell, is expected to be."""
ZERO = 1e-6

Marks = npt.NDArray[np.bool_]
Combination = tuple[int, ...]


@dataclass(frozen=True)
class Cube:
    """Attributes of different columns, and how many people have which of them: int64 (2 ** attributes), bit by bit."""

    attributes: Combination
    people: npt.NDArray[np.int64]

    @classmethod
    def of(cls, attributes: Sequence[int], codes: Codes, column: npt.NDArray[np.int64]) -> Cube:
        """The cube of ``attributes`` among the records ``codes``; ``column`` says of each attribute its column."""
        has = [(codes[:, column[attribute]] == attribute).astype(np.int64) << bit for bit, attribute in enumerate(attributes)]
        return cls(tuple(attributes), np.bincount(np.sum(has, axis=0), minlength=1 << len(attributes)))

    @cached_property
    def marks(self) -> Marks:
        """Which cells (columns) each combination of the attributes (rows, bit by bit) is the sum of; the first is everybody."""
        cells = np.arange(len(self.people))
        return (cells[None, :] & cells[:, None]) == cells[:, None]

    @cached_property
    def exact(self) -> npt.NDArray[np.int64]:
        """How many people have each combination."""
        return self.marks @ self.people

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """How many attributes each combination has."""
        return np.bitwise_count(np.arange(len(self.people))).astype(np.int64)

    def combination(self, number: int) -> Combination:
        """The attributes of a combination, ascending."""
        return tuple(sorted(attribute for bit, attribute in enumerate(self.attributes) if number >> bit & 1))


def attack_cubes(people: People, run: Run, *, settings: Settings, parent: Path, rng: np.random.Generator) -> list[Figure]:
    """Reconstruct cubes from rounded, noisy and exact counts, and look for small groups that rounded counts prove.

    Args:
        people: the targets, and the table they are in.
        run: one release of the table.
        settings: the resolution and the number of attacks.
        parent: a folder for counts, which are removed at the end. It must be as safe as the table.
        rng: draws the cubes.
    """
    codes = people.codes[run.inside]
    chosen = rng.permutation(len(people.targets))[:CUBES]
    cubes = [
        _around(record, codes, people, rng) if turn % 2 else _around_overlap(record, codes, people, rng, k=settings.k)
        for turn, record in enumerate(people.codes[people.targets[chosen]])
    ]
    reported = _reported(people, run, settings=settings, parent=parent)
    scores: dict[str, list[float]] = {name: [] for name in (ROUNDED, NOISY, EXACT, NAIVE)}
    proved = {ROUNDED: 0, NONE_WITHHELD: 0}
    for cube in cubes:
        common = (cube.sizes >= 1) & (cube.sizes <= LENGTH) & (cube.exact >= settings.k)
        reported_here = common & np.array([cube.combination(number) in reported for number in range(len(cube.people))])
        scores[ROUNDED].append(_solve_rounded(cube, reported_here, k=settings.k))
        scores[NOISY].append(_solve_noisy(cube, people, run))
        scores[EXACT].append(solve(cube, cube.exact.astype(float), (cube.sizes <= LENGTH).astype(float)))
        scores[NAIVE].append(float(_expected(cube, cube.exact.astype(float))[-1]))
        proved[ROUNDED] += proves_small_group(cube, reported_here, k=settings.k)
        proved[NONE_WITHHELD] += proves_small_group(cube, common, k=settings.k)
    figures = [share(PROOF, name, "all", "cubes with a group of 1 to k - 1", hits, len(cubes)) for name, hits in proved.items()]
    few = np.array([0 < cube.people[-1] < settings.k for cube in cubes])
    nobody = np.array([not cube.people[-1] for cube in cubes])
    number = min(few.sum(), nobody.sum())
    sides = [rng.permutation(np.flatnonzero(marks))[:number] for marks in (few, nobody)]
    for name, said in scores.items():
        figures += detection(RECONSTRUCTION, name, "all", *(np.array(said)[side] for side in sides))
    return figures


def proves_small_group(cube: Cube, is_reported: Marks, *, k: int) -> bool:
    """Whether the rounded counts prove that somebody is in a combination that is not reported, though it could be.

    What is not reported is rare, so a reader concludes that 1 to ``k`` - 1 people are there.

    Args:
        cube: a few variables and values, and the people in them.
        told: bool, one per combination of the cube: whether it is reported.
        k: the resolution.
    """
    matrix = cube.marks.astype(float)
    limits = _limits(cube, is_reported, k=k)
    secret = matrix[~is_reported & (cube.sizes >= 1) & (cube.sizes <= LENGTH)]
    while len(secret):
        # One solution in which a combination is empty settles that it can be; so many are sought to be empty at once.
        empty = secret @ _optimum(secret.sum(axis=0), **limits) <= ZERO
        if not empty.any():
            break
        secret = secret[~empty]
    return any(ZERO < float(row @ _optimum(row, **limits)) < k - ZERO for row in secret)


def solve(cube: Cube, counts: Reals, weights: Reals, limits: dict[str, Any] | None = None) -> float:
    """Return how many people have all attributes of a cube, if counts of its combinations are missed by the least.

    Among solutions that miss them alike it takes the one nearest to what single counts let expect.

    Args:
        cube: a few variables and values.
        counts: one per combination of the cube.
        weights: what a miss of each count weighs; 0 for one that is not known.
        limits: what the solution must keep, as ``_limits`` returns it.
    """
    expected, known = _expected(cube, counts), weights > 0
    matrix = np.vstack([cube.marks[known].astype(float), np.eye(len(expected))])
    wanted = np.concatenate([counts[known], expected])
    missing = np.concatenate([weights[known], EXPECTED_WEIGHT / (1 + expected)])
    slack = np.eye(len(matrix))
    wide = dict(limits or {})
    for name in wide.keys() & {"A_ub", "A_eq"}:
        wide[name] = np.hstack([wide[name], np.zeros((len(wide[name]), 2 * len(slack)))])
    equal = np.hstack([matrix, slack, -slack])
    wide["A_eq"] = np.vstack([wide["A_eq"], equal]) if "A_eq" in wide else equal
    wide["b_eq"] = np.concatenate([wide["b_eq"], wanted]) if "b_eq" in wide else wanted
    return float(_optimum(np.concatenate([np.zeros(len(expected)), missing, missing]), **wide)[len(expected) - 1])


def _expected(cube: Cube, counts: Reals) -> Reals:
    """How many people each cell would have, if those with each attribute were spread over the others at random."""
    people = max(1.0, counts[0])
    shares = np.clip(counts[cube.sizes == 1] / people, 0.0, 1.0)
    bits = np.arange(len(cube.people))[:, None] >> np.arange(len(shares)) & 1
    return people * np.where(bits == 1, shares, 1 - shares).prod(axis=1)


def _around(record: Codes, codes: Codes, people: People, rng: np.random.Generator) -> Cube:
    """The cube of up to five values of a target, drawn at random."""
    filled = record[record >= 0]
    return Cube.of(rng.permutation(filled)[:MOST_VARIABLES].tolist(), codes, people.domain.column)


def _around_overlap(record: Codes, codes: Codes, people: People, rng: np.random.Generator, *, k: int) -> Cube:
    """The cube of four values of a target that come nearest to proving a small group, and a fifth.

    Of all people with the first two, so many have the third, and so many the fourth, that for certain some have both; and fewer
    than ``k`` have.
    """
    filled = record[record >= 0]
    has = codes[:, people.domain.column[filled]] == filled
    best, chosen = -np.inf, rng.permutation(len(filled))[:MOST_VARIABLES].tolist()
    together = has.T.astype(np.int64) @ has
    for first, second in np.argwhere(np.triu(together, 1) >= k).tolist():
        both = has[has[:, first] & has[:, second]]
        parts = both.T.astype(np.int64) @ both
        rounded = rounded_down(np.diag(parts), k)
        overlap = np.add.outer(rounded, rounded) - (rounded_down(int(together[first, second]), k) + k - 1)
        fits = (parts < k) & (np.minimum.outer(rounded, rounded) >= k)
        fits[[first, second], :] = fits[:, [first, second]] = False
        if fits.any() and (overlap := np.where(fits, overlap, -np.inf)).max() > best:
            third, fourth = np.unravel_index(int(np.argmax(overlap)), overlap.shape)
            best, chosen = overlap.max(), [first, second, int(third), int(fourth)]
    rest = np.setdiff1d(np.arange(len(filled)), chosen)
    chosen += rng.permutation(rest)[: max(0, MOST_VARIABLES - len(chosen))].tolist()
    return Cube.of(filled[chosen].tolist(), codes, people.domain.column)


def _solve_rounded(cube: Cube, is_reported: Marks, *, k: int) -> float:
    counts = np.where(is_reported, rounded_down(cube.exact, k) + (k - 1) / 2, 0.0)
    counts[0] = cube.exact[0]
    # A count that is not told is rare, unless it is withheld.
    untold = np.minimum(cube.marks @ _expected(cube, counts), k - 1)
    weights = np.where(is_reported, 1.0, UNTOLD_WEIGHT)
    weights[0] = 1.0
    weights[cube.sizes > LENGTH] = 0.0
    return solve(cube, np.where(weights == UNTOLD_WEIGHT, untold, counts), weights, _limits(cube, is_reported, k=k))


def _solve_noisy(cube: Cube, people: People, run: Run) -> float:
    counts, weights = np.zeros(len(cube.people)), (cube.sizes <= 2).astype(float)
    counts[0] = run.rows
    for number in np.flatnonzero((cube.sizes == 1) | (cube.sizes == 2)).tolist():
        attributes = np.array(cube.combination(number))
        record = np.full(len(people.domain.columns), -1, np.int32)
        record[people.domain.column[attributes]] = attributes
        pair = pairs_of(record, domain=people.domain)
        counts[number] = run.counts[NOISY][pair[0]] if len(pair) else run.values[attributes[0]]
    return solve(cube, counts, weights)


def _limits(cube: Cube, is_reported: Marks, *, k: int) -> dict[str, Any]:
    """What counts rounded down to multiples of ``k`` leave possible, where the number of people is known."""
    matrix = cube.marks[is_reported].astype(float)
    least = rounded_down(cube.exact[is_reported], k)
    return {
        "A_ub": np.vstack([matrix, -matrix]),
        "b_ub": np.concatenate([least + k - 1, -least]),
        "A_eq": cube.marks[:1].astype(float),
        "b_eq": cube.exact[:1].astype(float),
    }


def _optimum(cost: Reals, **limits: Any) -> Reals:
    """The solution of least ``cost``; nobody counts as less than nothing."""
    return scipy.optimize.linprog(cost, **limits, bounds=(0, None), method="highs").x


def _reported(people: People, run: Run, *, settings: Settings, parent: Path) -> set[Combination]:
    """The combinations that a release of the people inside reports: those that are common and not withheld."""
    table = people.table.take(pa.array(run.inside))
    anonymised = None
    if has_anonymous(table.column_names):
        anonymised = k_anonymous.anonymised(table, k=k_anonymous.least_group(settings.k))
    with scratch(parent) as counts:
        count_combinations(table, counts, length=LENGTH, k=settings.k, minimum=settings.k, limits=settings.limits)
        common = reportable_aggregates(counts, k=settings.k, length=LENGTH, anonymised=anonymised)
    domain = people.domain
    number = {
        (name, text): int(domain.first[at]) + place
        for at, name in enumerate(domain.columns)
        for place, text in enumerate(domain.values[at])
    }
    places = [[common[f"{part}_{place}"].to_pylist() for part in ("variable", "value")] for place in range(1, LENGTH + 1)]
    reported: set[Combination] = set()
    for row in range(len(common)):
        attributes = [(variables[row], values[row]) for variables, values in places]
        reported.add(tuple(sorted(number[one] for one in attributes if one[0] is not None)))
    return reported
