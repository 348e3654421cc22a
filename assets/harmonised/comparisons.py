"""Warnings about partners: the current state of each against the one before, from other deliveries. No assets here."""

from assets.comparisons import Profiles, comparison_checks
from ctdc_pipeline.delivery_quality import OF_PARTNERS
from ctdc_pipeline.partners.registry import PARTNERS
from ctdc_pipeline.profiles import kept


def _profiles(partner: str) -> Profiles:
    return lambda home: kept(home.zones().table("harmonised", f"{partner}_profiles"))


comparisons = [
    comparison_checks(["harmonised", partner], comparisons=OF_PARTNERS, profiles=_profiles(partner)) for partner in PARTNERS
]
