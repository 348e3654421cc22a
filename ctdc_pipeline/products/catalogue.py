"""All products of a release, in the order they are made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ctdc_pipeline.products import dictionary, k_anonymous, records, stories
from ctdc_pipeline.products.inputs import Inputs

PRODUCTS: tuple[Callable[[Inputs, Path], None], ...] = (records.write, dictionary.write, stories.write, k_anonymous.write)


def write(inputs: Inputs, folder: Path) -> None:
    """Write every product to ``folder``. Raises OSError, ResourceError, TableError."""
    for product in PRODUCTS:
        product(inputs, folder)
