"""Generate the pandera schemas of tables from the codebook.

Checks across tables do not belong here.
"""

from __future__ import annotations

import pandera.pandas as pa

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import Variable, codebook

ORIGIN = ("partner", "source", "refresh", "source_file", "source_row", "case_key")
"""The columns before the variables of a harmonised table: where each row comes from, and the pseudonym of its case."""


def release_schema(last_year: int) -> pa.DataFrameSchema:
    """Return the schema of released records: the 37 variables in order, all of them text.

    Every cell may be missing; a synthetic record need not even have a year.

    Args:
        last_year: The last year of registration that is allowed. The first one is the codebook's.
    """
    columns = {variable.name: _column(variable, last_year, nullable=True) for variable in codebook().variables}
    return pa.DataFrameSchema(columns, strict=True, ordered=True)


def harmonised_schema(last_year: int) -> pa.DataFrameSchema:
    """Return the schema of harmonised records: origin columns, release variables, then details.

    Each case occurs once, and each row of a source file occurs once.

    Args:
        last_year: The last year of registration that is allowed. The first one is the codebook's.
    """
    origin = {
        "partner": pa.Column(str),
        "source": pa.Column(str),
        "refresh": pa.Column(str),
        "source_file": pa.Column(str),
        "source_row": pa.Column("int64", pa.Check.ge(1)),
        "case_key": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{64}$"), unique=True),
    }
    values = {variable.name: _column(variable, last_year, nullable=variable.kind != "year") for variable in codebook().harmonised}
    row_position = ["source", "refresh", "source_file", "source_row"]
    return pa.DataFrameSchema({**origin, **values}, strict=True, ordered=True, unique=row_position)


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
