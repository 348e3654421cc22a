"""Harmonise the current state of each partner, and combine the partners' tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ctdc_pipeline.errors import DeliveryError, ParameterError, TableError
from ctdc_pipeline.harmonisation.account import (
    ACCOUNTING,
    DELIVERIES,
    EXCLUDED,
    HELD,
    QUARANTINE,
    ROW_ORIGIN,
    HarmoniseSummary,
    Rows,
    Tables,
    account_of,
    harmonised_columns,
    joined,
)
from ctdc_pipeline.harmonisation.current_cases import Current, current
from ctdc_pipeline.harmonisation.derivation import Derived, derive
from ctdc_pipeline.harmonisation.exclusions import Admission, admit, unmatched
from ctdc_pipeline.harmonisation.policy import HarmonisationPolicy
from ctdc_pipeline.ingestion.delivery_store import Delivery, Store
from ctdc_pipeline.ingestion.profiles import LastRelease, append_state, of_partner
from ctdc_pipeline.ingestion.waiting import (
    MAX_LOSS_SHARE,
    harmonised_before,
    has_contested_refresh,
    require_unchanged,
    standing_deliveries,
    unchosen,
)
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.registry import PARTNERS, require_known
from ctdc_pipeline.privacy.suppressed_countries import SUPPRESSED
from ctdc_pipeline.storage.files import parquet_rows, read_parquet, write_parquet


def harmonise(
    partner: str,
    *,
    store: Store,
    ingested: Path,
    folder: Path,
    key: bytes,
    policy: HarmonisationPolicy,
    released: LastRelease | None = None,
) -> HarmoniseSummary:
    """Harmonise the current state of every source of ``partner``.

    Writes ``<partner>.parquet`` and ``<partner>_quarantine``, ``_exclusions``, ``_accounting``, ``_deliveries``,
    ``_suppressed``, ``_held`` (deliveries that wait) and ``_profiles`` (this state and earlier ones) to ``folder``. A source
    that never delivered has no rows and gives a warning.

    A source continues with the deliveries of its previous state while a refresh is contested. If the policy holds back losses,
    it also does so if new deliveries that no person chose would lose more than half of the cases.

    Args:
        partner: The name of the partner.
        store: The delivery store.
        ingested: The folder of all ingested tables, with one folder for each source.
        folder: The folder of the harmonised tables.
        key: The key of the pseudonyms.
        policy: The settings of an installation, such as the last day that a release covers.
        released: The contents of the last public release, if there is one.

    Raises:
        DeliveryError: If a delivery is missing from the store, or its lists cannot be relied on.
        ParameterError: If the partner or a setting is unknown.
        TableError: If a delivery was not ingested, or a row is not accounted for.
    """
    path = folder / f"{partner}_deliveries.parquet"
    before = {source.name: harmonised_before(source.name, path, store) for source in _sources(partner)}
    used: dict[str, Sequence[Delivery]] = {}
    for source in _sources(partner):
        _require_kept(source, path, store)
        used[source.name] = before[source.name] if has_contested_refresh(store, source.name) else store.used(source.name)

    def harmonised_state(used: Mapping[str, Sequence[Delivery]]) -> _State:
        return _state(_sources(partner), used, store=store, ingested=ingested, key=key, policy=policy)

    state_now = harmonised_state(used)
    cases_before = parquet_rows(folder / f"{partner}.parquet") if path.exists() else 0
    if policy.hold_back and state_now.tables.harmonised.num_rows < (1 - MAX_LOSS_SHARE) * cases_before:
        last_good_deliveries = {
            name: before[name] if unchosen(store, [*{*deliveries} - {*before[name]}]) else deliveries
            for name, deliveries in used.items()
        }
        last_good_state = harmonised_state(last_good_deliveries) if last_good_deliveries != used else state_now
        if state_now.tables.harmonised.num_rows < (1 - MAX_LOSS_SHARE) * last_good_state.tables.harmonised.num_rows:
            state_now = last_good_state
    tables = state_now.tables
    cases, suppressed_values = policy.suppressed.suppress(tables.harmonised)
    tables = replace(tables, harmonised=cases, suppressed=suppressed_values)
    tables.prove(state_now.rows)
    tables.write(folder, partner, f"{partner}_")
    write_parquet(state_now.held, folder / f"{partner}_held.parquet")
    profile = of_partner(tables.harmonised, accounting=tables.accounting, deliveries=tables.deliveries)
    append_state(profile, folder / f"{partner}_profiles.parquet", released=released, suppressed=policy.suppressed)
    return tables.summary(partner, state_now.warnings)


@dataclass(frozen=True)
class _State:
    """The result of some deliveries of a partner, and the deliveries that are held back."""

    tables: Tables
    warnings: list[str]
    rows: Rows
    held: pa.Table


def _state(
    sources: Iterable[Source],
    used: Mapping[str, Sequence[Delivery]],
    *,
    store: Store,
    ingested: Path,
    key: bytes,
    policy: HarmonisationPolicy,
) -> _State:
    """Harmonise the deliveries ``used``, by source.

    Of held deliveries only opt-outs and refusals count.
    """
    parts: list[Tables] = []
    warnings: list[str] = []
    rows: dict[tuple[str, str], int] = {}
    held_keys: list[tuple[str, str, str]] = []
    for source in sources:
        counted_deliveries = used[source.name]
        held = [delivery for delivery in standing_deliveries(store, source.name) if delivery not in counted_deliveries]
        held_keys += [(source.name, delivery.refresh.label, delivery.content) for delivery in held]
        if held:
            held_deliveries = ", ".join(f"{delivery.refresh} ({delivery.short})" for delivery in held)
            warnings.append(
                f"{source.name}: continues with its last good state, without {held_deliveries}, which waits for a decision"
            )
        current_state = current(source, counted_deliveries, ingested=ingested / source.name, held=held)
        if source.opt_outs and counted_deliveries:
            opt_outs = current_state.lists[f"{source.name}_opt_outs"]
            warnings += unmatched(source, layout=source.opt_outs, opt_outs=opt_outs, people=current_state.people)
        if current_state.lookalikes:
            count_text = f"{len(current_state.lookalikes)} identities are each written in several ways that look the same"
            warnings.append(
                f"{source.name}: {count_text}; their rows are quarantined, as they may belong to one person or to several"
            )
        if current_state.letter_cases:
            count_text = f"{current_state.letter_cases} identities are found in several ways of upper and lower case"
            warnings.append(f"{source.name}: {count_text}; each way counts as a person of its own")
        if not counted_deliveries and not held:
            warnings.append(f"{source.name}: nothing was ever delivered")
        for group in current_state.groups:
            # The configured fields are columns of the source's own layout, not of HTCDS.
            country_fields = policy.proxies.get(source.name, ()) if group.source == source else ()
            admitting_source = group.source.admitting(policy.admits.get(source.name, ()))
            derived = derive(group.tables[source.name], source=admitting_source, as_of=policy.as_of, proxies=country_fields)
            admission = admit(derived, source=admitting_source, tables=group.tables, key=key, lookalikes=current_state.lookalikes)
            parts.append(_tables(admitting_source, group.tables[source.name], derived, admission))
            warnings += admission.warnings
        parts.append(_superseded_tables(source, current_state, counted_deliveries))
        rows |= {(source.name, refresh): count for refresh, count in current_state.rows.items()}
    held_table = pa.Table.from_pylist([dict(zip(HELD.names, key, strict=True)) for key in held_keys], HELD)
    return _State(joined(parts), warnings, rows, held_table)


def unite(partners: Collection[str], *, store: Store, ingested: Path, folder: Path) -> HarmoniseSummary:
    """Combine the harmonised tables of ``partners`` into the tables of all victims.

    Writes ``victims``, ``quarantine``, ``exclusions``, ``accounting``, ``deliveries`` and ``suppressed`` to ``folder``. A
    partner that never delivered is left out. The rows of every delivery are counted again in the ingested tables.

    Args:
        partners: The names of the partners.
        store: The delivery store.
        ingested: The folder of all ingested tables.
        folder: The folder of the harmonised tables.

    Raises:
        TableError: If a partner's tables are missing or made of other deliveries than those that count now, or a row is not
            accounted for.
        DeliveryError: If a delivery that was used before is missing from the store.
    """
    require_known(store.sources())
    for source in (source for name in partners for source in _sources(name)):
        _require_kept(source, folder / "deliveries.parquet", store)
    names = [name for name in sorted(partners) if any(store.deliveries(source.name) for source in _sources(name))]
    if not names:
        raise TableError("no partner has delivered anything", remedy="Land and ingest a delivery first.")
    combined = joined([Tables.read(folder, name, f"{name}_") for name in names])
    combined.prove(delivered_rows(names, store=store, ingested=ingested, folder=folder, deliveries=combined.deliveries))
    combined.write(folder, "victims", "")
    return combined.summary("all")


def delivered_rows(partners: Iterable[str], *, store: Store, ingested: Path, folder: Path, deliveries: pa.Table) -> Rows:
    """Count the case rows of each delivery that counts, in the ingested tables.

    Args:
        partners: The names of the partners.
        store: The delivery store.
        ingested: The folder of all ingested tables.
        folder: The folder of the harmonised tables.
        deliveries: The deliveries from which the partners were harmonised.

    Returns:
        Row counts by source and refresh.

    Raises:
        TableError: If ``deliveries`` are not those that count now, except for those that ``folder`` lists as held.
    """
    used = {*zip(*(deliveries.column(name).to_pylist() for name in ("source", "refresh", "content")), strict=True)}
    rows: dict[tuple[str, str], int] = {}
    for source in (source for partner in partners for source in _sources(partner)):
        require_unchanged(source.name, source.partner, store, used=used, held=folder / f"{source.partner}_held.parquet")
        for delivery in harmonised_before(source.name, folder / f"{source.partner}_deliveries.parquet", store):
            path = ingested / source.name / delivery.refresh.label / f"{source.name}.parquet"
            try:
                rows[source.name, delivery.refresh.label] = parquet_rows(path)
            except (OSError, pa.ArrowInvalid):
                remedy = f"Ingest {source.name} for {delivery.refresh} again."
                raise TableError(f"the ingested table {source.name}, {delivery.refresh} is missing", remedy=remedy) from None
    return rows


def _sources(partner: str) -> tuple[Source, ...]:
    if partner not in PARTNERS:
        raise ParameterError(f"there is no partner {partner!r}", remedy=f"Choose among {', '.join(PARTNERS)}.")
    return PARTNERS[partner]


def _require_kept(source: Source, path: Path, store: Store) -> None:
    """Refuse to go on if the store lacks a delivery that was harmonised before.

    Its opt-outs would be lost.
    """
    if not path.exists():
        return
    used_before = read_parquet(path).to_pandas()
    stored = {(delivery.refresh.label, delivery.content) for delivery in store.deliveries(source.name)}
    for row in used_before[used_before["source"] == source.name].itertuples():
        if (row.refresh, row.content) not in stored:
            raise DeliveryError(
                "a delivery that was used before is no longer in the store",
                remedy="Restore the store from a backup.",
                partner=source.name,
                refresh=str(row.refresh),
            )


def _superseded_tables(source: Source, current_state: Current, used: Sequence[Delivery]) -> Tables:
    """Return the tables of the deliveries that count, and of the replaced rows."""
    superseded = current_state.superseded.to_pandas().set_axis(list(ROW_ORIGIN[2:]), axis=1)
    superseded = superseded.assign(partner=source.partner, source=source.name, rule="superseded")
    deliveries = [
        (
            source.partner,
            source.name,
            delivery.refresh.label,
            delivery.kind,
            delivery.content,
            current_state.rows[delivery.refresh.label],
            delivery.invented,
        )
        for delivery in used
    ]
    return Tables(
        harmonised_columns().empty_table(),
        QUARANTINE.empty_table(),
        pa.Table.from_pandas(superseded, EXCLUDED, preserve_index=False),
        pa.Table.from_pandas(account_of(superseded.assign(outcome="excluded")), ACCOUNTING, preserve_index=False),
        pa.Table.from_pandas(pd.DataFrame(deliveries, columns=DELIVERIES.names), DELIVERIES, preserve_index=False),
        SUPPRESSED.empty_table(),
    )


def _tables(source: Source, raw: pa.Table, derived: Derived, admission: Admission) -> Tables:
    accepted, quarantined, excluded = admission.accepted, admission.quarantined, admission.excluded
    origin = pd.DataFrame(
        {
            "partner": source.partner,
            "source": source.name,
            "refresh": raw.column("_refresh").to_numpy(),
            "source_file": raw.column("_file").to_numpy(),
            "source_row": raw.column("_row").to_numpy(),
        }
    )
    rows = origin[accepted].assign(case_key=admission.case_keys[accepted])
    columns = {name: pa.array(rows[name].to_numpy()) for name in rows} | {
        name: pa.array(values[accepted], pa.string()) for name, values in derived.values.items()
    }
    position_in_layout = {field.name: index for index, field in enumerate(source.cases.fields)}
    broken_rules = [
        origin[mask & quarantined].assign(field=field, rule=rule, position=position_in_layout[field])
        for field, rule, mask in derived.broken
    ]
    reasons = pd.concat(broken_rules).sort_values([*ROW_ORIGIN[2:], "position", "rule"])
    reasons = reasons.drop(columns="position").drop_duplicates()
    is_excluded = pd.notna(excluded)
    exclusions = origin[is_excluded].assign(rule=excluded[is_excluded])
    first_reasons = reasons.drop_duplicates([*ROW_ORIGIN[2:]])
    outcomes = pd.concat(
        [
            origin[accepted].assign(outcome="accepted", rule=""),
            first_reasons.assign(outcome="quarantined"),
            exclusions.assign(outcome="excluded"),
        ]
    )
    return Tables(
        pa.table(columns).cast(harmonised_columns()),
        pa.Table.from_pandas(reasons, QUARANTINE, preserve_index=False),
        pa.Table.from_pandas(exclusions, EXCLUDED, preserve_index=False),
        pa.Table.from_pandas(account_of(outcomes), ACCOUNTING, preserve_index=False),
        DELIVERIES.empty_table(),
        SUPPRESSED.empty_table(),
    )
