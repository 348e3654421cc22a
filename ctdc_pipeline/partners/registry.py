"""Which sources there are. A new source is one module with a ``SOURCE`` and one line here."""

from __future__ import annotations

from ctdc_pipeline.partners import iom_legacy, iom_mimosa, liberty_shared, polaris
from ctdc_pipeline.partners.layout import Source

SOURCES: dict[str, Source] = {
    source.name: source for source in (iom_legacy.SOURCE, iom_mimosa.SOURCE, liberty_shared.SOURCE, polaris.SOURCE)
}

PARTNERS: dict[str, tuple[Source, ...]] = {
    partner: tuple(source for source in SOURCES.values() if source.partner == partner)
    for partner in sorted({source.partner for source in SOURCES.values()})
}
