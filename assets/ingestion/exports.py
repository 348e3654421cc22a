"""One asset a source, one partition a refresh: what the partner delivered, read and checked against its layout."""

from dataclasses import asdict
from typing import Any

import dagster as dg

from assets.catalogue import layout_columns
from assets.gates import gate, verdict
from assets.ingestion.freshness import overdue
from assets.reporting import Materialized, guarded, table_result
from ctdc_pipeline.errors import ContestedError
from ctdc_pipeline.ingestion.ingested import FileRead, IngestSummary, ingested_problems
from ctdc_pipeline.ingestion.intake import take_in
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.registry import SOURCES
from resources.settings import DataHome

_FILES = dg.TableSchema([dg.TableColumn(name) for name in FileRead.__dataclass_fields__])

REFRESHES = {name: dg.DynamicPartitionsDefinition(name=f"{name}_refreshes") for name in SOURCES}
"""The refreshes that landed, by source."""


def export_asset(source: Source) -> dg.AssetsDefinition:
    """The asset that takes in what ``source`` delivered for one refresh."""
    key, described = ["ingestion", source.name], layout_columns(source.cases)

    @dg.asset(
        key=key,
        partitions_def=REFRESHES[source.name],
        freshness_policy=overdue(source),
        description=f"{source.title}: each delivery as it landed, with its opt-outs or consents, every cell as text.\n\n"
        "Most sensitive: holds names and other identifying details, which stay in this stage. For the partner's data officer.",
    )
    @guarded()
    def export(context: dg.AssetExecutionContext, home: DataHome) -> Materialized:
        zones, refresh = home.zones(), context.partition_key
        path = zones.ingested(source.name) / refresh / f"{source.name}.parquet"
        try:
            delivery, summary = take_in(source, refresh=refresh, landing=home.landing(), zones=zones)
        except ContestedError as error:
            if not path.is_file():
                raise
            # Not a failure: the partner is harmonised again, so that the opt-outs in the new delivery hold at once.
            return table_result(path, key=key, described=described, contested=str(error))
        return table_result(path, key=key, described=described, delivery=delivery.short, kind=delivery.kind, **_read(summary))

    return export


def _read(summary: IngestSummary) -> dict[str, Any]:
    """What was read of which file, and what was not."""
    files = [dg.TableRecord(asdict(file)) for file in summary.files]
    kept_out = ", ".join(f"{file}: {column}" for file, column in summary.unknown_columns) or "none"
    return {"files": dg.MetadataValue.table(files, schema=_FILES), "columns_kept_out": kept_out}


def export_gate(source: Source) -> dg.AssetChecksDefinition:
    """The blocking check of all refreshes of ``source``: one that looked at its own partition would hide another's failure."""

    @gate(["ingestion", source.name], name="schema")
    def schema_holds(home: DataHome) -> dg.AssetCheckResult:
        """The tables of every refresh have their layout's columns and all rows that were read, each in its place."""
        found = ingested_problems(source, ingested=home.zones().ingested(source.name))
        return verdict(not found, f"{'; '.join(found)}. Materialise these partitions again.", refreshes=len(found))

    return schema_holds


def contest_check(source: Source) -> dg.AssetChecksDefinition:
    """The warning that a person has to choose between two deliveries of ``source``."""

    @dg.asset_check(
        asset=["ingestion", source.name],
        name="one_delivery_a_refresh",
        description="No refresh was delivered more than once with other content, or somebody chose which delivery counts. Until"
        " then the source continues with its last good state.",
    )
    @guarded()
    def one_delivery_a_refresh(home: DataHome) -> dg.AssetCheckResult:
        try:
            home.store().used(source.name)
        except ContestedError as error:
            return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=str(error))
        return dg.AssetCheckResult(passed=True)

    return one_delivery_a_refresh


EXPORTS = {source.name: export_asset(source) for source in SOURCES.values()}
exports = list(EXPORTS.values())
contest_checks = [contest_check(source) for source in SOURCES.values()]
export_gates = [export_gate(source) for source in SOURCES.values()]
