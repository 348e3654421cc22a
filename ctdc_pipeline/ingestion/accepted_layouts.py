"""Say in which layouts a source may send its cases: its own, or HTCDS."""

from __future__ import annotations

from ctdc_pipeline.errors import DeliveryError
from ctdc_pipeline.ingestion.delivery_store import Delivery
from ctdc_pipeline.partners import htcds
from ctdc_pipeline.partners.layout import Source


def in_any_layout(source: Source) -> dict[str, Source]:
    """Return ``source`` in each accepted layout, by the title of the layout."""
    return {variant.cases.title: variant for variant in (source, htcds.as_source(source))}


def as_sent(source: Source, delivery: Delivery) -> Source:
    """Return ``source`` in the layout in which ``delivery`` contains the cases.

    Raises:
        DeliveryError: If some files of cases are HTCDS and others are not.
    """
    list_layouts = [layout for name, layout in source.layouts.items() if name != source.name]
    case_files = [path for path in delivery.paths() if not any(path.match(layout.file_pattern) for layout in list_layouts)]
    htcds_files = [path for path in case_files if htcds.matches(path)]
    if htcds_files and len(htcds_files) < len(case_files):
        raise DeliveryError(
            f"{len(htcds_files)} of {len(case_files)} files of cases are HTCDS, the others are not",
            remedy="Send all cases of a delivery in one layout.",
            partner=source.name,
            refresh=delivery.refresh.label,
        )
    return htcds.as_source(source) if htcds_files else source
