"""The country table: codes, and the names that partners use for each country."""

from __future__ import annotations

import csv
import re
import unicodedata
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Literal

from ctdc_pipeline.spelling import normal_form

System = Literal["iom", "iso2", "iso3", "name", "portuguese", "any"]
_DASHES = re.compile(r"[-‐‑‒–—―−]+")


@dataclass(frozen=True)
class Country:
    """One country or territory: its codes, its region and its names.

    The codes are those of ISO 3166-1, the region and the subregion those of the UN (M49). ``portuguese`` lists names as written
    in Portugal; the first is the short name of Unicode CLDR (pt-PT) or the more usual one. ``gentilics`` are the Portuguese
    words for its people, except words that two countries share, such as "congolesa".
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
    """The country table, with look-ups by code and by name.

    IOM's own codes are resolved where they have one successor: Y1 (Kosovo) and Y3 to Serbia, TB (Tibet) to China, TP to
    Timor-Leste, Y2 to Montenegro, ZR to the Democratic Republic of the Congo. YU (Serbia and Montenegro) has two successors and
    stays unknown.
    """

    rows: tuple[Country, ...]

    def alpha3(self, text: str, *, system: System) -> str | None:
        """Return the ISO 3166-1 alpha-3 code of a country's code or name.

        Args:
            text: A code or a name in any spelling, for example ``"Viet Nam"``.
            system: The code system of ``text``. ``"any"`` tries ISO alpha-2, ISO alpha-3 and the English name, in this order.

        Returns:
            The alpha-3 code, or None if ``text`` is unknown in that system.

        >>> countries().alpha3("Ivory Coast", system="name")
        'CIV'
        """
        if system == "any":
            return self.alpha3(text, system="iso2") or self.alpha3(text, system="iso3") or self.alpha3(text, system="name")
        if system == "name":
            return self._codes["name"].get(_name(text)) or self._words.get(_words(text))
        return self._codes[system].get(_name(text) if system == "portuguese" else normal_form(text).upper())

    def get(self, alpha3: str) -> Country | None:
        """Return the country with this alpha-3 code, or None."""
        return self._by_alpha3.get(alpha3)

    @cached_property
    def _by_alpha3(self) -> dict[str, Country]:
        return {country.iso3: country for country in self.rows}

    @cached_property
    def _words(self) -> dict[tuple[str, ...], str]:
        """Map the words of each country name to its code, for our names and for those of pycountry.

        Word sets that belong to two countries, in whatever order, are left out.
        """
        from pycountry import countries as pycountries  # slow to import, and few tables contain names

        names = {country.iso3: [country.name, *country.aliases] for country in self.rows}
        for country in filter(None, (pycountries.get(alpha_3=code) for code in names)):
            forms = (getattr(country, form, "") for form in ("name", "official_name", "common_name"))
            names[country.alpha_3] += [form for form in forms if form]
        codes_by_words: dict[tuple[str, ...], set[str]] = {}
        for code, forms in names.items():
            for form in forms:
                codes_by_words.setdefault(_words(form), set()).add(code)
        return {words: next(iter(codes)) for words, codes in codes_by_words.items() if words and len(codes) == 1}

    @cached_property
    def _codes(self) -> dict[System, dict[str, str]]:
        two = {code: c.iso3 for c in self.rows for code in (c.iso2, *c.other_codes) if len(code) == 2}
        three = {code: c.iso3 for c in self.rows for code in (c.iso3, *c.other_codes) if len(code) == 3}
        names = {_name(name): c.iso3 for c in self.rows for name in (c.name, *c.aliases)}
        portuguese = {_name(name): c.iso3 for c in self.rows for name in (*c.portuguese, *c.gentilics)}
        return {"iom": two, "iso2": two, "iso3": three, "name": names, "portuguese": portuguese}


@cache
def countries() -> Countries:
    """Return the country table, ordered by alpha-3 code. It is read once."""
    lines = (files("ctdc_pipeline.codebook") / "countries.csv").read_text("utf-8").splitlines()
    return Countries(tuple(_country(row) for row in csv.DictReader(lines)))


def _country(row: dict[str, str]) -> Country:
    keys = ("other_codes", "aliases", "portuguese", "gentilics")
    lists: dict[str, Any] = {key: tuple(filter(None, row.pop(key).split("|"))) for key in keys}
    return Country(**row, **lists)


def comparable_value(text: str) -> str:
    """Return the form in which codebook values are compared.

    Values that differ only in dashes, zero padding, spaces, case or a remark in brackets get the same form.

    >>> comparable_value(" 09 -- 17 (child)") == comparable_value("9--17")
    True
    """
    plain = _DASHES.sub("-", normal_form(text).split("(")[0]).casefold()
    return re.sub(r"\b0+(?=\d)", "", re.sub(r"\s+", "", plain))


def _name(text: str) -> str:
    """Return a form that ignores accents, punctuation, case and a leading article."""
    letters = unicodedata.normalize("NFKD", normal_form(text)).casefold()
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter) and letter not in "'’")
    words = re.findall(r"\w+", plain)
    return " ".join(words[1:] if words[:1] == ["the"] else words)


_WRITTEN_OUT = {
    "dem": "democratic",
    "dpr": "democratic peoples republic",
    "fed": "federated",
    "fs": "federated states",
    "fyr": "former yugoslav republic",
    "is": "islands",
    "isl": "islands",
    "isls": "islands",
    "island": "islands",
    "pdr": "peoples democratic republic",
    "ppl": "peoples",
    "rep": "republic",
    "st": "saint",
    "ste": "saint",
    "sts": "states",
}
"""Abbreviations in country names, written out."""
_SILENT = frozenset({"the", "of", "and", "et", "&"})
"""Words that do not tell country names apart."""


def _words(text: str) -> tuple[str, ...]:
    """Return the sorted words of a country's name.

    Abbreviations are written out, and "the" and "of" are left out. The words are sorted because country lists put them in
    different orders.
    """
    spaced = re.sub(r"\b(?:[^\W\d_]\.\s?){2,}", lambda initials: re.sub(r"[.\s]", "", initials[0]) + " ", normal_form(text))
    words = " ".join(_WRITTEN_OUT.get(word, word) for word in _name(spaced).split()).split()
    return tuple(sorted(word for word in words if word not in _SILENT))
