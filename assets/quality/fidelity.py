"""How faithful the synthetic records are, and that they leak nothing, by code other than the release's own proof."""

from collections.abc import Iterator

import dagster as dg

from assets.gates import gate, schema_gate, verdict
from assets.harmonised.victims import victims
from assets.reporting import Materialized, guarded, plot, table_result
from assets.synthetic.records import REMEDY, records
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.quality import coverage, plots
from ctdc_pipeline.quality.evaluation import evaluate
from ctdc_pipeline.storage.files import read_parquet, write_parquet
from resources.settings import DataHome, Engine

SUBJECTS = {
    "leakage_by_length": "Synthetic records by number of attributes, and those with fewer than k sensitive records behind them.",
    "preservation_by_length": "Share of the common combinations of each length that the synthetic records keep, and those lost.",
    "preservation_by_count": "The same by how often a combination occurs in the sensitive records.",
    "error_by_length": "How far the synthetic counts of common combinations are from the sensitive ones;"
    " of pairs, those of core variables by themselves as well.",
}
specs = {
    name: dg.AssetSpec(
        key=["quality", name],
        deps=[victims, records],
        description=f"{subject}\n\nInternal: figures about combinations, no values. For the data team and the release approver.",
    )
    for name, subject in SUBJECTS.items()
}


@dg.multi_asset(specs=list(specs.values()))
def evaluation(home: DataHome, engine: Engine) -> Iterator[Materialized]:
    """Compare the synthetic with the sensitive records, combination by combination."""
    with guarded():
        zones, names = home.zones(), list(codebook().names)
        sensitive = read_parquet(zones.table("harmonised", "victims"), columns=names)
        synthetic = read_parquet(zones.table("synthetic", "records"), columns=names)
        limits = engine.limits.spilling_to(zones.tmp)
        found = evaluate(sensitive, synthetic, k=engine.k, length=engine.reporting_length, core=engine.core, limits=limits)
        tables = coverage.evaluation_tables(found)
        drawn = plots.evaluation_plots(tables)
        for name, table in tables.items():
            write_parquet(table, zones.table("quality", name))
            yield table_result(zones.table("quality", name), plot=plot(drawn[name]), **coverage.followed(name, table))


evaluation_gates = [
    schema_gate(spec, lambda engine, name=name: coverage.evaluation_schema(name, length=engine.reporting_length))
    for name, spec in specs.items()
]


@gate(specs["leakage_by_length"].key)
def nothing_leaked(home: DataHome) -> dg.AssetCheckResult:
    """No synthetic record of any length has fewer than k sensitive records behind it."""
    table = read_parquet(home.zones().table("quality", "leakage_by_length"))
    rare = sum(table["rare_records"].to_pylist())
    return verdict(not rare, REMEDY, rare_records=rare)
