"""Compiled: how alike records are, by which an attacker finds the published record that is most like a person's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ctdc_pipeline.operations.compilation import compiled
from ctdc_pipeline.privacy.domain import Domain

Codes = npt.NDArray[np.int32]
Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def weights(codes: Codes, *, domain: Domain) -> Reals:
    """float64 per attribute: how much it says, in bits; a rare value says more."""
    support = np.bincount(codes[codes >= 0], minlength=domain.attributes)
    return -np.log2((support + 0.5) / (len(codes) + 1.0))


@compiled
def likenesses(record: Codes, columns: Flags, published: Codes, weight: Reals) -> Reals:
    """float64 per published record: what it shares with ``record`` in ``columns``, as a part of all that either says there."""
    likeness = np.zeros(len(published))
    for row in range(len(published)):
        shared, either = 0.0, 0.0
        for column in range(len(record)):
            if not columns[column]:
                continue
            own, other = record[column], published[row, column]
            if own >= 0:
                either += weight[own]
            if own == other:
                if own >= 0:
                    shared += weight[own]
            elif other >= 0:
                either += weight[other]
        if either > 0.0:
            likeness[row] = shared / either
    return likeness


@compiled
def closest(records: Codes, published: Codes, weight: Reals, own: npt.NDArray[np.int64]) -> Reals:
    """float64 per record: the most that any published record is like it; not the one of number ``own``, or -1 for all."""
    columns = np.ones(records.shape[1], np.bool_)
    best = np.zeros(len(records))
    for number in range(len(records)):
        likeness = likenesses(records[number], columns, published, weight)
        for row in range(len(likeness)):
            if row != own[number] and likeness[row] > best[number]:
                best[number] = likeness[row]
    return best
