"""What the synthetic records can be used for: how far the counts of each pair of variables are from the actual ones.

Computed from the released records and the reportable aggregates alone, so anyone can compute it, and it tells nothing new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting.rounding import combination_columns

GOOD, CARE, COUNTS, NOTHING = "good", "with care", "use the counts instead", "nothing to tell"
MOST_GOOD, MOST_CARE = 0.1, 0.2
"""The largest error of a pair of variables that is good, and that can be used with care; a page warns of a larger one."""
USES: Mapping[str, str] = {
    GOOD: f"Differences add up to at most {MOST_GOOD:.0%} of the actual counts. Use the records.",
    CARE: f"Differences add up to at most {MOST_CARE:.0%}. Use the records for shapes and shares, and check what you quote.",
    COUNTS: f"Differences add up to more than {MOST_CARE:.0%}. Take the figures from the reportable aggregates.",
    NOTHING: "No combination of the two variables is reportable.",
}
"""What each of the uses means, for people."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """Two variables: how many of their combinations are reportable, and how the synthetic counts of these differ.

    ``error``: all differences by all actual counts. ``kept``: synthetic by actual counts, both added up. None where nothing is
    reportable.
    """

    first: str
    second: str
    reportable: int
    error: float | None
    kept: float | None

    @property
    def use(self) -> str:
        """One of ``USES``."""
        if self.error is None:
            return NOTHING
        return GOOD if self.error <= MOST_GOOD else CARE if self.error <= MOST_CARE else COUNTS


def pairs(aggregates: pa.Table, synthetic: pa.Table) -> list[Pair]:
    """Compare the synthetic counts of each pair of variables with the reported ones.

    Args:
        aggregates: the reported counts.
        synthetic: the synthetic records, as text, null for missing.

    Returns:
        Every pair of variables, in the order of the codebook.
    """
    names = codebook().names
    codes = {name: _codes(synthetic[name]) for name in names}
    table = np.stack([column for column, _ in codes.values()], axis=1)
    distinct, times = np.unique(table, axis=0, return_counts=True)
    two = aggregates.filter(np.equal(aggregates["length"].to_numpy(), 2)).to_pydict()
    reported: dict[tuple[str, str], list[tuple[str, str, int]]] = {}
    if "variable_2" in two:
        columns = (two[name] for name in (*combination_columns(2), "count"))
        for first, value, second, other, count in zip(*columns, strict=True):
            swap = names.index(first) > names.index(second)
            pair, values = ((second, first), (other, value)) if swap else ((first, second), (value, other))
            reported.setdefault(pair, []).append((*values, count))
    result: list[Pair] = []
    for first, second in combinations(names, 2):
        rows = reported.get((first, second), [])
        if not rows:
            result.append(Pair(first, second, 0, None, None))
            continue
        base = len(codes[second][1]) + 2
        one, other = (distinct[:, names.index(name)] for name in (first, second))
        counts = np.bincount(one * base + other, weights=times, minlength=base * (len(codes[first][1]) + 2)).astype(np.int64)
        # A value that no record has is in the last place of its variable, where no record is.
        places = [_place(codes[first][1], a) * base + _place(codes[second][1], b) for a, b, _ in rows]
        actual = np.array([count for _, _, count in rows], np.int64)
        made = counts[places]
        result.append(
            Pair(first, second, len(rows), float(np.abs(made - actual).sum() / actual.sum()), float(made.sum() / actual.sum()))
        )
    return result


def _place(index: Mapping[str, int], value: str) -> int:
    return index.get(value, len(index) + 1)


def _codes(column: pa.ChunkedArray) -> tuple[Ints, dict[str, int]]:
    """The place of each cell's text among the texts of the column, from 1; 0 for missing; and those places."""
    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    index = {text: place for place, text in enumerate(encoded.dictionary.to_pylist(), 1)}
    return encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy() + 1, index
