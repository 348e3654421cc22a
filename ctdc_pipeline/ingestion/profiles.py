"""Profiles: how many rows of a delivery, or of a partner's current state, have which value.

Two profiles can be compared. A profile names codes of the partner's code list, countries and bands of numbers. Any other cell
is only counted: as filled, or as not listed where a code, country or number is expected.
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

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import TableError
from ctdc_pipeline.ingestion.delivery_store import SHORT_DIGITS, TERMS, Delivery, Kind, Store
from ctdc_pipeline.ingestion.ingested import require_ingested
from ctdc_pipeline.ingestion.refreshes import Refresh
from ctdc_pipeline.partners.layout import Field, Layout, Source
from ctdc_pipeline.privacy.suppressed_countries import NO_COUNTRIES, SuppressedCountries
from ctdc_pipeline.storage.files import read_parquet, write_parquet

MISSING, FILLED, UNLISTED = "", "(filled)", "(not listed)"
BAND_WIDTH = 10
"""Numbers are counted in bands of this width."""
MAX_DIGITS = 9
"""A longer number, such as a misplaced identifier, counts as not listed."""

_STATES_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("state", "content", "label", "until", "variable", "value")] + [("rows", pa.int64())]
)
_ROWS = "(rows)"
_OUTCOME = "(outcome) "
_DELIVERY = "(delivery)"
_RELEASE = "release "

DeliveryKey = tuple[str, str, str]
"""A delivery by source, refresh and content hash."""


@dataclass(frozen=True)
class Profile:
    """Counts of one state.

    ``values`` has rows by variable and value, ``outcomes`` has rows by (outcome, rule). ``label`` names the state for people;
    two states with the same ``content`` are the same. ``until`` is the last day that the state covers. ``repeats`` is another
    refresh that was delivered with the same bytes. A multi-select counts once for each of its codes. ``deliveries`` are the
    deliveries in a partner's state; ``release`` is the release for which the state was kept.
    """

    label: str
    content: str
    kind: Kind
    until: date
    rows: int
    values: Mapping[str, Mapping[str, int]]
    outcomes: Mapping[tuple[str, str], int]
    repeats: str = ""
    deliveries: frozenset[DeliveryKey] = frozenset()
    release: str = ""

    def missing(self, variable: str) -> int:
        """Return the number of rows without a value."""
        return self.values[variable].get(MISSING, 0)

    def named_counts(self, variable: str) -> dict[str, int]:
        """Return rows by value, without rows that have no value.

        Returns {} for free text, whose values are never named.
        """
        counts = {value: rows for value, rows in self.values[variable].items() if value != MISSING}
        return {} if counts.keys() <= {FILLED} else counts


def of_delivery(table: pa.Table, *, layout: Layout, refresh: Refresh, content: str, kind: Kind) -> Profile:
    """Return the profile of the cases of one delivery.

    Args:
        table: The cases as ``ingest`` wrote them.
        layout: Their layout.
        refresh: The refresh of the delivery.
        content: The content hash of the delivery.
        kind: ``"snapshot"`` or ``"increment"``.
    """
    values = {field.name: _sorted(_field(table.column(field.name), field, layout)) for field in layout.fields}
    return Profile(_labelled(refresh.label, content), content, kind, refresh.last, table.num_rows, values, {})


def of_source(
    source: Source, *, store: Store, ingested: Path, released: LastRelease | None = None
) -> tuple[Profile | None, Profile | None]:
    """Return the profile of the last delivery that counts, and the one to compare it with.

    The profile to compare with is that of the last delivery of the same kind in the release, even if it is the same delivery;
    without a release, that of the previous delivery of the same kind. Deliveries that are contested, not chosen or not ingested
    are ignored.

    Args:
        source: The source.
        store: The delivery store.
        ingested: The folder of the source's ingested tables.
        released: The contents of the last public release, if there is one.
    """
    variants = store.variants(source.name)
    counting: list[Delivery] = []
    for _, delivered in sorted(variants.items()):
        delivery = store.chosen(delivered)
        with suppress(TableError):
            if delivery and require_ingested(source, folder=ingested / delivery.refresh.label)[1] == delivery.content:
                counting.append(delivery)
    if not counting:
        return None, None
    last = counting[-1]
    same_kind = [delivery for delivery in counting if delivery.kind == last.kind]
    in_release = [
        delivery
        for delivery in same_kind
        if released and (source.name, delivery.refresh.label, delivery.content) in released.deliveries
    ]
    baseline = in_release[-1] if in_release else same_kind[-2] if len(same_kind) > 1 else None
    stored = store.deliveries(source.name)
    other_refreshes = (delivery.refresh.label for delivery in stored if delivery.refresh != last.refresh)
    identical_refreshes = {delivery.refresh.label for delivery in stored if _file_hashes(delivery) == _file_hashes(last)}
    now = replace(
        _of_ingested(source, last, ingested),
        repeats=next((label for label in other_refreshes if label in identical_refreshes), ""),
    )
    if baseline is None:
        return now, None
    before = _of_ingested(source, baseline, ingested)
    return now, _as_released(before, released.version) if in_release and released else before


def _file_hashes(delivery: Delivery) -> set[str]:
    """Return the SHA-256 of each file of a delivery, whatever the files are called."""
    return {file.sha256 for file in delivery.files if file.name != TERMS}


def _of_ingested(source: Source, delivery: Delivery, ingested: Path) -> Profile:
    folder = ingested / delivery.refresh.label
    sent, _ = require_ingested(source, folder=folder)
    table = read_parquet(folder / f"{source.name}.parquet")
    return of_delivery(table, layout=sent.cases, refresh=delivery.refresh, content=delivery.content, kind=delivery.kind)


def of_partner(harmonised: pa.Table, *, accounting: pa.Table, deliveries: pa.Table) -> Profile:
    """Return the profile of a partner's current state, from its harmonised tables."""
    used = sorted(zip(*(deliveries.column(name).to_pylist() for name in ("source", "refresh", "content")), strict=True))
    parsed = sorted((Refresh.parse(label), source, content) for source, label, content in used)
    last = {source: _labelled(refresh.label, content) for refresh, source, content in parsed}
    outcomes: Counter[tuple[str, str]] = Counter()
    for row in accounting.to_pylist():
        outcomes[row["outcome"], row["rule"]] += row["rows"]
    return Profile(
        label=", ".join(f"{source} {label}" for source, label in sorted(last.items())),
        content=_state_hash(used),
        kind="snapshot",
        until=max((Refresh.parse(label).last for _, label, _ in used), default=date.min),
        rows=harmonised.num_rows,
        values={variable.name: _sorted(_counts(harmonised.column(variable.name))) for variable in codebook().harmonised},
        outcomes=dict(sorted(outcomes.items())),
        deliveries=frozenset(used),
    )


def append_state(
    profile: Profile, path: Path, *, released: LastRelease | None = None, suppressed: SuppressedCountries = NO_COUNTRIES
) -> None:
    """Write ``profile`` to ``path``, after the earlier states of other deliveries.

    The profile replaces an earlier one of the same deliveries, so a rerun changes nothing. The state in the last release stays
    as it was, even if the same deliveries give another state today. Countries that were suppressed meanwhile are removed from
    the earlier states.

    Args:
        profile: The state now.
        path: The Parquet file with the states of one partner.
        released: The contents of the last public release, if there is one.
        suppressed: The countries that must not be named.

    Raises:
        OSError: If the file cannot be written.
    """
    states = read_states(path)
    released_state = _in_release(states, released, profile.deliveries)
    other_states = {state.content: replace(state, release="") for state in states if state.content != profile.content}
    if released_state and released:
        other_states.pop(released_state.content, None)
        released_state = replace(released_state, release=released.version)
    earlier_states = [*([released_state] if released_state else []), *other_states.values()]
    earlier_states = [replace(state, values={**state.values, **_without(state, suppressed)}) for state in earlier_states]
    tables = [_as_table(state, f"{_RELEASE}{state.release}" if state.release else "before") for state in earlier_states]
    write_parquet(pa.concat_tables([*tables, _as_table(profile, "now")]), path)


def read_states(path: Path) -> list[Profile]:
    """Return the stored states of a partner; the last one is the current state."""
    rows: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in read_parquet(path).to_pylist() if path.exists() else []:
        rows.setdefault((row["state"], row["content"]), []).append(row)
    state_keys = sorted(rows, key=lambda state: state[0] == "now")
    return [_as_profile(rows[state]) for state in state_keys]


def current_and_baseline(path: Path, *, released: LastRelease | None = None) -> tuple[Profile | None, Profile | None]:
    """Return the current state of a partner, and the state to compare it with.

    The state to compare with is the one in the last release. If none was kept for a release, it is the last earlier state none
    of whose deliveries was rejected since.

    Args:
        path: The Parquet file with the states of one partner.
        released: The contents of the last public release, if there is one.
    """
    states = read_states(path)
    if not states:
        return None, None
    now = states[-1]
    if (released_state := _in_release(states, released, now.deliveries)) and released:
        return now, _as_released(released_state, released.version)
    earlier_states = [state for state in states if state.content != now.content and state.deliveries <= now.deliveries]
    return now, earlier_states[-1] if earlier_states else None


def _in_release(states: list[Profile], released: LastRelease | None, deliveries: frozenset[DeliveryKey]) -> Profile | None:
    """Return the state of these sources in the release.

    It is the one kept for the release, or one of the same deliveries.
    """
    if released is None:
        return None
    sources = {source for source, _, _ in deliveries}
    content = _state_hash(sorted(sent for sent in released.deliveries if sent[0] in sources))
    matching_states = [state for state in states if state.content == content]
    kept_for_release = (state for state in matching_states if state.release == released.version)
    return next(kept_for_release, matching_states[-1] if matching_states else None)


def _as_released(profile: Profile, version: str) -> Profile:
    return replace(profile, label=f"{profile.label} in release {version}")


def _labelled(refresh: str, content: str) -> str:
    """Name a delivery for people; two deliveries of one refresh have different hashes."""
    return f"{refresh} ({content[:SHORT_DIGITS]})"


def _state_hash(used: list[DeliveryKey]) -> str:
    return hashlib.sha256(repr(used).encode()).hexdigest()


def _without(profile: Profile, suppressed: SuppressedCountries) -> dict[str, Mapping[str, int]]:
    """Return the counts of variables with suppressed countries, counted as missing."""
    counts_by_variable: dict[str, Mapping[str, int]] = {}
    for name, codes in suppressed.codes.items():
        counts: Counter[str] = Counter()
        for value, rows in profile.values[name].items():
            counts[MISSING if value in codes else value] += rows
        counts_by_variable[name] = _sorted(counts)
    return counts_by_variable


def _counts(column: pa.ChunkedArray) -> Counter[str]:
    value_counts = pc.call_function("value_counts", [column])
    return Counter({pair["values"] or MISSING: pair["counts"] for pair in value_counts.to_pylist()})


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _field(column: pa.ChunkedArray, field: Field, layout: Layout) -> Counter[str]:
    """Count rows by the category of their cell."""
    blanks = {"", *(blank_rows.casefold() for blank_rows in layout.blanks)}
    category_of = _categoriser(field, layout)
    if category_of is None and not field.multi:
        texts = pc.call_function("utf8_lower", [pc.call_function("utf8_trim_whitespace", [column])])
        options = pc.SetLookupOptions(pa.array(sorted(blanks)))
        blank_rows = pc.call_function("sum", [pc.call_function("is_in", [texts], options)]).as_py() or 0
        return +Counter({MISSING: blank_rows, FILLED: len(column) - blank_rows})
    counts: Counter[str] = Counter()
    for text, rows in _counts(column).items():
        cell = text.strip()
        if cell.casefold() in blanks:
            counts[MISSING] += rows
            continue
        for part in {
            category_of(part.strip()) if category_of else FILLED
            for part in (cell.split(field.separator) if field.multi else [cell])
            if part.strip()
        }:
            counts[part] += rows
    return counts


def _categoriser(field: Field, layout: Layout) -> Callable[[str], str] | None:
    """Return the function that gives a cell's category.

    Returns None if the field may contain any text.
    """
    if field.codes:
        listed = {code.code.casefold(): code.code for code in field.codes}
        return lambda text: listed.get(text.casefold(), UNLISTED)
    if field.type == "country":
        return lambda text: countries().alpha3(text, system=layout.countries) or UNLISTED
    if field.type == "integer":
        return _band
    return None


def _band(text: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        return UNLISTED
    low = int(text) // BAND_WIDTH * BAND_WIDTH
    return f"{low}-{low + BAND_WIDTH - 1}"


def _as_table(profile: Profile, state: str) -> pa.Table:
    counts = [(_ROWS, "", profile.rows)]
    counts += [(f"{_OUTCOME}{outcome}", rule, rows) for (outcome, rule), rows in profile.outcomes.items()]
    counts += [(_DELIVERY, " ".join(sent), 0) for sent in sorted(profile.deliveries)]
    counts += [(variable, value, rows) for variable, counts in profile.values.items() for value, rows in counts.items()]
    origin = {"state": state, "content": profile.content, "label": profile.label, "until": profile.until.isoformat()}
    return pa.Table.from_pylist(
        [{**origin, "variable": v, "value": value, "rows": rows} for v, value, rows in counts], schema=_STATES_SCHEMA
    )


def _as_profile(rows: list[dict[str, str]]) -> Profile:
    values: dict[str, dict[str, int]] = {variable.name: {} for variable in codebook().harmonised}
    outcomes: dict[tuple[str, str], int] = {}
    deliveries: set[DeliveryKey] = set()
    total = 0
    for row in rows:
        name, count = row["variable"], int(row["rows"])
        if name == _ROWS:
            total = count
        elif name == _DELIVERY:
            source, refresh, content = row["value"].split(" ")
            deliveries.add((source, refresh, content))
        elif name.startswith(_OUTCOME):
            outcomes[name.removeprefix(_OUTCOME), row["value"]] = count
        else:
            values.setdefault(name, {})[row["value"]] = count
    first = rows[0]
    return Profile(
        first["label"],
        first["content"],
        "snapshot",
        date.fromisoformat(first["until"]),
        total,
        values,
        outcomes,
        deliveries=frozenset(deliveries),
        release=first["state"].removeprefix(_RELEASE) if first["state"].startswith(_RELEASE) else "",
    )


@dataclass(frozen=True)
class LastRelease:
    """The deliveries in the last public release, by source, refresh and content hash."""

    version: str
    deliveries: frozenset[tuple[str, str, str]]
