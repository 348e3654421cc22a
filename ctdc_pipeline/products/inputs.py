"""What every product of a release is made from, read once; a product is a function ``write(inputs, folder)`` of it alone.

Figures from the complete records are protected the same way everywhere: below ``k`` they are not told, else rounded down to a
multiple of ``k``; percentages come from protected counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting.rounding import rounded_down
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.products.imprint import INVENTED, imprint
from ctdc_pipeline.storage.files import queries, read_parquet
from ctdc_pipeline.storage.zones import Zones

PARTNERS = pa.schema(
    [
        *((name, pa.string()) for name in ("partner", "source", "title", "state", "latest_refresh", "stopped")),
        ("victims", pa.int64()),
        ("first_year", pa.string()),
        ("last_year", pa.string()),
    ]
)
"""One row a source: what the manifest says of its deliveries, its victims in this release, and the years that show."""


@dataclass(frozen=True, kw_only=True)
class Released:
    """What every release has, however it was made. All columns of ``synthetic`` are text, null for missing."""

    version: str
    last_year: int
    synthetic: pa.Table
    """The released records: the variables of the codebook, in the order they are published."""
    invented: bool = False
    """Whether the people in it are invented, any of them: then every file for people says so."""
    about_rows: str = "Records are synthetic: their number is not the number of victims."

    @property
    def title(self) -> str:
        """What files say that they are."""
        return f"{'INVENTED DATA: ' if self.invented else ''}Global Synthetic Dataset, version {self.version}"

    @property
    def notice(self) -> str:
        """The warning that every file for people begins with; empty for a release of real people."""
        return INVENTED if self.invented else ""

    @property
    def citation(self) -> str:
        """How to cite the release; an invented one says that it must not be."""
        return self.notice or imprint().cite(self.version)


@dataclass(frozen=True, kw_only=True)
class Inputs(Released):
    """The tables of one k-synthetic release. All columns of ``victims`` are text, null for missing."""

    k: int
    length: int
    victims: pa.Table
    """Sensitive: the variables of the accepted records, and their ``partner``. Only protected figures of it may be written."""
    aggregates: pa.Table
    """As ``aggregates.reportable_aggregates`` gives them, and as they are published."""
    partners: pa.Table
    """Protected, in the columns of ``PARTNERS``; ``victims`` and the years are null below ``k``."""

    @classmethod
    def read(
        cls,
        zones: Zones,
        *,
        version: str,
        k: int,
        length: int,
        last_year: int,
        deliveries: Mapping[str, Mapping[str, Any]],
        invented: bool = False,
    ) -> Inputs:
        """The inputs of a release; ``deliveries`` is what its manifest says of each source. Raises as ``read_parquet``."""
        names = list(codebook().names)
        victims = zones.table("harmonised", "victims")
        with queries(victims=victims) as connection:
            counted = connection.sql("SELECT source, yearOfRegistration, count(*)::BIGINT FROM victims GROUP BY ALL").fetchall()
        return cls(
            version=version,
            k=k,
            length=length,
            last_year=last_year,
            synthetic=read_parquet(zones.table("synthetic", "records"), columns=names),
            victims=read_parquet(victims, columns=["partner", *names]),
            aggregates=read_parquet(zones.table("counts", "reportable_aggregates")),
            partners=_partners(deliveries, counted, k=k),
            invented=invented,
        )


def _partners(deliveries: Mapping[str, Mapping[str, Any]], counted: list[tuple[str, str | None, int]], *, k: int) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for source in SOURCES.values():
        delivered = deliveries[source.name]
        own = {year: count for name, year, count in counted if name == source.name}
        years = sorted(year for year, count in own.items() if year and count >= k)
        rows.append(
            {
                "partner": source.partner,
                "source": source.name,
                "title": source.title,
                **{name: delivered[name] for name in ("state", "latest_refresh", "stopped")},
                "victims": rounded_down(sum(own.values()), k) or None,
                "first_year": years[0] if years else None,
                "last_year": years[-1] if years else None,
            }
        )
    return pa.Table.from_pylist(rows, schema=PARTNERS)
