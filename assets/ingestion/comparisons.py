"""Warnings about deliveries: the last one of each source against the one before. No assets here."""

from assets.comparison_checks import Profiles, comparison_checks
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.quality.delivery_comparisons import OF_DELIVERIES
from ctdc_pipeline.release.open_warnings import source_profiles


def _profiles(source: Source) -> Profiles:
    return lambda home: source_profiles(source.name, home.zones())


comparisons = [
    comparison_checks(["ingestion", source.name], comparisons=OF_DELIVERIES, profiles=_profiles(source), drawn=False)
    for source in SOURCES.values()
]
