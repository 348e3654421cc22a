"""The codebook and the country table as Python objects; the facts themselves are ``data/codebook.toml`` and ``countries.csv``.

What belongs here is how a value is recognised: names and their aliases, bands in every spelling, countries in every code system.
Which column of a partner's export holds what does not; that is a layout's business.
"""

from __future__ import annotations

import csv
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Literal

from ctdc_pipeline.errors import ParameterError

Kind = Literal["year", "category", "country", "flag"]
System = Literal["iom", "iso2", "iso3", "name", "portuguese", "any"]

_DASHES = re.compile(r"[-‐‑‒–—―−]+")
_BAND = re.compile(r"(\d+)(?:-(\d+)|\+)")


@dataclass(frozen=True)
class Variable:
    """One variable. ``position`` counts from 1 in the release; 0 is a detail, which only harmonised records hold.

    ``values`` lists the values of a category (``meanings`` explains them, where they need it) and ``("1",)`` for a flag; years
    and countries are lists of their own. ``merges_into`` names the variable as which a detail counts in the release, if any.
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
        """(lowest, highest or None, value) of each value that is a band of whole numbers, in order."""
        found = [(_BAND.match(_spelling(value)), value) for value in self.values]
        return tuple((int(hit[1]), int(hit[2]) if hit[2] else None, value) for hit, value in found if hit)

    def band(self, number: int) -> str | None:
        """The band that holds ``number``, a whole number of years or months; None below the lowest."""
        return next((value for low, high, value in self.bands if low <= number and (high is None or number <= high)), None)

    def canonical(self, text: str) -> str | None:
        """The value as the release writes it, for any dash, padding, case or spacing of ``text``; None if it is not one."""
        if self.kind == "year":
            return text.strip() if re.fullmatch(r"(19|20)\d\d", text.strip()) else None
        if self.kind == "country":
            return countries().alpha3(text, system="iso3")
        return self._spellings.get(_spelling(text))

    @cached_property
    def _spellings(self) -> dict[str, str]:
        return {_spelling(value): value for value in self.values}


@dataclass(frozen=True)
class Codebook:
    """The variables of the release in their order, the details of harmonised records, and the groups both belong to."""

    version: str
    first_year: int
    groups: Mapping[str, str]
    variables: tuple[Variable, ...]
    details: tuple[Variable, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the release variables in order."""
        return tuple(variable.name for variable in self.variables)

    @property
    def harmonised(self) -> tuple[Variable, ...]:
        """The variables of a harmonised record: those of the release, then the details."""
        return self.variables + self.details

    def variable(self, name: str) -> Variable:
        """The variable of that name or alias, detail or not. Raises ParameterError."""
        try:
            return self._by_name[name]
        except KeyError:
            raise ParameterError(f"no variable is called {name!r}", remedy="Use a name of the codebook.") from None

    @cached_property
    def _by_name(self) -> dict[str, Variable]:
        return {name: variable for variable in self.harmonised for name in (variable.name, *variable.aliases)}


@dataclass(frozen=True)
class Country:
    """One country or territory: ISO 3166-1 codes, short name, UN (M49) region and subregion, and what else it is called.

    ``portuguese`` are names as written in Portugal, the short name of Unicode CLDR (pt-PT) or the more usual one first;
    ``gentilics`` are how its people are called there, but for words that two countries share, such as "congolesa".
    """

    iso2: str
    iso3: str
    numeric: str
    name: str
    region: str
    subregion: str
    other_codes: tuple[str, ...]
    aliases: tuple[str, ...]
    portuguese: tuple[str, ...]
    gentilics: tuple[str, ...]


@dataclass(frozen=True)
class Countries:
    """The country table.

    IOM's own codes are resolved where they have one successor: Y1 (Kosovo) and Y3 to Serbia, TB (Tibet) to China, TP to
    Timor-Leste, Y2 to Montenegro, ZR to the Democratic Republic of the Congo. YU (Serbia and Montenegro) has two and
    stays unknown.
    """

    rows: tuple[Country, ...]

    def alpha3(self, text: str, *, system: System) -> str | None:
        """ISO 3166-1 alpha-3 code of ``text`` in a code system, or None when it is unknown there; "any" is ISO code or name."""
        if system == "any":
            return self.alpha3(text, system="iso2") or self.alpha3(text, system="iso3") or self.alpha3(text, system="name")
        return self._codes[system].get(_name(text) if system in ("name", "portuguese") else text.strip().upper())

    def get(self, alpha3: str) -> Country | None:
        """The country with that alpha-3 code."""
        return self._by_alpha3.get(alpha3)

    @cached_property
    def _by_alpha3(self) -> dict[str, Country]:
        return {country.iso3: country for country in self.rows}

    @cached_property
    def _codes(self) -> dict[System, dict[str, str]]:
        two = {code: c.iso3 for c in self.rows for code in (c.iso2, *c.other_codes) if len(code) == 2}
        three = {code: c.iso3 for c in self.rows for code in (c.iso3, *c.other_codes) if len(code) == 3}
        names = {_name(name): c.iso3 for c in self.rows for name in (c.name, *c.aliases)}
        portuguese = {_name(name): c.iso3 for c in self.rows for name in (*c.portuguese, *c.gentilics)}
        return {"iom": two, "iso2": two, "iso3": three, "name": names, "portuguese": portuguese}


@cache
def codebook() -> Codebook:
    """The codebook, read once."""
    data = tomllib.loads((files("ctdc_pipeline") / "data" / "codebook.toml").read_text("utf-8"))
    return Codebook(
        version=data["version"],
        first_year=data["first_year"],
        groups=data["groups"],
        variables=tuple(_variable(row, position) for position, row in enumerate(data["variables"], start=1)),
        details=tuple(_variable({"kind": "flag", **row}, 0) for row in data["details"]),
    )


@cache
def countries() -> Countries:
    """The country table, read once, ordered by alpha-3 code."""
    lines = (files("ctdc_pipeline") / "data" / "countries.csv").read_text("utf-8").splitlines()
    return Countries(tuple(_country(row) for row in csv.DictReader(lines)))


def _variable(row: dict[str, Any], position: int) -> Variable:
    lists: dict[str, Any] = {key: tuple(value) for key, value in row.items() if isinstance(value, list)}
    flag: dict[str, Any] = {"values": ("1",)} if row["kind"] == "flag" else {}
    return Variable(**{**row, **flag, **lists}, position=position)


def _country(row: dict[str, str]) -> Country:
    keys = ("other_codes", "aliases", "portuguese", "gentilics")
    lists: dict[str, Any] = {key: tuple(filter(None, row.pop(key).split("|"))) for key in keys}
    return Country(**row, **lists)


def _spelling(text: str) -> str:
    """One spelling for values that differ in dashes, zero padding, spaces, case or a remark in brackets."""
    plain = _DASHES.sub("-", text.split("(")[0]).casefold()
    return re.sub(r"\b0+(?=\d)", "", re.sub(r"\s+", "", plain))


def _name(text: str) -> str:
    """One spelling for names that differ in accents, punctuation, case or a leading article."""
    letters = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter) and letter not in "'’")
    words = re.findall(r"\w+", plain)
    return " ".join(words[1:] if words[:1] == ["the"] else words)
