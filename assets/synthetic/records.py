"""The synthetic records and the gates that hold them back while they could disclose anybody."""

import dagster as dg

from assets.counts.reports import reportable_aggregates
from assets.gates import gate, schema_gate, verdict
from assets.harmonised.victims import victims
from assets.reporting import Materialized, guarded, table_result
from ctdc_pipeline.codebook.schemas import release_schema
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting.aggregates import withheld_aggregates
from ctdc_pipeline.counting.withholding import split
from ctdc_pipeline.operations.memory_limit import bounded
from ctdc_pipeline.privacy import k_synthetic_proof
from ctdc_pipeline.storage.files import read_parquet, write_parquet
from ctdc_pipeline.storage.tables import as_text
from ctdc_pipeline.synthesis.k_synthetic import synthesize
from resources.settings import DataHome, Engine

REMEDY = (
    "Do not release. The victims changed since the records were made, or the synthesis is at fault: "
    "materialise the records again, and report it as a defect if this returns."
)


@dg.asset(
    key=["synthetic", "records"],
    deps=[victims, reportable_aggregates],
)
@guarded()
def records(home: DataHome, engine: Engine) -> Materialized:
    """The k-synthetic records: the release variables, no record of a person.

    Internal until released: the gates below, and the release itself, prove that it discloses nobody.
    """
    zones = home.zones()
    path = zones.table("synthetic", "records")
    sensitive = read_parquet(zones.table("harmonised", "victims"), columns=list(codebook().names))
    with bounded(engine.limits.memory):
        made = synthesize(sensitive, k=engine.k, seed=home.seed(), core=engine.core, limits=engine.limits)
    # What is withheld of the counts is not said by a record either, for a record says that k people are behind it.
    reported = read_parquet(zones.table("counts", "reportable_aggregates"))
    counts = zones.folder("counts", "combinations")
    withheld = withheld_aggregates(counts, reported, k=engine.k, length=engine.reporting_length)
    write_parquet(split(as_text(made), withheld), path)
    return table_result(path, k=engine.k, sensitive_rows=len(sensitive))


records_schema = schema_gate(records, lambda engine: release_schema(engine.last_year))


@gate(records)
def no_rare_combination(home: DataHome, engine: Engine) -> dg.AssetCheckResult:
    """Every distinct synthetic record, whatever its length, is contained in at least k sensitive records."""
    zones = home.zones()
    victims_path, records_path = zones.table("harmonised", "victims"), zones.table("synthetic", "records")
    supports = k_synthetic_proof.record_supports(victims_path, records_path, variables=codebook().names)
    rare = int((supports < engine.k).sum())
    return verdict(not rare, REMEDY, distinct_records=len(supports), rare_records=rare, k=engine.k)


@gate(records)
def single_counts_exact(home: DataHome, engine: Engine) -> dg.AssetCheckResult:
    """Every attribute occurs exactly as often as in the sensitive records, rounded down to a multiple of k."""
    zones = home.zones()
    victims_path, records_path = zones.table("harmonised", "victims"), zones.table("synthetic", "records")
    attributes, inexact = k_synthetic_proof.inexact_counts(victims_path, records_path, variables=codebook().names, k=engine.k)
    return verdict(not inexact, REMEDY, attributes=attributes, inexact_counts=inexact, k=engine.k)
