"""Find small groups that published figures disclose by subtraction.

Figures are subtracted within one release, and between it and earlier ones. A published figure bounds the size of a group. A
count rounded down to a multiple of k leaves k possibilities, an exact count one, and a combination that is not reported has
fewer than k people. Other bounds follow from these: for the people in a group but not in its parts, and for those who came or
went between two releases. A group is disclosed if its bounds say that it is not empty and smaller than k. docs/method.md lists
the subtractions that are tried, and why no more are needed.

This module reads published files only. It names groups in the codebook's terms, and these groups may be small: the result of
``find_disclosed_groups`` is sensitive.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import PrivacyError, ReleaseError
from ctdc_pipeline.storage.files import open_parquet, queries

AGGREGATES = "reportable_aggregates.csv"
RECORDS = "global_synthetic_dataset.parquet"
ANONYMISED = "*_anonymised.csv"
MANIFEST = "manifest.json"

ANY = "*"
"""As a value: the variable, or any variable of a group of flags, is known."""
_SHARES = ("percentage", "percentage_from", "percentage_to")
KNOWN = "known_values.csv"
UNBOUNDED = 10**12
ALWAYS_KNOWN = "yearOfRegistration"
"""The one variable that every record has, so that the counts of its values include everybody."""

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
"""One disclosed group a row: the rule that discloses it, the earlier release involved, the group, and the bounds of its size."""


def find_disclosed_groups(candidate: Path, before: Sequence[Path], *, manifest: Mapping[str, Any]) -> pa.Table:
    """Find the groups smaller than k that a release discloses, alone or with an earlier one.

    Args:
        candidate: The folder of the release to check.
        before: The folders of earlier releases.
        manifest: The candidate's manifest; its k counts.

    Returns:
        The disclosed groups, sorted, with the columns of ``FINDINGS``. They are sensitive.

    Raises:
        PrivacyError: If a table of counts has unknown columns.
        ReleaseError: If an earlier release cannot be read.
    """
    k = manifest["k"]
    with queries() as connection:
        connection.execute(_FUNCTIONS)
        _read(connection, candidate, manifest, name="now")
        findings = _within(connection, k=k, length=manifest["reporting_length"], last_year=manifest["last_year"])
        for folder in before:
            try:
                earlier = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
                _read(connection, folder, earlier, name="before")
            except (OSError, ValueError, duckdb.Error):
                raise ReleaseError(
                    f"release {folder.name} cannot be compared with", remedy="Restore it from a backup; nothing was published."
                ) from None
            findings += _between(connection, manifest, earlier)
    table = pa.Table.from_pylist(findings, schema=FINDINGS)
    return table.sort_by([(name, "ascending") for name in FINDINGS.names])


def require_no_disclosure(findings: pa.Table, *, k: int, report: str) -> None:
    """Raise an error if there are ``findings``.

    Args:
        findings: The result of ``find_disclosed_groups``.
        k: The resolution, for the message.
        report: Where the whole list is stored.

    Raises:
        PrivacyError: If there are findings. The message gives their number, rules and variables, but no group.
    """
    if not len(findings):
        return
    rows = findings.to_pylist()
    counts_by_rule = ", ".join(
        f"{sum(row['rule'] == rule for row in rows)} {rule}" for rule in sorted({row["rule"] for row in rows})
    )
    releases = sorted({row["release"] for row in rows} - {""})
    variables = sorted({name for row in rows for name in row["variables"].split(", ")} - {""})
    with_releases = f", with release {' and '.join(releases)}" if releases else ""
    raise PrivacyError(
        f"groups smaller than {k} follow from what would be published ({counts_by_rule}){with_releases}: "
        f"of {', '.join(variables)}",
        remedy=f"Nothing was published. {report} lists the groups: leave out or coarsen one of the counts of each.",
        failed=["differencing"],
    )


# A group is identified by the exclusive or of its attributes' digests. So the order of attributes does not matter, and removing
# an attribute is the same operation as adding it.
_FUNCTIONS = """
    CREATE MACRO digest(attribute) AS md5_number(attribute);
    CREATE MACRO digest_of(attributes) AS list_reduce(
        list_prepend(0::UHUGEINT, list_transform(attributes, lambda a: digest(a)::UHUGEINT)), lambda x, y: xor(x, y)
    );
"""


def _read(connection: duckdb.DuckDBPyConnection, folder: Path, manifest: Mapping[str, Any], *, name: str) -> None:
    """Make the tables ``name`` and ``<name>_rows`` of a release.

    They contain the bounds of every group that the release counts, and its k-anonymised groups. The columns of the first are
    ``key``, ``attributes``, ``lower``, ``upper``; of the second ``key``, ``attributes``, ``rows``, ``whole``.
    """
    connection.execute(f"CREATE OR REPLACE TABLE {name} (key UHUGEINT, attributes VARCHAR[], lower BIGINT, upper BIGINT)")
    connection.execute(f"CREATE OR REPLACE TABLE {name}_rows (key UHUGEINT, attributes VARCHAR[], rows BIGINT, whole BOOLEAN)")
    connection.execute("CREATE OR REPLACE TABLE figures (attributes VARCHAR[], count BIGINT, slack BIGINT)")
    for counted in _counted(connection, folder, k=manifest["k"]):
        connection.execute(f"INSERT INTO figures {counted}")
        # If one count of a file is not a multiple of k, the file was not rounded down, and all its counts may be exact.
        width = f"(SELECT CASE WHEN bool_and(count % {manifest['k']} = 0) THEN {manifest['k'] - 1} ELSE 0 END FROM figures)"  # noqa: S608
        connection.execute(
            f"INSERT INTO {name} SELECT digest_of(attributes), attributes, count, count + {width} + slack FROM figures"  # noqa: S608
        )
        connection.execute("DELETE FROM figures")
    for file in sorted(folder.glob(ANONYMISED)):
        table = _csv(file)
        cells = _list(*(f"{_text(column)} || '=' || \"{column}\"" for column in _columns(connection, table)))
        connection.execute(_ROWS.format(name=name, cells=cells, table=table, length=manifest["reporting_length"]))
    # One row a group, with everything that is known of it. Everybody in the k-anonymised data is also in the complete data.
    connection.execute(
        f"""
        CREATE OR REPLACE TABLE {name} AS
        WITH one AS (
            SELECT key, any_value(attributes) AS attributes, max(lower) AS lower, min(upper) AS upper FROM {name} GROUP BY key
        ), seen AS (SELECT key, max(rows) AS rows FROM {name}_rows WHERE NOT whole GROUP BY key)
        SELECT one.* EXCLUDE (lower), greatest(lower, coalesce(rows, 0)) AS lower FROM one LEFT JOIN seen USING (key)
        """  # noqa: S608
    )


# The groups of a table of records: whole, and by every combination of at most `length` of their attributes.
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


def _counted(connection: duckdb.DuckDBPyConnection, folder: Path, *, k: int) -> Iterator[str]:
    """Yield queries for all counts of complete data in a release.

    Their columns are ``attributes`` (``variable=value``), ``count`` and ``slack``. If a denominator equals what the counts next
    to it account for, it may have been lowered to that, so it is only a lower bound. ``slack`` is how many more people there
    may be than rounding allows.
    """
    names = codebook().names
    if (folder / RECORDS).is_file():
        connection.register("records", open_parquet(folder / RECORDS))
        columns = ", ".join(f'"{name}"' for name in names)
        cells = f"UNPIVOT (SELECT {columns} FROM records) ON * INTO NAME variable VALUE value"  # noqa: S608
        yield f"SELECT [variable || '=' || value], count(*), 0 FROM ({cells}) GROUP BY ALL"  # noqa: S608
    for file in sorted(folder.rglob("*.csv")):
        table = _csv(file)
        columns = _columns(connection, table)
        if "count" not in columns:
            continue
        length = sum(column.startswith("variable_") for column in columns)
        if "variable_1" in columns and set(columns) == {"length", "count", *_places(length)}:
            parts = (f"variable_{position} || '=' || value_{position}" for position in range(1, length + 1))
            yield f"SELECT list_filter({_list(*parts)}, lambda a: a IS NOT NULL), count::BIGINT, 0 FROM {table}"  # noqa: S608
            continue
        variable_columns = [column for column in columns if column in names]
        country_columns = {"by", "country", "name"} if "country" in columns else set[str]()
        if not set(columns) <= {*variable_columns, *country_columns, "variable", "value", "count", "denominator", *_SHARES}:
            raise PrivacyError(f"{file.name} contains counts in unknown columns", remedy="Let the differencing gate read them.")
        subject = f"CASE variable {' '.join(f'WHEN {_text(name)} THEN {_text(_known(name))}' for name in names)} END"
        if file.name == KNOWN:
            single = f"(SELECT variable_1 AS variable, count FROM {_csv(folder / AGGREGATES)} WHERE length = '1')"  # noqa: S608
            accounted = f"SELECT {subject} AS subject, sum({_max_people(k)})::BIGINT AS most FROM {single} GROUP BY subject"  # noqa: S608
            yield f"""
                SELECT [subject], count::BIGINT, {_slack("count::BIGINT", "most", k=k)} FROM {table} JOIN ({accounted})
                ON subject = variable || '={ANY}'
            """  # noqa: S608
            yield f"SELECT DISTINCT []::VARCHAR[], denominator::BIGINT, 0 FROM {table}"  # noqa: S608
            continue
        fixed = [f"{_text(column)} || '=' || {column}" for column in variable_columns]
        fixed += ["\"by\" || '=' || country"] if country_columns else []
        value_attribute = ["variable || '=' || value"] if "variable" in columns else []
        yield f"SELECT list_filter({_list(*fixed, *value_attribute)}, lambda a: a IS NOT NULL), count::BIGINT, 0 FROM {table}"  # noqa: S608
        if "denominator" in columns:
            attributes = f"list_filter({_list(*fixed, subject)}, lambda a: a IS NOT NULL)"
            whole = "any_value(denominator::BIGINT)"
            yield f"""
                SELECT {attributes} AS attributes, {whole}, {_slack(whole, f"sum({_max_people(k)})::BIGINT", k=k)}
                FROM {table} WHERE denominator IS NOT NULL GROUP BY attributes
            """  # noqa: S608


def _max_people(k: int) -> str:
    """Return the most people for which a published count can stand."""
    return f"count::BIGINT + {k - 1}"


def _slack(whole: str, most: str, *, k: int) -> str:
    """Return 0 if the denominator ``whole`` is less than ``most``, else no bound.

    ``most`` is what the published counts account for.
    """
    return f"CASE WHEN {whole} < {most} // {k} * {k} THEN 0 ELSE {UNBOUNDED} END"


def _known(name: str) -> str:
    """Return the attribute of people of whom a variable is known.

    For a flag, any flag of its group.
    """
    variable = next(variable for variable in codebook().variables if variable.name == name)
    return f"{variable.group if variable.kind == 'flag' else name}={ANY}"


def _within(connection: duckdb.DuckDBPyConnection, *, k: int, length: int, last_year: int) -> list[dict[str, Any]]:
    """Find what one release discloses by itself."""
    findings = _findings(connection, "counted", f"SELECT attributes, lower, upper FROM now WHERE lower >= 1 AND upper < {k}")  # noqa: S608
    findings += _findings(connection, "contradictory", "SELECT attributes, lower, upper FROM now WHERE lower > upper")
    small = f"SELECT attributes, rows, rows FROM now_rows WHERE whole AND rows < {k}"  # noqa: S608
    findings += _findings(connection, "k-anonymised", small)
    # Differences with bounds as wide as rounding leaves them cannot be between 1 and k - 1, so only narrower ones are subtracted.
    connection.execute(
        f"CREATE OR REPLACE TABLE narrow AS SELECT * FROM now WHERE upper - lower <= {k - 2} AND lower <= upper AND upper > 0"  # noqa: S608
    )
    connection.execute(_PARTS)
    findings += _findings(connection, "parent less child", _NESTED.format(k=k))
    findings += _findings(connection, "parent less children", _REST.format(k=k))
    findings += _findings(connection, "intersection", _INTERSECTIONS.format(k=k, length=length))
    findings += _findings(connection, "one value not told", _hidden(length=length, last_year=last_year, k=k))
    return findings


# Every group once for each of its attributes, with that attribute and the larger group without it.
_PARTS = """
    CREATE OR REPLACE TABLE parts AS
    WITH one AS (SELECT *, unnest(attributes) AS attribute FROM now),
    known AS (SELECT DISTINCT attribute, digest(attribute)::UHUGEINT AS code FROM one)
    SELECT key, xor(key, code) AS parent, attributes, lower, upper,
        split_part(attribute, '=', 1) AS variable, split_part(attribute, '=', 2) AS value
    FROM one JOIN known USING (attribute)
"""

# Two groups that are so large a part of a third that they must share people, although their overlap is not published
# (Bonferroni). If the overlap has k people or more, it was withheld for another reason and is not a small group.
_INTERSECTIONS = """
    WITH reported AS (SELECT * FROM now WHERE len(attributes) <= {length} AND NOT list_contains(
        list_transform(attributes, lambda a: split_part(a, '=', 2)), '*')),
    expanded AS (
        SELECT key, attributes, lower, digest_of(list_filter(attributes, lambda a, i: (mask >> (i - 1)) & 1 = 1)) AS shared,
            list_filter(attributes, lambda a, i: (mask >> (i - 1)) & 1 = 0) AS more
        FROM reported, range(0, 1 << len(attributes)) AS masks(mask)
        WHERE mask != (1 << len(attributes)) - 1 AND len(attributes) < {length}
    ),
    large AS (
        SELECT e.*, x.upper FROM expanded AS e JOIN reported AS x ON x.key = e.shared
        QUALIFY e.lower + max(e.lower) OVER (PARTITION BY e.shared) > x.upper
    ),
    pairs AS (
        SELECT list_concat(s.attributes, t.more) AS attributes, s.lower + t.lower - s.upper AS least,
            xor(xor(s.key, t.key), s.shared) AS key
        FROM large AS s JOIN large AS t ON s.shared = t.shared AND s.key < t.key AND s.lower + t.lower > s.upper
        WHERE len(s.attributes) + len(t.more) <= {length} AND NOT list_has_any(
            list_transform(s.more, lambda a: split_part(a, '=', 1)), list_transform(t.more, lambda a: split_part(a, '=', 1)))
    )
    SELECT list_sort(any_value(attributes)), max(least), {k} - 1 FROM pairs ANTI JOIN now USING (key)
    GROUP BY key HAVING max(least) < {k}
"""

# A group and a group within it, with any number of further attributes.
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

# A group less all its published parts by one variable: the people with an unpublished or a missing value.
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
    """Return the query for unpublished values of variables that are known of everybody.

    Each unpublished value has fewer than k people. If the published values leave over more people than all but one of the
    unpublished values can have, that last value is not empty.
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
    """  # noqa: S608


def _between(
    connection: duckdb.DuckDBPyConnection, manifest: Mapping[str, Any], earlier: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Find what two releases disclose together."""
    k, version = manifest["k"], earlier["version"]
    changed = f"""
        SELECT now.attributes, greatest(now.lower - before.upper, before.lower - now.upper) AS least,
            greatest(now.upper - before.lower, before.upper - now.lower) AS most
        FROM now JOIN before USING (key) WHERE least >= 1 AND most < {k}
    """  # noqa: S608
    findings = _findings(connection, "came or went", changed, release=version)
    # Both sides are exact here, and a row that is in only one of them reveals all its values.
    rows = f"""
        SELECT coalesce(n.attributes, b.attributes), abs(coalesce(n.rows, 0) - coalesce(b.rows, 0)) AS change, change
        FROM now_rows AS n FULL JOIN before_rows AS b USING (key, whole)
        WHERE change BETWEEN 1 AND {k - 1} AND EXISTS (FROM now_rows) AND EXISTS (FROM before_rows)
    """  # noqa: S608
    findings += _findings(connection, "k-anonymised rows came or went", rows, release=version)
    if _contents(manifest) == _contents(earlier):
        # Both count the same people, so a bound from either holds for both. Where the two contradict each other, the deliveries
        # were read differently, and the candidate's own figure counts. A group that only one publishes is rare in the other, or
        # was withheld there.
        lengths = min(manifest["reporting_length"], earlier["reporting_length"])
        both = f"""
            CREATE OR REPLACE TABLE combined AS
            WITH joined AS (
                SELECT key, coalesce(n.attributes, b.attributes) AS attributes,
                    coalesce(n.lower, b.lower) AS published_lower, coalesce(n.upper, b.upper) AS published_upper,
                    greatest(coalesce(n.lower, 0), coalesce(b.lower, 0)) AS lower,
                    least(coalesce(n.upper, {k - 1}), coalesce(b.upper, {earlier["k"] - 1})) AS upper
                FROM now AS n FULL JOIN before AS b USING (key)
                WHERE n.key IS NOT NULL AND b.key IS NOT NULL OR len(coalesce(n.attributes, b.attributes)) <= {lengths}
            ) SELECT key, attributes, if(joined.lower <= joined.upper, joined.lower, published_lower) AS lower,
                if(joined.lower <= joined.upper, joined.upper, published_upper) AS upper FROM joined
        """  # noqa: S608
        connection.execute(both)
        with _as_now(connection, "combined"):
            together = _within(connection, k=k, length=lengths, last_year=manifest["last_year"])
        with _as_now(connection, "before"), _as_now(connection, "before_rows", "now_rows"):
            alone = _within(connection, k=k, length=earlier["reporting_length"], last_year=earlier["last_year"])
        # What the earlier release discloses by itself stays disclosed, whether this one is published or not.
        findings_before = {row["group"]: row for row in alone}
        findings += [{**row, "release": version} for row in together if not _adds_nothing(row, findings_before.get(row["group"]))]
    return findings


@contextmanager
def _as_now(connection: duckdb.DuckDBPyConnection, table: str, name: str = "now") -> Generator[None]:
    """Use ``table`` in the place of the table ``name`` while the block runs."""
    connection.execute(f"ALTER TABLE {name} RENAME TO set_aside_{name}")
    connection.execute(f"ALTER TABLE {table} RENAME TO {name}")
    yield
    connection.execute(f"ALTER TABLE {name} RENAME TO {table}")
    connection.execute(f"ALTER TABLE set_aside_{name} RENAME TO {name}")


def _adds_nothing(finding: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> bool:
    """Return whether the ``earlier`` finding of the same group bounds it at least as closely as ``finding``."""
    return earlier is not None and finding["lower"] <= earlier["lower"] and finding["upper"] >= earlier["upper"]


def _contents(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {source: entry["content"] for source, entry in manifest["deliveries"].items() if entry["content"]}


def _findings(connection: duckdb.DuckDBPyConnection, rule: str, query: str, *, release: str = "") -> list[dict[str, Any]]:
    """Return the findings of ``query``, whose rows are attributes, least and most."""
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
    return [f"{part}_{position}" for position in range(1, length + 1) for part in ("variable", "value")]


def _list(*parts: str) -> str:
    return f"[{', '.join(parts)}]::VARCHAR[]"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
