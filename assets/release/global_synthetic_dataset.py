"""The release: the one asset that writes to the public zone."""

from dataclasses import asdict

import dagster as dg

from assets.release.candidate import candidate
from assets.reporting import OWNERS, Materialized, column_schema, guarded
from ctdc_pipeline import publication
from ctdc_pipeline.release import RECORDS
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
    figures = {
        "dagster/row_count": done.proof.synthetic_records,
        "dagster/column_schema": column_schema(done.folder / f"{RECORDS}.parquet"),
        "folder": dg.MetadataValue.path(done.folder),
    }
    said = {**decision, "version": done.version}
    return dg.MaterializeResult(metadata={**said, **figures, **asdict(done.proof), **done.files})
