"""What changed between two releases, told from what both publish. Nothing here has seen a sensitive record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctdc_pipeline.products.imprint import INVENTED
from ctdc_pipeline.storage.files import queries

FILE = "CHANGELOG.md"


@dataclass(frozen=True)
class Listing:
    """A table to be read. The first column names what the others tell of."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()
    """The columns that hold numbers."""
    title: str = ""
    intro: str = ""


def since(before: Path | None, manifest: Mapping[str, Any], folder: Path) -> tuple[Listing, ...]:
    """Compare a release with the one before.

    Args:
        before: the folder of the release before; None for a first release.
        manifest: what the new release says of itself.
        folder: the files of the new release.

    Returns:
        Listings by title. One without rows means that nothing changed. Empty for a first release.
    """
    if before is None:
        return ()
    earlier = json.loads((before / "manifest.json").read_text(encoding="utf-8"))
    return (
        Listing(("", "before", "now"), _release(earlier, manifest), numbers=(1, 2), title="Release"),
        Listing(
            ("source", "partner", "state", "latest refresh before", "now"),
            tuple(_partners(earlier["deliveries"], manifest["deliveries"])),
            title="Partners",
        ),
        Listing(("variable", "change"), _variables(folder, before), title="Variables"),
        Listing(
            ("variable", "new values", "gone", "risen", "fallen", "their sum before", "now"),
            _counts(folder, before),
            numbers=(1, 2, 3, 4, 5, 6),
            title="Counts",
            intro="Values whose published count is another one now; single attributes only. All counts are multiples of k.",
        ),
    )


def text(manifest: Mapping[str, Any], changes: Sequence[Listing]) -> str:
    """The ``changes`` as ``CHANGELOG.md``."""
    lines = [f"# Changes in release {manifest['version']}", "", *([f"**{INVENTED}**", ""] if manifest.get("invented") else [])]
    lines += [f"Since release {manifest['previous']}." if changes else "This is the first release.", ""]
    for part in changes:
        lines += [f"## {part.title}", ""]
        if part.rows:
            marks = ["--:" if place in part.numbers else "---" for place in range(len(part.head))]
            lines += [part.intro, ""] if part.intro else []
            lines += [f"| {' | '.join(cells)} |" for cells in (part.head, marks, *part.rows)]
        lines += [""] if part.rows else ["As before.", ""]
    return "\n".join(lines)


_AGGREGATES = "reportable_aggregates.csv"
_DICTIONARY = "data_dictionary.csv"


def _release(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    rows = [
        (f"rows of {name}", *(_figure(manifest["rows"].get(name)) for manifest in (old, new)))
        for name in sorted({*old["rows"], *new["rows"]})
    ]
    rows += [
        (name.replace("_", " "), *(str(manifest.get(name, "")) for manifest in (old, new)))
        for name in ("k", "reporting_length", "last_year", "codebook")
    ]
    rows.append(("core variables", *(", ".join(manifest.get("core", ())) for manifest in (old, new))))
    return (*rows, ("software", *(manifest["software"]["version"] for manifest in (old, new))))


def _partners(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for source, delivered in new.items():
        was = old.get(source, {}).get("latest_refresh")
        yield (source, delivered["partner"], delivered["state"], was or "", delivered["latest_refresh"] or "")


def _variables(new: Path, old: Path) -> tuple[tuple[str, ...], ...]:
    with queries(new=new / _DICTIONARY, old=old / _DICTIONARY) as connection:
        query = """
            SELECT coalesce(n.name, o.name), n.name IS NULL, o.name IS NULL
            FROM new n FULL JOIN old o USING (name) WHERE n IS DISTINCT FROM o ORDER BY 1
        """
        changed = connection.sql(query).fetchall()
    return tuple((name, "removed" if gone else "added" if fresh else "described anew") for name, gone, fresh in changed)


def _counts(new: Path, old: Path) -> tuple[tuple[str, ...], ...]:
    """By variable, how many of the published counts of single values came, went, rose and fell, and their sums."""
    single = "SELECT variable_1 AS variable, value_1 AS value, count::BIGINT AS count FROM {} WHERE length = '1'"
    with queries(now=new / _AGGREGATES, before=old / _AGGREGATES) as connection:
        query = f"""
            WITH n AS ({single.format("now")}), o AS ({single.format("before")})
            SELECT variable, count(*) FILTER (o.count IS NULL), count(*) FILTER (n.count IS NULL),
                count(*) FILTER (n.count > o.count), count(*) FILTER (n.count < o.count),
                coalesce(sum(o.count), 0)::BIGINT, coalesce(sum(n.count), 0)::BIGINT
            FROM n FULL JOIN o USING (variable, value) WHERE n.count IS DISTINCT FROM o.count GROUP BY ALL ORDER BY ALL
        """  # noqa: S608
        rows = connection.sql(query).fetchall()
    return tuple((name, *map(_figure, figures)) for name, *figures in rows)


def _figure(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
