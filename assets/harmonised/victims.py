"""The union of all partners, and the account of every row that came in."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.gates import gate, plain, schema_gate, verdict
from assets.harmonised.partners import CASES
from assets.reporting import Materialized, grid, guarded, table_result
from ctdc_pipeline.codebook.schemas import harmonised_schema
from ctdc_pipeline.errors import CtdcError, PrivacyError
from ctdc_pipeline.harmonisation.account import ACCOUNTING, DELIVERIES, EXCLUDED, QUARANTINE, outcome_counts, prove_account
from ctdc_pipeline.harmonisation.harmonise import delivered_rows, unite
from ctdc_pipeline.ingestion.delivery_store import SHORT_DIGITS
from ctdc_pipeline.partners.registry import PARTNERS
from ctdc_pipeline.privacy.suppressed_countries import SUPPRESSED
from ctdc_pipeline.release.register import first_released
from ctdc_pipeline.storage.files import read_parquet
from ctdc_pipeline.storage.zones import Zones
from resources.settings import DataHome, Engine


def _table(name: str, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=["harmonised", name],
        deps=list(CASES.values()),
        description=description,
    )


victims = _table(
    "victims",
    "Every accepted case of every partner, one row each: what the counts and the synthetic records are made from.\n\n"
    "Sensitive: no names, but records of people. For the data team only.",
)
quarantine = _table(
    "quarantine",
    "Rows that break a rule: partner, refresh, file, row, field and rule, without the value. To be corrected by the partner.\n\n"
    "Internal: for the data team and the partner concerned.",
)
exclusions = _table(
    "exclusions",
    "Rows left out by a named rule, such as an opt-out or a missing consent: partner, refresh, file, row number and rule.\n\n"
    "Internal: for the data team and the partner concerned.",
)
accounting = _table(
    "accounting",
    "Rows by partner, source, refresh, outcome and rule. What came in is accepted, quarantined or excluded; nothing is lost.\n\n"
    "Internal: counts only, not protected. For the data team and the release approver.",
)
deliveries = _table(
    "deliveries",
    "The deliveries that the victims come from: source, refresh, kind, content hash and rows.\n\n"
    "Internal: for the data team and the release approver.",
)

suppressed = _table(
    "suppressed",
    "How many values of countries that must not be named became missing: partner, source, refresh, variable, count.\n\n"
    "Internal: counts only, not protected. For the data team and the release approver.",
)


ALL = (victims, quarantine, exclusions, accounting, deliveries, suppressed)


@dg.multi_asset(specs=ALL)
def united(home: DataHome) -> Iterator[Materialized]:
    """Put all partners together. Fails when one of them is missing."""
    with guarded():
        zones = home.zones()
        stages = {"ingested": zones.sensitive / "ingestion", "folder": zones.sensitive / "harmonised"}
        summary = unite(PARTNERS, store=home.store(), **stages)
        figures: dict[str, Any] = {"partners": ", ".join(PARTNERS), "rows_in": summary.rows, "accepted": summary.accepted}
        for spec in ALL:
            yield table_result(zones.table(*spec.key.path), **figures, **_figures(spec.key.path[1], zones))


def _figures(name: str, zones: Zones) -> dict[str, Any]:
    """Return the figures for which people open a table: its counts, or its deliveries and the first release of each."""
    table = read_parquet(zones.table("harmonised", name))
    if name == "deliveries":
        released = first_released(zones)
        rows = table.select(["source", "refresh", "kind", "rows"]).to_pylist()
        for row, content in zip(rows, table["content"].to_pylist(), strict=True):
            row |= {"released": released.get(content, "not yet"), "content": content[:SHORT_DIGITS]}
        return {"deliveries": grid(rows)}
    counts = outcome_counts(name, table)
    return {} if counts is None else {"counts": grid(counts)}


victims_schema = schema_gate(victims, lambda engine: harmonised_schema(engine.last_year))
quarantine_schema = schema_gate(quarantine, lambda _: plain(QUARANTINE))
exclusions_schema = schema_gate(exclusions, lambda _: plain(EXCLUDED))
accounting_schema = schema_gate(accounting, lambda _: plain(ACCOUNTING))
deliveries_schema = schema_gate(deliveries, lambda _: plain(DELIVERIES))
suppressed_schema = schema_gate(suppressed, lambda _: plain(SUPPRESSED))


@gate(victims.key)
def no_suppressed_country(home: DataHome, engine: Engine) -> dg.AssetCheckResult:
    """No citizenship and no country of exploitation is one that must not be named."""
    try:
        engine.suppressed.require(read_parquet(home.zones().table("harmonised", "victims")))
    except PrivacyError as error:
        return verdict(False, str(error))
    return verdict(True, "")


@gate(accounting.key)
def every_row_accounted_for(home: DataHome) -> dg.AssetCheckResult:
    """Of each delivery: rows in = accepted + quarantined + excluded, each once, and the account says so by reason."""
    zones = home.zones()
    stages = {"ingested": zones.sensitive / "ingestion", "folder": zones.sensitive / "harmonised"}
    tables = {spec.key.path[1]: read_parquet(zones.table(*spec.key.path)) for spec in ALL if spec != suppressed}
    harmonised, sent = tables.pop("victims"), tables.pop("deliveries")
    try:
        rows = delivered_rows(PARTNERS, store=home.store(), **stages, deliveries=sent)
        prove_account(harmonised, **tables, rows=rows)
    except CtdcError as error:
        return verdict(False, str(error))
    return verdict(True, "", rows_in=sum(rows.values()))
