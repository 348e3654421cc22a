"""Taking landed deliveries in: which are to be taken in, and from the landing root into the store and the tables of a source."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from ctdc_pipeline.dialects import as_sent
from ctdc_pipeline.errors import DeliveryError, ParameterError
from ctdc_pipeline.landing import Landed, Landing
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.reading import Ingested, IngestSummary, ingest
from ctdc_pipeline.refreshes import Refresh
from ctdc_pipeline.store import SHORT, Delivery, Store, content_hash
from ctdc_pipeline.zones import PRIVATE_FOLDER, Zones


@dataclass(frozen=True)
class Arrival:
    """A landed delivery that is to be taken in. ``content`` tells it from every other one for the same refresh."""

    source: str
    refresh: str
    content: str

    @property
    def key(self) -> str:
        """The same for the same bytes of the same refresh, whoever asks and however often."""
        return f"{self.source}/{self.refresh}/{self.content}"


def take_in(source: Source, *, refresh: str, landing: Landing, zones: Zones) -> tuple[Delivery, IngestSummary]:
    """Receive what landed for ``refresh``, if anything did, and read the delivery that counts for it.

    What was received before is read again from the store, so old refreshes can be made anew when their landing folder is gone.
    Raises DeliveryError, ParameterError, ResourceError, TableError.
    """
    store = Store(zones.deliveries)
    read: dict[str, Ingested] = {}

    def check(delivery: Delivery) -> None:
        read[delivery.content] = ingest(as_sent(source, delivery), delivery=delivery)

    landed = landing.find(source.name, refresh)
    if landed:
        delivery = store.receive(source, refresh, partial(landing.fetch, landed), check=check, tmp=zones.tmp)
    else:
        delivery = store.require(source.name, refresh)
    ingested = read.get(delivery.content) or ingest(as_sent(source, delivery), delivery=delivery)
    folder = zones.ingested(source.name) / refresh
    folder.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    ingested.write(folder)
    return delivery, ingested.summary


def overview(landed: Iterable[Landed], *, landing: Landing, store: Store, sources: Mapping[str, Source]) -> list[tuple[str, ...]]:
    """All deliveries as (source, refresh, delivery, kind, files, state): those in the store, then those that only landed.

    The state is ``used``, ``contested``, ``not chosen`` or ``landed``, with ``, closed`` where nothing more is accepted. Raises
    ResourceError and TableError.
    """
    rows: list[tuple[str, ...]] = []
    for name in store.sources():
        closed = store.closed(name)
        for refresh, variants in sorted(store.variants(name).items()):
            chosen = store.chosen(variants)
            for one in variants:
                state = "contested" if chosen is None else "used" if one == chosen else "not chosen"
                state += ", closed" if closed and refresh <= closed else ""
                rows.append((name, refresh.label, one.short, one.kind, str(len(one.paths())), state))
    for one in arrivals(landed, landing=landing, store=store, sources=sources):
        rows.append((one.source, one.refresh, one.content[:SHORT], "", "", "landed"))
    return rows


def misplaced(landed: Iterable[Landed], *, sources: Collection[str]) -> list[str]:
    """What of ``landed`` can be no delivery, each with its place and what to do: no such source, no such refresh, no folder.

    Folders are told by the source they are in and files by their number, for their names may be anybody's.
    """
    found: list[str] = []
    for one in landed:
        place = one.source if one.source in sources else "a folder of no known source" if one.source else "the landing root"
        try:
            Refresh.parse(one.refresh)
        except ParameterError as error:
            if one.refresh:
                found.append(f"a folder in {place}: {error}")
            else:
                where = "<refresh>/" if one.source in sources else "<source>/<refresh>/"
                found.append(f"{len(one.files)} files in {place} are in no folder of a refresh. Move them to {where}, or away.")
        else:
            if one.source not in sources:
                found.append(f"a folder for {one.refresh} is of no known source. Rename it to one of: {', '.join(sources)}.")
    return found


def arrivals(landed: Iterable[Landed], *, landing: Landing, store: Store, sources: Mapping[str, Source]) -> list[Arrival]:
    """What of ``landed``, which is complete, is not in the store yet, in order.

    What cannot be read as a delivery arrives as well, so that taking it in says what is wrong. Raises ResourceError.
    """
    found: list[Arrival] = []
    for one in landed:
        if one.source not in sources or misplaced([one], sources=sources):
            continue
        try:
            content = content_hash(landing.digests(one).items())
        except DeliveryError:
            content = one.fingerprint
        if content not in {
            delivery.content for delivery in store.deliveries(one.source) if delivery.refresh.label == one.refresh
        }:
            found.append(Arrival(one.source, one.refresh, content))
    return found
