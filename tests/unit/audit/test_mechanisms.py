"""The promise of differential privacy under attack: it holds, a broken one is caught, and so is the published engine's fault."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from ctdc_pipeline.audit.mechanisms import (
    FLIP,
    FLIP_LONG,
    FLIP_ROWS,
    Proved,
    attack_flip_table,
    attack_measuring,
    attack_thresholds,
    chosen_percentile,
)
from ctdc_pipeline.audit.releases import SYNTHETIC, People
from ctdc_pipeline.privacy.accounting import epsilon_of, mu_of
from ctdc_pipeline.privacy.domain import Domain
from ctdc_pipeline.privacy.measurements import Measurements, measure
from tests.support.audits import SETTINGS, audited

DELTA = 1e-6


@pytest.fixture(scope="module")
def target() -> People:
    return audited()


def attack(target: People, *, epsilon: float, promised: float, repeats: int) -> Proved:
    """Attack a mechanism that promises ``promised`` and adds the noise of ``epsilon``."""

    def measuring(table: pa.Table, domain: Domain) -> Measurements:
        return measure(table, domain=domain, epsilon=epsilon, delta=DELTA)[0]

    found = attack_measuring(target, measuring, delta=DELTA, rng=np.random.default_rng(1), repeats=repeats)
    return Proved("mechanism", promised, DELTA, found, gaussian=True)


@pytest.mark.parametrize("epsilon", [1.0, 4.0])
def test_the_promise_holds(target: People, epsilon: float) -> None:
    """Guards against a sensitivity that is understated, or noise that is too small: more epsilon than promised."""
    assert not attack(target, epsilon=epsilon, promised=epsilon, repeats=400).broken


@pytest.mark.parametrize(("epsilon", "repeats"), [(1.0, 800), (4.0, 400)])
def test_noise_too_small_by_three_is_caught(target: People, epsilon: float, repeats: int) -> None:
    """Guards against an audit that would not notice a broken mechanism. The smaller the epsilon, the more it takes to see."""
    spent = epsilon_of(mu=3 * mu_of(epsilon=epsilon, delta=DELTA), delta=DELTA)
    found = attack(target, epsilon=spent, promised=epsilon, repeats=repeats)
    assert found.broken
    assert found.least <= spent


def test_the_flip_table_is_caught() -> None:
    """Guards against an audit that is blind: two tables that differ in one person are told apart at a promised epsilon of 1."""
    delta = 1 / (FLIP_ROWS * math.log(FLIP_ROWS))
    found = attack_flip_table(delta=delta, rng=np.random.default_rng(1), repeats=300)
    assert found.epsilon > 2
    assert Proved(FLIP, 1.0, delta, found, gaussian=False).broken


def test_the_percentile_turns_on_one_person() -> None:
    """Guards against a control that is broken in another way than the published engine, which gives 3 and 4 here."""
    draw = np.random.default_rng(1)
    for more in (0, 1):
        lengths = np.full(FLIP_ROWS + more, 3)
        lengths[: FLIP_LONG + more] = 4
        assert {chosen_percentile(lengths, epsilon=0.0126, rng=draw) for _ in range(50)} == {3 + more}


def test_thresholds_have_no_epsilon(target: People) -> None:
    """Guards against taking k-synthetic records for differentially private: with k - 1 others alike, one person shows."""
    found = attack_thresholds(target, settings=SETTINGS, rng=np.random.default_rng(1))
    assert found[SYNTHETIC].epsilon > 0.5
