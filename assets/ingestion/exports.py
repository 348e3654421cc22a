"""One asset a source, one partition a refresh: what the partner delivered, read and checked against its layout."""

from dataclasses import asdict
from datetime import timedelta

import dagster as dg

from assets.gates import gate, verdict
from assets.reporting import KINDS, OWNERS, Materialized, guarded, table_result
from ctdc_pipeline.current import nonconforming
from ctdc_pipeline.intake import take_in
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.reading import FileRead
from ctdc_pipeline.partners.registry import SOURCES
from resources.settings import DataHome

_FILES = dg.TableSchema([dg.TableColumn(name) for name in FileRead.__dataclass_fields__])
MONTH, GRACE = timedelta(days=31), timedelta(days=31)

REFRESHES = {name: dg.DynamicPartitionsDefinition(name=f"{name}_refreshes") for name in SOURCES}
"""The refreshes that landed, by source."""


def overdue(source: Source) -> dg.FreshnessPolicy | None:
    """When a partner is late: a warning once a delivery is due, a failure a month later. Not for who stopped or has no day.

    Dagster looks at the last materialisation, so reading an old refresh again counts as news too.
    """
    if source.every is None or source.stopped:
        return None
    return dg.FreshnessPolicy.time_window(warn_window=source.every * MONTH, fail_window=source.every * MONTH + GRACE)


def export_asset(source: Source) -> dg.AssetsDefinition:
    """The asset that takes in what ``source`` delivered for one refresh."""
    key = ["ingestion", source.name]

    @dg.asset(
        key=key,
        group_name="ingestion",
        owners=OWNERS,
        kinds=KINDS,
        code_version="2",
        partitions_def=REFRESHES[source.name],
        freshness_policy=overdue(source),
        description=f"{source.title}: each delivery as it landed, with its opt-outs or consents, every cell as text.\n\n"
        "Most sensitive: holds names and other identifying details, which stay in this stage. For the partner's data officer.",
    )
    @guarded()
    def export(context: dg.AssetExecutionContext, home: DataHome) -> Materialized:
        zones, refresh = home.zones(), context.partition_key
        delivery, summary = take_in(source, refresh=refresh, landing=home.landing(), zones=zones)
        files = [dg.TableRecord(asdict(file)) for file in summary.files]
        return table_result(
            zones.ingested(source.name) / refresh / f"{source.name}.parquet",
            key=key,
            delivery=delivery.short,
            kind=delivery.kind,
            files=dg.MetadataValue.table(files, schema=_FILES),
            columns_kept_out=", ".join(f"{file}: {column}" for file, column in summary.unknown_columns) or "none",
        )

    return export


def export_gate(source: Source) -> dg.AssetChecksDefinition:
    """The blocking check of all refreshes of ``source``: one that looked at its own partition would hide another's failure."""

    @gate(["ingestion", source.name], name="schema")
    def schema_holds(home: DataHome) -> dg.AssetCheckResult:
        """The tables of every refresh have their layout's columns and all rows that were read, each in its place."""
        found = nonconforming(source, ingested=home.zones().ingested(source.name))
        return verdict(not found, f"{'; '.join(found)}. Materialise these partitions again.", refreshes=len(found))

    return schema_holds


EXPORTS = {source.name: export_asset(source) for source in SOURCES.values()}
exports = list(EXPORTS.values())
export_gates = [export_gate(source) for source in SOURCES.values()]
