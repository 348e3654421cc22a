"""The public domain of a release: its columns and their possible values.

It is known before any record is read. A domain that is read from the data reveals which values occur, and no noise hides that.
So it comes from a schema file (TOML)::

    cap = 14                                # values of one record that count in full

    [[variables]]
    name = "gender"
    values = ["Female", "Male"]

    [[variables]]
    name = "citizenship"
    kind = "country"                        # every ISO 3166-1 alpha-3 code
    support = "strict"

    [[variables]]
    name = "yearOfRegistration"
    kind = "year"
    first = 2002
    last = 2021

    [[implications]]                        # every record with the first has the second
    if = { typeOfLabourConstruction = "1" }
    then = { isForcedLabour = "1" }

A variable of the codebook needs only its name; a year also needs its ``first`` and ``last``.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting.attributes import MISSING
from ctdc_pipeline.errors import ParameterError, TableError
from ctdc_pipeline.privacy.contribution import usual_cap

MAX_CELLS = 4_000_000
"""The most values and pairs of values that are measured: noise for each takes time and memory, even where nobody has it."""
SUPPORT = ("open", "strict")
"""When a pair of values may appear in synthetic records: strict only if its noisy count supports it, open also without."""
Implication = tuple[int, int]
"""An attribute, and the attribute that every record with it must have."""


@dataclass(frozen=True)
class Domain:
    """Columns and their values in order, implications, columns of strict support, and the cap."""

    columns: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    cap: int
    implications: tuple[Implication, ...] = ()
    strict: tuple[str, ...] = ()

    @cached_property
    def first(self) -> npt.NDArray[np.int64]:
        """The number of each column's first attribute; int64 (columns + 1)."""
        return np.concatenate([[0], np.cumsum([len(values) for values in self.values])]).astype(np.int64)

    @cached_property
    def column(self) -> npt.NDArray[np.int64]:
        """The column of each attribute; int64 (attributes)."""
        return np.repeat(np.arange(len(self.columns)), np.diff(self.first))

    @cached_property
    def blocks(self) -> npt.NDArray[np.int64]:
        """Where the cells of two columns begin among all cells of pairs, -1 below the diagonal.

        Int64 (columns, columns).
        """
        starts = np.full((len(self.columns), len(self.columns)), -1, np.int64)
        sizes, total = np.diff(self.first).tolist(), 0
        for a, b in combinations(range(len(self.columns)), 2):
            starts[a, b] = total
            total += sizes[a] * sizes[b]
        return starts

    @property
    def attributes(self) -> int:
        """The number of attributes."""
        return int(self.first[-1])

    @cached_property
    def pairs(self) -> int:
        """The number of pairs of attributes of two columns."""
        sizes = [len(values) for values in self.values]
        return (sum(sizes) ** 2 - sum(size * size for size in sizes)) // 2

    def attributes_of(self, pairs: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the two attributes of each of ``pairs``, which are given by number."""
        sizes, column_pairs = np.diff(self.first), np.argwhere(self.blocks >= 0)
        starts = self.blocks[column_pairs[:, 0], column_pairs[:, 1]]
        a, b = column_pairs[np.searchsorted(starts, pairs, side="right") - 1].T
        position_in_block = pairs - self.blocks[a, b]
        return self.first[a] + position_in_block // sizes[b], self.first[b] + position_in_block % sizes[b]

    def to_dict(self) -> dict[str, Any]:
        """Return the whole domain in a form that JSON can store."""
        return {
            "cap": self.cap,
            "columns": {name: list(values) for name, values in zip(self.columns, self.values, strict=True)},
            "implications": [list(pair) for pair in self.implications],
            "strict": list(self.strict),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Domain:
        """Return the domain that ``to_dict`` wrote."""
        columns: dict[str, list[str]] = stored["columns"]
        pairs = tuple((int(a), int(b)) for a, b in stored["implications"])
        values = tuple(tuple(texts) for texts in columns.values())
        return _checked(cls(tuple(columns), values, int(stored["cap"]), pairs, tuple(stored["strict"])))

    @property
    def sha256(self) -> str:
        """The hash of the domain; two releases with the same hash have the same domain."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def codes(self, table: pa.Table) -> tuple[npt.NDArray[np.int32], dict[str, int]]:
        """Return ``table`` as numbers of attributes.

        Args:
            table: A table with dictionary-encoded text columns; other columns than those of the domain are ignored.

        Returns:
            Attribute numbers or -1, int32 (rows, columns); and the number of cells outside the domain, by column. Those cells
                are -1.

        Raises:
            TableError: If ``table`` lacks a column of the domain.
        """
        missing_columns = [name for name in self.columns if name not in table.column_names]
        if missing_columns:
            raise TableError(f"no column {', '.join(missing_columns)}", remedy="Give a table with every column of the schema.")
        codes = np.full((len(table), len(self.columns)), MISSING, np.int32)
        outside: dict[str, int] = {}
        for position, (name, values) in enumerate(zip(self.columns, self.values, strict=True)):
            number = {text: int(self.first[position]) + offset for offset, text in enumerate(values)}
            array = table[name].combine_chunks()
            array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
            texts = array.dictionary.to_pylist()
            known = np.array([number.get(text, MISSING - 1) for text in texts] + [MISSING], np.int32)
            column = known[array.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)]
            if outside_cells := int((column < MISSING).sum()):
                outside[name] = outside_cells
            codes[:, position] = np.maximum(column, MISSING)
        return codes, outside


def read_domain(path: Path) -> Domain:
    """Read the domain that a schema file describes.

    Raises:
        ParameterError: If the file is wrong; the message says where.
    """
    try:
        stored = tomllib.loads(path.read_text("utf-8"))
    except OSError:
        raise ParameterError(f"{path.name}: no such schema file, or not readable", remedy="Check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ParameterError(
            f"{path.name} is not TOML: {error}", remedy="Mend the schema file; docs/differential-privacy.md shows one."
        ) from None
    try:
        return _from_schema(stored)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ParameterError(
            f"{path.name} is not as a schema must be", remedy="Mend it; docs/differential-privacy.md shows one."
        ) from None


def codebook_domain(last_year: int, *, suppressed: Mapping[str, Sequence[str]]) -> Domain:
    """Return the domain of the release: every variable, with every value of the codebook.

    Support is strict for countries: a country from which nobody came is a false accusation.

    Args:
        last_year: The last year of registration.
        suppressed: The countries to leave out, by variable.
    """
    variables = codebook().variables
    years = {"first": codebook().first_year, "last": last_year}
    listed = [_values({"name": variable.name, **(years if variable.kind == "year" else {})}) for variable in variables]
    values = [
        tuple(text for text in texts if text not in suppressed.get(variable.name, ()))
        for variable, texts in zip(variables, listed, strict=True)
    ]
    strict = tuple(variable.name for variable in variables if variable.kind == "country")
    return _checked(Domain(codebook().names, tuple(values), usual_cap(len(values)), strict=strict))


def domain_of_table(table: pa.Table) -> Domain:
    """Return the values that occur in ``table``.

    This is not private: it reveals which values somebody has.
    """
    values = [tuple(sorted(text for text in column.unique().to_pylist() if text is not None)) for column in table.columns]
    return _checked(Domain(tuple(table.column_names), tuple(values), usual_cap(len(values))))


def _from_schema(stored: Mapping[str, Any]) -> Domain:
    unknown = sorted(set(stored) - {"cap", "variables", "implications"})
    if unknown:
        raise ParameterError(f"the schema has an unknown key {unknown[0]}", remedy="Use cap, variables and implications.")
    rows: list[dict[str, Any]] = stored.get("variables", [])
    columns = tuple(str(row["name"]) for row in rows)
    values = tuple(_values(row) for row in rows)
    wrong_support = [row["name"] for row in rows if row.get("support", "open") not in SUPPORT]
    if wrong_support:
        raise ParameterError(f"variable {wrong_support[0]}: unknown support", remedy=f"Choose one of {', '.join(SUPPORT)}.")
    strict = tuple(str(row["name"]) for row in rows if row.get("support") == "strict")
    number_of = {(name, text): 0 for name, texts in zip(columns, values, strict=True) for text in texts}
    number_of = {attribute: position for position, attribute in enumerate(number_of)}
    implications: list[Implication] = []
    for row in stored.get("implications", []):
        attributes = [next(iter(row[side].items())) for side in ("if", "then")]
        if any(end not in number_of for end in attributes) or any(len(row[side]) != 1 for side in ("if", "then")):
            raise ParameterError(
                "an implication names a value that the schema does not have", remedy="Name one variable and value on each side."
            )
        implications.append((number_of[attributes[0]], number_of[attributes[1]]))
    return _checked(Domain(columns, values, int(stored.get("cap", usual_cap(len(columns)))), tuple(implications), strict))


def _values(row: Mapping[str, Any]) -> tuple[str, ...]:
    if "values" in row:
        if not isinstance(row["values"], list) or not all(isinstance(text, str) and text for text in row["values"]):
            raise ParameterError(f"variable {row['name']}: values must be texts, none empty", remedy="Write values in quotes.")
        return tuple(row["values"])
    kind = row.get("kind") or codebook().variable(row["name"]).kind
    if kind == "country":
        return tuple(country.iso3 for country in countries().rows)
    if kind == "year":
        return tuple(str(year) for year in range(int(row["first"]), int(row["last"]) + 1))
    return codebook().variable(row["name"]).values


def _checked(domain: Domain) -> Domain:
    """Return ``domain`` if it can be measured. Raises ParameterError."""
    if not domain.columns or len(set(domain.columns)) != len(domain.columns):
        raise ParameterError("the domain has no column, or one twice", remedy="Name every variable once.")
    for name, values in zip(domain.columns, domain.values, strict=True):
        if len(set(values)) != len(values):
            raise ParameterError(f"variable {name} has a value twice", remedy="List every value once.")
    cells = domain.attributes + domain.pairs
    if cells > MAX_CELLS:
        raise ParameterError(
            f"the domain has {cells:,} values and pairs of values, more than {MAX_CELLS:,}",
            remedy="Give coarser values, such as regions for countries, or fewer variables.",
        )
    if not 1 <= domain.cap <= len(domain.columns):
        raise ParameterError("the cap is out of range", remedy="Give a number from 1 to the number of variables.")
    for a, b in domain.implications:
        if not (0 <= a < domain.attributes and 0 <= b < domain.attributes) or domain.column[a] == domain.column[b]:
            raise ParameterError("an implication is between values of one variable", remedy="Name two variables.")
    return domain
