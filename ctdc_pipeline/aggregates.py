"""What may be reported of the exact combination counts, and how many combinations may not.

Reads the count tables of ``ctdc_pipeline.counting``. The counting itself, and anything about synthetic records, is not here.
"""

from __future__ import annotations

from math import comb
from pathlib import Path

import pandera.pandas as pandera
import pyarrow as pa

from ctdc_pipeline.codebook import codebook
from ctdc_pipeline.errors import ParameterError, TableError
from ctdc_pipeline.files import queries


def count_file(counts: Path, length: int) -> Path:
    """The Parquet file below folder ``counts`` that holds the combinations of ``length``. Raises TableError."""
    path = counts / f"length_{length}.parquet"
    if not path.is_file():
        raise TableError(
            f"no counts of combinations of length {length}",
            remedy="Count them first, with a reporting length at least as long.",
        )
    return path


def reportable_aggregates(counts: Path, *, k: int, length: int) -> pa.Table:
    """Combinations of 1 to ``length`` attributes found in at least ``k`` records, counts rounded down to multiples of ``k``.

    Columns: ``length`` (int64), ``variable_1``, ``value_1`` ... ``variable_<length>``, ``value_<length>`` (string, null beyond
    a combination's length), ``count`` (int64). Sorted by all columns. Rounding down, never to nearest, so that a count names
    no single person (codebook section 1). Raises ParameterError and TableError.
    """
    _require(k=k, length=length)
    places = [f"{part}_{place}" for place in range(1, length + 1) for part in ("variable", "value")]
    parts = " UNION ALL BY NAME ".join(
        f"SELECT {size}::BIGINT AS length, * EXCLUDE (count), (count - count % {k})::BIGINT AS count"
        f" FROM length_{size} WHERE count >= {k}"
        for size in range(length, 0, -1)
    )
    with queries(**_files(counts, length)) as connection:
        query = f"SELECT length, {', '.join(places)}, count FROM ({parts}) ORDER BY ALL"
        return connection.sql(query).to_arrow_table()


def single_counts(counts: Path) -> pa.Table:
    """Exact count of every attribute: ``variable``, ``value`` (string) and ``count`` (int64), sorted. Raises TableError."""
    with queries(**_files(counts, 1)) as connection:
        return connection.sql(
            "SELECT variable_1 AS variable, value_1 AS value, count::BIGINT AS count FROM length_1 ORDER BY ALL"
        ).to_arrow_table()


def rarity_by_length(counts: Path, *, k: int, length: int) -> pa.Table:
    """How many combinations each ``length`` has: ``distinct``, ``reportable``, ``rare`` (below ``k``), ``unique`` (all int64).

    Needs counts made without a minimum. Raises ParameterError and TableError.
    """
    _require(k=k, length=length)
    parts = " UNION ALL ".join(
        f"SELECT {size}::BIGINT AS length, count(*) AS distinct, count(*) FILTER (count >= {k}) AS reportable,"
        f" count(*) FILTER (count < {k}) AS rare, count(*) FILTER (count = 1) AS unique FROM length_{size}"
        for size in range(1, length + 1)
    )
    with queries(**_files(counts, length)) as connection:
        return connection.sql(f"{parts} ORDER BY length").to_arrow_table()


def miscounted_lengths(counts: Path, records: Path, *, length: int) -> tuple[int, ...]:
    """Lengths whose counts cannot be right: they do not add up to the combinations that the records hold.

    A record of m attributes holds m over L combinations of length L, so the sum over all records is known without counting any.
    ``records`` is the Parquet file that was counted. Raises TableError.
    """
    filled = " + ".join(f'("{name}" IS NOT NULL)::INT' for name in codebook().names)
    with queries(records=records, **_files(counts, length)) as connection:
        sizes = connection.sql(f"SELECT {filled} AS size, count(*) FROM records GROUP BY size").fetchall()
        wrong: list[int] = []
        for combined in range(1, length + 1):
            counted = connection.sql(f"SELECT coalesce(sum(count), 0)::BIGINT FROM length_{combined}").fetchall()[0][0]
            if counted != sum(comb(size, combined) * rows for size, rows in sizes):
                wrong.append(combined)
    return tuple(wrong)


def single_counts_schema() -> pandera.DataFrameSchema:
    """What ``single_counts`` returns."""
    return pandera.DataFrameSchema(
        {"variable": _variable(), "value": pandera.Column(str), "count": _count(least=1)},
        unique=["variable", "value"],
        strict=True,
        ordered=True,
    )


def aggregates_schema(*, k: int, length: int) -> pandera.DataFrameSchema:
    """What ``reportable_aggregates`` returns: multiples of ``k`` only, nothing longer than ``length``."""
    rounded = pandera.Check(lambda counts: counts % k == 0, name="multiple of k")
    places = {}
    for place in range(1, length + 1):
        places[f"variable_{place}"] = _variable(nullable=place > 1)
        places[f"value_{place}"] = pandera.Column(str, nullable=place > 1)
    return pandera.DataFrameSchema(
        {"length": pandera.Column("int64", pandera.Check.in_range(1, length)), **places, "count": _count(rounded, least=k)},
        unique=list(places),
        strict=True,
        ordered=True,
    )


def rarity_schema(*, length: int) -> pandera.DataFrameSchema:
    """What ``rarity_by_length`` returns: one row a length, in which reportable and rare ones add up."""
    counts = {name: _count(least=0) for name in ("distinct", "reportable", "rare", "unique")}
    adds_up = pandera.Check(lambda frame: frame["distinct"] == frame["reportable"] + frame["rare"], name="adds up")
    return pandera.DataFrameSchema(
        {"length": pandera.Column("int64", pandera.Check.in_range(1, length), unique=True), **counts},
        checks=adds_up,
        strict=True,
        ordered=True,
    )


def _variable(*, nullable: bool = False) -> pandera.Column:
    return pandera.Column(str, pandera.Check.isin(codebook().names, name="variable of the codebook"), nullable=nullable)


def _count(*checks: pandera.Check, least: int) -> pandera.Column:
    return pandera.Column("int64", [pandera.Check.ge(least), *checks])


def _files(counts: Path, length: int) -> dict[str, Path]:
    """The count files up to ``length``, by the names they have in queries. Raises TableError."""
    return {f"length_{size}": count_file(counts, size) for size in range(1, length + 1)}


def _require(*, k: int, length: int) -> None:
    if k < 2:
        raise ParameterError(f"k is {k}", remedy="Choose a k of at least 2; below that a single person can be reported.")
    if length < 1:
        raise ParameterError(f"the reporting length is {length}", remedy="Choose a reporting length of at least 1.")
