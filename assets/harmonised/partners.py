"""One asset a partner: its cases, de-identified and in the harmonised schema, with what was not taken in beside them."""

from typing import Any

import dagster as dg

from assets.gates import schema_gate
from assets.ingestion.exports import EXPORTS
from assets.reporting import KINDS, OWNERS, Materialized, guarded, table_result
from ctdc_pipeline.harmonise import harmonise
from ctdc_pipeline.partners.registry import PARTNERS
from ctdc_pipeline.schemas import harmonised_schema
from resources.settings import DataHome, Engine


def partner_asset(partner: str) -> dg.AssetsDefinition:
    """The asset that harmonises the sources of ``partner``."""

    @dg.asset(
        key=["harmonised", partner],
        group_name="harmonised",
        owners=OWNERS,
        kinds=KINDS,
        code_version="2",
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
            as_of=engine.last_day,
            proxies=engine.proxies,
            admits=engine.admits,
            deny=engine.deny,
        )
        told: dict[str, Any] = {"rows_in": summary.rows, "accepted": summary.accepted}
        told |= {why: dg.MetadataValue.json(getattr(summary, why)) for why in ("quarantined", "excluded", "suppressed")}
        return table_result(path, **told, warnings="; ".join(summary.warnings) or "none")

    return cases


CASES = {partner: partner_asset(partner) for partner in PARTNERS}
cases = list(CASES.values())
case_gates = [schema_gate(asset, lambda engine: harmonised_schema(engine.last_year)) for asset in cases]
