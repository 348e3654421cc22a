"""The counts of a differentially private release for people to read: of each value, and of the pairs that the noise lets show.

A count is the noisy one in records, with an interval that covers what the noise may have changed in 95 of 100 cases. It does
not cover that a record of more values than the cap counts for less than one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from ctdc_pipeline.counting.rounding import attribute_columns, combination_columns
from ctdc_pipeline.privacy.contribution import UNIT
from ctdc_pipeline.privacy.measurements import Measurements
from ctdc_pipeline.storage.tables import write_table

NAME = "noisy_counts"
SHOWN_SIGMAS = 3.3
"""Standard deviations from which a pair is listed. Of a thousand pairs that nobody has, one is above by chance at most."""
INTERVAL_SIGMAS = 1.96
COLUMNS = ("length", *combination_columns(2), "count", "count_from", "count_to")


def write(measurements: Measurements, folder: Path) -> int:
    """Write the table; returns how many rows it has. Raises OSError, ResourceError."""
    table = noisy_counts(measurements)
    write_table(table, folder / f"{NAME}.csv")
    return len(table)


def noisy_counts(measurements: Measurements) -> pa.Table:
    """All people, each value in the order of the domain, and the pairs that show, each with its interval."""
    domain, noisy, sigma = measurements.domain, measurements.noisy, measurements.sigma
    shown = np.flatnonzero(noisy["pairs"] >= SHOWN_SIGMAS * sigma["pairs"])
    first, second = domain.attributes_of(shown)
    none, every = np.array([-1]), np.arange(domain.attributes)
    attributes = np.concatenate([none, every, first]), np.concatenate([none, np.full(len(every), -1), second])
    counts = np.concatenate([noisy["records"], noisy["values"], noisy["pairs"][shown]])
    spread = np.repeat([INTERVAL_SIGMAS * sigma[kind] for kind in ("records", "values", "pairs")], [1, len(every), len(shown)])
    texts = np.array([text for values in domain.values for text in values], dtype=object)
    names = np.array(domain.columns, dtype=object)
    columns: dict[str, pa.Array] = {"length": _whole((attributes[0] >= 0).astype(np.int64) + (attributes[1] >= 0))}
    for (variable, value), attribute in zip(attribute_columns(2), attributes, strict=True):
        missing = attribute < 0
        columns[variable] = pa.array(names[domain.column[attribute]], pa.string(), mask=missing)
        columns[value] = pa.array(texts[attribute], pa.string(), mask=missing)
    columns["count"] = _whole(np.rint(counts / UNIT))
    columns["count_from"] = _whole(np.floor((counts - spread) / UNIT))
    columns["count_to"] = _whole(np.ceil((counts + spread) / UNIT))
    return pa.table(columns)


def _whole(numbers: np.ndarray[tuple[int], np.dtype[np.float64 | np.int64]]) -> pa.Array:
    return pa.array([str(max(0, int(number))) for number in numbers], pa.string())
