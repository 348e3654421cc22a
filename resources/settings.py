"""Where data lives and how the engine is set, as Dagster resources. Every field can be changed in the launchpad."""

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path
from typing import Any, TypedDict

import dagster as dg
from pydantic import Field

from ctdc_pipeline import secrets
from ctdc_pipeline.landing import Landing
from ctdc_pipeline.sensitive_countries import DenyList
from ctdc_pipeline.store import Store
from ctdc_pipeline.zones import Zones


class DataHome(dg.ConfigurableResource[None]):
    """The zones of the data, and the secrets kept beside them. Secrets are read when used and never become configuration."""

    root: str = Field(default="", description="Home folder of the data; empty means CTDC_HOME, or ./var when that is unset.")

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[Any]:
        """Keep the zone for one run at a time; a sensor, which is no run, only looks."""
        with self.zones().alone() if context.run else nullcontext():
            yield self

    def zones(self) -> Zones:
        """The zones, with their folders made and closed to others."""
        return (Zones(Path(self.root).resolve()) if self.root else Zones.from_environment()).prepare()

    def store(self) -> Store:
        """The store of deliveries."""
        return Store(self.zones().deliveries)

    def landing(self) -> Landing:
        """Where deliveries land: CTDC_LANDING, or the landing folder of the sensitive zone."""
        return Landing.from_environment(self.zones().landing)

    def pseudonym_key(self) -> bytes:
        """The key that pseudonymises case identifiers."""
        return secrets.pseudonym_key(self.zones())

    def seed(self) -> int:
        """The seed of the synthesis."""
        return secrets.synthesis_seed(self.zones())


class Limits(TypedDict):
    """What bounds the counting, as its functions take it."""

    threads: int | None
    memory_limit: str
    temp_dir: Path


class Engine(dg.ConfigurableResource[None]):
    """The privacy parameters and the limits of the counting and synthesis engine."""

    k: int = Field(
        default=10, description="Resolution: nothing found in fewer than k records is published; counts are multiples of k."
    )
    reporting_length: int = Field(default=4, description="Longest combination of attributes that is counted and reported.")
    last_year: int = Field(default=2021, description="Last year of registration that the release covers.")
    proxies: dict[str, list[str]] = Field(
        default={},
        description="By source, the fields for the country of exploitation, most trusted first; empty: as in the layout.",
    )
    admits: dict[str, list[str]] = Field(
        default={},
        description="By source, the rules by status that leave nobody out there, such as `pending` for `otsh`; empty: none.",
    )
    suppressed_countries: dict[str, list[str]] = Field(
        default={},
        description="Countries never to be named: alpha-3 codes by `citizenship` and `CountryOfExploitation`. Their values become"
        " missing when partners are harmonised, and the release says how many.",
    )
    threads: int | None = Field(default=None, description="Threads for counting and synthesis; all processors if not set.")
    memory_limit: str = Field(
        default="4GB", description="Memory that counting may use before it spills, and that synthesis may use at all."
    )

    def limits(self, *, spill: Path) -> Limits:
        """The limits of the counting, which spills to the folder ``spill``."""
        return {"threads": self.threads, "memory_limit": self.memory_limit, "temp_dir": spill}

    @property
    def deny(self) -> DenyList:
        """The countries never to be named. Raises ParameterError."""
        return DenyList.of(self.suppressed_countries)

    @property
    def last_day(self) -> date:
        """The day after which nothing in the data may lie."""
        return date(self.last_year, 12, 31)
