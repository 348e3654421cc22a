"""Synthetic records made of the measurements and nothing else; they spend no budget."""

import dagster as dg

from assets.gates import gate, schema_gate, verdict
from assets.measured.measurements import IN_CLEAR, measurements
from assets.reporting import Materialized, guarded, table_result
from ctdc_pipeline.codebook.schemas import release_schema
from ctdc_pipeline.operations.memory_limit import bounded
from ctdc_pipeline.storage.files import parquet_schema, sha256
from ctdc_pipeline.synthesis.differentially_private import MADE_OF, write_records
from resources.settings import DataHome, Engine


@dg.asset(key=["measured", "records"], deps=[measurements])
@guarded()
def records(home: DataHome, engine: Engine) -> Materialized:
    """Records whose counts are those measured, up to the noise. The measurements determine every byte.

    Protected: as differentially private as the measurements; becomes public with the release it goes into.
    """
    zones = home.zones()
    path = zones.table("measured", "records")
    with bounded(engine.limits.memory):
        write_records(zones.table("measured", "measurements"), path, k=engine.k)
    return table_result(path, encryption=IN_CLEAR)


records_schema = schema_gate(records, lambda engine: release_schema(engine.last_year))


@gate(records)
def of_these_measurements(home: DataHome) -> dg.AssetCheckResult:
    """The records were made of the measurements that are stored."""
    zones = home.zones()
    named = (parquet_schema(zones.table("measured", "records")).metadata or {}).get(MADE_OF.encode(), b"").decode()
    same = named == sha256(zones.table("measured", "measurements"))
    return verdict(same, "Materialise measured/records again: other measurements were made since. It costs no budget.")
