"""The one way to hold a table against a schema: failures are told by column, check and count, never by value."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import pandera.pandas as pa

from ctdc_pipeline.errors import TableError


@dataclass(frozen=True, order=True)
class Failure:
    """``column`` fails ``check`` in at least ``rows`` rows: lazy validation may report fewer than there are."""

    column: str
    check: str
    rows: int


def failures(frame: pd.DataFrame, *, schema: pa.DataFrameSchema) -> tuple[Failure, ...]:
    """What of ``schema`` does not hold, sorted; empty if all of it does. Carries no value of ``frame``."""
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
    else:
        return ()
    known = {*map(str, schema.columns)}
    column = cases["column"].where(cases["column"].isin(known), "(table)")
    # A check's name may quote its statistics, never a cell; what follows the bracket is cut all the same.
    check = cases["check"].astype(str).str.split("(").str[0]
    counts = cases.assign(column=column, check=check).groupby(["column", "check"]).size()
    return tuple(sorted(Failure(str(key[0]), str(key[1]), int(rows)) for key, rows in counts.items()))


def validate(frame: pd.DataFrame, *, schema: pa.DataFrameSchema, table: str) -> None:
    """Raise TableError naming ``table`` and each (column, check, count) that does not hold; never a value."""
    found = failures(frame, schema=schema)
    if found:
        told = "; ".join(f"column {f.column} fails {f.check!r} in at least {f.rows} rows" for f in found)
        raise TableError(f"table {table} does not conform: {told}", remedy="Correct the stage that wrote it and run it again.")
