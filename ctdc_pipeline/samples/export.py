"""Turns invented persons into the cells of an export, led by the partner's layout. What one partner does alone is in its module.

Every cell is a str and "" is an empty cell, so that nothing is lost between here and the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ctdc_pipeline.codebook import System, codebook, countries
from ctdc_pipeline.partners.layout import Field, Layout
from ctdc_pipeline.samples.population import Persons

Cells = NDArray[np.object_]

UNOFFICIAL = {
    "XK": {"iom": "Y1", "iso2": "XK", "iso3": "XKX", "name": "Kosovo", "portuguese": "Kosovo"},
    "TB": {"iom": "TB", "iso2": "CN", "iso3": "CHN", "name": "Tibet", "portuguese": "Tibete"},
}
DAY = re.compile(r"\d{4}-\d\d-\d\d")
ALIAS_SHARE = 0.15
SILENT_SHARE = 0.2  # of the cells with nothing to say, how many say so with a code ("No", "Not specified") rather than a blank


def rows(rng: np.random.Generator, layout: Layout, persons: Persons, columns: Mapping[str, Cells]) -> pd.DataFrame:
    """The export of ``persons``: ``columns`` as given, flags by the layout's codes, and plausible filling elsewhere."""
    made = {**flags(rng, layout, persons), **columns}
    cells = {field.name: made[field.name] if field.name in made else _filling(rng, field, persons) for field in layout.fields}
    return pd.DataFrame(cells, dtype=object)


def flags(rng: np.random.Generator, layout: Layout, persons: Persons) -> dict[str, Cells]:
    """The columns that carry flags: each flag by one of the codes that mean it, chosen at random where there are several.

    A flag no code of the layout means is written as what it merges into, and not at all if the partner does not record that.
    """
    fields = layout.having("flags")
    meant = {flag for field in fields for code in field.codes for flag in code.means}
    holds: dict[str, NDArray[np.bool_]] = {}
    for variable in codebook().harmonised:
        if variable.kind == "flag" and variable.name in persons:
            name = variable.name if variable.name in meant else variable.merges_into
            if name in meant:
                holds[name] = holds.get(name, False) | persons[variable.name]
    none = np.zeros(len(persons["age"]), dtype=bool)

    carriers: dict[str, list[tuple[str, str]]] = {}
    for field in fields:
        for code in field.codes:
            if len(code.means) == 1:
                carriers.setdefault(code.means[0], []).append((field.name, code.code))
    carried = {}
    for flag, places in carriers.items():
        chosen = rng.integers(0, len(places), len(persons["age"]))
        for i, place in enumerate(places):
            carried[place] = holds.get(flag, none) & (chosen == i)

    columns = {}
    for field in fields:
        cells = blank(len(persons["age"]))
        for code in sorted(field.codes, key=lambda code: -len(code.means)):  # codes for several flags at once go first
            if not code.means:
                continue
            if len(code.means) > 1:
                hit = np.logical_and.reduce([holds.get(flag, none) for flag in code.means])
            else:
                hit = carried[field.name, code.code]
            if field.multi:
                more = hit & (cells != "")
                cells[more] = cells[more] + field.separator
                cells[hit] = cells[hit] + code.code
            else:
                cells[hit & (cells == "")] = code.code
        silent = [code.code for code in field.codes if not code.means]
        if silent:
            says_so = (cells == "") & (rng.random(len(persons["age"])) < SILENT_SHARE)
            cells[says_so] = rng.choice(np.array(silent, dtype=object), says_so.sum())
        columns[field.name] = cells
    return columns


def blank(size: int) -> Cells:
    """``size`` empty cells."""
    return np.full(size, "", dtype=object)


def kept(cells: Cells, keep: NDArray[np.bool_]) -> Cells:
    """The cells where ``keep`` holds, blanks elsewhere."""
    return np.where(keep, cells, "").astype(object)


def words(values: Cells, table: Mapping[str, str], default: str = "") -> Cells:
    """Each value as a partner's code list has it."""
    unique, where = np.unique(values.astype(str), return_inverse=True)
    return np.array([table.get(value, default) for value in unique.tolist()], dtype=object)[where]


def either(rng: np.random.Generator, share: float, first: str, second: str, size: int) -> Cells:
    """``first`` for about a ``share`` of cells, else ``second``."""
    return np.where(rng.random(size) < share, first, second).astype(object)


def numbers(values: NDArray[np.integer], keep: NDArray[np.bool_]) -> Cells:
    """Whole numbers as text where ``keep`` holds, blanks elsewhere."""
    return kept(values.astype(str).astype(object), keep)


def dates(days: NDArray[np.datetime64], date_format: str) -> Cells:
    """Dates as text. Each day is formatted once: there are few days and many rows."""
    unique, where = np.unique(days, return_inverse=True)
    return np.array([day.strftime(date_format) for day in unique.astype(object)], dtype=object)[where]


def shifted(rng: np.random.Generator, days: NDArray[np.datetime64], within: int) -> NDArray[np.datetime64]:
    """Each day moved by fewer than ``within`` days, backwards where that is negative."""
    return days + np.sign(within) * rng.integers(0, abs(within), len(days)).astype("timedelta64[D]")


def serial(prefix: str, values: NDArray[Any], width: int) -> Cells:
    """Numbers as a register writes them, e.g. IND0000042."""
    return np.array([f"{prefix}{value:0{width}}" for value in values.tolist()], dtype=object)


def country_cells(rng: np.random.Generator, alpha2: Cells, system: System) -> Cells:
    """ISO alpha-2 codes of the sample world as a partner writes countries; "" stays "". ``system`` as in ``Layout.countries``.

    Whoever writes names does not always write the official one.
    """
    written = {
        row.iso2: {"iom": row.iso2, "iso2": row.iso2, "iso3": row.iso3, "name": row.name, "portuguese": row.portuguese[0]}
        for row in countries().rows
    } | UNOFFICIAL
    unique, where = np.unique(alpha2.astype(str), return_inverse=True)
    cells = np.array([written[code][system] if code else "" for code in unique.tolist()], dtype=object)[where]
    if system in ("name", "portuguese"):
        others = {row.iso2: row.aliases if system == "name" else row.portuguese[1:] for row in countries().rows}
        aliases = {code: names for code, names in others.items() if names}
        for code in sorted(aliases.keys() & set(unique.tolist())):
            loose = (alpha2 == code) & (rng.random(len(cells)) < ALIAS_SHARE)
            cells[loose] = pick(rng, aliases[code], loose.sum())
    return cells


def typed(table: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """The cells of ``table`` as Excel holds them: days as dates, whole numbers as numbers, blanks as empty cells, else text."""
    columns = {field.name: [_typed(field, cell) for cell in table[field.name].tolist()] for field in layout.fields}
    return pd.DataFrame(columns, dtype=object)


def pick(rng: np.random.Generator, values: tuple[str, ...] | list[str], size: int) -> Cells:
    """``size`` values drawn evenly."""
    return np.array(values, dtype=object)[rng.integers(0, len(values), size)]


def _typed(field: Field, cell: str) -> date | int | str | None:
    if field.type in ("integer", "code", "date") and cell.isdecimal():
        return int(cell)
    if field.type == "date" and DAY.fullmatch(cell):
        try:
            return date.fromisoformat(cell)
        except ValueError:
            return cell  # a day that is in no calendar stays the text someone typed
    return cell or None


def _filling(rng: np.random.Generator, field: Field, persons: Persons) -> Cells:
    """What stands in a column nobody harmonises."""
    size = len(persons["age"])
    if field.codes:
        cells = pick(rng, [code.code for code in field.codes], size)
        return kept(cells, rng.random(size) < SILENT_SHARE)
    if field.type == "integer":
        return numbers(rng.integers(1, 5, size), rng.random(size) < SILENT_SHARE)
    return blank(size)
