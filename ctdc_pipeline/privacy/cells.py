"""Compiled functions that measuring and searching share.

They give the number of a pair of attributes, and the values of a record.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ctdc_pipeline.operations.compilation import leaf


@leaf
def pair_number(
    first: npt.NDArray[np.int64],
    blocks: npt.NDArray[np.int64],
    column: int,
    attribute: int,
    other_column: int,
    other_attribute: int,
) -> int:
    """Return the number of the pair of two attributes of different columns.

    Args:
        first: int64 (columns + 1), as in ``Domain``.
        blocks: int64 (columns, columns), as in ``Domain``.
        column: of the attribute.
        attribute: its number in the domain.
        other_column: of the other attribute.
        other_attribute: its number in the domain.
    """
    if column > other_column:
        column, other_column = other_column, column
        attribute, other_attribute = other_attribute, attribute
    width = first[other_column + 1] - first[other_column]
    return blocks[column, other_column] + (attribute - first[column]) * width + other_attribute - first[other_column]


@leaf
def value_count(record: npt.NDArray[np.int32]) -> int:
    """Return how many values ``record`` has."""
    count = 0
    for attribute in record:
        count += attribute >= 0
    return count
