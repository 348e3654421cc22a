"""A small table to audit, and releases of it as a test wants them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from ctdc_pipeline.audit.games import Ints
from ctdc_pipeline.audit.releases import EXACT, NOISY, PRIVATE, ROUNDED, SYNTHETIC, People, Run, Settings, pair_counts, people
from ctdc_pipeline.audit.similarity import Codes, Reals
from ctdc_pipeline.privacy.domain import domain_of_table
from ctdc_pipeline.storage.tables import TEXT

SETTINGS = Settings(k=5, epsilon=4.0, delta=1e-6, runs=4, targets=200, repeats=400, seed=1)
PLANTED, EMPTY = SYNTHETIC, PRIVATE
"""The names under which a release stands that is the records as they are, and one that has nothing to do with them."""


def table(rows: int, *, seed: int = 1) -> pa.Table:
    """Seven columns, sparse and uneven; most rows are unique."""
    draw = np.random.default_rng(seed)
    columns = {}
    for number, values in enumerate((30, 12, 12, 8, 8, 5, 3)):
        cells = np.minimum(draw.geometric(3 / values, rows), values)
        texts = [f"cell-{number}-{cell}" for cell in cells]
        columns[f"column{number}"] = pa.array(texts, mask=draw.random(rows) < 0.15).cast(TEXT)
    return pa.table(columns)


def audited(rows: int = 1200) -> People:
    sensitive = table(rows)
    return people(sensitive, domain=domain_of_table(sensitive), settings=SETTINGS)


def played(of: People, *, runs: int = 4) -> list[Run]:
    """Runs in which one release is the people inside, and the other people from elsewhere; the same of counts of pairs."""
    draw = np.random.default_rng(7)

    def elsewhere(rows: int) -> Codes:
        return np.stack([draw.permutation(of.codes[:, column])[:rows] for column in range(of.codes.shape[1])], axis=1)

    return [_run(of, draw.random(len(of.targets)) < 0.5, elsewhere) for _ in range(runs)]


def _run(of: People, member: np.ndarray, elsewhere: Callable[[int], Codes]) -> Run:
    inside: Ints = np.sort(np.concatenate([of.always, of.targets[member]]))
    exact = pair_counts(of.codes[inside], domain=of.domain)
    other = elsewhere(len(inside))
    foreign = pair_counts(other, domain=of.domain)
    counts: dict[str, Reals] = {EXACT: exact, ROUNDED: exact // SETTINGS.k * SETTINGS.k, NOISY: foreign}
    values = np.bincount(other[other >= 0], minlength=of.domain.attributes).astype(float)
    return Run(member, inside, {PLANTED: of.codes[inside], EMPTY: other}, counts, values, len(inside))
