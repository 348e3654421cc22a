"""The warnings that are open: what a person should know before a release is made of the present tables.

Made anew from the tables, so that they are the same without Dagster's history, and those of the checks on the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ctdc_pipeline.errors import ReleaseError
from ctdc_pipeline.ingestion.delivery_store import Store
from ctdc_pipeline.ingestion.profiles import Profile, current_and_baseline, of_source
from ctdc_pipeline.ingestion.waiting import waiting_messages
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES
from ctdc_pipeline.quality import possible_duplicates
from ctdc_pipeline.quality.delivery_comparisons import OF_DELIVERIES, OF_PARTNERS, Comparison
from ctdc_pipeline.release.register import last_released
from ctdc_pipeline.storage.files import read_parquet
from ctdc_pipeline.storage.zones import Zones

DUPLICATES = "possible_duplicates_counts"
"""The table that counts the possible duplicates of each two partners."""


@dataclass(frozen=True)
class OpenWarning:
    """A warning by the asset and the check that give it, such as ``harmonised/polaris:row_counts``, and what it says."""

    name: str
    message: str


def source_profiles(source: str, zones: Zones) -> tuple[Profile | None, Profile | None]:
    """The last delivery of ``source`` that counts, and the one it is compared with."""
    return of_source(
        SOURCES[source], store=Store(zones.deliveries), ingested=zones.ingested(source), released=last_released(zones)
    )


def partner_profiles(partner: str, zones: Zones) -> tuple[Profile | None, Profile | None]:
    """The state of ``partner`` now, and the one it is compared with."""
    return current_and_baseline(zones.table("harmonised", f"{partner}_profiles"), released=last_released(zones))


def open_warnings(zones: Zones, *, k: int) -> list[OpenWarning]:
    """Return every warning that the present tables give, by name."""
    return sorted(_found(zones, k), key=lambda warning: warning.name)


def require_acknowledged(warnings: Sequence[OpenWarning], acknowledged: Sequence[str]) -> None:
    """Refuse to go on while a warning is open that nobody acknowledged by its name. Raises ReleaseError."""
    unheard = [warning for warning in warnings if warning.name not in acknowledged]
    if unheard:
        raise ReleaseError(
            f"nobody acknowledged these warnings: {', '.join(warning.name for warning in unheard)}",
            remedy="Read them in the events of the candidate, clear up what they are about, or acknowledge each by its name.",
        )


def _found(zones: Zones, k: int) -> Iterator[OpenWarning]:
    for source in SOURCES:
        yield from _compared(f"ingestion/{source}", OF_DELIVERIES, source_profiles(source, zones), k)
    for partner in PARTNERS:
        yield from _compared(f"harmonised/{partner}", OF_PARTNERS, partner_profiles(partner, zones), k)
        if held := waiting_messages(partner, zones):
            yield OpenWarning(f"harmonised/{partner}:all_deliveries_count", "; ".join(held))
    counts = zones.table("quality", DUPLICATES)
    if counts.is_file() and (beyond := possible_duplicates.beyond_chance(read_parquet(counts))):
        yield OpenWarning("quality/possible_duplicates:no_more_than_chance", "; ".join(beyond))


def _compared(
    asset: str, comparisons: Sequence[Comparison], states: tuple[Profile | None, Profile | None], k: int
) -> Iterator[OpenWarning]:
    now, before = states
    for comparison in comparisons:
        if now and (concerns := comparison.find(now, before, k).concerns):
            yield OpenWarning(f"{asset}:{comparison.name}", f"{'; '.join(concerns)}. {comparison.remedy}")
