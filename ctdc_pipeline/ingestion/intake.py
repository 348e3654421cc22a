"""Move landed deliveries into the delivery store and read them into tables.

This module also decides which landed folders are new.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from ctdc_pipeline.errors import DeliveryError, ParameterError
from ctdc_pipeline.ingestion.accepted_layouts import as_sent
from ctdc_pipeline.ingestion.delivery_store import SHORT_DIGITS, Delivery, Store, content_hash
from ctdc_pipeline.ingestion.ingested import Ingested, IngestSummary, ingest
from ctdc_pipeline.ingestion.landed import Landed
from ctdc_pipeline.ingestion.landing import Landing
from ctdc_pipeline.ingestion.refreshes import Refresh
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.storage.zones import PRIVATE_FOLDER, Zones


@dataclass(frozen=True)
class Arrival:
    """A landed delivery that is not in the store yet.

    ``content`` distinguishes it from others for the same refresh.
    """

    source: str
    refresh: str
    content: str

    @property
    def key(self) -> str:
        """Identifies these bytes of this refresh, however often the landing area is listed."""
        return f"{self.source}/{self.refresh}/{self.content}"


def take_in(source: Source, *, refresh: str, landing: Landing, zones: Zones) -> tuple[Delivery, IngestSummary]:
    """Receive the landed files for ``refresh``, and ingest the delivery that counts.

    A delivery that was received earlier is read from the store again, so old refreshes can be ingested again after their
    landing folder is gone.

    Args:
        source: The source that sent the delivery.
        refresh: The label of the refresh.
        landing: The landing root.
        zones: The zones, with the store and the ingested tables.

    Returns:
        The delivery that counts, and a summary of what was read.

    Raises:
        DeliveryError: If the delivery cannot be accepted.
        ParameterError: If the label is malformed.
        ResourceError: If the landing root cannot be read.
        TableError: If a record of the store is damaged.
    """
    store = Store(zones.deliveries)
    ingested_by_content: dict[str, Ingested] = {}

    def check(delivery: Delivery) -> None:
        ingested_by_content[delivery.content] = ingest(as_sent(source, delivery), delivery=delivery)

    landed = landing.find(source.name, refresh)
    if landed:
        delivery = store.receive(source, refresh, partial(landing.fetch, landed), check=check, tmp=zones.tmp)
    else:
        delivery = store.require(source.name, refresh)
    ingested = ingested_by_content.get(delivery.content) or ingest(as_sent(source, delivery), delivery=delivery)
    folder = zones.ingested(source.name) / refresh
    folder.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    ingested.write(folder)
    return delivery, ingested.summary


def overview(landed: Iterable[Landed], *, landing: Landing, store: Store, sources: Mapping[str, Source]) -> list[tuple[str, ...]]:
    """List all deliveries: those in the store, then those that have only landed.

    Args:
        landed: The complete folders of the landing root.
        landing: The landing root.
        store: The delivery store.
        sources: All sources by name.

    Returns:
        Rows of (source, refresh, delivery, kind, files, state). The state is ``used``, ``contested``, ``not chosen`` or
            ``landed``; ``, closed`` is added if the refresh accepts no more deliveries.

    Raises:
        ResourceError: If the landing root cannot be read.
        TableError: If a record of the store is damaged.
    """
    rows: list[tuple[str, ...]] = []
    for name in store.sources():
        closed = store.closed(name)
        for refresh, variants in sorted(store.variants(name).items()):
            chosen = store.chosen(variants)
            for delivery in variants:
                state = "contested" if chosen is None else "used" if delivery == chosen else "not chosen"
                state += ", closed" if closed and refresh <= closed else ""
                rows.append((name, refresh.label, delivery.short, delivery.kind, str(len(delivery.paths())), state))
    for arrival in arrivals(landed, landing=landing, store=store, sources=sources):
        rows.append((arrival.source, arrival.refresh, arrival.content[:SHORT_DIGITS], "", "", "landed"))
    return rows


def misplaced(landed: Iterable[Landed], *, sources: Collection[str]) -> list[str]:
    """List what in the landing area cannot be a delivery, with a remedy.

    That is: a folder of an unknown source, a folder whose name is not a refresh label, and files that are in no folder. Folders
    are reported by their source and files by their number, because their names may contain the name of a person.
    """
    messages: list[str] = []
    for folder in landed:
        parent = (
            folder.source if folder.source in sources else "a folder of no known source" if folder.source else "the landing root"
        )
        try:
            Refresh.parse(folder.refresh)
        except ParameterError as error:
            if folder.refresh:
                messages.append(f"a folder in {parent}: {error}")
            else:
                target = "<refresh>/" if folder.source in sources else "<source>/<refresh>/"
                messages.append(
                    f"{len(folder.files)} files in {parent} are in no folder of a refresh. Move them to {target}, or away."
                )
        else:
            if folder.source not in sources:
                messages.append(
                    f"a folder for {folder.refresh} belongs to no known source. Rename it to one of: {', '.join(sources)}."
                )
    return messages


def arrivals(landed: Iterable[Landed], *, landing: Landing, store: Store, sources: Mapping[str, Source]) -> list[Arrival]:
    """List the complete landed deliveries that are not in the store yet, in order.

    A folder that cannot be read as a delivery is listed as well, so that taking it in reports what is wrong.

    Args:
        landed: The complete folders of the landing root.
        landing: The landing root.
        store: The delivery store.
        sources: All sources by name.

    Raises:
        ResourceError: If the landing root cannot be read.
    """
    new_arrivals: list[Arrival] = []
    for folder in landed:
        if folder.source not in sources or misplaced([folder], sources=sources):
            continue
        try:
            content = content_hash(landing.digests(folder).items())
        except DeliveryError:
            content = folder.fingerprint
        if content not in {
            delivery.content for delivery in store.deliveries(folder.source) if delivery.refresh.label == folder.refresh
        }:
            new_arrivals.append(Arrival(folder.source, folder.refresh, content))
    return new_arrivals
