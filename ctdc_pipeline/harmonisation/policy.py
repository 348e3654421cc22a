"""The settings of an installation for harmonisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from ctdc_pipeline.privacy.suppressed_countries import NO_COUNTRIES, SuppressedCountries


@dataclass(frozen=True)
class HarmonisationPolicy:
    """What an installation decides about harmonisation.

    Everything else follows from deliveries and layouts.

    Attributes:
        as_of: The last day that the release covers; no date in the data may be after it.
        proxies: By source, the fields for the country of exploitation in the order in which they are tried; without an entry
            the order of the layout counts.
        admits: By source, the exclusion rules by status that are set aside (``Source.admitting``).
        suppressed: The countries whose values become missing.
        hold_back: Whether new deliveries that no person chose wait if they would lose more than half of the cases.
    """

    as_of: date
    proxies: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    admits: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    suppressed: SuppressedCountries = NO_COUNTRIES
    hold_back: bool = True
