"""People who may be in the data of two partners. Reported, never merged."""

import dagster as dg

from assets.gates import schema_gate
from assets.harmonised.victims import victims
from assets.reporting import Materialized, grid, guarded, table_result
from ctdc_pipeline.quality import possible_duplicates as duplicates
from ctdc_pipeline.release.open_warnings import DUPLICATES as COUNTS
from ctdc_pipeline.storage.files import read_parquet, write_parquet
from resources.settings import DataHome


@dg.asset(key=["quality", "possible_duplicates"], deps=[victims])
@guarded()
def possible_duplicates(home: DataHome) -> Materialized:
    """Pairs of cases of two partners that agree on so much that they may be one person: pseudonyms, score and shared attributes.

    Sensitive: it links records of people. For the data team only, who ask both partners.
    """
    zones = home.zones()
    result = duplicates.possible_duplicates(zones.table("harmonised", "victims"))
    path = zones.table("quality", "possible_duplicates")
    write_parquet(result.counts, zones.table("quality", COUNTS))
    write_parquet(result.pairs, path)
    return table_result(path, by_partners=grid(result.counts.to_pylist()))


possible_duplicates_schema = schema_gate(possible_duplicates, lambda _: duplicates.schema())


@dg.asset_check(
    asset=possible_duplicates.key,
    name="no_more_than_chance",
    description="No two partners have more possible duplicates than chance explains. If they do, ask both to look the listed"
    " cases up in their own records, and have one of them leave out whom both have. Nothing is merged here.",
)
@guarded()
def no_more_than_chance(home: DataHome) -> dg.AssetCheckResult:
    found = duplicates.beyond_chance(read_parquet(home.zones().table("quality", COUNTS)))
    text = f"{'; '.join(found)}. Ask both partners to look the listed cases up." if found else None
    return dg.AssetCheckResult(passed=not found, severity=dg.AssetCheckSeverity.WARN, description=text)
