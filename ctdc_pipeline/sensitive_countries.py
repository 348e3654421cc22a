"""Countries that must not be named, however many people they stand for: their values become missing at harmonisation.

Counts cannot protect everybody: where a state pursues those who left it, or is known for few cases only, naming it is
the harm. What belongs here is the deny-list and its effect; that rare values disappear is the business of the synthesis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ctdc_pipeline.codebook import codebook, countries
from ctdc_pipeline.errors import ParameterError, PrivacyError

COUNTED = ("partner", "source", "refresh", "variable")
SUPPRESSED = pa.schema([*((name, pa.string()) for name in COUNTED), ("values", pa.int64())])
"""How many values were suppressed, by place and variable; which countries they named is kept nowhere."""


@dataclass(frozen=True)
class DenyList:
    """By harmonised column, the alpha-3 codes that no record may hold."""

    codes: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, listed: Mapping[str, Sequence[str]] | None) -> DenyList:
        """The list as configured: alpha-3 codes by ``citizenship`` and ``CountryOfExploitation``. Raises ParameterError.

        A detail that merges into a listed variable is held to the same list, for it would tell what the variable no longer does.
        """
        placed = {variable.name: variable for variable in codebook().variables if variable.kind == "country"}
        if unknown := sorted({*(listed or {})} - placed.keys()):
            told = ", ".join(placed)
            raise ParameterError(f"countries cannot be suppressed in {', '.join(unknown)}", remedy=f"Choose among {told}.")
        for name, codes in (listed or {}).items():
            if wrong := [code for code in codes if countries().get(code) is None]:
                told = ", ".join(map(repr, wrong))
                raise ParameterError(
                    f"to be suppressed in {name}, but no country: {told}", remedy="Write ISO 3166-1 alpha-3 codes, as in UKR."
                )
        merged = {variable.name: variable.merges_into or variable.name for variable in codebook().harmonised}
        return cls({column: tuple(sorted({*codes})) for column, name in merged.items() if (codes := (listed or {}).get(name))})

    def suppress(self, table: pa.Table) -> tuple[pa.Table, pa.Table]:
        """The harmonised ``table`` with every listed value missing, and how many were, in the columns of ``SUPPRESSED``."""
        counted = [SUPPRESSED.empty_table()]
        for column, codes in self.codes.items():
            listed = pc.call_function("is_in", [table[column]], pc.SetLookupOptions(pa.array(codes, pa.string())))
            place = table.select(list(COUNTED[:-1])).filter(listed).to_pandas()
            counts = place.assign(variable=column).groupby(list(COUNTED)).size()
            frame = pd.DataFrame(counts, columns=["values"]).reset_index()
            counted.append(pa.Table.from_pandas(frame, SUPPRESSED, preserve_index=False).replace_schema_metadata())
            kept = pc.call_function("if_else", [listed, pa.scalar(None, pa.string()), table[column]])
            table = table.set_column(table.column_names.index(column), table.field(column), kept)
        return table, pa.concat_tables(counted).sort_by([(name, "ascending") for name in COUNTED])

    def require(self, table: pa.Table) -> None:
        """Prove that ``table``, as far as it has the columns, holds no listed value. Raises PrivacyError; it names no country."""
        for column, codes in self.codes.items():
            if column in table.column_names:
                listed = pc.call_function("is_in", [table[column]], pc.SetLookupOptions(pa.array(codes, pa.string())))
                if rows := pc.call_function("sum", [listed]).as_py():
                    raise PrivacyError(
                        f"{column} holds suppressed countries in {rows} rows",
                        remedy="Harmonise all partners again: the list of suppressed countries has changed since.",
                    )


NOTHING = DenyList({})


def by_variable(suppressed: pa.Table) -> dict[str, int]:
    """Values suppressed by variable, over all partners in the table."""
    found: Counter[str] = Counter()
    for row in suppressed.to_pylist():
        found[row["variable"]] += row["values"]
    return dict(sorted(found.items()))


def published(suppressed: pa.Table, *, k: int) -> dict[str, int]:
    """What a release may say: values suppressed by variable over all partners, rounded down to multiples of ``k``.

    0 is none or fewer than ``k``. By partner or country they would point at the people whom the list protects.
    """
    none = {variable.name: 0 for variable in codebook().variables if variable.kind == "country"}
    return {name: count // k * k for name, count in {**none, **by_variable(suppressed)}.items()}
