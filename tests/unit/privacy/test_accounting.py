"""Test what noise costs, against closed formulas and against sums over the discrete noise itself."""

from __future__ import annotations

import math
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest

from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.privacy.accounting import MARGIN, delta_of, epsilon_of, mu_of, mu_squared
from ctdc_pipeline.privacy.contribution import UNIT


@pytest.mark.parametrize("mu", [0.1, 0.81, 2.0, 6.0])
def test_delta_without_epsilon_is_total_variation(mu: float) -> None:
    """Guards against a wrong sign or factor in the formula."""
    assert delta_of(mu=mu, epsilon=0) == pytest.approx(2 * NormalDist().cdf(mu / 2) - 1, rel=1e-12)


def test_published_figures_are_met() -> None:
    """Guards against a loose or wrong conversion. Dwork and Roth's sigma is far above what is needed."""
    mu = mu_of(epsilon=4, delta=4.1e-7)
    assert mu == pytest.approx(0.81, abs=0.001)
    assert [round(epsilon_of(mu=mu * math.sqrt(times), delta=4.1e-7), 2) for times in (1, 2, 3, 5)] == [4.0, 5.92, 7.47, 10.09]
    assert mu_of(epsilon=1, delta=1e-6) > 1 / math.sqrt(2 * math.log(1.25e6))


@pytest.mark.parametrize("epsilon", [0.001, 0.5, 4, 12, 100])
@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-12])
def test_budget_and_cost_are_inverse_and_never_above(epsilon: float, delta: float) -> None:
    """Guards against a search that ends on the wrong side, which would spend more than was promised."""
    spent = epsilon_of(mu=mu_of(epsilon=epsilon, delta=delta), delta=delta)
    assert epsilon * (1 - 3 * MARGIN) <= spent <= epsilon


@pytest.mark.parametrize(("sigma", "change"), [(5000, 1024), (9000, 7000), (1500, 1024)])
@pytest.mark.parametrize("epsilon", [0.5, 1.5])
def test_the_reserve_covers_that_the_noise_is_discrete(sigma: int, change: int, epsilon: float) -> None:
    """Guards against a formula for continuous noise that understates discrete noise. The sum is the exact delta of one count."""
    numbers = np.arange(-14 * sigma, 14 * sigma + change + 1, dtype=float)
    here = np.exp(-((numbers / sigma) ** 2) / 2)
    there = np.exp(-(((numbers - change) / sigma) ** 2) / 2)
    exact = np.maximum(0, there - math.exp(epsilon) * here).sum() / here.sum()
    assert exact <= delta_of(mu=change / sigma, epsilon=epsilon * (1 - MARGIN))


def test_costs_add_exactly() -> None:
    """Guards against floats in a total, which would lose one of a thousand charges."""
    assert mu_squared([(UNIT * UNIT, 10 * UNIT)] * 1000) == Fraction(10)


@pytest.mark.parametrize("epsilon", [0, -1, math.nan, math.inf, 1e9])
def test_an_epsilon_that_is_no_budget_is_refused(epsilon: float) -> None:
    """Guards against dividing by zero, and against an infinite epsilon, which adds no noise."""
    with pytest.raises(ParameterError, match="epsilon is not a budget"):
        mu_of(epsilon=epsilon, delta=1e-6)


@pytest.mark.parametrize("delta", [0, -1e-6, math.nan, 0.5, 1])
def test_a_delta_that_is_no_budget_is_refused(delta: float) -> None:
    """Guards against a delta of a half, which publishes every second person."""
    with pytest.raises(ParameterError, match="delta is not a budget"):
        mu_of(epsilon=1, delta=delta)
