"""A small release to make products of: victims of two kinds, with k = 10."""

from dataclasses import replace

import pytest

from ctdc_pipeline.products.inputs import Inputs
from tests.support.products import VICTIMS, inputs_of


@pytest.fixture
def inputs() -> Inputs:
    return inputs_of(VICTIMS)


@pytest.fixture
def empty(inputs: Inputs) -> Inputs:
    """A release without a single synthetic row, because nothing was common."""
    return replace(inputs, synthetic=inputs.synthetic.slice(0, 0))
