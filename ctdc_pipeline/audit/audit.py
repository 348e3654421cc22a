"""The audit of a table: releases of it are made and attacked, and what the attacks reached is counted.

Nothing here judges a release that exists: the same methods release parts of the table anew, since only whoever knows who was left
out can tell what an attacker gains. The same arguments give the same figures, except where differential privacy draws its noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandera.pandas as pandera
import pyarrow as pa

from ctdc_pipeline.audit import games
from ctdc_pipeline.audit.cubes import attack_cubes
from ctdc_pipeline.audit.mechanisms import FLIP, Proved, attack_all
from ctdc_pipeline.audit.releases import Settings, people, runs
from ctdc_pipeline.audit.statistics import Figure
from ctdc_pipeline.counting.attributes import Progress, require_core
from ctdc_pipeline.parameters import require_seed, require_whole
from ctdc_pipeline.privacy.accounting import require_budget
from ctdc_pipeline.privacy.domain import Domain
from ctdc_pipeline.storage.tables import TEXT

MOST_ROWS = 20_000
"""People who are audited of a longer table, drawn at random: attacks take time with each."""
ATTACKED_RUNS = 2
"""Runs in which the slower games are played; each plays all targets."""
MOST_TARGETS = 2000
MOST_RUNS = 64
LEAST_REPEATS = 400
"""Below, not even what is told apart with certainty is seen with the confidence that is asked for."""


@dataclass(frozen=True)
class Audit:
    """What was attacked, how, and what was reached."""

    settings: Settings
    rows: int
    columns: int
    targets: int
    figures: tuple[Figure, ...]
    proved: tuple[Proved, ...]

    @property
    def broken(self) -> list[str]:
        """Mechanisms of ours that promise less than they were proved to have."""
        return [proved.mechanism for proved in self.proved if proved.broken and proved.mechanism != FLIP]

    @property
    def blind(self) -> bool:
        """Whether the audit misses a mechanism that is known to be broken, so that its other bounds mean nothing."""
        return not any(proved.broken for proved in self.proved if proved.mechanism == FLIP)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {
            "internal": "Never to be published, and never to be used to choose among runs.",
            "rows": self.rows,
            "columns": self.columns,
            "targets": self.targets,
            "k": self.settings.k,
            "epsilon": self.settings.epsilon,
            "delta": self.settings.delta,
            "runs": self.settings.runs,
            "repeats": self.settings.repeats,
            "seed": self.settings.seed,
            "broken": self.broken,
            "blind": self.blind,
            "mechanisms": [
                {
                    "mechanism": proved.mechanism,
                    "promised_epsilon": proved.epsilon,
                    "delta": proved.delta,
                    "runs": proved.bounds.runs,
                    "epsilon_at_least": proved.bounds.epsilon,
                    "gaussian_epsilon_at_least": proved.bounds.gaussian_epsilon(delta=proved.delta) if proved.gaussian else None,
                    "broken": proved.broken,
                }
                for proved in self.proved
            ],
            "figures": [figure.to_dict() for figure in self.figures],
        }


def audit(table: pa.Table, *, domain: Domain, settings: Settings, parent: Path, progress: Progress | None = None) -> Audit:
    """Attack releases of a table, or of ``MOST_ROWS`` of its rows.

    Args:
        table: text columns, null for missing.
        domain: the columns and values that a record can have.
        settings: what releases are made of the table, and how many.
        parent: a folder for counts, which are removed at the end. It must be as safe as the table.
        progress: called with what is done so far.

    Raises:
        ParameterError: the table is too small, or a setting is out of range.
    """
    require_whole("k", settings.k, minimum=2)
    require_whole("targets", settings.targets, minimum=20, maximum=MOST_TARGETS)
    require_whole("runs", settings.runs, minimum=ATTACKED_RUNS, maximum=MOST_RUNS)
    require_whole("repeats", settings.repeats, minimum=LEAST_REPEATS)
    require_seed(settings.seed)
    _ = settings.limits.workers  # refused before anything is done
    require_budget(epsilon=settings.epsilon, delta=settings.delta)
    require_core(settings.core, columns=table.column_names)
    tell: Progress = progress or (lambda _phase, _share: None)
    rng = np.random.Generator(np.random.PCG64([settings.seed, 5]))
    names = [name for name in domain.columns if name in table.column_names]
    drawn = table.select(names).take(pa.array(np.sort(rng.permutation(len(table))[:MOST_ROWS])))
    table = pa.table([column.cast(TEXT) for column in drawn.columns], names=names)
    audited = people(table, domain=domain, settings=settings)
    made = runs(audited, settings=settings, progress=progress)
    scores = games.membership_scores(audited, made)
    figures = [*games.membership(audited, made, scores, delta=settings.delta), *games.comparison(audited, made, scores)]
    few = made[:ATTACKED_RUNS]
    steps: list[Callable[[], list[Figure]]] = [
        lambda: games.singling_out(audited, few, rng=rng),
        lambda: games.inference(audited, few, rng=rng),
        lambda: games.linkage(audited, few),
        lambda: attack_cubes(audited, made[0], settings=settings, parent=parent, rng=rng),
    ]
    for number, step in enumerate(steps, start=1):
        figures += step()
        tell("games", number / (len(steps) + 1))
    proved = attack_all(audited, settings=settings)
    tell("games", 1.0)
    return Audit(settings, len(table), len(domain.columns), len(audited.targets), tuple(figures), tuple(proved))


def table_of(done: Audit) -> pa.Table:
    """The figures as a table, in the columns of ``schema``; bounds of mechanisms are those of the game ``MECHANISMS``."""
    rows = [
        (
            figure.game,
            figure.release,
            figure.targets,
            figure.what,
            *(round(part, 3) for part in (figure.value, figure.low, figure.high)),
            figure.attacks,
        )
        for figure in (*done.figures, *map(_figure, done.proved))
    ]
    return pa.Table.from_pylist([dict(zip(COLUMNS.names, row, strict=True)) for row in rows], schema=COLUMNS)


MECHANISMS = "with and without one person"
COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("game", "release", "targets", "what")),
        *((name, pa.float64()) for name in ("reached", "low", "high")),
        ("attacks", pa.int64()),
    ]
)


def schema() -> pandera.DataFrameSchema:
    """What ``table_of`` returns."""
    texts = {name: pandera.Column(str) for name in ("game", "release", "targets", "what")}
    within = pandera.Check(lambda frame: frame["reached"].between(frame["low"], frame["high"]), name="in interval")
    numbers = {name: pandera.Column("float64") for name in ("reached", "low", "high")}
    return pandera.DataFrameSchema(
        {**texts, **numbers, "attacks": pandera.Column("int64", pandera.Check.ge(0))}, checks=within, strict=True, ordered=True
    )


def _figure(proved: Proved) -> Figure:
    promised = "nothing" if proved.epsilon is None else f"{proved.epsilon:g}"
    what = f"epsilon at least (promised: {promised})"
    return Figure(MECHANISMS, proved.mechanism, "all", what, proved.least, proved.least, np.inf, proved.bounds.runs)
