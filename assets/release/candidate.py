"""The release candidate: all that would be published, proved, and waiting in the sensitive zone for a person's decision."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import dagster as dg

from assets.counts.reports import reportable_aggregates
from assets.harmonised.victims import victims
from assets.reporting import Materialized, grid, guarded, proof_specs, proved, release_result
from assets.synthetic.records import records
from ctdc_pipeline.products import changelog
from ctdc_pipeline.release import candidate as release
from ctdc_pipeline.release.open_warnings import OpenWarning, open_warnings
from resources.settings import DataHome, Engine


class CandidateConfig(dg.Config):
    """How the candidate is named."""

    version: str = ""
    """Name of the release; empty takes the next one of the day, such as 2026.11.21-1."""
    mixing: str = ""
    """Only if the same persons were measured for a differentially private release: why a k-synthetic one is accepted."""


@dg.asset(
    key=["release", "candidate"],
    kinds={"csv", "parquet"},
    check_specs=proof_specs(["release", "candidate"]),
    deps=[victims, records, reportable_aggregates],
)
def candidate(config: CandidateConfig, home: DataHome, engine: Engine) -> Iterator[Any]:
    """All files of a release with their manifest, proved to disclose nobody.

    Protected: becomes public when it is approved. Materialised by the job `release_candidate` only. Its hash is what is approved.
    """
    with guarded():
        made_with = {"k": engine.k, "length": engine.reporting_length, "last_year": engine.last_year}
        given = {**made_with, "core": engine.core, "suppressed": engine.suppressed, "mixing": config.mixing}
        engine.require_series("k-synthetic")
        make = partial(release.make_candidate, home.zones(), version=config.version, **given)
        yield from proved(make, lambda done: _result(done, open_warnings(home.zones(), k=engine.k)))


def _result(done: release.Release, warnings: Sequence[OpenWarning]) -> Materialized:
    """What whoever approves the candidate looks at: its hash, what changes with it, and the warnings that are open."""
    told = (done.folder / changelog.FILE).read_text(encoding="utf-8")
    listed = grid([{"warning": one.name, "message": one.message} for one in warnings])
    return release_result(done, hash=done.digest, changes=dg.MetadataValue.md(told), open_warnings=len(warnings), warnings=listed)
