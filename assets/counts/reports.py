"""What the combination counts come to: single counts, reportable aggregates, and how many combinations are rare."""

import dagster as dg

from assets.counts.combinations import combinations
from assets.gates import schema_gate
from assets.harmonised.victims import victims
from assets.reporting import Materialized, guarded, table_result
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting import aggregates
from ctdc_pipeline.products import k_anonymous
from ctdc_pipeline.storage.files import read_parquet, write_parquet
from resources.settings import DataHome, Engine


@dg.asset(key=["counts", "single_counts"], deps=[combinations])
@guarded()
def single_counts(home: DataHome) -> Materialized:
    """Exact count of every attribute.

    Sensitive: exact and not protected. For the data team only.
    """
    zones = home.zones()
    path = zones.table("counts", "single_counts")
    write_parquet(aggregates.single_counts(zones.folder("counts", "combinations")), path)
    return table_result(path)


@dg.asset(
    key=["counts", "reportable_aggregates"],
    deps=[combinations, victims],
)
@guarded()
def reportable_aggregates(home: DataHome, engine: Engine) -> Materialized:
    """Combinations found in at least k records, with counts rounded down to multiples of k, but for those that are withheld.

    Protected: becomes public with the release it goes into.
    """
    zones = home.zones()
    path = zones.table("counts", "reportable_aggregates")
    counts = zones.folder("counts", "combinations")
    people = read_parquet(zones.table("harmonised", "victims"), columns=list(codebook().names))
    rows = k_anonymous.anonymised(people, k=k_anonymous.least_group(engine.k))
    reported = aggregates.reportable_aggregates(counts, k=engine.k, length=engine.reporting_length, anonymised=rows)
    write_parquet(reported, path)
    withheld = aggregates.withheld_aggregates(counts, reported, k=engine.k, length=engine.reporting_length)
    write_parquet(withheld.group_by("length").aggregate([([], "count_all")]).sort_by("length"), zones.table("counts", "withheld"))
    percent = round(100 * len(withheld) / max(1, len(reported) + len(withheld)), 2)
    return table_result(
        path, k=engine.k, reporting_length=engine.reporting_length, withheld=len(withheld), withheld_percent=percent
    )


@dg.asset(key=["counts", "rarity_by_length"], deps=[combinations])
@guarded()
def rarity_by_length(home: DataHome, engine: Engine) -> Materialized:
    """How many combinations of each length are reportable, rare (below k) or unique.

    Internal: figures about the sensitive table. For the data team and the release approver.
    """
    zones = home.zones()
    path = zones.table("counts", "rarity_by_length")
    counts = zones.folder("counts", "combinations")
    write_parquet(aggregates.rarity_by_length(counts, k=engine.k, length=engine.reporting_length), path)
    return table_result(path, k=engine.k)


single_counts_schema = schema_gate(single_counts, lambda engine: aggregates.single_counts_schema())
reportable_aggregates_schema = schema_gate(
    reportable_aggregates, lambda engine: aggregates.aggregates_schema(k=engine.k, length=engine.reporting_length)
)
rarity_by_length_schema = schema_gate(rarity_by_length, lambda engine: aggregates.rarity_schema(length=engine.reporting_length))
