"""Reconstruction: exact counts give people away, foreign ones do not, and overlaps prove small groups where they do."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from ctdc_pipeline.audit import cubes
from ctdc_pipeline.audit.cubes import Cube, attack_cubes, proves_small_group, solve
from ctdc_pipeline.audit.releases import EXACT, NOISY, People
from tests.support.audits import SETTINGS, audited, played

K = 10


@pytest.fixture(scope="module")
def target() -> People:
    return audited()


def cube(**people: int) -> Cube:
    """A cube of three attributes x, a, b, with so many people who have just these."""
    numbers = np.zeros(8, np.int64)
    for name, count in people.items():
        numbers[sum(1 << "xab".index(letter) for letter in name if letter in "xab")] = count
    return Cube((0, 1, 2), numbers)


def told(of: Cube, *names: str) -> np.ndarray:
    marks = np.zeros(len(of.people), np.bool_)
    marks[[sum(1 << "xab".index(letter) for letter in name) for name in names]] = True
    return marks


def test_counts_of_a_cube_against_brute_force(target: People) -> None:
    """Guards against sums over the wrong cells."""
    record = target.codes[0]
    attributes = record[record >= 0][:4].tolist()
    found = Cube.of(attributes, target.codes, target.domain.column)
    held = [set(row[row >= 0].tolist()) for row in target.codes]
    for size in range(len(attributes) + 1):
        for chosen in combinations(range(len(attributes)), size):
            number = sum(1 << bit for bit in chosen)
            wanted = {attributes[bit] for bit in chosen}
            assert found.exact[number] == sum(wanted <= own for own in held)
            assert set(found.combination(number)) == wanted


def test_an_overlap_proves_a_small_group() -> None:
    """Guards against the hole in published aggregates: of 30 to 39 people 30 have a and 20 have b, so some have both."""
    overlapping = cube(none=900, xa=30, xb=15, xab=5, a=100, b=100)
    every = told(overlapping, "x", "a", "b", "xa", "xb", "ab")
    assert overlapping.exact[7] == 5
    assert proves_small_group(cube(none=900, xa=25, xab=6, xb=4, a=100, b=100), told(overlapping, "x", "a", "b", "xa", "xb"), k=K)
    assert not proves_small_group(overlapping, told(overlapping, "a", "b", "xa", "xb"), k=K)
    assert not proves_small_group(cube(none=900, xa=30, xb=15, xab=15), every | told(overlapping, "xab"), k=K)


def test_all_counts_give_everybody_away() -> None:
    """Guards against a program that misses the one solution there is."""
    draw = np.random.default_rng(1)
    for _ in range(20):
        drawn = Cube(tuple(range(5)), draw.poisson(draw.choice([0.3, 4, 40], 32)).astype(np.int64))
        assert solve(drawn, drawn.exact.astype(float), np.ones(32)) == pytest.approx(drawn.people[-1], abs=1e-6)


def test_exact_counts_are_solved_and_foreign_ones_are_not(
    target: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against an attack too weak for exact counts, and against one that finds people in counts of others."""
    monkeypatch.setattr(cubes, "CUBES", 200)
    run = played(target, runs=1)[0]
    found = attack_cubes(target, run, settings=SETTINGS, parent=tmp_path, rng=np.random.default_rng(1))
    right = {one.release: one for one in found if one.what == "right guesses"}
    assert right[EXACT].low > 0.8
    assert right[EXACT].low > right[NOISY].high
    assert not list(tmp_path.iterdir())
