"""What figures of an audit are: intervals, detection rates and lower bounds of epsilon, against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from ctdc_pipeline.audit.statistics import bounds, detection, difference, epsilon_of_guesses, epsilon_of_scores, interval, share
from ctdc_pipeline.privacy.accounting import epsilon_of


@pytest.mark.parametrize(("hits", "tries"), [(0, 10), (10, 10), (3, 17), (0, 500), (250, 500)])
def test_intervals_are_those_of_clopper_and_pearson(hits: int, tries: int) -> None:
    """Guards against an interval that is narrower than it says, at the ends above all."""
    exact = scipy.stats.binomtest(hits, tries).proportion_ci(confidence_level=0.95, method="exact")
    assert interval(hits, tries) == pytest.approx((exact.low, exact.high))


def test_without_attacks_nothing_is_known() -> None:
    """Guards against an attack that was never possible, told as one that always fails."""
    assert interval(0, 0) == (0.0, 1.0)
    assert share("game", "release", "all", "hits", 0, 0).attacks == 0


def test_a_difference_covers_both_intervals() -> None:
    """Guards against an advantage that looks certain where it is not."""
    found = difference(share("g", "r", "all", "a", 6, 10), share("g", "r", "all", "b", 4, 10), what="more")
    assert found.value == pytest.approx(0.2)
    assert found.low < -0.3
    assert found.high > 0.6


def test_equal_scores_detect_nobody() -> None:
    """Guards against ties that count in the attacker's favour: an attack that says the same of all knows nothing."""
    right, *found = detection("game", "release", "all", np.ones(500), np.ones(500))
    assert right.value == 0.5
    assert [one.value for one in found] == [0, 0]
    assert epsilon_of_scores(np.ones(500), np.ones(500), delta=0) == 0


def test_detection_finds_those_who_stand_out() -> None:
    """Guards against a threshold in the wrong place: half of those inside score above everybody outside."""
    draw = np.random.default_rng(1)
    inside = np.concatenate([np.full(1000, 10.0), draw.normal(size=1000)])
    found = {one.what: one.value for one in detection("game", "release", "all", inside, draw.normal(size=2000))}
    assert found["found at 0.1% false alarms"] == pytest.approx(0.5, abs=0.01)
    assert found["found at 1% false alarms"] == pytest.approx(0.505, abs=0.01)
    assert found["right guesses"] == pytest.approx(2 / 3, abs=0.02)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_guesses_prove_nearly_the_epsilon_of_randomised_answers(epsilon: float) -> None:
    """Guards against a bound above the truth. Whoever tells a coin with this epsilon is guessed right this often."""
    draw = np.random.default_rng(2)
    right = draw.binomial(2000, 1 / (1 + np.exp(-epsilon)), size=200)
    proved = np.array([epsilon_of_guesses(int(number), 2000) for number in right[:40]])
    assert (proved > epsilon).mean() <= 0.15
    assert proved.mean() > epsilon - 0.5
    assert epsilon_of_guesses(1900, 2000, delta=1e-3, targets=2000) < epsilon_of_guesses(1900, 2000)


def test_a_coin_proves_nothing() -> None:
    """Guards against a leak found where there is none."""
    assert epsilon_of_guesses(51, 100) == 0
    draw = np.random.default_rng(3)
    assert epsilon_of_scores(draw.normal(size=1000), draw.normal(size=1000), delta=0) < 0.3


@pytest.mark.parametrize("mu", [0.3, 0.8, 2.0])
def test_bounds_of_gaussian_noise_are_below_the_truth_and_near_it(mu: float) -> None:
    """Guards against false alarms about a sound mechanism, and against a bound so loose that it catches nothing."""
    draw = np.random.default_rng(4)
    truth = epsilon_of(mu=mu, delta=1e-6)
    for _ in range(20):
        found = bounds(draw.normal(mu, 1, 4000), draw.normal(0, 1, 4000), delta=1e-6)
        assert found.epsilon <= truth
        assert mu - 0.2 < found.mu < mu


def test_what_is_told_apart_with_certainty_has_no_small_epsilon() -> None:
    """Guards against a bound that stays low however clear the difference is."""
    assert bounds(np.ones(1000), np.zeros(1000), delta=1e-6).epsilon > 4
    assert bounds(np.ones(1000), np.ones(1000), delta=1e-6).epsilon == 0
