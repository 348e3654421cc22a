"""Check tables against schemas.

Failures are reported by column, check and count, never by value.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import pandera.pandas as pa

from ctdc_pipeline.errors import TableError


@dataclass(frozen=True, order=True)
class Failure:
    """``column`` fails ``check`` in at least ``rows`` rows.

    Lazy validation may report fewer rows than there are.
    """

    column: str
    check: str
    rows: int


def failures(frame: pd.DataFrame, *, schema: pa.DataFrameSchema) -> tuple[Failure, ...]:
    """List what in ``frame`` does not conform to ``schema``.

    Args:
        frame: Any table.
        schema: The schema to check it against.

    Returns:
        The failures, sorted; empty if the table conforms. They contain no value of ``frame``; columns that the schema does not
            know are reported as ``(table)``.
    """
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
    else:
        return ()
    known = {*map(str, schema.columns)}
    column = cases["column"].where(cases["column"].isin(known), "(table)")
    # The name of a check may quote its statistics, never a cell; the part from the bracket on is cut nevertheless.
    check = cases["check"].astype(str).str.split("(").str[0]
    counts = cases.assign(column=column, check=check).groupby(["column", "check"]).size()
    return tuple(sorted(Failure(str(key[0]), str(key[1]), int(rows)) for key, rows in counts.items()))


def validate(frame: pd.DataFrame, *, schema: pa.DataFrameSchema, table: str) -> None:
    """Raise an error unless ``frame`` conforms to ``schema``.

    Args:
        frame: The table.
        schema: The schema to check it against.
        table: The name of the table, for the message.

    Raises:
        TableError: If the table does not conform. The message names the columns, the checks and the counts, never a value.
    """
    failed = failures(frame, schema=schema)
    if failed:
        reasons = "; ".join(f"column {f.column} fails {f.check!r} in at least {f.rows} rows" for f in failed)
        raise TableError(f"table {table} does not conform: {reasons}", remedy="Correct the stage that wrote it and run it again.")
