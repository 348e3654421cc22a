"""Exact counts of attribute combinations."""

import dagster as dg
import pyarrow.parquet as pq

from assets.harmonised.victims import victims
from assets.reporting import OWNERS, guarded
from ctdc_pipeline.aggregates import rarity_by_length
from ctdc_pipeline.codebook import codebook
from ctdc_pipeline.counting import count_combinations
from resources.settings import DataHome, Engine


@dg.asset(
    key=["counts", "combinations"],
    group_name="counts",
    owners=OWNERS,
    kinds={"duckdb", "parquet"},
    code_version="1",
    deps=[victims],
)
@guarded()
def combinations(home: DataHome, engine: Engine) -> dg.MaterializeResult:
    """Exact counts of all combinations of attributes up to the reporting length, one file a length.

    Sensitive: rare combinations describe single people. For the data team only.
    """
    zones = home.zones()
    summary = count_combinations(
        pq.read_table(zones.table("harmonised", "victims"), columns=list(codebook().names)),
        zones.folder("counts", "combinations"),
        length=engine.reporting_length,
        threads=engine.threads,
        memory_limit=engine.memory_limit,
        temp_dir=zones.tmp,
    )
    return dg.MaterializeResult(metadata={f"distinct_of_length_{size}": n for size, n in summary.distinct.items()})


@dg.asset_check(
    asset=combinations,
    name="every_length_counted",
    blocking=True,
    description="There is a count file for every length up to the reporting length, and none is empty while the one before is "
    "not. If not: the counting was cut short; materialise the combinations again.",
)
@guarded()
def every_length_counted(home: DataHome, engine: Engine) -> dg.AssetCheckResult:
    rarity = rarity_by_length(
        home.zones().folder("counts", "combinations"), k=engine.k, length=engine.reporting_length
    ).to_pydict()
    return dg.AssetCheckResult(passed=all(rarity["distinct"]), metadata={"distinct": sum(rarity["distinct"])})
