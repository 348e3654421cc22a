"""Select the combination counts that may be reported, and count the combinations that may not.

Reads the count tables of `ctdc_pipeline.counting.combinations`. Counting itself and synthetic records are not in this module.
"""

from __future__ import annotations

from math import comb
from pathlib import Path

import pandera.pandas as pandera
import pyarrow as pa

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting.rounding import combination_columns
from ctdc_pipeline.counting.withholding import ALWAYS_KNOWN, withhold
from ctdc_pipeline.errors import ParameterError, TableError
from ctdc_pipeline.storage.files import queries


def count_file(counts: Path, length: int) -> Path:
    """Return the Parquet file in folder `counts` with the combinations of `length` attributes.

    Raises:
        TableError: there is no such file.

    """
    path = counts / f"length_{length}.parquet"
    if not path.is_file():
        raise TableError(
            f"no counts of combinations of length {length}",
            remedy="Count them first, with a reporting length at least as long.",
        )
    return path


def reportable_aggregates(counts: Path, *, k: int, length: int, anonymised: pa.Table | None = None) -> pa.Table:
    """Return combinations found in at least `k` records, with counts rounded down to multiples of `k`.

    Combinations that `withholding.withhold` withholds are left out. Counts are never rounded to the nearest multiple, so a count
    identifies no single person (codebook section 1).

    Args:
        counts: the folder of exact counts.
        k: the smallest reportable count.
        length: most attributes of a combination.
        anonymised: the k-anonymised records of the same release.

    Returns:
        Columns ``length`` (int64), ``variable_1``, ``value_1`` ... ``variable_<length>``, ``value_<length>`` (string, null
        beyond a combination's length) and ``count`` (int64), sorted by all columns.

    Raises:
        ParameterError: `k` or `length` is out of range.
        TableError: a count file is missing.

    """
    common = _common(counts, k=k, length=length)
    with queries(**_files(counts, 1)) as connection:
        people, years = connection.sql(
            f"SELECT max(people)::BIGINT, max(years) FROM (SELECT sum(count) AS people,"  # noqa: S608
            f" count(*) FILTER (variable_1 = '{ALWAYS_KNOWN}') AS years FROM length_1 GROUP BY variable_1)"
        ).fetchall()[0]
    return common.filter(pa.array(~withhold(common, k=k, people=people or 0, years=years or 0, anonymised=anonymised)))


def withheld_aggregates(counts: Path, reported: pa.Table, *, k: int, length: int) -> pa.Table:
    """Return the common combinations that `reported` does not contain, in the same columns. Sensitive."""
    common = _common(counts, k=k, length=length)
    names = [name for name in common.column_names if name != "count"]
    with queries() as connection:
        connection.register("common", common)
        connection.register("reported", reported)
        same = " AND ".join(f"common.{name} IS NOT DISTINCT FROM reported.{name}" for name in names)
        return connection.sql(f"FROM common ANTI JOIN reported ON {same} ORDER BY ALL").to_arrow_table()


def _common(counts: Path, *, k: int, length: int) -> pa.Table:
    """Return all combinations of at least `k` records, with rounded counts."""
    _require(k=k, length=length)
    places = [f"{part}_{place}" for place in range(1, length + 1) for part in ("variable", "value")]
    parts = " UNION ALL BY NAME ".join(
        f"SELECT {size}::BIGINT AS length, * EXCLUDE (count), (count - count % {k})::BIGINT AS count"  # noqa: S608
        f" FROM length_{size} WHERE count >= {k}"
        for size in range(length, 0, -1)
    )
    with queries(**_files(counts, length)) as connection:
        query = f"SELECT length, {', '.join(places)}, count FROM ({parts}) ORDER BY ALL"  # noqa: S608
        return connection.sql(query).to_arrow_table()


def single_counts(counts: Path) -> pa.Table:
    """Return the exact count of every attribute: ``variable``, ``value`` (string) and ``count`` (int64), sorted.

    Raises:
        TableError: the count file is missing.

    """
    with queries(**_files(counts, 1)) as connection:
        return connection.sql(
            "SELECT variable_1 AS variable, value_1 AS value, count::BIGINT AS count FROM length_1 ORDER BY ALL"
        ).to_arrow_table()


def rarity_by_length(counts: Path, *, k: int, length: int) -> pa.Table:
    """Count the combinations of each ``length``: distinct, reportable, rare (below `k`) and unique.

    Needs counts made without a minimum.

    Returns:
        Columns ``length``, ``distinct``, ``reportable``, ``rare`` and ``unique``, all int64.

    Raises:
        ParameterError: `k` or `length` is out of range.
        TableError: a count file is missing.

    """
    _require(k=k, length=length)
    parts = " UNION ALL ".join(
        f"SELECT {size}::BIGINT AS length, count(*) AS distinct, count(*) FILTER (count >= {k}) AS reportable,"  # noqa: S608
        f" count(*) FILTER (count < {k}) AS rare, count(*) FILTER (count = 1) AS unique FROM length_{size}"
        for size in range(1, length + 1)
    )
    with queries(**_files(counts, length)) as connection:
        return connection.sql(f"{parts} ORDER BY length").to_arrow_table()


def miscounted_lengths(counts: Path, records: Path, *, length: int) -> tuple[int, ...]:
    """Return the lengths whose counts do not add up to the combinations in the records.

    A record of m attributes contains m over L combinations of length L, so the sum over all records is known without counting.

    Args:
        counts: the folder of exact counts.
        records: the Parquet file that was counted.
        length: the longest combinations to check.

    Raises:
        TableError: a count file is missing.

    """
    filled = " + ".join(f'("{name}" IS NOT NULL)::INT' for name in codebook().names)
    with queries(records=records, **_files(counts, length)) as connection:
        sizes = connection.sql(f"SELECT {filled} AS size, count(*) FROM records GROUP BY size").fetchall()  # noqa: S608
        wrong: list[int] = []
        for combined in range(1, length + 1):
            counted = connection.sql(f"SELECT coalesce(sum(count), 0)::BIGINT FROM length_{combined}").fetchall()[0][0]  # noqa: S608
            if counted != sum(comb(size, combined) * rows for size, rows in sizes):
                wrong.append(combined)
    return tuple(wrong)


def single_counts_schema() -> pandera.DataFrameSchema:
    """Return the schema of `single_counts`."""
    return pandera.DataFrameSchema(
        {"variable": _variable(), "value": pandera.Column(str), "count": _count(least=1)},
        unique=["variable", "value"],
        strict=True,
        ordered=True,
    )


def aggregates_schema(*, k: int, length: int) -> pandera.DataFrameSchema:
    """Return the schema of `reportable_aggregates`: only multiples of `k`, nothing longer than `length`."""
    rounded = pandera.Check(lambda counts: counts % k == 0, name="multiple of k")
    names = combination_columns(length)
    places: dict[str, pandera.Column] = {}
    for place, (variable, value) in enumerate(zip(names[::2], names[1::2], strict=True)):
        places |= {variable: _variable(nullable=place > 0), value: pandera.Column(str, nullable=place > 0)}
    return pandera.DataFrameSchema(
        {"length": pandera.Column("int64", pandera.Check.in_range(1, length)), **places, "count": _count(rounded, least=k)},
        unique=list(places),
        strict=True,
        ordered=True,
    )


def rarity_schema(*, length: int) -> pandera.DataFrameSchema:
    """Return the schema of `rarity_by_length`: one row for each length; reportable and rare add up to distinct."""
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
    """Return the count files up to `length`, by their names in queries. Raises TableError."""
    return {f"length_{size}": count_file(counts, size) for size in range(1, length + 1)}


def _require(*, k: int, length: int) -> None:
    if k < 2:
        raise ParameterError(f"k is {k}", remedy="Choose a k of at least 2; below that a single person can be reported.")
    if length < 1:
        raise ParameterError(f"the reporting length is {length}", remedy="Choose a reporting length of at least 1.")
