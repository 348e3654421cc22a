"""The Dagster code location, and the one module of the domain that knows Dagster. It assembles; all it defines are jobs."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

import assets
from assets.alerts import run_failure_alert
from assets.ingestion.arrivals import INGESTIONS, landed_deliveries, schedules
from resources.io_manager import NoRows
from resources.settings import DataHome, Engine

_CHECKED = dg.AutomationCondition.all_deps_match(
    dg.AutomationCondition.all_checks_match(
        # A partner who never delivered has no verdict; whoever did has one.
        dg.AutomationCondition.check_passed() | dg.AutomationCondition.will_be_requested() | dg.AutomationCondition.missing(),
        blocking_only=True,
    )
).with_label("no blocking check upstream failed")
AFTER_DELIVERIES = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & _CHECKED
    & ~dg.AutomationCondition.any_deps_missing().ignore(dg.AssetSelection.groups("ingestion"))
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.any_deps_match(dg.AutomationCondition.any_deps_in_progress())
    & ~dg.AutomationCondition.in_progress()
).with_label("after new deliveries whose checks passed")
"""Not ``eager()``, which waits for no blocking check, and for ever for a partition whose delivery was refused.

What unites partners waits until each of them has a table, which a first ``full_refresh`` gives also to those who sent nothing,
and until no delivery is queued: otherwise it failed on the first day, and ran once for each partner of a refresh.
"""

AUTOMATION = dg.AutomationConditionSensorDefinition(
    "derived_tables",
    target=dg.AssetSelection.all() - dg.AssetSelection.groups("ingestion", "release"),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Makes the derived tables again once new deliveries were ingested and their blocking checks passed.",
)


def automated(spec: dg.AssetSpec) -> dg.AssetSpec:
    """``spec`` with the condition on which it is made again. Deliveries are taken in by a sensor, releases by a person."""
    if spec.group_name in ("ingestion", "release"):
        return spec
    return spec.replace_attributes(automation_condition=AFTER_DELIVERIES)


def build_defs(*, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """All assets, checks, jobs and resources; ``resource_overrides`` replaces resources by name, which is all a test needs."""
    released, ingested = dg.AssetSelection.groups("release"), dg.AssetSelection.groups("ingestion")
    found = dg.load_assets_from_package_module(assets)
    loaded = [asset for asset in found if isinstance(asset, dg.AssetsDefinition | dg.AssetSpec)]
    return dg.Definitions(
        assets=[*dg.map_asset_specs(automated, loaded)],
        asset_checks=dg.load_asset_checks_from_package_module(assets),
        jobs=[
            dg.define_asset_job(
                "full_refresh",
                selection=dg.AssetSelection.all() - released - ingested,
                description="All from the ingested deliveries to the quality tables, in the sensitive zone. Publishes nothing.",
            ),
            *INGESTIONS.values(),
            dg.define_asset_job(
                "release_candidate",
                selection=dg.AssetSelection.assets("release/candidate"),
                description="Make and prove a release from the last full refresh, in the sensitive zone. Publishes nothing.",
                tags={"dagster/max_retries": "0"},
            ),
            dg.define_asset_job(
                "publish",
                selection=dg.AssetSelection.assets("release/global_synthetic_dataset"),
                description="Publish a candidate. The run needs the tag `ctdc/approver`, the candidate's hash and a reason.",
                tags={"dagster/max_retries": "0"},
            ),
        ],
        schedules=schedules,
        sensors=[run_failure_alert, landed_deliveries, AUTOMATION],
        resources={"home": DataHome(), "engine": Engine(), "io_manager": NoRows(), **(resource_overrides or {})},
        # One DuckDB and one synthesis use both cores already, and a process a step costs about a second each.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads."""
    return build_defs()
