"""In which layouts a source may send its cases: its own, or the international standard HTCDS."""

from __future__ import annotations

from ctdc_pipeline.errors import DeliveryError
from ctdc_pipeline.interchange import htcds
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.store import Delivery


def in_any_layout(source: Source) -> dict[str, Source]:
    """``source`` in each layout in which its cases may come, by the title of that layout."""
    return {one.cases.title: one for one in (source, htcds.as_source(source))}


def as_sent(source: Source, delivery: Delivery) -> Source:
    """``source`` in the layout in which the cases of ``delivery`` are. Raises DeliveryError where layouts are mixed."""
    lists = [layout for name, layout in source.layouts.items() if name != source.name]
    cases = [path for path in delivery.paths() if not any(path.match(layout.file_pattern) for layout in lists)]
    standard = [path for path in cases if htcds.matches(path)]
    if standard and len(standard) < len(cases):
        raise DeliveryError(
            f"{len(standard)} of {len(cases)} files of cases are HTCDS, the others are not",
            remedy="Send all cases of a delivery in one layout.",
            partner=source.name,
            refresh=delivery.refresh.label,
        )
    return htcds.as_source(source) if standard else source
