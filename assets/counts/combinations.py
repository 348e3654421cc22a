"""Exact counts of attribute combinations."""

import dagster as dg

from assets.gates import gate, verdict
from assets.harmonised.victims import victims
from assets.reporting import Materialized, guarded
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting.aggregates import miscounted_lengths
from ctdc_pipeline.counting.combinations import count_combinations
from ctdc_pipeline.storage.files import read_parquet
from resources.settings import DataHome, Engine


@dg.asset(
    key=["counts", "combinations"],
    kinds={"duckdb", "parquet"},
    deps=[victims],
)
@guarded()
def combinations(home: DataHome, engine: Engine) -> Materialized:
    """Exact counts of all combinations of attributes up to the reporting length, one file a length.

    Sensitive: rare combinations describe single people. For the data team only.
    """
    zones = home.zones()
    summary = count_combinations(
        read_parquet(zones.table("harmonised", "victims"), columns=list(codebook().names)),
        zones.folder("counts", "combinations"),
        length=engine.reporting_length,
        k=engine.k,
        limits=engine.limits.spilling_to(zones.tmp),
    )
    return dg.MaterializeResult(metadata={f"distinct_of_length_{size}": n for size, n in summary.distinct.items()})


@gate(combinations)
def counts_add_up(home: DataHome, engine: Engine) -> dg.AssetCheckResult:
    """The counts of each length add up to the combinations that the victims' records hold."""
    zones = home.zones()
    counts, victims_path = zones.folder("counts", "combinations"), zones.table("harmonised", "victims")
    wrong = miscounted_lengths(counts, victims_path, length=engine.reporting_length)
    remedy = f"Lengths {', '.join(map(str, wrong))} are wrong: cut short, or counted from other records. Materialise them again."
    return verdict(not wrong, remedy)
