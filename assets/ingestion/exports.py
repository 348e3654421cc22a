"""One asset a source: its landed export, read and checked against its layout."""

from dataclasses import asdict

import dagster as dg
import pandera.pandas as pandera
import pyarrow as pa

from assets.gates import schema_gate
from assets.reporting import KINDS, OWNERS, Materialized, guarded, table_result
from ctdc_pipeline.files import write_parquet
from ctdc_pipeline.partners.layout import Layout, Source
from ctdc_pipeline.partners.reading import FileRead, ingest
from ctdc_pipeline.partners.registry import SOURCES
from resources.settings import DataHome

_FILES = dg.TableSchema([dg.TableColumn(name) for name in FileRead.__dataclass_fields__])


def export_asset(source: Source) -> dg.AssetsDefinition:
    """The asset that reads what ``source`` landed."""

    @dg.asset(
        key=["ingestion", source.name],
        group_name="ingestion",
        owners=OWNERS,
        kinds=KINDS,
        code_version="1",
        description=f"{source.title}: the export as landed, with its opt-outs or consents, every cell as text.\n\n"
        "Most sensitive: holds names and other identifying details, which stay in this stage. For the partner's data officer.",
    )
    @guarded()
    def export(home: DataHome) -> Materialized:
        zones = home.zones()
        path = zones.table("ingestion", source.name)
        summary = ingest(source, landing=zones.landing / source.name, folder=path.parent)
        files = [asdict(file) for file in summary.files]
        write_parquet(pa.Table.from_pylist(files), zones.table("ingestion", f"{source.name}_files"))
        return table_result(
            path,
            files=dg.MetadataValue.table([dg.TableRecord(file) for file in files], schema=_FILES),
            columns_kept_out=", ".join(f"{file}: {column}" for file, column in summary.unknown_columns) or "none",
        )

    return export


def export_schema(layout: Layout) -> pandera.DataFrameSchema:
    """Where each row comes from, then the fields of ``layout`` as text."""
    origin = {"_file": pandera.Column(str), "_row": pandera.Column("int64", pandera.Check.ge(1))}
    fields = {field.name: pandera.Column(str) for field in layout.fields}
    return pandera.DataFrameSchema({**origin, **fields}, unique=list(origin), strict=True, ordered=True)


EXPORTS = {source.name: export_asset(source) for source in SOURCES.values()}
exports = list(EXPORTS.values())
export_gates = [
    schema_gate(EXPORTS[source.name], lambda _, layout=source.cases: export_schema(layout)) for source in SOURCES.values()
]
