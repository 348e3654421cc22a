"""Deliveries that wait for a person's decision.

Meanwhile their partner continues with its last good state. A delivery waits while its refresh is contested, or if taking it in
would lose more than half of the partner's cases. Its cases do not count. Its opt-outs and refused consents do, because nobody
may stay in the data because of a dispute.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ctdc_pipeline.errors import TableError
from ctdc_pipeline.ingestion.delivery_store import Delivery, Store
from ctdc_pipeline.partners.registry import PARTNERS
from ctdc_pipeline.storage.files import read_parquet
from ctdc_pipeline.storage.zones import Zones

MAX_LOSS_SHARE = 0.5
"""The share of a partner's cases that a delivery may lose without being held back."""


def standing_deliveries(store: Store, source: str) -> list[Delivery]:
    """Return the deliveries of ``source`` that count or may still be chosen.

    That includes every delivery of a contested refresh.
    """
    deliveries: list[Delivery] = []
    for _, variants in sorted(store.variants(source).items()):
        chosen = store.chosen(variants)
        deliveries += variants if chosen is None else [chosen]
    return deliveries


def has_contested_refresh(store: Store, source: str) -> bool:
    """Return whether a person has to choose between deliveries of ``source``."""
    return any(store.chosen(variants) is None for variants in store.variants(source).values())


def harmonised_before(source: str, deliveries: Path, store: Store) -> list[Delivery]:
    """Return the deliveries of ``source`` that its partner was harmonised from.

    Deliveries that were rejected since are left out.

    Args:
        source: The name of the source.
        deliveries: The path of the partner's table of deliveries; it may be absent.
        store: The delivery store.
    """
    known = _listed(deliveries)
    return [delivery for delivery in standing_deliveries(store, source) if _key(delivery) in known]


def waiting_messages(partner: str, zones: Zones) -> list[str]:
    """List the deliveries of ``partner`` that are not in its tables, why, and what to do."""
    store, messages = Store(zones.deliveries), list[str]()
    used = _listed(zones.table("harmonised", f"{partner}_deliveries"))
    for source in PARTNERS[partner]:
        waiting = [delivery for delivery in standing_deliveries(store, source.name) if _key(delivery) not in used]
        for delivery in waiting:
            choose = f"ctdc deliveries choose {source.name} {delivery.refresh}"
            variants = store.variants(source.name)[delivery.refresh]
            if store.chosen(variants) is None:
                messages.append(
                    f"{source.name}: refresh {delivery.refresh} was delivered more than once with other content, and"
                    f" {delivery.short} does not count: {choose} {' or '.join(variant.short for variant in variants)}"
                )
            else:
                messages.append(
                    f"{source.name}: {delivery.short} for {delivery.refresh} does not count. It waits for a contested refresh,"
                    " was not harmonised yet, or would lose more than half of the partner's cases. If it is right: "
                    f"{choose} {delivery.short}, and materialise harmonised/{partner} again"
                )
    return messages


def require_unchanged(source: str, partner: str, store: Store, *, used: set[tuple[str, str, str]], held: Path) -> None:
    """Refuse a partner's tables unless they were made of the deliveries that stand now.

    Args:
        source: The name of the source.
        partner: The name of its partner.
        store: The delivery store.
        used: The deliveries that the tables count, by source, refresh and content hash.
        held: The path of the table of deliveries that were held back.

    Raises:
        TableError: If the deliveries changed since the partner was harmonised.
    """
    standing = {_key(delivery) for delivery in standing_deliveries(store, source)}
    harmonised = {key for key in used | _listed(held) if key[0] == source}
    if standing != harmonised:
        remedy = f"Ingest {source} and harmonise {partner} again."
        raise TableError(f"the deliveries of {source} have changed since it was harmonised", remedy=remedy)


def unchosen(store: Store, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return those of ``deliveries`` that no person chose."""
    return [delivery for delivery in deliveries if not store.decided(delivery)]


def _key(delivery: Delivery) -> tuple[str, str, str]:
    return delivery.source, delivery.refresh.label, delivery.content


def _listed(path: Path) -> set[tuple[str, str, str]]:
    if not path.is_file():
        return set()
    table = read_parquet(path, columns=["source", "refresh", "content"])
    return {*zip(*(table.column(name).to_pylist() for name in ("source", "refresh", "content")), strict=True)}
