"""The release candidate: all that would be published, proved, and waiting in the sensitive zone for a person's decision."""

import dagster as dg

from assets.counts.reports import reportable_aggregates
from assets.harmonised.victims import victims
from assets.reporting import OWNERS, Materialized, guarded, release_result
from assets.synthetic.records import records
from ctdc_pipeline import changes, release
from resources.settings import DataHome, Engine


class CandidateConfig(dg.Config):
    """How the candidate is named."""

    version: str = ""
    """Name of the release; empty takes the next one of the day, such as 2026.11.21-1."""


@dg.asset(
    key=["release", "candidate"],
    group_name="release",
    owners=OWNERS,
    kinds={"csv", "parquet"},
    code_version="2",
    deps=[victims, records, reportable_aggregates],
)
@guarded()
def candidate(config: CandidateConfig, home: DataHome, engine: Engine) -> Materialized:
    """All files of a release with their manifest, proved to disclose nobody.

    Protected: becomes public when it is approved. Materialised by the job `release_candidate` only. Its hash is what is approved.
    """
    made_with = {"k": engine.k, "length": engine.reporting_length, "last_year": engine.last_year}
    done = release.make_candidate(home.zones(), version=config.version, **made_with, deny=engine.deny)
    told = (done.folder / changes.FILE).read_text(encoding="utf-8")
    return release_result(done, hash=done.digest, changes=dg.MetadataValue.md(told))
