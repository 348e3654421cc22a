"""pandera schemas of the tables, generated from the codebook. Checks that need more than one table do not belong here."""

from __future__ import annotations

import pandera.pandas as pa

from ctdc_pipeline.codebook import Variable, codebook, countries

ORIGIN = ("partner", "source", "refresh", "source_file", "source_row", "case_key")
"""Columns of a harmonised table before its variables: where each row comes from and the pseudonym of its case."""


def release_schema(last_year: int) -> pa.DataFrameSchema:
    """The 37 variables in their order, all text: years from the codebook's first to ``last_year``, listed values, countries.

    Every cell may be missing: a synthetic record need not have a year.
    """
    columns = {variable.name: _column(variable, last_year, nullable=True) for variable in codebook().variables}
    return pa.DataFrameSchema(columns, strict=True, ordered=True)


def harmonised_schema(last_year: int) -> pa.DataFrameSchema:
    """Origin columns, the variables of the release, then the details; cases are unique within their source."""
    origin = {
        "partner": pa.Column(str),
        "source": pa.Column(str),
        "refresh": pa.Column(str),
        "source_file": pa.Column(str),
        "source_row": pa.Column("int64", pa.Check.ge(1)),
        "case_key": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{64}$"), unique=True),
    }
    values = {variable.name: _column(variable, last_year, nullable=variable.kind != "year") for variable in codebook().harmonised}
    place = ["source", "refresh", "source_file", "source_row"]
    return pa.DataFrameSchema({**origin, **values}, strict=True, ordered=True, unique=place)


def _column(variable: Variable, last_year: int, *, nullable: bool) -> pa.Column:
    if variable.kind == "year":
        allowed = [str(year) for year in range(codebook().first_year, last_year + 1)]
    elif variable.kind == "country":
        allowed = [country.iso3 for country in countries().rows]
    else:
        allowed = list(variable.values)
    return pa.Column(
        str,
        pa.Check.isin(allowed, name="listed value"),
        nullable=nullable,
        description=variable.definition,
        title=variable.label,
    )
