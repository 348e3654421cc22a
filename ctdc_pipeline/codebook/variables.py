"""The codebook as Python objects; its facts are in ``codebook.toml`` beside this module.

This module recognises values: variable names and their aliases, age and duration bands in every spelling, countries in every
code system. Which column of a partner's export contains which variable is part of the partner's layout, not of this module.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Literal

from ctdc_pipeline.codebook.countries import comparable_value, countries
from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.spelling import normal_form

Kind = Literal["year", "category", "country", "flag"]

_BAND = re.compile(r"(\d+)(?:-(\d+)|\+)")
"""A band of whole numbers, such as ``9-17`` or ``48+``."""


@dataclass(frozen=True)
class Variable:
    """One variable of the codebook.

    ``position`` counts from 1 in the release; 0 marks a detail, which only harmonised records have. ``values`` lists the values
    of a category (``meanings`` explains them where necessary) and ``("1",)`` for a flag; for years and countries it is empty.
    ``merges_into`` names the release variable in which a detail is counted, if any.
    """

    name: str
    position: int
    label: str
    kind: Kind
    group: str
    definition: str
    values: tuple[str, ...] = ()
    meanings: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    merges_into: str = ""

    @cached_property
    def bands(self) -> tuple[tuple[int, int | None, str], ...]:
        """The bands of whole numbers, in order, as (lowest, highest or None, value)."""
        matches = [(_BAND.match(comparable_value(value)), value) for value in self.values]
        return tuple((int(match[1]), int(match[2]) if match[2] else None, value) for match, value in matches if match)

    def band(self, number: int) -> str | None:
        """Return the band of ``number`` (years or months), or None below the lowest band."""
        return next((value for low, high, value in self.bands if low <= number and (high is None or number <= high)), None)

    def canonical(self, text: str) -> str | None:
        """Return the value as a release writes it.

        Dashes, padding, case and spaces of ``text`` do not matter.

        Returns:
            The value, or None if ``text`` is not a value of this variable.

        >>> codebook().variable("ageBroad").canonical("09 -- 17 ")
        '9--17'
        """
        if self.kind == "year":
            return plain if re.fullmatch(r"(19|20)\d\d", plain := normal_form(text), re.ASCII) else None
        if self.kind == "country":
            return countries().alpha3(text, system="iso3")
        return self._spellings.get(comparable_value(text))

    @cached_property
    def _spellings(self) -> dict[str, str]:
        return {comparable_value(value): value for value in self.values}


@dataclass(frozen=True)
class Codebook:
    """The variables of a release in order, the details, and the groups of both."""

    version: str
    first_year: int
    groups: Mapping[str, str]
    variables: tuple[Variable, ...]
    details: tuple[Variable, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the release variables, in order."""
        return tuple(variable.name for variable in self.variables)

    @property
    def harmonised(self) -> tuple[Variable, ...]:
        """The variables of a harmonised record: the release variables, then the details."""
        return self.variables + self.details

    def variable(self, name: str) -> Variable:
        """Return the variable or detail with this name or alias.

        Raises:
            ParameterError: If no variable has this name.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise ParameterError(f"no variable is called {name!r}", remedy="Use a name of the codebook.") from None

    @cached_property
    def _by_name(self) -> dict[str, Variable]:
        return {name: variable for variable in self.harmonised for name in (variable.name, *variable.aliases)}


@cache
def codebook() -> Codebook:
    """Return the codebook. It is read once."""
    data = tomllib.loads((files("ctdc_pipeline.codebook") / "codebook.toml").read_text("utf-8"))
    return Codebook(
        version=data["version"],
        first_year=data["first_year"],
        groups=data["groups"],
        variables=tuple(_variable(row, position) for position, row in enumerate(data["variables"], start=1)),
        details=tuple(_variable({"kind": "flag", **row}, 0) for row in data["details"]),
    )


def _variable(row: dict[str, Any], position: int) -> Variable:
    lists: dict[str, Any] = {key: tuple(value) for key, value in row.items() if isinstance(value, list)}
    flag: dict[str, Any] = {"values": ("1",)} if row["kind"] == "flag" else {}
    return Variable(**{**row, **flag, **lists}, position=position)
