"""Warnings about deliveries: the last one of each source against the one before. No assets here."""

from assets.comparisons import Profiles, comparison_checks
from ctdc_pipeline.delivery_quality import OF_DELIVERIES
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.profiles import of_source


def _profiles(source: Source) -> Profiles:
    return lambda home: of_source(source, store=home.store(), ingested=home.zones().ingested(source.name))


comparisons = [
    comparison_checks(["ingestion", source.name], comparisons=OF_DELIVERIES, profiles=_profiles(source), drawn=False)
    for source in SOURCES.values()
]
