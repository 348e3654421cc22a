"""The tables that result of a partner's deliveries: harmonised, quarantine, exclusions and the account that adds them up.

De-identification happens here: what leaves are codebook variables, row positions and a keyed pseudonym of the case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ctdc_pipeline.admission import Admission, admit, unmatched
from ctdc_pipeline.codebook import codebook
from ctdc_pipeline.current import Current, current
from ctdc_pipeline.derivation import Derived, derive
from ctdc_pipeline.errors import DeliveryError, ParameterError, TableError
from ctdc_pipeline.files import parquet_rows, read_parquet, write_parquet
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.registry import PARTNERS
from ctdc_pipeline.profiles import keep, of_partner
from ctdc_pipeline.schemas import ORIGIN
from ctdc_pipeline.sensitive_countries import NOTHING, SUPPRESSED, DenyList, by_variable
from ctdc_pipeline.store import Delivery, Store


def _columns(*names: str) -> pa.Schema:
    return pa.schema([(name, pa.int64() if name in ("source_row", "rows") else pa.string()) for name in names])


PLACE = ("partner", "source", "refresh", "source_file", "source_row")
QUARANTINE = _columns(*PLACE, "field", "rule")
EXCLUDED = _columns(*PLACE, "rule")
ACCOUNTING = _columns("partner", "source", "refresh", "outcome", "rule", "rows")
DELIVERIES = _columns("partner", "source", "refresh", "kind", "content", "rows")
Rows = Mapping[tuple[str, str], int]
"""Case rows by source and refresh."""
_PARTS = ("quarantine", "exclusions", "accounting", "deliveries", "suppressed")


@dataclass(frozen=True)
class HarmoniseSummary:
    """What became of a partner's rows (or of all partners'): counts by rule, and warnings that a person should read."""

    partner: str
    rows: int
    accepted: int
    quarantined: dict[str, int]
    excluded: dict[str, int]
    suppressed: dict[str, int]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Tables:
    """The six tables of a partner, or of all."""

    harmonised: pa.Table
    quarantine: pa.Table
    exclusions: pa.Table
    accounting: pa.Table
    deliveries: pa.Table
    suppressed: pa.Table

    def write(self, folder: Path, name: str, prefix: str) -> None:
        write_parquet(self.harmonised, folder / f"{name}.parquet")
        for part in _PARTS:
            write_parquet(getattr(self, part), folder / f"{prefix}{part}.parquet")

    @classmethod
    def read(cls, folder: Path, name: str, prefix: str) -> _Tables:
        try:
            parts = [read_parquet(folder / f"{prefix}{part}.parquet") for part in _PARTS]
            return cls(read_parquet(folder / f"{name}.parquet"), *parts)
        except (OSError, pa.ArrowInvalid):
            raise TableError(f"the harmonised tables of {name} are missing", remedy="Harmonise that partner first.") from None

    def prove(self, rows: Rows) -> None:
        prove(self.harmonised, quarantine=self.quarantine, exclusions=self.exclusions, accounting=self.accounting, rows=rows)

    def summary(self, partner: str, warnings: Sequence[str] = ()) -> HarmoniseSummary:
        account = self.accounting.to_pandas()
        rows = {outcome: part.groupby("rule")["rows"].sum() for outcome, part in account.groupby("outcome")}
        by_rule = {outcome: {str(rule): int(n) for rule, n in counts.items()} for outcome, counts in rows.items()}
        return HarmoniseSummary(
            partner,
            int(account["rows"].sum()),
            self.harmonised.num_rows,
            by_rule.get("quarantined", {}),
            by_rule.get("excluded", {}),
            by_variable(self.suppressed),
            tuple(warnings),
        )


def harmonised_columns() -> pa.Schema:
    """Columns of a harmonised table: origin, the release variables in order, the details; text but for ``source_row``."""
    return _columns(*ORIGIN, *(variable.name for variable in codebook().harmonised))


def harmonise(
    partner: str,
    *,
    store: Store,
    ingested: Path,
    folder: Path,
    key: bytes,
    as_of: date,
    proxies: Mapping[str, Sequence[str]] | None = None,
    admits: Mapping[str, Sequence[str]] | None = None,
    deny: DenyList = NOTHING,
) -> HarmoniseSummary:
    """Harmonise the current state of every source of ``partner``, whose deliveries ``ingest`` read below ``ingested``.

    Writes ``<partner>.parquet`` and ``<partner>_quarantine``, ``_exclusions``, ``_accounting``, ``_deliveries`` and
    ``_suppressed`` below ``folder``, and ``_profiles`` of this state and the one before. A source that never delivered has no
    rows and is named in a warning. ``key`` keys the pseudonyms; ``as_of`` is the day after which nothing may lie. ``proxies``
    gives, by source, the fields for the country of exploitation in the order to try them, ``admits`` the rules by status that
    leave nobody out (``Source.admitting``). Values on the list ``deny`` become missing. Raises DeliveryError, ParameterError,
    TableError.
    """
    parts: list[_Tables] = []
    warnings: list[str] = []
    rows: dict[tuple[str, str], int] = {}
    for source in _sources(partner):
        used = store.used(source.name)
        _require_kept(source, folder / f"{partner}_deliveries.parquet", store)
        now = current(source, used, ingested=ingested / source.name)
        if source.opt_outs and used:
            opt_outs = now.lists[f"{source.name}_opt_outs"]
            warnings += unmatched(source, layout=source.opt_outs, opt_outs=opt_outs, people=now.people)
        if not used:
            warnings.append(f"{source.name}: nothing was ever delivered")
        for group in now.groups:
            # What was configured are columns of the source's own layout.
            order = (proxies or {}).get(source.name, ()) if group.source == source else ()
            sent = group.source.admitting((admits or {}).get(source.name, ()))
            derived = derive(group.tables[source.name], source=sent, as_of=as_of, proxies=order)
            admission = admit(derived, source=sent, tables=group.tables, key=key)
            parts.append(_tables(sent, group.tables[source.name], derived, admission))
            warnings += admission.warnings
        parts.append(_set_aside(source, now, used))
        rows |= {(source.name, refresh): count for refresh, count in now.rows.items()}
    whole = _joined(parts)
    cases, suppressed = deny.suppress(whole.harmonised)
    whole = replace(whole, harmonised=cases, suppressed=suppressed)
    whole.prove(rows)
    whole.write(folder, partner, f"{partner}_")
    state = of_partner(whole.harmonised, accounting=whole.accounting, deliveries=whole.deliveries)
    keep(state, folder / f"{partner}_profiles.parquet", deny=deny)
    return whole.summary(partner, warnings)


def unite(partners: Collection[str], *, store: Store, ingested: Path, folder: Path) -> HarmoniseSummary:
    """Put the harmonised tables of ``partners`` together as ``victims``, ``quarantine``, ``exclusions``, ``accounting``,
    ``deliveries`` and ``suppressed``.

    A partner that never delivered is left out. The rows of every delivery are counted again against the tables below
    ``ingested``. Raises TableError when another partner's tables are missing or of other deliveries than those that count now,
    or a row is not accounted for, and DeliveryError when a delivery has gone.
    """
    for source in (source for name in partners for source in _sources(name)):
        _require_kept(source, folder / "deliveries.parquet", store)
    names = [name for name in sorted(partners) if any(store.deliveries(source.name) for source in _sources(name))]
    if not names:
        raise TableError("no partner has delivered anything", remedy="Land and ingest a delivery first.")
    whole = _joined([_Tables.read(folder, name, f"{name}_") for name in names])
    whole.prove(delivered_rows(names, store=store, ingested=ingested, deliveries=whole.deliveries))
    whole.write(folder, "victims", "")
    return whole.summary("all")


def delivered_rows(partners: Iterable[str], *, store: Store, ingested: Path, deliveries: pa.Table) -> Rows:
    """The case rows of each delivery that counts, by source and refresh, counted in the ingested tables.

    Raises TableError if ``deliveries``, from which a partner was harmonised, are not those that count now.
    """
    known = {*zip(*(deliveries.column(name).to_pylist() for name in ("source", "refresh", "content")), strict=True)}
    rows: dict[tuple[str, str], int] = {}
    for source in (source for partner in partners for source in _sources(partner)):
        used = store.used(source.name)
        if {(source.name, one.refresh.label, one.content) for one in used} != {one for one in known if one[0] == source.name}:
            remedy = f"Ingest {source.name} and harmonise {source.partner} again."
            raise TableError(f"the deliveries of {source.name} have changed since it was harmonised", remedy=remedy)
        for one in used:
            path = ingested / source.name / one.refresh.label / f"{source.name}.parquet"
            try:
                rows[source.name, one.refresh.label] = parquet_rows(path)
            except (OSError, pa.ArrowInvalid):
                remedy = f"Ingest {source.name} for {one.refresh} again."
                raise TableError(f"the ingested table {source.name}, {one.refresh} is missing", remedy=remedy) from None
    return rows


def prove(harmonised: pa.Table, *, quarantine: pa.Table, exclusions: pa.Table, accounting: pa.Table, rows: Rows) -> None:
    """Prove that each of the ``rows`` (by source and refresh) has exactly one outcome, and that the account says so.

    Raises TableError.
    """
    place = list(PLACE)
    found = pd.concat(
        [
            harmonised.select(place).to_pandas().assign(outcome="accepted", rule=""),
            quarantine.to_pandas().drop_duplicates(place).drop(columns="field").assign(outcome="quarantined"),
            exclusions.to_pandas().assign(outcome="excluded"),
        ]
    )
    twice = Counter(found.loc[found.duplicated(place), ["source", "refresh"]].itertuples(index=False, name=None))
    recount = found.groupby(["source", "refresh"]).size().to_dict()
    for source, refresh in sorted(rows.keys() | recount.keys()):
        expected = rows.get((source, refresh), 0)
        counted, doubled = recount.get((source, refresh), 0), twice[source, refresh]
        if counted != expected or doubled:
            raise TableError(
                f"{source}, {refresh}: {expected} rows came in, {counted} have an outcome, {doubled} more than one",
                remedy="Ingest and harmonise the partner again; if it persists, this is a defect of the pipeline.",
            )
    account = _account(found)
    if set(account.itertuples(index=False, name=None)) != set(accounting.to_pandas().itertuples(index=False, name=None)):
        raise TableError("the account does not match the tables", remedy="Harmonise the partner again.")


def _account(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Rows by partner, source, refresh, outcome and rule, in that order."""
    keys = ["partner", "source", "refresh", "outcome", "rule"]
    counted = outcomes.groupby(keys).size()
    return pd.DataFrame(counted, columns=["rows"]).reset_index()


def _sources(partner: str) -> tuple[Source, ...]:
    if partner not in PARTNERS:
        raise ParameterError(f"there is no partner {partner!r}", remedy=f"Choose among {', '.join(PARTNERS)}.")
    return PARTNERS[partner]


def _require_kept(source: Source, path: Path, store: Store) -> None:
    """Refuse to go on when the store lacks a delivery that was harmonised before: opt-outs would be lost with it."""
    if not path.exists():
        return
    before = read_parquet(path).to_pandas()
    kept = {(one.refresh.label, one.content) for one in store.deliveries(source.name)}
    for row in before[before["source"] == source.name].itertuples():
        if (row.refresh, row.content) not in kept:
            raise DeliveryError(
                "a delivery that was used before is not in the store any more",
                remedy="Restore the store from a backup.",
                partner=source.name,
                refresh=str(row.refresh),
            )


def _set_aside(source: Source, now: Current, used: Sequence[Delivery]) -> _Tables:
    """What is known of a source without looking at a case: the deliveries that count, and the rows that were replaced."""
    old = now.superseded.to_pandas().set_axis(list(PLACE[2:]), axis=1)
    old = old.assign(partner=source.partner, source=source.name, rule="superseded")
    deliveries = [
        (source.partner, source.name, one.refresh.label, one.kind, one.content, now.rows[one.refresh.label]) for one in used
    ]
    return _Tables(
        harmonised_columns().empty_table(),
        QUARANTINE.empty_table(),
        pa.Table.from_pandas(old, EXCLUDED, preserve_index=False),
        pa.Table.from_pandas(_account(old.assign(outcome="excluded")), ACCOUNTING, preserve_index=False),
        pa.Table.from_pandas(pd.DataFrame(deliveries, columns=DELIVERIES.names), DELIVERIES, preserve_index=False),
        SUPPRESSED.empty_table(),
    )


def _tables(source: Source, raw: pa.Table, derived: Derived, admission: Admission) -> _Tables:
    accepted, quarantined, excluded = admission.accepted, admission.quarantined, admission.excluded
    place = pd.DataFrame(
        {
            "partner": source.partner,
            "source": source.name,
            "refresh": raw.column("_refresh").to_numpy(),
            "source_file": raw.column("_file").to_numpy(),
            "source_row": raw.column("_row").to_numpy(),
        }
    )
    rows = place[accepted].assign(case_key=admission.case_keys[accepted])
    columns = {name: pa.array(rows[name].to_numpy()) for name in rows} | {
        name: pa.array(values[accepted], pa.string()) for name, values in derived.values.items()
    }
    position = {field.name: index for index, field in enumerate(source.cases.fields)}
    broken = [
        place[mask & quarantined].assign(field=field, rule=rule, at=position[field]) for field, rule, mask in derived.broken
    ]
    reasons = pd.concat(broken).sort_values([*PLACE[2:], "at", "rule"])
    reasons = reasons.drop(columns="at").drop_duplicates()
    left_out = pd.notna(excluded)
    exclusions = place[left_out].assign(rule=excluded[left_out])
    first = reasons.drop_duplicates([*PLACE[2:]])
    outcomes = pd.concat(
        [
            place[accepted].assign(outcome="accepted", rule=""),
            first.assign(outcome="quarantined"),
            exclusions.assign(outcome="excluded"),
        ]
    )
    return _Tables(
        pa.table(columns).cast(harmonised_columns()),
        pa.Table.from_pandas(reasons, QUARANTINE, preserve_index=False),
        pa.Table.from_pandas(exclusions, EXCLUDED, preserve_index=False),
        pa.Table.from_pandas(_account(outcomes), ACCOUNTING, preserve_index=False),
        DELIVERIES.empty_table(),
        SUPPRESSED.empty_table(),
    )


def _joined(parts: Sequence[_Tables]) -> _Tables:
    """All parts as one, in the order of their places, without the metadata a data frame leaves behind."""

    def whole(name: str, *then: str) -> pa.Table:
        table = pa.concat_tables([getattr(part, name).replace_schema_metadata() for part in parts])
        keys = [column for column in (*PLACE, *then) if column in table.column_names]
        return table.sort_by([(key, "ascending") for key in keys])

    return _Tables(
        whole("harmonised"),
        whole("quarantine"),
        whole("exclusions"),
        whole("accounting", "outcome", "rule"),
        whole("deliveries"),
        whole("suppressed", "variable"),
    )
