"""The release: the one asset that writes to the public zone."""

import dagster as dg

from assets.release.candidate import candidate
from assets.reporting import OWNERS, Materialized, guarded, release_result
from ctdc_pipeline import publication
from resources.settings import DataHome, Engine

APPROVER = "ctdc/approver"


class PublicationConfig(dg.Config):
    """What the person who approves decides."""

    candidate: str = ""
    """The hash that the candidate's materialisation tells: the SHA-256 of its manifest."""
    reason: str = ""
    """Why it is published. Public."""
    version: str = ""
    """Version of the candidate; needed only if a newer one waits."""


@dg.asset(
    key=["release", "global_synthetic_dataset"],
    group_name="release",
    owners=OWNERS,
    kinds={"csv", "parquet"},
    code_version="2",
    deps=[candidate],
)
@guarded()
def global_synthetic_dataset(
    context: dg.AssetExecutionContext, config: PublicationConfig, home: DataHome, engine: Engine
) -> Materialized:
    """The Global Synthetic Dataset with its products and manifest: the candidate that was approved, in the public zone.

    Public. Materialised by the job `publish` only, whose run carries the tag `ctdc/approver`.
    """
    approver = context.run.tags.get(APPROVER, "").strip()
    if not approver:
        raise dg.Failure(f"Nobody approved this. Launch the job `publish` with the tag {APPROVER}.", allow_retries=False)
    decision = {"approver": approver, "candidate": config.candidate, "reason": config.reason}
    done = publication.publish(home.zones(), **decision, version=config.version, k=engine.k, deny=engine.deny)
    return release_result(done, **decision)
