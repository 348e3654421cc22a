"""Taking a landed delivery in: from the landing root into the store, and from there into the tables of its source."""

from __future__ import annotations

from functools import partial

from ctdc_pipeline.dialects import as_sent
from ctdc_pipeline.local_landing import Landing
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.reading import Ingested, IngestSummary, ingest
from ctdc_pipeline.store import Delivery, Store
from ctdc_pipeline.zones import PRIVATE_FOLDER, Zones


def take_in(source: Source, *, refresh: str, landing: Landing, zones: Zones) -> tuple[Delivery, IngestSummary]:
    """Receive what landed for ``refresh``, if anything did, and read the delivery that counts for it.

    What was received before is read again from the store, so old refreshes can be made anew when their landing folder is gone.
    Raises DeliveryError, ParameterError, TableError.
    """
    store = Store(zones.deliveries)
    read: dict[str, Ingested] = {}

    def check(delivery: Delivery) -> None:
        read[delivery.content] = ingest(as_sent(source, delivery), delivery=delivery)

    if any((one.source, one.refresh) == (source.name, refresh) for one in landing.landed()):
        delivery = store.receive(source, refresh, partial(landing.fetch, source.name, refresh), check=check, tmp=zones.tmp)
    else:
        delivery = store.require(source.name, refresh)
    ingested = read.get(delivery.content) or ingest(as_sent(source, delivery), delivery=delivery)
    folder = zones.ingested(source.name) / refresh
    folder.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    ingested.write(folder)
    return delivery, ingested.summary
