"""Withholding: no small group follows from what is reported, and no record says what is withheld."""

import random
from itertools import combinations, product
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from ctdc_pipeline.counting import withholding
from ctdc_pipeline.counting.aggregates import reportable_aggregates, withheld_aggregates
from ctdc_pipeline.counting.combinations import count_combinations
from ctdc_pipeline.counting.withholding import split
from ctdc_pipeline.operations.limits import Limits

NAMES = ("yearOfRegistration", "gender", "ageBroad", "citizenship")
K = 3
Group = frozenset[tuple[str, str]]


def random_people(seed: int, *, number: int = 40) -> pa.Table:
    """People with one common and one rare value in each variable, all of whom have a year."""
    draw = random.Random(seed)  # noqa: S311
    people = [
        {name: draw.choice(("a", "a", "a", "b", None if name != NAMES[0] else "b")) for name in NAMES} for _ in range(number)
    ]
    return pa.table({name: pa.array([person[name] for person in people], pa.string()) for name in NAMES})


def reported_counts(table: pa.Table, folder: Path, *, length: int) -> dict[Group, int]:
    count_combinations(table, folder, length=length, k=K, limits=Limits(threads=1))
    return {
        frozenset((row[f"variable_{i}"], row[f"value_{i}"]) for i in range(1, row["length"] + 1)): row["count"]
        for row in reportable_aggregates(folder, k=K, length=length).to_pylist()
    }


@pytest.mark.parametrize("length", [2, 3, 4])
@pytest.mark.parametrize("seed", range(8))
def test_no_small_group_follows_by_exact_programming(tmp_path: Path, seed: int, length: int) -> None:
    """Guards against a group of 1 to k - 1 people that any reasoning with the reported counts proves.

    The reader knows the number of people, that everybody has a year, and which values there are. How many people can have each
    combination of values, missing ones too, is found by integer programming over all cells of the table.
    """
    table = random_people(seed)
    count = reported_counts(table, tmp_path, length=length)
    cells = list(product(*[("a", "b") if name == NAMES[0] else ("a", "b", None) for name in NAMES]))
    attributes = list(product(NAMES, ("a", "b")))
    groups = [
        frozenset(group) for size in range(1, length + 1) for group in combinations(attributes, size) if len(dict(group)) == size
    ]

    def having(group: Group) -> list[int]:
        return [int(group <= set(zip(NAMES, cell, strict=True))) for cell in cells]

    least = np.array([len(table), *count.values()])
    most = least + np.array([0] + [K - 1] * len(count))
    reported = LinearConstraint(np.array([[1] * len(cells), *map(having, count)]), cast("Any", least), cast("Any", most))
    for group in set(groups) - set(count):
        fewest = milp(having(group), constraints=reported, integrality=np.ones(len(cells)), bounds=Bounds(0, len(table)))
        assert fewest.success
        assert not 1 <= round(fewest.fun) < K, (sorted(group), count)


@pytest.mark.parametrize("seed", range(20))
def test_no_small_group_follows_from_two_counts(tmp_path: Path, seed: int) -> None:
    """Guards against |X & A| + |X & B| - |X| proving that somebody is in a group that is not reported."""
    table = random_people(seed)
    count = reported_counts(table, tmp_path, length=4)
    for s, t in product(count, repeat=2):
        both, shared = s | t, s & t
        if shared in count and both not in count and len(dict(both)) == len(both):
            assert not 1 <= count[s] + count[t] - count[shared] - (K - 1) < K  # from k on it is known to be withheld, not rare
    assert all(frozenset(part) in count for group in count for part in combinations(group, len(group) - 1) if part)

    withheld = withheld_aggregates(tmp_path, reportable_aggregates(tmp_path, k=K, length=4), k=K, length=4)
    apart = split(table, withheld)
    for row in withheld.to_pylist():
        group = {row[f"variable_{i}"]: row[f"value_{i}"] for i in range(1, row["length"] + 1)}
        if len(group) > 1:
            assert not any(group.items() <= record.items() for record in apart.to_pylist())
    assert all(apart[name].drop_null().to_pylist().count("a") == table[name].to_pylist().count("a") for name in NAMES)


@pytest.mark.parametrize(
    ("least", "short", "found"),
    [
        ((22, 22, -1), True, False),  # the published rows show that it is common: known to be withheld
        ((22, 22, 22), True, True),  # a reader of two counts alone would take it for rare
        ((22, 22, 22), False, False),
        ((5, 5, -1), True, True),
        ((22, 5, -1), True, True),  # who does not narrow the bounds would take it for rare
        ((5, 0, 0), False, True),
        ((0, 0, 0), True, False),
    ],
)
def test_a_withheld_group_that_is_known_to_be_common_needs_no_more(least: tuple[int, ...], short: bool, found: bool) -> None:
    """Guards against withholding that runs away: 58% of a table were withheld to hide that withheld groups were common."""
    proof = withholding._Proof(withholding._Finding((1, 2), proved=7), least, short)  # pyright: ignore[reportPrivateUsage]
    assert bool(list(withholding._disclosing([proof], k=10))) is found  # pyright: ignore[reportPrivateUsage]
