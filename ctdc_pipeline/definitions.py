"""The Dagster code location, and the one module of the domain that knows Dagster. It assembles; all it defines are jobs."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

import assets
from assets.alerts import new_warning_alert, run_failure_alert
from assets.catalogue import catalogued, located
from assets.decisions import choose, withdraw
from assets.ingestion.jobs import INGESTIONS
from assets.ingestion.schedules import schedules
from assets.ingestion.sensors import landed_deliveries
from assets.measured.measurements import spending
from assets.quality.audit import attack_audit
from assets.release.dp_dataset import dp_decision
from assets.release.global_synthetic_dataset import decision, withdrawals
from resources.io_manager import NoRows
from resources.settings import DataHome, Engine

_CHECKED = dg.AutomationCondition.all_deps_match(
    # What is made in the same run is checked there. Else its checks, left without a verdict by a failed run, would hold back what
    # follows until the next run.
    dg.AutomationCondition.will_be_requested()
    | dg.AutomationCondition.all_checks_match(
        # A partner who never delivered has no verdict; whoever did has one.
        dg.AutomationCondition.check_passed() | dg.AutomationCondition.missing(),
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

DECIDED = ("ingestion", "measured", "release")
"""Groups that no refresh makes: deliveries are taken in by a sensor; to spend privacy budget and to release is a decision."""

BY_HAND = dg.AssetSelection.groups(*DECIDED) | dg.AssetSelection.assets(attack_audit.key)
"""What no refresh makes: those groups, and the audit, which takes minutes and which a person asks for."""

AUTOMATION = dg.AutomationConditionSensorDefinition(
    "derived_tables",
    target=dg.AssetSelection.all() - BY_HAND,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Makes the derived tables again once new deliveries were ingested and their blocking checks passed.",
)


def automated(spec: dg.AssetSpec) -> dg.AssetSpec:
    """``spec`` with the condition on which it is made again."""
    if spec.group_name in DECIDED or spec.key == attack_audit.key:
        return spec
    return spec.replace_attributes(automation_condition=AFTER_DELIVERIES)


def build_defs(*, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """All assets, checks, jobs and resources; ``resource_overrides`` replaces resources by name, which is all a test needs."""
    loaded_assets = dg.load_assets_from_package_module(assets)
    loaded = [located(asset) for asset in loaded_assets if isinstance(asset, dg.AssetsDefinition)]
    return dg.Definitions(
        assets=[*dg.map_asset_specs(lambda spec: automated(catalogued(spec)), loaded)],
        asset_checks=dg.load_asset_checks_from_package_module(assets),
        jobs=[
            dg.define_asset_job(
                "full_refresh",
                selection=dg.AssetSelection.all() - BY_HAND,
                description="All from the ingested deliveries to the quality tables, in the sensitive zone. Publishes nothing.",
            ),
            *INGESTIONS.values(),
            dg.define_asset_job(
                "measure",
                selection=dg.AssetSelection.groups("measured"),
                description="Spend privacy budget: measure the victims with noise, and make records of that. Publishes nothing.",
                config=spending,
                tags={"dagster/max_retries": "0"},
            ),
            dg.define_asset_job(
                "audit",
                selection=dg.AssetSelection.assets(attack_audit.key),
                description="Attack releases of the victims and measure what is reached. Takes minutes. Publishes nothing.",
            ),
            dg.define_asset_job(
                "release_candidate",
                selection=dg.AssetSelection.assets("release/candidate"),
                description="Make and prove a release from the last full refresh, in the sensitive zone. Publishes nothing.",
                tags={"dagster/max_retries": "0"},
            ),
            dg.define_asset_job(
                "publish",
                selection=dg.AssetSelection.assets("release/global_synthetic_dataset"),
                description="Publish a candidate that somebody approved: its hash, the approver and the reason.",
                config=decision,
                tags={"dagster/max_retries": "0"},
            ),
            dg.define_asset_job(
                "dp_candidate",
                selection=dg.AssetSelection.assets("release/dp_candidate"),
                description="Make and prove a differentially private release of the stored measurements. Publishes nothing.",
                tags={"dagster/max_retries": "0"},
            ),
            dg.define_asset_job(
                "dp_publish",
                selection=dg.AssetSelection.assets("release/dp_dataset"),
                description="Publish a differentially private candidate that somebody approved.",
                config=dp_decision,
                tags={"dagster/max_retries": "0"},
            ),
            choose,
            withdraw,
        ],
        schedules=schedules,
        sensors=[run_failure_alert, new_warning_alert, landed_deliveries, withdrawals, AUTOMATION],
        resources={"home": DataHome(), "engine": Engine(), "io_manager": NoRows(), **(resource_overrides or {})},
        # One DuckDB and one synthesis use both cores already, and a process a step costs about a second each.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads."""
    return build_defs()
