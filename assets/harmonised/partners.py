"""One asset a partner: its cases, de-identified and in the harmonised schema, with what was not taken in beside them."""

from typing import Any

import dagster as dg

from assets.gates import schema_gate
from assets.ingestion.exports import EXPORTS
from assets.reporting import Materialized, guarded, table_result
from ctdc_pipeline.codebook.schemas import harmonised_schema
from ctdc_pipeline.harmonisation.account import HarmoniseSummary
from ctdc_pipeline.harmonisation.harmonise import harmonise
from ctdc_pipeline.ingestion.waiting import waiting_messages
from ctdc_pipeline.partners.registry import PARTNERS
from ctdc_pipeline.release.register import last_released
from resources.settings import DataHome, Engine


def partner_asset(partner: str) -> dg.AssetsDefinition:
    """The asset that harmonises the sources of ``partner``."""

    @dg.asset(
        key=["harmonised", partner],
        deps=[EXPORTS[source.name] for source in PARTNERS[partner]],
        description=f"Cases of {partner}: the release variables and the details they derive from, and a keyed pseudonym of the "
        "case. Its quarantine, exclusions, account and suppressed values are written with it.\n\n"
        "Sensitive: no names, but records of people. For the data team only.",
    )
    @guarded()
    def cases(home: DataHome, engine: Engine) -> Materialized:
        path = home.zones().table("harmonised", partner)
        summary = harmonise(
            partner,
            store=home.store(),
            ingested=home.zones().sensitive / "ingestion",
            folder=path.parent,
            key=home.pseudonym_key(),
            policy=engine.policy,
            released=last_released(home.zones()),
        )
        return table_result(path, **_numbers(summary))

    return cases


def _numbers(summary: HarmoniseSummary) -> dict[str, Any]:
    """What became of a partner's rows, and as shares of them, which can be plotted over time."""
    numbers: dict[str, Any] = {"rows_in": summary.rows, "accepted": summary.accepted}
    for what in ("quarantined", "excluded"):
        numbers[f"percent_{what}"] = round(100 * sum(getattr(summary, what).values()) / max(summary.rows, 1))
    numbers |= {why: dg.MetadataValue.json(getattr(summary, why)) for why in ("quarantined", "excluded", "suppressed")}
    return numbers | {"warnings": "; ".join(summary.warnings) or "none"}


def waiting_check(partner: str) -> dg.AssetChecksDefinition:
    """The warning that a delivery of ``partner`` waits for a person's decision."""

    @dg.asset_check(
        asset=["harmonised", partner],
        name="all_deliveries_count",
        description="Every delivery of the partner is in its tables. If not, one is contested or held back, and the partner"
        " continues with its last good state until somebody decides.",
    )
    @guarded()
    def all_deliveries_count(home: DataHome) -> dg.AssetCheckResult:
        held = waiting_messages(partner, home.zones())
        text = "; ".join(held) or None
        return dg.AssetCheckResult(
            passed=not held, severity=dg.AssetCheckSeverity.WARN, description=text, metadata={"waiting": len(held)}
        )

    return all_deliveries_count


CASES = {partner: partner_asset(partner) for partner in PARTNERS}
cases = list(CASES.values())
case_gates = [schema_gate(asset, lambda engine: harmonised_schema(engine.last_year)) for asset in cases]
waiting_checks = [waiting_check(partner) for partner in PARTNERS]
