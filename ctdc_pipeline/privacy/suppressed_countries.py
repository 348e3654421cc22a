"""Suppress countries that must not be named, however many people they stand for.

Harmonisation makes their values missing. Counts cannot protect everybody: where a state pursues people who left it, or is known
for a few cases only, naming it is the harm. This module contains the list of suppressed countries and its effect. Rare values
of other kinds are removed by the synthesis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting.rounding import rounded_down
from ctdc_pipeline.errors import ParameterError, PrivacyError

COUNT_KEYS = ("partner", "source", "refresh", "variable")
SUPPRESSED = pa.schema([*((name, pa.string()) for name in COUNT_KEYS), ("values", pa.int64())])
"""How many values were suppressed, by source, refresh and variable. Which countries they named is stored nowhere."""


@dataclass(frozen=True)
class SuppressedCountries:
    """The alpha-3 codes that no record may contain, by harmonised column."""

    codes: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, listed: Mapping[str, Sequence[str]] | None) -> SuppressedCountries:
        """Return the configured list.

        A detail that merges into a listed variable gets the same list, as it would otherwise reveal what the variable no longer
        says.

        Args:
            listed: Alpha-3 codes by ``citizenship`` and ``CountryOfExploitation``, or None.

        Raises:
            ParameterError: If a variable or a code is unknown.
        """
        country_variables = {variable.name: variable for variable in codebook().variables if variable.kind == "country"}
        if unknown := sorted({*(listed or {})} - country_variables.keys()):
            choices = ", ".join(country_variables)
            raise ParameterError(f"countries cannot be suppressed in {', '.join(unknown)}", remedy=f"Choose among {choices}.")
        for name, codes in (listed or {}).items():
            if unknown_codes := [code for code in codes if countries().get(code) is None]:
                code_list = ", ".join(map(repr, unknown_codes))
                raise ParameterError(
                    f"to be suppressed in {name}, but no country: {code_list}",
                    remedy="Write ISO 3166-1 alpha-3 codes, as in UKR.",
                )
        merged = {variable.name: variable.merges_into or variable.name for variable in codebook().harmonised}
        return cls({column: tuple(sorted({*codes})) for column, name in merged.items() if (codes := (listed or {}).get(name))})

    def suppress(self, table: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Make every listed value of a harmonised table missing.

        Returns:
            The table, and how many values were suppressed, with the columns of ``SUPPRESSED``.
        """
        count_tables = [SUPPRESSED.empty_table()]
        for column, codes in self.codes.items():
            listed = pc.call_function("is_in", [table[column]], pc.SetLookupOptions(pa.array(codes, pa.string())))
            origin = table.select(list(COUNT_KEYS[:-1])).filter(listed).to_pandas()
            counts = origin.assign(variable=column).groupby(list(COUNT_KEYS)).size()
            frame = pd.DataFrame(counts, columns=["values"]).reset_index()
            count_tables.append(pa.Table.from_pandas(frame, SUPPRESSED, preserve_index=False).replace_schema_metadata())
            remaining = pc.call_function("if_else", [listed, pa.scalar(None, pa.string()), table[column]])
            table = table.set_column(table.column_names.index(column), table.field(column), remaining)
        return table, pa.concat_tables(count_tables).sort_by([(name, "ascending") for name in COUNT_KEYS])

    def require(self, table: pa.Table) -> None:
        """Prove that the columns of ``table`` contain no listed value.

        Raises:
            PrivacyError: If they do. The message names the column, but no country.
        """
        for column, codes in self.codes.items():
            if column in table.column_names:
                listed = pc.call_function("is_in", [table[column]], pc.SetLookupOptions(pa.array(codes, pa.string())))
                if rows := pc.call_function("sum", [listed]).as_py():
                    raise PrivacyError(
                        f"{column} contains suppressed countries in {rows} rows",
                        remedy="Harmonise all partners again: the list of suppressed countries has changed since.",
                    )


NO_COUNTRIES = SuppressedCountries({})


def by_variable(suppressed: pa.Table) -> dict[str, int]:
    """Return the number of suppressed values by variable, over all partners in the table."""
    counts: Counter[str] = Counter()
    for row in suppressed.to_pylist():
        counts[row["variable"]] += row["values"]
    return dict(sorted(counts.items()))


def published(suppressed: pa.Table, *, k: int) -> dict[str, int]:
    """Return what a release may publish: suppressed values by variable.

    They are rounded down to multiples of ``k``. 0 means none or fewer than ``k``. Counts by partner or country would point at
    the people whom the list protects.
    """
    none = {variable.name: 0 for variable in codebook().variables if variable.kind == "country"}
    return {name: rounded_down(count, k) for name, count in {**none, **by_variable(suppressed)}.items()}
