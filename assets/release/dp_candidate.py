"""The candidate of a differentially private release: made of the measurements alone, proved, and waiting for a decision."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import dagster as dg

from assets.measured.records import records
from assets.reporting import PRIVATE_PROOFS, Materialized, grid, guarded, proof_specs, proved, release_result
from ctdc_pipeline.release import private_candidate
from ctdc_pipeline.release.candidate import Release
from ctdc_pipeline.release.open_warnings import OpenWarning, open_warnings
from resources.settings import DataHome, Engine


class PrivateCandidateConfig(dg.Config):
    """How the candidate is named."""

    version: str = ""
    """Name of the release; empty takes the next one of the day, such as 2026.11.21-1."""


@dg.asset(
    key=["release", "dp_candidate"],
    kinds={"csv", "parquet"},
    check_specs=proof_specs(["release", "dp_candidate"], PRIVATE_PROOFS),
    deps=[records],
)
def dp_candidate(config: PrivateCandidateConfig, home: DataHome, engine: Engine) -> Iterator[Any]:
    """All files of a differentially private release with their manifest. They follow from the measurements and cost no budget.

    Protected: becomes public when it is approved. Materialised by the job `dp_candidate` only. Its hash is what is approved.
    """
    with guarded():
        engine.require_series("dp")
        given = {"version": config.version, "k": engine.k, "last_year": engine.last_year}
        make = partial(private_candidate.make_candidate, home.zones(), **given)
        yield from proved(make, lambda done: _result(done, open_warnings(home.zones(), k=engine.k)))


def _result(done: Release, warnings: Sequence[OpenWarning]) -> Materialized:
    """What whoever approves the candidate looks at: its hash, and the warnings that are open."""
    listed = grid([{"warning": one.name, "message": one.message} for one in warnings])
    return release_result(done, hash=done.digest, open_warnings=len(warnings), warnings=listed)
