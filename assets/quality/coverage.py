"""What the data covers, what it lacks, and what suppression cost."""

import dagster as dg

from assets.gates import schema_gate
from assets.harmonised.victims import victims
from assets.reporting import Materialized, guarded, plot, table_result
from assets.synthetic.records import records
from ctdc_pipeline.quality import coverage, plots
from ctdc_pipeline.storage.files import write_parquet
from resources.settings import DataHome, Engine


@dg.asset(key=["quality", "partner_coverage"], deps=[victims])
@guarded()
def partner_coverage(home: DataHome, engine: Engine) -> Materialized:
    """Victims by partner and year, rounded down to multiples of k.

    Protected: may be shown to anyone.
    """
    zones = home.zones()
    path = zones.table("quality", "partner_coverage")
    table = coverage.partner_coverage(zones.table("harmonised", "victims"), k=engine.k)
    write_parquet(table, path)
    return table_result(path, k=engine.k, victims=sum(table["victims"].to_pylist()), plot=plot(plots.coverage_plot(table)))


@dg.asset(key=["quality", "missingness"], deps=[victims])
@guarded()
def missingness(home: DataHome) -> Materialized:
    """Share of records without a value, by variable and partner, in whole percent.

    Protected: may be shown to anyone.
    """
    zones = home.zones()
    path = zones.table("quality", "missingness")
    table = coverage.missingness(zones.table("harmonised", "victims"))
    write_parquet(table, path)
    return table_result(path, plot=plot(plots.missingness_plot(table)), **coverage.followed("missingness", table))


@dg.asset(key=["quality", "suppression"], deps=[victims, records])
@guarded()
def suppression(home: DataHome) -> Materialized:
    """Values of each variable in the sensitive and in the synthetic records, and the share that was lost.

    Internal: the counts are exact. For the data team and the release approver.
    """
    zones = home.zones()
    path = zones.table("quality", "suppression")
    table = coverage.suppression(zones.table("harmonised", "victims"), zones.table("synthetic", "records"))
    write_parquet(table, path)
    kept, had = (sum(table[column].to_pylist()) for column in ("synthetic", "sensitive"))
    percent_lost = round(100 * (1 - kept / max(had, 1)), 1)
    return table_result(path, percent_lost=percent_lost, plot=plot(plots.suppression_plot(table)))


partner_coverage_schema = schema_gate(partner_coverage, lambda engine: coverage.coverage_schema(k=engine.k))
missingness_schema = schema_gate(missingness, lambda _: coverage.missingness_schema())
suppression_schema = schema_gate(suppression, lambda _: coverage.suppression_schema())
