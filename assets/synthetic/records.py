"""The synthetic records and the gates that hold them back while they could disclose anybody."""

import dagster as dg
import pyarrow.parquet as pq

from assets.gates import schema_gate
from assets.harmonised.victims import victims
from assets.reporting import KINDS, OWNERS, guarded, table_result
from ctdc_pipeline import disclosure
from ctdc_pipeline.codebook import codebook
from ctdc_pipeline.files import write_parquet
from ctdc_pipeline.schemas import release_schema
from ctdc_pipeline.synthesis import synthesize
from resources.settings import DataHome, Engine


@dg.asset(key=["synthetic", "records"], group_name="synthetic", owners=OWNERS, kinds=KINDS, code_version="1", deps=[victims])
@guarded()
def records(home: DataHome, engine: Engine) -> dg.MaterializeResult:
    """The k-synthetic records: the release variables, no record of a person.

    Internal until released: the gates below, and the release itself, prove that it discloses nobody.
    """
    zones = home.zones()
    path = zones.table("synthetic", "records")
    sensitive = pq.read_table(zones.table("harmonised", "victims"), columns=list(codebook().names))
    write_parquet(synthesize(sensitive, k=engine.k, seed=home.seed(), threads=engine.threads), path)
    return table_result(path, k=engine.k, sensitive_rows=len(sensitive))


records_schema = schema_gate(records, lambda engine: release_schema(engine.last_year))


@dg.asset_check(
    asset=records,
    name="no_rare_combination",
    blocking=True,
    description="Every distinct synthetic record is contained in at least k sensitive records, and none is empty. If not: the "
    "synthesis is at fault or its input has changed since; materialise the records again, and report it if this returns.",
)
@guarded()
def no_rare_combination(home: DataHome, engine: Engine) -> dg.AssetCheckResult:
    zones = home.zones()
    victims_path, records_path = zones.table("harmonised", "victims"), zones.table("synthetic", "records")
    supports = disclosure.record_supports(victims_path, records_path, variables=codebook().names)
    rare = int((supports < engine.k).sum())
    return dg.AssetCheckResult(passed=not rare, metadata={"distinct_records": len(supports), "rare_records": rare, "k": engine.k})


@dg.asset_check(
    asset=records,
    name="single_counts_exact",
    blocking=True,
    description="Every attribute occurs exactly as often as in the sensitive records, rounded down to a multiple of k. If not: "
    "the synthesis is at fault or its input has changed since; materialise the records again, and report it if this returns.",
)
@guarded()
def single_counts_exact(home: DataHome, engine: Engine) -> dg.AssetCheckResult:
    zones = home.zones()
    victims_path, records_path = zones.table("harmonised", "victims"), zones.table("synthetic", "records")
    attributes, inexact = disclosure.inexact_counts(victims_path, records_path, variables=codebook().names, k=engine.k)
    return dg.AssetCheckResult(passed=not inexact, metadata={"attributes": attributes, "inexact": inexact, "k": engine.k})
