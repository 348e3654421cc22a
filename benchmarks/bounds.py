"""Prove by linear programming that no small group follows from a release, on a sample of its sub-cubes.

usage: python benchmarks/bounds.py RELEASE [--cubes 500] [--seed 1]

A sub-cube is up to five variables and of each some values, or all where they are few. Its cells are the people by their values in
these variables, "another value" and "not known" being values too; HiGHS (SciPy) decides what their numbers can be. It is told:

- a reported count p: p to p + k - 1 people; the same of a denominator of stories and map, but one that may have been lowered
  bounds from below only; nobody lacks a year, and the number of all people is told as the denominator of known values;
- rows of the k-anonymised dataset: at least so many people;
- nothing of a combination that is not reported, for it is rare or withheld.

A group is proved if somebody must have its values and k people need not, although it is not reported. Groups by what they are
not (X and not A, of which 1 to k - 1 follow) are counted beside; docs/method.md says why they stay. Half of the sub-cubes are
about unreported groups that come closest to being proved by two counts, the others are drawn at random. It shares no code with
the pipeline but the codebook.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from ctdc_pipeline.codebook.variables import codebook

Attribute = tuple[str, str]
Group = frozenset[Attribute]
Marks = npt.NDArray[np.bool_]

MOST_VARIABLES, MOST_CELLS = 5, 1500
YEAR = "yearOfRegistration"
OTHER, UNKNOWN = "another value", ""
ZERO = 1e-6


class Release:
    """What a release tells of how many people: the bounds of groups, and of those of whom a variable is known."""

    def __init__(self, folder: Path) -> None:
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self.k: int = self.manifest["k"]
        self.length: int = self.manifest["reporting_length"]
        self.years = [str(year) for year in range(codebook().first_year, self.manifest["last_year"] + 1)]
        self.count: dict[Group, int] = {}
        for row in _rows(folder / "reportable_aggregates.csv"):
            pairs = [(row[f"variable_{place}"], row[f"value_{place}"]) for place in range(1, self.length + 1)]
            self.count[frozenset(pair for pair in pairs if pair[0])] = int(row["count"])
        self.people = max((int(row["denominator"]) for row in _rows(folder / "known_values.csv")), default=0)
        self.known = dict(self._known(folder))
        self.anonymised = Counter(
            frozenset(pair for pair in row.items() if pair[1]) for file in folder.glob("*_anonymised.csv") for row in _rows(file)
        )
        self.values: dict[str, list[str]] = defaultdict(list)
        for group in sorted((group for group in self.count if len(group) == 1), key=lambda group: (-self.count[group], *group)):
            ((variable, value),) = group
            self.values[variable].append(value)

    def _known(self, folder: Path) -> Iterator[tuple[tuple[Group, str], tuple[int, float]]]:
        """Bounds of how many in a group have any value of a variable, from denominators."""
        names = codebook().names
        cells: dict[tuple[Group, str], list[int]] = defaultdict(list)
        whole: dict[tuple[Group, str], int] = {}
        for file in sorted([*folder.glob("story_*.csv"), *folder.glob("map.csv")]):
            for row in _rows(file):
                if row.get("denominator"):
                    by = [(name, value) for name, value in row.items() if name in names]
                    by += [(row["by"], row["country"])] if "country" in row else []
                    place = frozenset(by), _subject(row["variable"])
                    cells[place].append(int(row["count"]) + self.k - 1)
                    whole[place] = int(row["denominator"])
        for place, least in whole.items():
            accounted = sum(cells[place]) // self.k * self.k
            yield place, (least, least + self.k - 1 if least < accounted else np.inf)

    @cached_property
    def within(self) -> dict[Group, dict[Attribute, int]]:
        """By group, what is told with one attribute more."""
        found: dict[Group, dict[Attribute, int]] = defaultdict(dict)
        for group, count in self.count.items():
            for attribute in group:
                found[group - {attribute}][attribute] = count
        return found

    def closest(self, number: int) -> list[Group]:
        """The groups not reported of which two counts come closest to proving that somebody is in them."""
        scored: list[tuple[int, Group]] = []
        for parent, children in self.within.items():
            if len(parent) > self.length - 2:
                continue
            most = self.count.get(parent, self.people) + self.k - 1
            ordered = sorted(children.items(), key=lambda item: (-item[1], item[0]))
            for place, (a, first) in enumerate(ordered):
                for b, second in ordered[place + 1 : place + 20]:
                    if first + second - most < -2 * self.k:
                        break
                    if a[0] != b[0] and (group := parent | {a, b}) not in self.count:
                        scored.append((first + second - most, group))
        best = dict(sorted(((group, score) for score, group in scored), key=lambda item: item[1]))
        return sorted(best, key=lambda group: (-best[group], sorted(group)))[:number]


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        yield from csv.DictReader(lines)


def _subject(name: str) -> str:
    """What a denominator says is known: a variable, or any of a group of flags."""
    variable = next(variable for variable in codebook().variables if variable.name == name)
    return variable.group if variable.kind == "flag" else name


@dataclass(frozen=True)
class Cube:
    """Of each variable the values that are looked at; people with other values share one more."""

    values: Mapping[str, Sequence[str]]


def sample(release: Release, number: int, *, seed: int) -> Iterator[Cube]:
    """Sub-cubes: every other one around a group that comes close to being proved, every other one at random."""
    draw = random.Random(seed)  # noqa: S311
    told = sorted((group for group in release.count if len(group) > 1), key=sorted)
    close = release.closest(number)
    for turn in range(number):
        group = close[turn // 2] if turn % 2 == 0 and turn // 2 < len(close) else draw.choice(told)
        yield _around(release, group, draw)


def _around(release: Release, group: Group, draw: random.Random) -> Cube:
    """The variables of ``group`` and others that are told with them; all of a variable's values if there is room."""
    variables = dict(sorted(group))
    near = sorted(
        {
            attribute
            for size in range(len(group))
            for part in combinations(sorted(group), size)
            for attribute in release.within[frozenset(part)]
        }
    )
    draw.shuffle(near)
    for name, value in near:
        if len(variables) < MOST_VARIABLES:
            variables.setdefault(name, value)
    values = {name: [value] for name, value in variables.items()}
    order = sorted(values, key=lambda name: (name != YEAR, draw.random()))
    for name in order:
        others = [value for value in (release.years if name == YEAR else release.values[name]) if value not in values[name]]
        if name != YEAR:
            others = [*others[:2], *draw.sample(others[2:], min(len(others[2:]), 2))] if len(others) > 4 else others
        wider = {**values, name: [*values[name], *others]}
        if _cells(release, wider) <= MOST_CELLS:
            values = wider
    return Cube(values)


def _cells(release: Release, values: Mapping[str, Sequence[str]]) -> int:
    return int(np.prod([len(domain) for domain in _domains(release, values).values()]))


def _domains(release: Release, values: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The values of the cells: those looked at, others if there are any, and none at all if that is possible."""
    variables = {variable.name: variable for variable in codebook().variables}
    domains: dict[str, list[str]] = {}
    for name, own in values.items():
        domain = list(own)
        if name == YEAR:
            domain += [OTHER] if set(release.years) - set(own) else []
        else:
            domain += [UNKNOWN] if variables[name].kind == "flag" else [OTHER, UNKNOWN]
        domains[name] = domain
    return domains


class Model:
    """The linear program of a sub-cube."""

    def __init__(self, release: Release, cube: Cube) -> None:
        self.release, self.cube = release, cube
        self.names = list(cube.values)
        self.domains = _domains(release, cube.values)
        self.cells = np.array(list(product(*(range(len(domain)) for domain in self.domains.values()))), np.int64)
        self.of = {
            (name, value): self.cells[:, place] == number
            for place, name in enumerate(self.names)
            for number, value in enumerate(self.domains[name])
        }
        rows, least, most = self._told()
        # SciPy's annotations know numbers only, where it takes arrays.
        bounds: Any = np.array(least), np.array(most)
        self.told = LinearConstraint(csr_array(np.array(rows, float)), *bounds)

    def marks(self, group: Iterable[Attribute], *, lacking: Iterable[Attribute] = ()) -> Marks:
        """The cells of the people in a group, and in none of ``lacking``."""
        marks = np.ones(len(self.cells), np.bool_)
        for attribute in group:
            marks = marks & self.of[attribute]
        for attribute in lacking:
            marks = marks & ~self.of[attribute]
        return marks

    @cached_property
    def groups(self) -> list[Group]:
        """All combinations of the values that are looked at, also longer ones than are reported."""
        choices = [[None, *self.cube.values[name]] for name in self.names]
        return [
            frozenset((name, value) for name, value in zip(self.names, values, strict=True) if value is not None)
            for values in product(*choices)
            if any(value is not None for value in values)
        ]

    @cached_property
    def shown(self) -> dict[Group, int]:
        """How many rows of the k-anonymised dataset have a combination of the values that are looked at."""
        looked_at = {attribute for attribute in self.of if attribute[1] not in (OTHER, UNKNOWN)}
        shown = Counter[Group]()
        for record, times in self.release.anonymised.items():
            within = sorted(record & looked_at)
            for size in range(1, len(within) + 1):
                for part in combinations(within, size):
                    shown[frozenset(part)] += times
        return shown

    def _told(self) -> tuple[list[Marks], list[float], list[float]]:
        k, release = self.release.k, self.release
        rows, least, most = [self.marks(())], [float(release.people)], [float(release.people + k - 1)]

        def tell(marks: Marks, low: float, high: float) -> None:
            rows.append(marks)
            least.append(low)
            most.append(high)

        for group in self.groups:
            count, shown = release.count.get(group), self.shown.get(group, 0)
            if count is not None:
                tell(self.marks(group), max(count, shown), count + k - 1)
            elif shown:
                tell(self.marks(group), shown, np.inf)
        whole = {variable.name for variable in codebook().variables if variable.kind != "flag"}
        for (group, subject), (low, high) in release.known.items():
            if not group <= self.of.keys():
                continue
            if subject in whole:
                if subject in self.domains:
                    tell(self.marks(group, lacking=[(subject, UNKNOWN)] if subject != YEAR else ()), low, high)
                continue
            flags = [(name, UNKNOWN) for name in self.names if _subject(name) == subject]
            if flags and high < np.inf:
                tell(self.marks(group) & ~np.logical_and.reduce([self.of[flag] for flag in flags]), 0, high)
        return rows, least, most

    def least(self, weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        """The least weighted number of people, and the numbers in the cells."""
        found = milp(weights, constraints=self.told, bounds=Bounds(0, np.inf))
        if found.x is None:
            raise ValueError(f"no numbers agree with all that is told: {found.message}")
        return float(found.fun), found.x

    def proved(self, marks: Sequence[Marks]) -> dict[int, float]:
        """Which of these groups cannot be empty, with their least numbers.

        One solution in which a group is empty settles that it can be; so many are sought to be empty at once.
        """
        matrix = np.array(marks, float).reshape(len(marks), len(self.cells))
        left = np.arange(len(marks))
        while len(left):
            _, people = self.least(matrix[left].sum(axis=0))
            empty = matrix[left] @ people <= ZERO
            if not empty.any():
                break
            left = left[~empty]
        least = {number: self.least(matrix[number])[0] for number in left.tolist()}
        return {number: people for number, people in least.items() if people > ZERO}


def small_groups(model: Model) -> dict[Group, float]:
    """The groups that are not reported and of which it is proved that at least 1 and fewer than k people are in them."""
    release = model.release
    groups = [group for group in model.groups if group not in release.count and len(group) <= release.length]
    proved = model.proved([model.marks(group) for group in groups])
    return {groups[number]: least for number, least in proved.items() if least <= release.k - 1 + ZERO}


def small_differences(model: Model) -> dict[tuple[Group, Attribute], float]:
    """Those in a reported group without one attribute of a reported part, of whom 1 to k - 1 must be."""
    release = model.release
    pairs: list[tuple[Group, Attribute]] = []
    for group in model.groups:
        if group in release.count:
            pairs += [
                (group - {attribute}, attribute)
                for attribute in sorted(group)
                if release.count.get(group - {attribute}) == release.count[group]
            ]
    proved = model.proved([model.marks(whole, lacking=[attribute]) for whole, attribute in pairs])
    return {pairs[number]: least for number, least in proved.items()}


def examine(folder: Path, *, cubes: int, seed: int) -> dict[str, Any]:
    """Figures of a sample of sub-cubes."""
    release, started = Release(folder), time.process_time()
    groups = 0
    found: dict[Group, float] = {}
    less: dict[tuple[Group, Attribute], float] = {}
    cells: list[int] = []
    for cube in sample(release, cubes, seed=seed):
        model = Model(release, cube)
        cells.append(len(model.cells))
        groups += sum(group not in release.count and len(group) <= release.length for group in model.groups)
        found |= small_groups(model)
        less |= small_differences(model)
    return {
        "aggregates": len(release.count),
        "withheld": release.manifest.get("withheld", {}),
        "cubes": cubes,
        "largest": max(cells, default=0),
        "groups": groups,
        "proved": len(found),
        "differences": len(less),
        "seconds": round(time.process_time() - started, 1),
        "lengths": dict(sorted(Counter(map(len, found)).items())),
    }


def main() -> int:
    """Print the figures; status 1 if a group is proved."""
    parser = argparse.ArgumentParser(description="Prove by linear programming that no small group follows from a release.")
    parser.add_argument("release", type=Path)
    parser.add_argument("--cubes", type=int, default=500, help="how many sub-cubes to examine")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = examine(options.release, cubes=options.cubes, seed=options.seed)
    print(json.dumps(found, indent=1))
    return int(found["proved"] > 0)


if __name__ == "__main__":
    sys.exit(main())
