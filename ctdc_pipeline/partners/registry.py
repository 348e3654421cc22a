"""Which sources there are. A new source is one module with a ``SOURCE`` and its name here; see docs/adding-a-partner.md."""

from __future__ import annotations

from ctdc_pipeline.partners import a21, iom_legacy, iom_mimosa, liberty_shared, otsh, polaris
from ctdc_pipeline.partners.layout import Source

SOURCES: dict[str, Source] = {
    module.SOURCE.name: module.SOURCE for module in (iom_legacy, iom_mimosa, liberty_shared, polaris, a21, otsh)
}

PARTNERS: dict[str, tuple[Source, ...]] = {
    partner: tuple(source for source in SOURCES.values() if source.partner == partner)
    for partner in sorted({source.partner for source in SOURCES.values()})
}
