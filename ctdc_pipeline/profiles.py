"""A profile: how many rows of a delivery, or of a partner's current state, hold which value. Two of them can be compared.

A profile names codes of the partner's code list, countries and bands of numbers. What else stands in a cell it only counts: as
filled, or, where a code, country or number is expected, as not listed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ctdc_pipeline.codebook import codebook, countries
from ctdc_pipeline.current import sent_and_whole
from ctdc_pipeline.errors import TableError
from ctdc_pipeline.files import read_parquet, write_parquet
from ctdc_pipeline.partners.layout import Field, Layout, Source
from ctdc_pipeline.refreshes import Refresh
from ctdc_pipeline.sensitive_countries import NOTHING, DenyList
from ctdc_pipeline.store import TERMS, Delivery, Kind, Store

MISSING, FILLED, UNLISTED = "", "(filled)", "(not listed)"
DECADE = 10
"""Numbers are counted in bands of this width."""

_KEPT = pa.schema(
    [(name, pa.string()) for name in ("state", "content", "label", "until", "variable", "value")] + [("rows", pa.int64())]
)
_ROWS = "(rows)"
_OUTCOME = "(outcome) "


@dataclass(frozen=True)
class Profile:
    """Counts of one state. ``values`` holds rows by value, by variable; ``outcomes`` rows by (outcome, rule).

    ``label`` tells people which state it is, ``content`` whether two are the same; ``until`` is the last day it is about.
    ``repeats`` is another refresh that was delivered as the same bytes. A multi-select counts as each of its codes.
    """

    label: str
    content: str
    kind: Kind
    until: date
    rows: int
    values: Mapping[str, Mapping[str, int]]
    outcomes: Mapping[tuple[str, str], int]
    repeats: str = ""

    def missing(self, variable: str) -> int:
        """Rows without a value."""
        return self.values[variable].get(MISSING, 0)

    def told(self, variable: str) -> dict[str, int]:
        """Rows by value that can be named, without those that have none; empty for free text."""
        found = {value: rows for value, rows in self.values[variable].items() if value != MISSING}
        return {} if found.keys() <= {FILLED} else found


def of_delivery(table: pa.Table, *, layout: Layout, refresh: Refresh, content: str, kind: Kind) -> Profile:
    """The profile of the cases of one delivery, as ``ingest`` wrote them, in ``layout``."""
    values = {field.name: _sorted(_field(table.column(field.name), field, layout)) for field in layout.fields}
    return Profile(refresh.label, content, kind, refresh.last, table.num_rows, values, {})


def of_source(source: Source, *, store: Store, ingested: Path) -> tuple[Profile | None, Profile | None]:
    """The profile of the last delivery of ``source`` that was ingested below ``ingested``, and of the one before of its kind.

    An increment is not held against a snapshot. Neither exists before the first was ingested.
    """
    found: list[Delivery] = []
    kept = store.deliveries(source.name)
    for delivery in kept:
        with suppress(TableError):
            if sent_and_whole(source, folder=ingested / delivery.refresh.label)[1] == delivery.content:
                found.append(delivery)
    alike = [delivery for delivery in found if delivery.kind == found[-1].kind]
    profiles = [_of_ingested(source, delivery, ingested) for delivery in alike[-2:]]
    if not profiles:
        return None, None
    others = (one.refresh.label for one in kept if _bytes(one) == _bytes(found[-1]) and one.refresh != found[-1].refresh)
    return replace(profiles[-1], repeats=next(others, "")), (profiles[0] if len(profiles) > 1 else None)


def _bytes(delivery: Delivery) -> set[str]:
    """What the files of a delivery hold, whatever they are called."""
    return {file.sha256 for file in delivery.files if file.name != TERMS}


def _of_ingested(source: Source, one: Delivery, ingested: Path) -> Profile:
    folder = ingested / one.refresh.label
    sent, _ = sent_and_whole(source, folder=folder)
    table = read_parquet(folder / f"{source.name}.parquet")
    return of_delivery(table, layout=sent.cases, refresh=one.refresh, content=one.content, kind=one.kind)


def of_partner(harmonised: pa.Table, *, accounting: pa.Table, deliveries: pa.Table) -> Profile:
    """The profile of a partner's current state, from the tables that ``harmonise`` wrote."""
    used = sorted(zip(*(deliveries.column(name).to_pylist() for name in ("source", "refresh", "content")), strict=True))
    last = {source: refresh.label for refresh, source in sorted((Refresh.parse(label), source) for source, label, _ in used)}
    outcomes: Counter[tuple[str, str]] = Counter()
    for row in accounting.to_pylist():
        outcomes[row["outcome"], row["rule"]] += row["rows"]
    return Profile(
        label=", ".join(f"{source} {label}" for source, label in sorted(last.items())),
        content=hashlib.sha256(repr(used).encode()).hexdigest(),
        kind="snapshot",
        until=max((Refresh.parse(label).last for _, label, _ in used), default=date.min),
        rows=harmonised.num_rows,
        values={variable.name: _sorted(_counts(harmonised.column(variable.name))) for variable in codebook().harmonised},
        outcomes=dict(sorted(outcomes.items())),
    )


def keep(profile: Profile, path: Path, *, deny: DenyList = NOTHING) -> None:
    """Write ``profile`` to ``path``, and with it the one before: that of the last state with other content.

    Made from the same deliveries again, it takes its own place, so that a rerun changes nothing. What came on the list ``deny``
    meanwhile is forgotten. Raises OSError.
    """
    now, before = kept(path)
    if now and now.content != profile.content:
        before = now
    before = replace(before, values={**before.values, **_without(before, deny)}) if before else None
    parts = [_as_table(one, state) for one, state in ((profile, "now"), (before, "before")) if one]
    write_parquet(pa.concat_tables(parts), path)


def kept(path: Path) -> tuple[Profile | None, Profile | None]:
    """The profile of a partner that was kept last, and the one before; none if there was none yet."""
    if not path.exists():
        return None, None
    rows = read_parquet(path).to_pylist()
    return _as_profile([row for row in rows if row["state"] == "now"]), _as_profile([r for r in rows if r["state"] == "before"])


def _without(profile: Profile, deny: DenyList) -> dict[str, Mapping[str, int]]:
    """The counts of the variables that ``deny`` is about, with what it lists counted as missing."""
    found: dict[str, Mapping[str, int]] = {}
    for name, codes in deny.codes.items():
        counts: Counter[str] = Counter()
        for value, rows in profile.values[name].items():
            counts[MISSING if value in codes else value] += rows
        found[name] = _sorted(counts)
    return found


def _counts(column: pa.ChunkedArray) -> Counter[str]:
    found = pc.call_function("value_counts", [column])
    return Counter({pair["values"] or MISSING: pair["counts"] for pair in found.to_pylist()})


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _field(column: pa.ChunkedArray, field: Field, layout: Layout) -> Counter[str]:
    """Rows by what may be told of a cell."""
    blanks = {"", *(blank.casefold() for blank in layout.blanks)}
    name = _namer(field, layout)
    if name is None and not field.multi:
        texts = pc.call_function("utf8_lower", [pc.call_function("utf8_trim_whitespace", [column])])
        options = pc.SetLookupOptions(pa.array(sorted(blanks)))
        blank = pc.call_function("sum", [pc.call_function("is_in", [texts], options)]).as_py() or 0
        return +Counter({MISSING: blank, FILLED: len(column) - blank})
    counts: Counter[str] = Counter()
    for text, rows in _counts(column).items():
        cell = text.strip()
        if cell.casefold() in blanks:
            counts[MISSING] += rows
            continue
        for part in {
            name(part.strip()) if name else FILLED
            for part in (cell.split(field.separator) if field.multi else [cell])
            if part.strip()
        }:
            counts[part] += rows
    return counts


def _namer(field: Field, layout: Layout) -> Callable[[str], str] | None:
    """What a cell of ``field`` counts as; nothing but filled where it may hold any text."""
    if field.codes:
        listed = {code.code.casefold(): code.code for code in field.codes}
        return lambda text: listed.get(text.casefold(), UNLISTED)
    if field.type == "country":
        return lambda text: countries().alpha3(text, system=layout.countries) or UNLISTED
    if field.type == "integer":
        return _band
    return None


def _band(text: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) < DECADE):
        return UNLISTED
    low = int(text) // DECADE * DECADE
    return f"{low}-{low + DECADE - 1}"


def _as_table(profile: Profile, state: str) -> pa.Table:
    told = [(_ROWS, "", profile.rows)]
    told += [(f"{_OUTCOME}{outcome}", rule, rows) for (outcome, rule), rows in profile.outcomes.items()]
    told += [(variable, value, rows) for variable, counts in profile.values.items() for value, rows in counts.items()]
    origin = {"state": state, "content": profile.content, "label": profile.label, "until": profile.until.isoformat()}
    return pa.Table.from_pylist(
        [{**origin, "variable": v, "value": value, "rows": rows} for v, value, rows in told], schema=_KEPT
    )


def _as_profile(rows: list[dict[str, str]]) -> Profile | None:
    if not rows:
        return None
    values: dict[str, dict[str, int]] = {variable.name: {} for variable in codebook().harmonised}
    outcomes: dict[tuple[str, str], int] = {}
    total = 0
    for row in rows:
        name, count = row["variable"], int(row["rows"])
        if name == _ROWS:
            total = count
        elif name.startswith(_OUTCOME):
            outcomes[name.removeprefix(_OUTCOME), row["value"]] = count
        else:
            values.setdefault(name, {})[row["value"]] = count
    first = rows[0]
    return Profile(first["label"], first["content"], "snapshot", date.fromisoformat(first["until"]), total, values, outcomes)
