"""Turn invented persons into the cells of an export, guided by the partner's layout.

What only one partner does is in that partner's module. Every cell is a str and "" is an empty cell, so that nothing is lost
between this module and the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ctdc_pipeline.codebook.countries import System, countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.partners.layout import Field, Layout
from ctdc_pipeline.samples.population import Persons

Cells = NDArray[np.object_]

UNOFFICIAL = {
    "XK": {"iom": "Y1", "iso2": "XK", "iso3": "XKX", "name": "Kosovo", "portuguese": "Kosovo"},
    "TB": {"iom": "TB", "iso2": "CN", "iso3": "CHN", "name": "Tibet", "portuguese": "Tibete"},
}
"""Kosovo and Tibet, as each code system writes them."""
DAY = re.compile(r"\d{4}-\d\d-\d\d")
ALIAS_SHARE = 0.15
"""The share of country names that are not written in the official form."""
SILENT_SHARE = 0.2
"""The share of cells without a value that have a code for it ("No", "Not specified") instead of a blank."""


def rows(rng: np.random.Generator, layout: Layout, persons: Persons, columns: Mapping[str, Cells]) -> pd.DataFrame:
    """Return the export of ``persons``.

    It has the given ``columns``, flags as codes of the layout, and plausible values elsewhere.
    """
    values = {**flags(rng, layout, persons), **columns}
    cells = {field.name: values[field.name] if field.name in values else _filling(rng, field, persons) for field in layout.fields}
    return pd.DataFrame(cells, dtype=object)


def flags(rng: np.random.Generator, layout: Layout, persons: Persons) -> dict[str, Cells]:
    """Return the columns for flags.

    Each flag is written as one of the codes that mean it, chosen at random if there are several. A flag that no code of the
    layout means is written as the variable into which it merges, or not at all if the partner does not record that variable.
    """
    fields = layout.having("flags")
    flags_of_layout = {flag for field in fields for code in field.codes for flag in code.means}
    persons_by_flag: dict[str, NDArray[np.bool_]] = {}
    for variable in codebook().harmonised:
        if variable.kind == "flag" and variable.name in persons:
            name = variable.name if variable.name in flags_of_layout else variable.merges_into
            if name in flags_of_layout:
                persons_by_flag[name] = persons_by_flag.get(name, False) | persons[variable.name]
    nobody = np.zeros(len(persons["age"]), dtype=bool)

    carriers: dict[str, list[tuple[str, str]]] = {}
    for field in fields:
        for code in field.codes:
            if len(code.means) == 1:
                carriers.setdefault(code.means[0], []).append((field.name, code.code))
    carried = {}
    for flag, columns_and_codes in carriers.items():
        chosen = rng.integers(0, len(columns_and_codes), len(persons["age"]))
        for i, column_and_code in enumerate(columns_and_codes):
            carried[column_and_code] = persons_by_flag.get(flag, nobody) & (chosen == i)

    columns = {}
    for field in fields:
        cells = blank(len(persons["age"]))
        for code in sorted(field.codes, key=lambda code: -len(code.means)):  # codes for several flags at once come first
            if not code.means:
                continue
            if len(code.means) > 1:
                has_code = np.logical_and.reduce([persons_by_flag.get(flag, nobody) for flag in code.means])
            else:
                has_code = carried[field.name, code.code]
            if field.multi:
                has_earlier_code = has_code & (cells != "")
                cells[has_earlier_code] = cells[has_earlier_code] + field.separator
                cells[has_code] = cells[has_code] + code.code
            else:
                cells[has_code & (cells == "")] = code.code
        codes_for_nothing = [code.code for code in field.codes if not code.means]
        if codes_for_nothing:
            gets_code = (cells == "") & (rng.random(len(persons["age"])) < SILENT_SHARE)
            cells[gets_code] = rng.choice(np.array(codes_for_nothing, dtype=object), gets_code.sum())
        columns[field.name] = cells
    return columns


def blank(size: int) -> Cells:
    """Return ``size`` empty cells."""
    return np.full(size, "", dtype=object)


def kept(cells: Cells, keep: NDArray[np.bool_]) -> Cells:
    """Return the cells where ``keep`` is true, and blanks elsewhere."""
    return np.where(keep, cells, "").astype(object)


def words(values: Cells, table: Mapping[str, str], default: str = "") -> Cells:
    """Return each value as the partner's code list writes it."""
    unique, where = np.unique(values.astype(str), return_inverse=True)
    return np.array([table.get(value, default) for value in unique.tolist()], dtype=object)[where]


def either(rng: np.random.Generator, share: float, first: str, second: str, size: int) -> Cells:
    """Return ``first`` for about a ``share`` of the cells, else ``second``."""
    return np.where(rng.random(size) < share, first, second).astype(object)


def numbers(values: NDArray[np.integer], keep: NDArray[np.bool_]) -> Cells:
    """Return whole numbers as text where ``keep`` is true, and blanks elsewhere."""
    return kept(values.astype(str).astype(object), keep)


def dates(days: NDArray[np.datetime64], date_format: str) -> Cells:
    """Return dates as text.

    Each distinct day is formatted once, because there are few days and many rows.
    """
    unique, where = np.unique(days, return_inverse=True)
    return np.array([day.strftime(date_format) for day in unique.astype(object)], dtype=object)[where]


def shifted(rng: np.random.Generator, days: NDArray[np.datetime64], within: int) -> NDArray[np.datetime64]:
    """Return each day moved by fewer than ``within`` days; a negative number moves backwards."""
    return days + np.sign(within) * rng.integers(0, abs(within), len(days)).astype("timedelta64[D]")


def serial(prefix: str, values: NDArray[Any], width: int) -> Cells:
    """Return numbers as a register writes them, for example IND0000042."""
    return np.array([f"{prefix}{value:0{width}}" for value in values.tolist()], dtype=object)


def country_cells(rng: np.random.Generator, alpha2: Cells, system: System) -> Cells:
    """Return ISO alpha-2 codes as a partner writes countries; "" stays "".

    Partners that write names do not always write the official name.

    Args:
        rng: The source of randomness.
        alpha2: ISO alpha-2 codes of the sample world, or "".
        system: The code system, as in ``Layout.countries``.
    """
    written = {
        row.iso2: {"iom": row.iso2, "iso2": row.iso2, "iso3": row.iso3, "name": row.name, "portuguese": row.portuguese[0]}
        for row in countries().rows
    } | UNOFFICIAL
    unique, where = np.unique(alpha2.astype(str), return_inverse=True)
    cells = np.array([written[code][system] if code else "" for code in unique.tolist()], dtype=object)[where]
    if system in ("name", "portuguese"):
        names_by_code = {row.iso2: row.aliases if system == "name" else row.portuguese[1:] for row in countries().rows}
        aliases = {code: names for code, names in names_by_code.items() if names}
        for code in sorted(aliases.keys() & set(unique.tolist())):
            gets_alias = (alpha2 == code) & (rng.random(len(cells)) < ALIAS_SHARE)
            cells[gets_alias] = pick(rng, aliases[code], gets_alias.sum())
    return cells


def typed(table: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Return the cells of ``table`` as Excel stores them.

    Days become dates, whole numbers become numbers, blanks become empty cells.
    """
    columns = {field.name: [_typed(field, cell) for cell in table[field.name].tolist()] for field in layout.fields}
    return pd.DataFrame(columns, dtype=object)


def pick(rng: np.random.Generator, values: tuple[str, ...] | list[str], size: int) -> Cells:
    """Return ``size`` values, drawn with equal probability."""
    return np.array(values, dtype=object)[rng.integers(0, len(values), size)]


def _typed(field: Field, cell: str) -> date | int | str | None:
    if field.type in ("integer", "code", "date") and cell.isdecimal():
        return int(cell)
    if field.type == "date" and DAY.fullmatch(cell):
        try:
            return date.fromisoformat(cell)
        except ValueError:
            return cell  # an impossible day stays the text that somebody typed
    return cell or None


def _filling(rng: np.random.Generator, field: Field, persons: Persons) -> Cells:
    """Return plausible cells for a column that harmonisation does not use."""
    size = len(persons["age"])
    if field.codes:
        cells = pick(rng, [code.code for code in field.codes], size)
        return kept(cells, rng.random(size) < SILENT_SHARE)
    if field.type == "integer":
        return numbers(rng.integers(1, 5, size), rng.random(size) < SILENT_SHARE)
    return blank(size)
