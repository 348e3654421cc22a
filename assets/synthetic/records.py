"""The synthetic records and the gates that hold them back while they could disclose anybody."""

import dagster as dg

from assets.gates import gate, schema_gate, verdict
from assets.harmonised.victims import victims
from assets.reporting import KINDS, OWNERS, Materialized, guarded, table_result
from ctdc_pipeline import disclosure
from ctdc_pipeline.codebook import codebook
from ctdc_pipeline.files import read_parquet, write_parquet
from ctdc_pipeline.memory import bounded
from ctdc_pipeline.schemas import release_schema
from ctdc_pipeline.synthesis import synthesize
from ctdc_pipeline.tables import as_text
from resources.settings import DataHome, Engine

REMEDY = (
    "Do not release. The victims changed since the records were made, or the synthesis is at fault: "
    "materialise the records again, and report it as a defect if this returns."
)


@dg.asset(key=["synthetic", "records"], group_name="synthetic", owners=OWNERS, kinds=KINDS, code_version="1", deps=[victims])
@guarded()
def records(home: DataHome, engine: Engine) -> Materialized:
    """The k-synthetic records: the release variables, no record of a person.

    Internal until released: the gates below, and the release itself, prove that it discloses nobody.
    """
    zones = home.zones()
    path = zones.table("synthetic", "records")
    sensitive = read_parquet(zones.table("harmonised", "victims"), columns=list(codebook().names))
    with bounded(engine.memory_limit):
        made = synthesize(sensitive, k=engine.k, seed=home.seed(), threads=engine.threads)
    write_parquet(as_text(made), path)
    return table_result(path, k=engine.k, sensitive_rows=len(sensitive))


records_schema = schema_gate(records, lambda engine: release_schema(engine.last_year))


@gate(records)
def no_rare_combination(home: DataHome, engine: Engine) -> dg.AssetCheckResult:
    """Every distinct synthetic record, whatever its length, is contained in at least k sensitive records."""
    zones = home.zones()
    victims_path, records_path = zones.table("harmonised", "victims"), zones.table("synthetic", "records")
    supports = disclosure.record_supports(victims_path, records_path, variables=codebook().names)
    rare = int((supports < engine.k).sum())
    return verdict(not rare, REMEDY, distinct_records=len(supports), rare_records=rare, k=engine.k)


@gate(records)
def single_counts_exact(home: DataHome, engine: Engine) -> dg.AssetCheckResult:
    """Every attribute occurs exactly as often as in the sensitive records, rounded down to a multiple of k."""
    zones = home.zones()
    victims_path, records_path = zones.table("harmonised", "victims"), zones.table("synthetic", "records")
    attributes, inexact = disclosure.inexact_counts(victims_path, records_path, variables=codebook().names, k=engine.k)
    return verdict(not inexact, REMEDY, attributes=attributes, inexact_counts=inexact, k=engine.k)
