"""The release: the one asset that writes to the public zone."""

from dataclasses import asdict

import dagster as dg

from assets.counts.reports import reportable_aggregates
from assets.harmonised.victims import victims
from assets.reporting import OWNERS, Materialized, column_schema, guarded
from assets.synthetic.records import records
from ctdc_pipeline import release
from resources.settings import DataHome, Engine

APPROVER = "ctdc/approver"


class ReleaseConfig(dg.Config):
    """What the person who releases decides."""

    version: str = ""
    """Name of the release; empty takes the next one of the day, such as 2026.11.21-1."""


@dg.asset(
    key=["release", "global_synthetic_dataset"],
    group_name="release",
    owners=OWNERS,
    kinds={"csv", "parquet"},
    code_version="1",
    deps=[victims, records, reportable_aggregates],
)
@guarded()
def global_synthetic_dataset(
    context: dg.AssetExecutionContext, config: ReleaseConfig, home: DataHome, engine: Engine
) -> Materialized:
    """The Global Synthetic Dataset with its aggregates, data dictionary and manifest, proved before it is moved into place.

    Public. Materialised by the job `release` only, whose run carries the tag `ctdc/approver`.
    """
    approver = context.run.tags.get(APPROVER, "").strip()
    if not approver:
        raise dg.Failure(f"Nobody approved this. Launch the job `release` with the tag {APPROVER}.", allow_retries=False)
    made_with = {"k": engine.k, "length": engine.reporting_length, "last_year": engine.last_year}
    done = release.publish(home.zones(), version=config.version, **made_with, deny=engine.deny)
    figures = {
        "dagster/row_count": done.proof.synthetic_records,
        "dagster/column_schema": column_schema(done.folder / f"{release.RECORDS}.parquet"),
        "folder": dg.MetadataValue.path(done.folder),
    }
    said = {"approver": approver, "version": done.version}
    return dg.MaterializeResult(metadata={**said, **figures, **asdict(done.proof), **done.files})
