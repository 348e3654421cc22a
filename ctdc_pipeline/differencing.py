"""Whether what is published lets a reader infer a small group by subtraction: within one release, or between it and earlier ones.

A published figure says between which bounds the size of a group lies. A count rounded down to a multiple of k leaves k
possibilities, an exact count one, and a combination that is not reported has fewer than k people. From such bounds follow others:
of those in one group and not in its parts, and of those who came or went between two releases. A group is disclosed when its
bounds say that it is not empty and smaller than k. docs/method.md tells which subtractions are tried, and why no more are needed.

It reads published files only. Groups are told in the codebook's terms, and may be small: what ``check`` finds is sensitive.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ctdc_pipeline.codebook import codebook, countries
from ctdc_pipeline.errors import PrivacyError, ReleaseError
from ctdc_pipeline.files import open_parquet, queries

AGGREGATES = "reportable_aggregates.csv"
RECORDS = "global_synthetic_dataset.parquet"
ANONYMISED = "*_anonymised.csv"
MANIFEST = "manifest.json"

ANY = "*"
"""As a value: the variable, or any of a group of flags, is known."""
ALWAYS_KNOWN = "yearOfRegistration"
"""The one variable that every record has, so that the counts of its values leave nobody out."""

FINDINGS = pa.schema(
    [
        ("rule", pa.string()),
        ("release", pa.string()),
        ("group", pa.string()),
        ("variables", pa.string()),
        ("lower", pa.int64()),
        ("upper", pa.int64()),
    ]
)
"""One disclosed group a row: the rule it follows by, the earlier release it takes, the group, and the bounds of its size."""


def check(candidate: Path, before: Sequence[Path], *, manifest: Mapping[str, Any]) -> pa.Table:
    """The groups smaller than k that the release in folder ``candidate`` discloses, alone or with a release ``before``.

    ``manifest`` is the candidate's; its k is what counts. Columns are ``FINDINGS``, sorted. Raises PrivacyError for a table of
    counts that is not understood, ReleaseError when an earlier release cannot be read.
    """
    k = manifest["k"]
    with queries() as connection:
        connection.execute(_FUNCTIONS)
        _read(connection, candidate, manifest, name="now")
        found = _within(connection, k=k, length=manifest["reporting_length"], last_year=manifest["last_year"])
        for folder in before:
            try:
                earlier = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
                _read(connection, folder, earlier, name="before")
            except (OSError, ValueError, duckdb.Error):
                raise ReleaseError(
                    f"release {folder.name} cannot be compared with", remedy="Restore it from a backup; nothing was published."
                ) from None
            found += _between(connection, manifest, earlier)
    table = pa.Table.from_pylist(found, schema=FINDINGS)
    return table.sort_by([(name, "ascending") for name in FINDINGS.names])


def require(findings: pa.Table, *, k: int, report: str) -> None:
    """Raise PrivacyError if there are ``findings``. It tells how many, by which rules and variables; ``report`` is the rest."""
    if not len(findings):
        return
    rows = findings.to_pylist()
    told = ", ".join(f"{sum(row['rule'] == rule for row in rows)} {rule}" for rule in sorted({row["rule"] for row in rows}))
    releases = sorted({row["release"] for row in rows} - {""})
    variables = sorted({name for row in rows for name in row["variables"].split(", ")} - {""})
    others = f", with release {' and '.join(releases)}" if releases else ""
    raise PrivacyError(
        f"groups smaller than {k} follow from what would be published ({told}){others}: of {', '.join(variables)}",
        remedy=f"Nothing was published. {report} lists the groups: leave out or coarsen one of the counts of each.",
    )


# A group is known by the exclusive or of its attributes' digests, so that it does not matter in which order they are told, and
# taking one away is the same as adding it.
_FUNCTIONS = """
    CREATE MACRO digest(attribute) AS md5_number(attribute);
    CREATE MACRO digest_of(attributes) AS list_reduce(
        list_prepend(0::UHUGEINT, list_transform(attributes, lambda a: digest(a)::UHUGEINT)), lambda x, y: xor(x, y)
    );
"""


def _read(connection: duckdb.DuckDBPyConnection, folder: Path, manifest: Mapping[str, Any], *, name: str) -> None:
    """Make the table ``name``: bounds of every group that the release counts; and ``<name>_rows``: the k-anonymised groups.

    ``key``, ``attributes``, ``lower``, ``upper`` of the one; ``key``, ``attributes``, ``rows`` of the other.
    """
    connection.execute(f"CREATE OR REPLACE TABLE {name} (key UHUGEINT, attributes VARCHAR[], lower BIGINT, upper BIGINT)")
    connection.execute(f"CREATE OR REPLACE TABLE {name}_rows (key UHUGEINT, attributes VARCHAR[], rows BIGINT, whole BOOLEAN)")
    connection.execute("CREATE OR REPLACE TABLE figures (attributes VARCHAR[], count BIGINT)")
    for counted in _counted(connection, folder):
        connection.execute(f"INSERT INTO figures {counted}")
        # A file in which one count is no multiple of k has not been rounded down, and all its counts can be exact.
        width = f"(SELECT CASE WHEN bool_and(count % {manifest['k']} = 0) THEN {manifest['k'] - 1} ELSE 0 END FROM figures)"
        connection.execute(f"INSERT INTO {name} SELECT digest_of(attributes), attributes, count, count + {width} FROM figures")
        connection.execute("DELETE FROM figures")
    for file in sorted(folder.glob(ANONYMISED)):
        table = _csv(file)
        cells = _list(*(f"{_text(column)} || '=' || \"{column}\"" for column in _columns(connection, table)))
        connection.execute(_ROWS.format(name=name, cells=cells, table=table, length=manifest["reporting_length"]))
    # One row a group, with all that is known of it. Whoever is in the k-anonymised data is in the complete data too.
    connection.execute(
        f"""
        CREATE OR REPLACE TABLE {name} AS
        WITH one AS (
            SELECT key, any_value(attributes) AS attributes, max(lower) AS lower, min(upper) AS upper FROM {name} GROUP BY key
        ), seen AS (SELECT key, max(rows) AS rows FROM {name}_rows WHERE NOT whole GROUP BY key)
        SELECT one.* EXCLUDE (lower), greatest(lower, coalesce(rows, 0)) AS lower FROM one LEFT JOIN seen USING (key)
        """
    )


# The groups of a table of records, as they are and by every combination of up to so many of their attributes.
_ROWS = """
    INSERT INTO {name}_rows
    WITH groups AS (
        SELECT list_filter({cells}, lambda a: a IS NOT NULL) AS attributes, count(*) AS rows FROM {table} GROUP BY ALL
    ), parts AS (
        SELECT list_filter(attributes, lambda a, i: (mask >> (i - 1)) & 1 = 1) AS part, sum(rows)::BIGINT AS rows
        FROM groups, range(0, 1 << len(attributes)) AS masks(mask) WHERE bit_count(mask) <= {length} GROUP BY ALL
    )
    SELECT digest_of(part), part, rows, false FROM parts
    UNION ALL SELECT digest_of(attributes), attributes, rows, true FROM groups
"""


def _counted(connection: duckdb.DuckDBPyConnection, folder: Path) -> Iterator[str]:
    """Queries of all counts of complete data in a release: ``attributes`` (``variable=value``) and ``count``."""
    names = codebook().names
    if (folder / RECORDS).is_file():
        connection.register("records", open_parquet(folder / RECORDS))
        columns = ", ".join(f'"{name}"' for name in names)
        cells = f"UNPIVOT (SELECT {columns} FROM records) ON * INTO NAME variable VALUE value"
        yield f"SELECT [variable || '=' || value], count(*) FROM ({cells}) GROUP BY ALL"
    for file in sorted(folder.rglob("*.csv")):
        table = _csv(file)
        columns = _columns(connection, table)
        if "count" not in columns:
            continue
        length = sum(column.startswith("variable_") for column in columns)
        if "variable_1" in columns and set(columns) == {"length", "count", *_places(length)}:
            parts = (f"variable_{place} || '=' || value_{place}" for place in range(1, length + 1))
            yield f"SELECT list_filter({_list(*parts)}, lambda a: a IS NOT NULL), count::BIGINT FROM {table}"
            continue
        by = [column for column in columns if column in names]
        placed = {"by", "country", "name"} if "country" in columns else set[str]()
        if not set(columns) <= {*by, *placed, "variable", "value", "count", "denominator", "percentage"}:
            raise PrivacyError(
                f"{file.name} holds counts in columns that are not understood", remedy="Let the differencing gate read them."
            )
        fixed = [f"{_text(column)} || '=' || {column}" for column in by]
        fixed += ["\"by\" || '=' || country"] if placed else []
        one = ["variable || '=' || value"] if "variable" in columns else []
        yield f"SELECT list_filter({_list(*fixed, *one)}, lambda a: a IS NOT NULL), count::BIGINT FROM {table}"
        if "denominator" in columns:
            groups = {variable.name: _known(variable.name) for variable in codebook().variables}
            known = (
                "CASE variable " + " ".join(f"WHEN {_text(name)} THEN {_text(text)}" for name, text in groups.items()) + " END"
            )
            attributes = f"list_filter({_list(*fixed, known)}, lambda a: a IS NOT NULL)"
            yield f"SELECT DISTINCT {attributes}, denominator::BIGINT FROM {table} WHERE denominator IS NOT NULL"


def _known(name: str) -> str:
    """The attribute of those of whom a variable is known; of a flag, any of its group."""
    variable = next(variable for variable in codebook().variables if variable.name == name)
    return f"{variable.group if variable.kind == 'flag' else name}={ANY}"


def _within(connection: duckdb.DuckDBPyConnection, *, k: int, length: int, last_year: int) -> list[dict[str, Any]]:
    """What one release discloses by itself."""
    found = _told(connection, "counted", f"SELECT attributes, lower, upper FROM now WHERE lower >= 1 AND upper < {k}")
    found += _told(connection, "contradictory", "SELECT attributes, lower, upper FROM now WHERE lower > upper")
    small = f"SELECT attributes, rows, rows FROM now_rows WHERE whole AND rows < {k}"
    found += _told(connection, "k-anonymised", small)
    # Bounds as wide as rounding leaves them cannot lie between 1 and k - 1, so only narrower ones are subtracted.
    connection.execute(
        f"CREATE OR REPLACE TABLE narrow AS SELECT * FROM now WHERE upper - lower <= {k - 2} AND lower <= upper AND upper > 0"
    )
    connection.execute(_PARTS)
    found += _told(connection, "parent less child", _NESTED.format(k=k))
    found += _told(connection, "parent less children", _REST.format(k=k))
    found += _told(connection, "one value not told", _hidden(length=length, last_year=last_year, k=k))
    return found


# Every group once for each of its attributes: that attribute, and the group that it is part of.
_PARTS = """
    CREATE OR REPLACE TABLE parts AS
    WITH one AS (SELECT *, unnest(attributes) AS attribute FROM now),
    known AS (SELECT DISTINCT attribute, digest(attribute)::UHUGEINT AS code FROM one)
    SELECT key, xor(key, code) AS parent, attributes, lower, upper,
        split_part(attribute, '=', 1) AS variable, split_part(attribute, '=', 2) AS value
    FROM one JOIN known USING (attribute)
"""

# A group and one within it, with whatever number of attributes more.
_NESTED = """
    WITH narrowest AS (SELECT * FROM narrow WHERE len(attributes) > 0),
    subsets AS (
        SELECT child.attributes, child.lower, child.upper, digest_of(
            list_filter(child.attributes, lambda a, i: (mask >> (i - 1)) & 1 = 1)
        ) AS key FROM narrowest AS child, range(0, 1 << len(child.attributes)) AS masks(mask)
        WHERE mask != (1 << len(child.attributes)) - 1
    )
    SELECT list_concat(parent.attributes, list_transform(
            list_filter(subsets.attributes, lambda a: NOT list_contains(parent.attributes, a)), lambda a: 'not ' || a
        )), parent.lower - subsets.upper AS least, parent.upper - subsets.lower AS most
    FROM subsets JOIN narrow AS parent USING (key) WHERE least >= 1 AND most < {k}
"""

# A group less all its published parts by one variable: the values that are not told, and the missing ones.
_REST = """
    WITH variables AS (
        SELECT parent, variable, sum(lower) AS lower, sum(upper) AS upper, count(*) AS children
        FROM parts SEMI JOIN narrow ON narrow.key = parent WHERE value != '*' GROUP BY ALL
        HAVING sum(upper - lower) <= {k} - 2
    )
    SELECT list_append(narrow.attributes, variable || '=none of ' || children || ' told'),
        narrow.lower - variables.upper AS least, narrow.upper - variables.lower AS most
    FROM variables JOIN narrow ON narrow.key = parent WHERE least >= 1 AND most < {k}
"""


def _hidden(*, length: int, last_year: int, k: int) -> str:
    """Of a variable known of everybody in a group: a value that is not told, although all the others cannot make up the group.

    Each value that is not told has fewer than k people; if what the others leave over is more than all but one of them can
    have, that one is not empty.
    """
    years = last_year - codebook().first_year + 1
    sizes = {variable.name: len(variable.values) for variable in codebook().variables}
    sizes |= {variable.name: len(countries().rows) for variable in codebook().variables if variable.kind == "country"}
    sizes[ALWAYS_KNOWN] = years
    values = ", ".join(f"({_text(name)}, {size})" for name, size in sizes.items())
    return f"""
        WITH sizes(variable, size) AS (VALUES {values}),
        wholes AS (
            SELECT key AS parent, '{ALWAYS_KNOWN}' AS variable, attributes, lower FROM now WHERE len(attributes) < {length}
            UNION ALL SELECT parent, variable, attributes, lower FROM parts WHERE value = '{ANY}'
        ), children AS (
            SELECT parent, variable, sum(upper) AS upper, count(*) AS told
            FROM parts SEMI JOIN wholes USING (parent, variable) WHERE value != '{ANY}' GROUP BY ALL
        )
        SELECT list_append(attributes, variable || '=not told'),
            wholes.lower - children.upper - (size - told - 1) * {k - 1} AS least, {k - 1}
        FROM wholes JOIN children USING (parent, variable) JOIN sizes USING (variable)
        WHERE told < size AND least >= 1
    """


def _between(
    connection: duckdb.DuckDBPyConnection, manifest: Mapping[str, Any], earlier: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What two releases disclose together."""
    k, version = manifest["k"], earlier["version"]
    changed = f"""
        SELECT now.attributes, greatest(now.lower - before.upper, before.lower - now.upper) AS least,
            greatest(now.upper - before.lower, before.upper - now.lower) AS most
        FROM now JOIN before USING (key) WHERE least >= 1 AND most < {k}
    """
    found = _told(connection, "came or went", changed, release=version)
    # Both sides are exact here, and a row that is in one and not in the other tells all its values.
    rows = f"""
        SELECT coalesce(n.attributes, b.attributes), abs(coalesce(n.rows, 0) - coalesce(b.rows, 0)) AS change, change
        FROM now_rows AS n FULL JOIN before_rows AS b USING (key, whole)
        WHERE change BETWEEN 1 AND {k - 1} AND EXISTS (FROM now_rows) AND EXISTS (FROM before_rows)
    """
    found += _told(connection, "k-anonymised rows came or went", rows, release=version)
    if _contents(manifest) == _contents(earlier):
        # The same people are counted twice: what either says holds for both, unless they were read in another way.
        lengths = min(manifest["reporting_length"], earlier["reporting_length"])
        both = f"""
            CREATE OR REPLACE TABLE combined AS
            WITH joined AS (
                SELECT key, coalesce(n.attributes, b.attributes) AS attributes,
                    greatest(coalesce(n.lower, 0), coalesce(b.lower, 0)) AS lower,
                    least(coalesce(n.upper, {k - 1}), coalesce(b.upper, {earlier["k"] - 1})) AS upper, n.key IS NOT NULL AS told
                FROM now AS n FULL JOIN before AS b USING (key)
                WHERE n.key IS NOT NULL AND b.key IS NOT NULL OR len(coalesce(n.attributes, b.attributes)) <= {lengths}
            ) SELECT key, attributes, lower, upper FROM joined WHERE lower <= upper
        """
        connection.execute(both)
        connection.execute("ALTER TABLE now RENAME TO alone")
        connection.execute("ALTER TABLE combined RENAME TO now")
        again = _within(connection, k=k, length=lengths, last_year=manifest["last_year"])
        found += [{**row, "release": version} for row in again]
        connection.execute("DROP TABLE now")
        connection.execute("ALTER TABLE alone RENAME TO now")
    return found


def _contents(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {source: said["content"] for source, said in manifest["deliveries"].items() if said["content"]}


def _told(connection: duckdb.DuckDBPyConnection, rule: str, query: str, *, release: str = "") -> list[dict[str, Any]]:
    """The findings that ``query`` gives: attributes, least and most."""
    rows = connection.sql(query).fetchall()
    return [
        {
            "rule": rule,
            "release": release,
            "group": ", ".join(attributes) or "all",
            "variables": ", ".join(sorted({attribute.removeprefix("not ").split("=")[0] for attribute in attributes})),
            "lower": lower,
            "upper": upper,
        }
        for attributes, lower, upper in rows
    ]


def _csv(file: Path) -> str:
    return f"read_csv({_text(str(file))}, header = true, all_varchar = true, nullstr = '', delim = ',', quote = '\"')"


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    return list(connection.sql(f"FROM {table} LIMIT 0").columns)


def _places(length: int) -> list[str]:
    return [f"{part}_{place}" for place in range(1, length + 1) for part in ("variable", "value")]


def _list(*parts: str) -> str:
    return f"[{', '.join(parts)}]::VARCHAR[]"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
