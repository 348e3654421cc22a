"""List the sources of the package, and those that an installation adds.

See docs/adding-a-partner.md. A wrong file of the package is a defect and stops the start. A wrong file of the installation is
logged, and only its source is left out; if that source had delivered, nothing is combined or released without it
(``require_known``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib.resources import files

from ctdc_pipeline.errors import TableError
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.loading import load, load_installed
from ctdc_pipeline.storage.zones import Zones

_ORDER = ("iom_legacy", "iom_mimosa", "liberty_shared", "polaris", "a21", "otsh")
BUILT_IN: dict[str, Source] = {name: load(files("ctdc_pipeline.partners") / f"{name}.toml") for name in _ORDER}

_INSTALLED, BROKEN = load_installed(Zones.from_environment().partners, taken=BUILT_IN)
"""The sources that this installation adds, and the errors of files that are wrong."""
for _error in BROKEN:
    logging.getLogger(__name__).warning("%s This partner is left out until then.", _error)

SOURCES: dict[str, Source] = {**BUILT_IN, **_INSTALLED}

PARTNERS: dict[str, tuple[Source, ...]] = {
    partner: tuple(source for source in SOURCES.values() if source.partner == partner)
    for partner in sorted({source.partner for source in SOURCES.values()})
}


def require_known(delivered: Iterable[str]) -> None:
    """Refuse to go on if a source that delivered has no layout any more.

    Args:
        delivered: The names of the sources with deliveries in the store.

    Raises:
        TableError: If one of them is not a known source.
    """
    if unknown := sorted({*delivered} - SOURCES.keys()):
        layout_errors = [str(error) for error in BROKEN if error.file.rpartition(".")[0] in unknown]
        raise TableError(
            f"the store contains deliveries of a source without a layout: {', '.join(unknown)}",
            remedy=" ".join(layout_errors)
            or f"Put its file back into {Zones.from_environment().partners.name}/ of CTDC_HOME, and reload.",
        )
