"""Where data lives and how the engine is set, as Dagster resources. Every field can be changed in the launchpad."""

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.harmonisation.derivation import LAST_YEAR
from ctdc_pipeline.harmonisation.policy import HarmonisationPolicy
from ctdc_pipeline.ingestion.delivery_store import Store
from ctdc_pipeline.ingestion.landing import Landing
from ctdc_pipeline.operations.limits import Limits
from ctdc_pipeline.privacy.suppressed_countries import SuppressedCountries
from ctdc_pipeline.release.measuring import SERIES
from ctdc_pipeline.storage import secrets
from ctdc_pipeline.storage.zones import Zones

CORE = (
    "yearOfRegistration",
    "gender",
    "ageBroad",
    "citizenship",
    "CountryOfExploitation",
    "isForcedLabour",
    "isSexualExploit",
    "isOtherExploit",
)


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


class Engine(dg.ConfigurableResource[None]):
    """The privacy parameters and the limits of the counting and synthesis engine."""

    k: int = Field(
        default=10, description="Resolution: nothing found in fewer than k records is published; counts are multiples of k."
    )
    reporting_length: int = Field(default=4, description="Longest combination of attributes that is counted and reported.")
    last_year: int = Field(default=LAST_YEAR, description="Last year of registration that the release covers.")
    core: list[str] = Field(
        default=list(CORE),
        description="Variables whose pairs the synthetic records are to count most accurately, at the cost of other pairs.",
    )
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
    hold_back_losses: bool = Field(
        default=True,
        description="Hold back a delivery that loses more than half of its partner's cases until somebody chooses it; the partner"
        " goes on with its last good state.",
    )
    series: str = Field(
        default="k-synthetic",
        description="What is released of the persons in this home: `k-synthetic`, or `dp`, differentially private. Stay with one:"
        " both together have no finite epsilon.",
    )
    threads: int | None = Field(default=None, description="Threads for counting and synthesis; all processors if not set.")
    memory_limit: str = Field(
        default="4GB", description="Memory that counting may use before it spills, and that synthesis may use at all."
    )

    @property
    def limits(self) -> Limits:
        """How much of the machine the engine may use; counting spills to the temp folder that it is given."""
        return Limits(self.threads, self.memory_limit)

    @property
    def policy(self) -> HarmonisationPolicy:
        """What this installation decided of the harmonisation. Raises ParameterError."""
        return HarmonisationPolicy(self.last_day, self.proxies, self.admits, self.suppressed, self.hold_back_losses)

    def require_series(self, series: str) -> None:
        """Refuse what belongs to another series than the installation's. Raises ParameterError."""
        if self.series not in SERIES:
            raise ParameterError(f"there is no series {self.series!r}", remedy=f"Set `series` to one of {', '.join(SERIES)}.")
        if self.series != series:
            raise ParameterError(
                f"the series of this installation is {self.series}, and this belongs to {series}",
                remedy=f"Set `series` of the resource `engine` to {series} if that is decided.",
            )

    @property
    def suppressed(self) -> SuppressedCountries:
        """The countries never to be named. Raises ParameterError."""
        return SuppressedCountries.of(self.suppressed_countries)

    @property
    def last_day(self) -> date:
        """The day after which nothing in the data may lie."""
        return date(self.last_year, 12, 31)
