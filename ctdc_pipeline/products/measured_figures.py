"""The tables of ``story_tables`` for a differentially private release: from the measurements, each figure with its interval.

A count is the noisy one, ``count_from`` to ``count_to`` covers its noise in 95 of 100 cases, and a count is told from as many
standard deviations on as in ``noisy_counts``. The denominator of a variable is the sum of the counts of all its values. How many
people have any of a group of flags is not measured; the denominator of flags is therefore all people, or all people of the group
that a table is broken down by. This differs from a k-synthetic release.

The interval of a percentage covers the noise of its count and of its denominator together in 95 of 100 cases (Bonferroni). As in
a k-synthetic release, a percentage is told where its interval is at most ``story_tables.WIDEST`` points wide.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.privacy.contribution import UNIT
from ctdc_pipeline.privacy.measurements import Measurements
from ctdc_pipeline.products.noisy_counts import INTERVAL_SIGMAS, SHOWN_SIGMAS
from ctdc_pipeline.products.story_tables import ANY, KNOWN, STORIES, WIDEST, Story, file_name, subjects
from ctdc_pipeline.storage.tables import write_table

Ints = npt.NDArray[np.int64]

BOTH_SIGMAS = 2.2414
"""Standard deviations to either side that a count and its denominator exceed, either of them, in 5 of 100 cases."""
FIGURES = pa.schema(
    [
        ("variable", pa.string()),
        ("value", pa.string()),
        *((name, pa.int64()) for name in ("count", "count_from", "count_to", "denominator")),
        *((name, pa.float64()) for name in ("percentage", "percentage_from", "percentage_to")),
    ]
)
"""The last columns of every table of figures."""


def tables(measurements: Measurements) -> dict[str, pa.Table]:
    """Every table of figures, by the name of its file."""
    stories = {file_name(story): table(measurements, story) for story in STORIES}
    return {**stories, f"{KNOWN}.csv": known(measurements)}


def write(measurements: Measurements, folder: Path) -> None:
    """One CSV a story, and ``known_values.csv``. Raises OSError, ResourceError."""
    for name, figures in tables(measurements).items():
        write_table(figures, folder / name)


def table(measurements: Measurements, story: Story) -> pa.Table:
    """The figures of ``story``, which is broken down by one variable at most, in the order of the domain."""
    domain, flags = measurements.domain, _flags(story.of)
    rows: list[dict[str, Any]] = []
    by = story.by[0] if story.by else None
    groups = [None] if by is None else domain.values[domain.columns.index(by)]
    for place, group in enumerate(groups):
        counts = {name: _counts(measurements, name, by=by, place=place) for name in flags or (story.of,)}
        kind = "pairs" if by else "values"
        if not flags:
            whole = _sum(measurements, counts[story.of], kind=kind)
        elif by is None:
            whole = _sum(measurements, measurements.noisy["records"], kind="records")
        else:
            whole = _sum(measurements, _counts(measurements, by)[place : place + 1], kind="values")
        for name, cells in counts.items():
            values = domain.values[domain.columns.index(name)]
            for value, count in zip(values, cells.tolist(), strict=True):
                if count >= SHOWN_SIGMAS * measurements.sigma[kind]:
                    figure = _figure(count, measurements.sigma[kind], whole)
                    rows.append({**({by: group} if by else {}), "variable": name, "value": value, **figure})
    return pa.Table.from_pylist(rows, schema=pa.schema([*(pa.field(name, pa.string()) for name in story.by), *FIGURES]))


def known(measurements: Measurements) -> pa.Table:
    """Of how many people each variable is known, out of all; ``value`` is always ``ANY``. Groups of flags are not measured."""
    people = _sum(measurements, measurements.noisy["records"], kind="records")
    rows: list[dict[str, Any]] = []
    for name in (subject for subject in subjects() if not _flags(subject)):
        count, sigma = _sum(measurements, _counts(measurements, name), kind="values")
        if count >= SHOWN_SIGMAS * sigma:
            rows.append({"variable": name, "value": ANY, **_figure(count, sigma, people)})
    return pa.Table.from_pylist(rows, schema=FIGURES)


def _flags(subject: str) -> list[str]:
    return [variable.name for variable in codebook().variables if variable.kind == "flag" and variable.group == subject]


def _counts(measurements: Measurements, name: str, *, by: str | None = None, place: int = 0) -> Ints:
    """The noisy counts of the values of ``name``, among all people or those with the value of ``by`` at ``place``."""
    domain = measurements.domain
    column = domain.columns.index(name)
    if by is None:
        return measurements.noisy["values"][domain.first[column] : domain.first[column + 1]]
    other = domain.columns.index(by)
    a, b = sorted((column, other))
    sizes = len(domain.values[a]), len(domain.values[b])
    start = int(domain.blocks[a, b])
    grid = measurements.noisy["pairs"][start : start + sizes[0] * sizes[1]].reshape(sizes)
    return grid[place] if other == a else grid[:, place]


def _sum(measurements: Measurements, counts: Ints, *, kind: str) -> tuple[int, float]:
    """The sum of ``counts``, and its standard deviation, in units."""
    return int(counts.sum()), measurements.sigma[kind] * math.sqrt(len(counts))


def _figure(count: int, sigma: float, whole: tuple[int, float]) -> dict[str, Any]:
    """Count, denominator and percentage, with the intervals of the first and the last."""
    spread = INTERVAL_SIGMAS * sigma
    near, far = BOTH_SIGMAS * sigma, BOTH_SIGMAS * whole[1]
    low = _percent(count - near, whole[0] + far)
    high = _percent(count + near, whole[0] - far)
    return {
        "count": max(0, round(count / UNIT)),
        "count_from": max(0, math.floor((count - spread) / UNIT)),
        "count_to": max(0, math.ceil((count + spread) / UNIT)),
        "denominator": max(0, round(whole[0] / UNIT)),
        "percentage": round(_percent(count, whole[0]), 1) if high - low <= WIDEST else None,
        "percentage_from": math.floor(10 * low) / 10,
        "percentage_to": math.ceil(10 * high) / 10,
    }


def _percent(part: float, whole: float) -> float:
    """``part`` of ``whole``, between 0 and 100; 100 where there is no whole."""
    return 100.0 if whole <= 0 else min(100.0, max(0.0, 100 * part / whole))
