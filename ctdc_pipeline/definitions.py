"""The Dagster code location, and the one module of the domain that knows Dagster. It assembles; all it defines are jobs."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

import assets
from assets.alerts import run_failure_alert
from ctdc_pipeline.partners.registry import SOURCES
from resources.io_manager import NoRows
from resources.settings import DataHome, Engine


def build_defs(*, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """All assets, checks, jobs and resources; ``resource_overrides`` replaces resources by name, which is all a test needs."""
    released, ingested = dg.AssetSelection.groups("release"), dg.AssetSelection.groups("ingestion")
    return dg.Definitions(
        assets=dg.load_assets_from_package_module(assets),
        asset_checks=dg.load_asset_checks_from_package_module(assets),
        jobs=[
            dg.define_asset_job(
                "full_refresh",
                selection=dg.AssetSelection.all() - released - ingested,
                description="Everything from the ingested deliveries to the quality tables, in the sensitive zone. Publishes nothing.",
            ),
            *(
                dg.define_asset_job(
                    f"ingest_{name}",
                    selection=dg.AssetSelection.assets(["ingestion", name]),
                    description=f"Receive and read one delivery of {name}, or read it again. Backfill it for several refreshes.",
                )
                for name in SOURCES
            ),
            dg.define_asset_job(
                "release",
                selection=released,
                description="Publish the synthetic records of the last full refresh. The run needs the tag `ctdc/approver`.",
                tags={"dagster/max_retries": "0"},
            ),
        ],
        sensors=[run_failure_alert],
        resources={"home": DataHome(), "engine": Engine(), "io_manager": NoRows(), **(resource_overrides or {})},
        # One DuckDB and one synthesis use both cores already, and a process a step costs about a second each.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads."""
    return build_defs()
