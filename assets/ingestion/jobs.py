"""The jobs that take in a delivery, one a source."""

import dagster as dg

from ctdc_pipeline.partners.registry import SOURCES

INGESTIONS = {
    name: dg.define_asset_job(
        f"ingest_{name}",
        selection=dg.AssetSelection.assets(["ingestion", name]),
        description=f"Receive and read one delivery of {name}, or read it again. Backfill it for several refreshes.",
    )
    for name in SOURCES
}
