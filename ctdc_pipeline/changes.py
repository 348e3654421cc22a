"""What changed between two releases, told from what both publish: ``CHANGELOG.md``. Nothing here has seen a sensitive record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ctdc_pipeline.files import queries
from ctdc_pipeline.register import Published


def text(manifest: Mapping[str, Any], folder: Path, *, before: Published | None) -> str:
    """The changes of the release in ``folder``, of which ``manifest`` tells, since the release ``before``."""
    lines = [f"# Changes in release {manifest['version']}", ""]
    if before is None:
        return "\n".join([*lines, "This is the first release.", ""])
    old = before.manifest
    lines += [f"Since release {before.version}. All counts are multiples of k, as published.", ""]
    lines += ["| | before | now |", "|---|--:|--:|"]
    for name in sorted({*old["rows"], *manifest["rows"]}):
        lines.append(f"| rows of `{name}` | {_figure(old['rows'].get(name))} | {_figure(manifest['rows'].get(name))} |")
    for name in ("k", "reporting_length", "last_year"):
        lines.append(f"| {name.replace('_', ' ')} | {old.get(name, '')} | {manifest[name]} |")
    lines += [f"| software | {old['software']['version']} | {manifest['software']['version']} |", ""]
    lines += ["## Partners", "", "| source | partner | state | latest refresh before | now |", "|---|---|---|---|---|"]
    for source, said in manifest["deliveries"].items():
        was = old["deliveries"].get(source, {}).get("latest_refresh")
        lines.append(f"| {source} | {said['partner']} | {said['state']} | {was or ''} | {said['latest_refresh'] or ''} |")
    lines += ["", "## Variables", "", *_variables(folder, before.folder), "", "## Counts", ""]
    return "\n".join([*lines, *_counts(folder, before.folder), ""])


_AGGREGATES = "reportable_aggregates.csv"
_DICTIONARY = "data_dictionary.csv"


def _variables(new: Path, old: Path) -> list[str]:
    with queries() as connection:
        for name, folder in (("new", new), ("old", old)):
            connection.read_csv(str(folder / _DICTIONARY), header=True, all_varchar=True).create_view(name)
        query = """
            SELECT coalesce(n.name, o.name), n.name IS NULL, o.name IS NULL
            FROM new n FULL JOIN old o USING (name) WHERE n IS DISTINCT FROM o ORDER BY 1
        """
        found = connection.sql(query).fetchall()
    told = [f"- `{name}`: {'removed' if gone else 'added' if fresh else 'described anew'}" for name, gone, fresh in found]
    return told or ["As before."]


def _counts(new: Path, old: Path) -> list[str]:
    """By variable, how many of the published counts of single values came, went, rose and fell, and their sums."""
    with queries() as connection:
        for name, folder in (("new", new), ("old", old)):
            file = connection.read_csv(str(folder / _AGGREGATES), header=True, all_varchar=True)
            file.filter("length = '1'").project("variable_1 AS variable, value_1 AS value, count::BIGINT AS count").create_view(
                name
            )
        query = """
            SELECT variable, count(*) FILTER (o.count IS NULL), count(*) FILTER (n.count IS NULL),
                count(*) FILTER (n.count > o.count), count(*) FILTER (n.count < o.count),
                coalesce(sum(o.count), 0)::BIGINT, coalesce(sum(n.count), 0)::BIGINT
            FROM new n FULL JOIN old o USING (variable, value) WHERE n.count IS DISTINCT FROM o.count GROUP BY ALL ORDER BY ALL
        """
        rows = connection.sql(query).fetchall()
    if not rows:
        return ["As before."]
    head = ["Values whose published count is another one now; single attributes only.", ""]
    head += ["| variable | new values | gone | risen | fallen | their sum before | now |", "|---|--:|--:|--:|--:|--:|--:|"]
    return [*head, *(f"| {name} | {' | '.join(f'{figure:,}' for figure in figures)} |" for name, *figures in rows)]


def _figure(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
