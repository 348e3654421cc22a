"""Warnings about partners: the current state of each against the one before, from other deliveries. No assets here."""

from assets.comparison_checks import Profiles, comparison_checks
from ctdc_pipeline.partners.registry import PARTNERS
from ctdc_pipeline.quality.delivery_comparisons import OF_PARTNERS
from ctdc_pipeline.release.open_warnings import partner_profiles


def _profiles(partner: str) -> Profiles:
    return lambda home: partner_profiles(partner, home.zones())


comparisons = [
    comparison_checks(["harmonised", partner], comparisons=OF_PARTNERS, profiles=_profiles(partner)) for partner in PARTNERS
]
