"""People who may be in the data of two partners: found by agreement of de-identified attributes, reported, never merged.

Two cases of different partners are *comparable* if gender, age band (or majority, without one), citizenship and country of
exploitation are known and equal and their years of registration at most one apart. They are a *possible duplicate* if they also
share at least two rare attributes (flags and durations that few cases have), and their agreement is worth more bits than there
are in the choice of one pair among all pairs of the two partners. An attribute that a share p of cases has is worth -log2(p), and
so are the four equal values together: these are the agreement weights of Fellegi and Sunter (1969), "A theory for record
linkage", JASA 64(328), for attributes that a duplicate never contradicts.

Attributes depend on each other, so weights alone promise too much. Beside what is observed therefore stands what chance would
give: the possible duplicates to be expected if, among cases equal in the four values, each partner's years were dealt out anew.
That keeps all dependence but closeness in time, and has a closed form. Family members who were trafficked and registered together
look like duplicates as well; who is who only the partners can tell, by their own records.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import fsum, log2, sqrt
from pathlib import Path

import duckdb
import pandera.pandas as pandera
import pyarrow as pa

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.quality.drift import Z
from ctdc_pipeline.storage.files import queries

RARE = 0.1
"""An attribute counts as evidence if at most this share of cases has it."""
SHARED = 2
"""Both cases must have this many rare attributes."""
MOST = 10_000
"""Most pairs listed, highest scores first; all pairs are counted."""

TEXT, WHOLE, REAL = pa.string(), pa.int64(), pa.float64()
PAIRS = pa.schema(
    [("partner_a", TEXT), ("case_key_a", TEXT), ("partner_b", TEXT), ("case_key_b", TEXT), ("score", REAL), ("shared", WHOLE)]
)
COUNTS = pa.schema([("partner_a", TEXT), ("partner_b", TEXT), ("comparable", WHOLE), ("observed", WHOLE), ("expected", REAL)])

_BITS = 62  # of a BIGINT; the rarest attributes are taken if there are more


@dataclass(frozen=True)
class Duplicates:
    """``pairs`` lists possible duplicates, highest score first. ``counts`` tells, by two partners, comparable pairs, observed
    possible duplicates and those to be expected by chance."""

    pairs: pa.Table
    counts: pa.Table


def possible_duplicates(victims: Path) -> Duplicates:
    """Possible duplicates among the harmonised cases of all partners. Raises as ``files.open_parquet``."""
    with queries(records=victims) as connection:
        _prepare(connection, _evidence(connection))
        comparable: Counter[tuple[str, str]] = Counter()
        observed: Counter[tuple[str, str]] = Counter()
        expected: dict[tuple[str, str], list[float]] = {}
        for a, b, pairs, found, chance in connection.sql(_COUNTS).fetchall():
            comparable[a, b] += pairs
            observed[a, b] += found
            expected.setdefault((a, b), []).append(chance)
        names = [name for (name,) in connection.sql("SELECT DISTINCT partner FROM sizes ORDER BY ALL").fetchall()]
        both = [(a, b) for a in names for b in names if a < b]
        rows = [(a, b, comparable[a, b], observed[a, b], round(fsum(expected.get((a, b), [])), 1)) for a, b in both]
        return Duplicates(
            pairs=connection.sql(_PAIRS).to_arrow_table().cast(PAIRS),
            counts=pa.Table.from_pylist([dict(zip(COUNTS.names, row, strict=True)) for row in rows], schema=COUNTS),
        )


def beyond_chance(counts: pa.Table) -> list[str]:
    """Return the pairs of partners that have more possible duplicates than chance explains."""
    return [
        f"{row['partner_a']} and {row['partner_b']}: {row['observed']} possible duplicates, {row['expected']:g} by chance"
        for row in counts.to_pylist()
        if row["observed"] > row["expected"] + Z * sqrt(max(row["expected"], 1))
    ]


def schema() -> pandera.DataFrameSchema:
    """Return the schema of the listed pairs: two pseudonyms of two partners, with at least as much in common as the rule asks."""
    key = pandera.Check.str_matches(r"^[0-9a-f]{64}$")
    sides = {
        f"{name}_{side}": pandera.Column(str, key if name == "case_key" else None)
        for side in "ab"
        for name in ("partner", "case_key")
    }
    figures = {"score": pandera.Column(float, pandera.Check.gt(0)), "shared": pandera.Column("int64", pandera.Check.ge(SHARED))}
    ordered = pandera.Check(lambda frame: frame["partner_a"] < frame["partner_b"], name="two partners")
    return pandera.DataFrameSchema(
        {**sides, **figures}, checks=ordered, strict=True, ordered=True, unique=["case_key_a", "case_key_b"]
    )


def _evidence(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, float]]:
    """Return rare attributes, as SQL conditions, with the bits that agreement on each is worth.

    Flags that details are merged into are left out, because the detail says the same more exactly.
    """
    book = codebook()
    merged = {variable.merges_into for variable in book.harmonised}
    flags = [variable for variable in book.harmonised if variable.kind == "flag" and variable.name not in merged]
    conditions = [f"\"{flag.name}\" = '1'" for flag in flags]
    conditions += [f"traffickMonths = '{band}'" for band in book.variable("traffickMonths").values]
    counts = ", ".join(f"count(*) FILTER ({condition})" for condition in conditions)
    total, *counted = connection.sql(f"SELECT count(*), {counts} FROM records").fetchall()[0]  # noqa: S608
    shares = [(count / total, condition) for count, condition in zip(counted, conditions, strict=True) if count]
    return [(condition, -log2(share)) for share, condition in sorted(shares) if share <= RARE][:_BITS]


def _prepare(connection: duckdb.DuckDBPyConnection, evidence: list[tuple[str, float]]) -> None:
    """The tables that the queries below read: cases with their block and rare attributes, and what agreement is worth."""
    marks = " | ".join(
        f"(CASE WHEN {condition} THEN {1 << bit} ELSE 0 END)::BIGINT" for bit, (condition, _) in enumerate(evidence)
    )
    worth = " + ".join(f"(shared >> {bit} & 1) * {bits!r}" for bit, (_, bits) in enumerate(evidence))
    connection.execute(f"CREATE MACRO worth(shared) AS {worth or '0.0'}")
    connection.execute("CREATE TABLE sizes AS SELECT partner, count(*) AS n FROM records GROUP BY partner")
    connection.execute(f"""
        CREATE TABLE cases AS
        SELECT partner, case_key, yearOfRegistration::INT AS year, {marks or "0::BIGINT"} AS marks,
            dense_rank() OVER (ORDER BY gender, coalesce(ageBroad, majorityStatusAtExploit), citizenship, CountryOfExploitation)
                AS block
        FROM records
        WHERE yearOfRegistration IS NOT NULL AND gender IS NOT NULL AND coalesce(ageBroad, majorityStatusAtExploit) IS NOT NULL
            AND citizenship IS NOT NULL AND CountryOfExploitation IS NOT NULL""")  # noqa: S608
    connection.execute("""
        CREATE TABLE blocks AS
        SELECT block, -log2(count(*) / (SELECT sum(n) FROM sizes)) AS bits FROM cases GROUP BY block
        HAVING count(DISTINCT partner) > 1""")
    connection.execute("""
        CREATE TABLE cells AS
        SELECT partner, block, marks, count(*) AS n FROM cases SEMI JOIN blocks USING (block) GROUP BY ALL""")
    connection.execute("""
        CREATE TABLE years AS
        SELECT partner, block, year, count(*) AS n FROM cases SEMI JOIN blocks USING (block) GROUP BY ALL""")
    # Which rare attributes of two partners' cases in one block agree well enough, whatever their years.
    connection.execute(f"""
        CREATE TABLE agreements AS
        SELECT *, bits + worth(shared) AS score
        FROM (
            SELECT a.block, a.partner AS partner_a, b.partner AS partner_b, a.marks AS marks_a, b.marks AS marks_b,
                a.marks & b.marks AS shared, a.n * b.n AS pairs, bits
            FROM cells a JOIN cells b ON a.block = b.block AND a.partner < b.partner JOIN blocks ON blocks.block = a.block
            WHERE bit_count(a.marks & b.marks) >= {SHARED}
        )
        JOIN sizes x ON x.partner = partner_a JOIN sizes y ON y.partner = partner_b
        WHERE score >= log2(x.n * y.n)""")  # noqa: S608
    connection.execute("""
        CREATE TABLE found AS
        SELECT partner_a, a.case_key AS case_key_a, partner_b, b.case_key AS case_key_b, g.block, score,
            bit_count(shared)::BIGINT AS shared
        FROM agreements g
        JOIN cases a ON a.partner = partner_a AND a.block = g.block AND a.marks = marks_a
        JOIN cases b ON b.partner = partner_b AND b.block = g.block AND b.marks = marks_b AND abs(a.year - b.year) <= 1""")


# By block, for the sum of the last column depends on the order of adding up.
_COUNTS = """
    SELECT c.partner_a, c.partner_b, c.near, coalesce(o.n, 0), coalesce(e.pairs, 0) * c.near / (c.far)
    FROM (
        SELECT a.block, a.partner AS partner_a, b.partner AS partner_b, sum(a.n * b.n) AS far,
            coalesce(sum(a.n * b.n) FILTER (abs(a.year - b.year) <= 1), 0) AS near
        FROM years a JOIN years b ON a.block = b.block AND a.partner < b.partner GROUP BY ALL
    ) c
    LEFT JOIN (SELECT block, partner_a, partner_b, sum(pairs) AS pairs FROM agreements GROUP BY ALL) e
        USING (block, partner_a, partner_b)
    LEFT JOIN (SELECT block, partner_a, partner_b, count(*) AS n FROM found GROUP BY ALL) o USING (block, partner_a, partner_b)"""

_PAIRS = f"""
    SELECT partner_a, case_key_a, partner_b, case_key_b, round(score, 2) AS score, shared FROM found
    ORDER BY score DESC, partner_a, case_key_a, partner_b, case_key_b LIMIT {MOST}"""  # noqa: S608
