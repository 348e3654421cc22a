"""Which rows enter, and the tables that result: harmonised, quarantine, exclusions and the account that adds them up.

De-identification happens here: what leaves are codebook variables, row positions and a keyed pseudonym of the case.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ctdc_pipeline.codebook import codebook
from ctdc_pipeline.derivation import Derived, Mask, Texts, coded, derive, identities, parse_days, pseudonyms
from ctdc_pipeline.errors import DeliveryError, ParameterError, TableError
from ctdc_pipeline.files import write_parquet
from ctdc_pipeline.partners.layout import Layout, Source
from ctdc_pipeline.partners.registry import PARTNERS
from ctdc_pipeline.schemas import ORIGIN

EXCLUSIONS = {
    "opted-out": "the person asked to be left out",
    "organisation-without-consent": "the organisation did not consent to contribute",
    "individual-without-consent": "the person did not consent, or no consent is on record",
    "not-a-victim": "the record is of someone who is not a victim of trafficking",
    "test-record": "the record was made for training, testing or demonstration",
    "reported-too-early": "reported before the first day from which the partner contributes",
    "duplicate-case": "the case is there already; the most complete record of it stays, of equals the first",
}
"""Rules that leave a row out, in the order in which they are tried, and what each means."""


def _columns(*names: str) -> pa.Schema:
    return pa.schema([(name, pa.int64() if name in ("source_row", "rows") else pa.string()) for name in names])


PLACE = ("partner", "source", "source_file", "source_row")
QUARANTINE = _columns(*PLACE, "field", "rule")
EXCLUDED = _columns(*PLACE, "rule")
ACCOUNTING = _columns("partner", "source", "outcome", "rule", "rows")


@dataclass(frozen=True)
class HarmoniseSummary:
    """What became of a partner's rows (or of all partners'): counts by rule, and warnings that a person should read."""

    partner: str
    rows: int
    accepted: int
    quarantined: dict[str, int]
    excluded: dict[str, int]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Tables:
    """The four tables of a partner, or of all."""

    harmonised: pa.Table
    quarantine: pa.Table
    exclusions: pa.Table
    accounting: pa.Table

    def write(self, folder: Path, name: str, prefix: str) -> None:
        write_parquet(self.harmonised, folder / f"{name}.parquet")
        for part in ("quarantine", "exclusions", "accounting"):
            write_parquet(getattr(self, part), folder / f"{prefix}{part}.parquet")

    @classmethod
    def read(cls, folder: Path, name: str, prefix: str) -> _Tables:
        try:
            parts = [pq.read_table(folder / f"{prefix}{part}.parquet") for part in ("quarantine", "exclusions", "accounting")]
            return cls(pq.read_table(folder / f"{name}.parquet"), *parts)
        except (OSError, pa.ArrowInvalid):
            raise TableError(f"the harmonised tables of {name} are missing", remedy="Harmonise that partner first.") from None

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
            tuple(warnings),
        )


def harmonised_columns() -> pa.Schema:
    """Columns of a harmonised table: origin, the release variables in order, the details; text but for ``source_row``."""
    return _columns(*ORIGIN, *(variable.name for variable in codebook().harmonised))


def harmonise(
    partner: str,
    *,
    ingested: Path,
    folder: Path,
    key: bytes,
    as_of: date,
    proxies: Mapping[str, Sequence[str]] | None = None,
) -> HarmoniseSummary:
    """Harmonise every source of ``partner`` from the tables ``ingest`` wrote below ``ingested``.

    Writes ``<partner>.parquet`` and ``<partner>_quarantine``, ``_exclusions`` and ``_accounting`` below ``folder``. ``key`` keys
    the pseudonyms; ``as_of`` is the day after which nothing may lie. ``proxies`` gives, by source, the fields for the country of
    exploitation in the order to try them. Raises DeliveryError, ParameterError, TableError.
    """
    parts: list[_Tables] = []
    warnings: list[str] = []
    rows: dict[str, int] = {}
    for source in _sources(partner):
        tables = {name: _ingested(ingested / f"{name}.parquet", source) for name in source.layouts}
        part, told = _harmonise_source(source, tables, key, as_of, (proxies or {}).get(source.name, ()))
        parts.append(part)
        warnings += told
        rows[source.name] = tables[source.name].num_rows
    whole = _joined(parts)
    prove(whole.harmonised, quarantine=whole.quarantine, exclusions=whole.exclusions, accounting=whole.accounting, rows=rows)
    whole.write(folder, partner, f"{partner}_")
    return whole.summary(partner, warnings)


def unite(partners: Iterable[str], *, ingested: Path, folder: Path) -> HarmoniseSummary:
    """Put the harmonised tables of ``partners`` together as ``victims``, ``quarantine``, ``exclusions`` and ``accounting``.

    The rows of every source are counted again against the tables below ``ingested``. Raises TableError when a partner is missing
    or a row is not accounted for.
    """
    names = sorted(partners)
    whole = _joined([_Tables.read(folder, name, f"{name}_") for name in names])
    sources = [source for name in names for source in _sources(name)]
    rows = {source.name: pq.read_metadata(ingested / f"{source.name}.parquet").num_rows for source in sources}
    prove(whole.harmonised, quarantine=whole.quarantine, exclusions=whole.exclusions, accounting=whole.accounting, rows=rows)
    whole.write(folder, "victims", "")
    return whole.summary("all")


def prove(
    harmonised: pa.Table, *, quarantine: pa.Table, exclusions: pa.Table, accounting: pa.Table, rows: Mapping[str, int]
) -> None:
    """Prove that each of the ``rows`` (by source) has exactly one outcome and that the account says so. Raises TableError."""
    place = list(PLACE)
    found = pd.concat(
        [
            harmonised.select(place).to_pandas().assign(outcome="accepted", rule=""),
            quarantine.to_pandas().drop_duplicates(place).drop(columns="field").assign(outcome="quarantined"),
            exclusions.to_pandas().assign(outcome="excluded"),
        ]
    )
    twice: dict[str, int] = found.loc[found.duplicated(place), "source"].value_counts().to_dict()
    recount: dict[str, int] = found["source"].value_counts().to_dict()
    for source, expected in rows.items():
        counted, doubled = recount.get(source, 0), twice.get(source, 0)
        if counted != expected or doubled:
            raise TableError(
                f"{source}: {expected} rows came in, {counted} have an outcome, {doubled} more than one",
                remedy="Ingest and harmonise the partner again; if it persists, this is a defect of the pipeline.",
            )
    account = _account(found)
    if set(account.itertuples(index=False, name=None)) != set(accounting.to_pandas().itertuples(index=False, name=None)):
        raise TableError("the account does not match the tables", remedy="Harmonise the partner again.")


def _account(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Rows by partner, source, outcome and rule, in that order."""
    keys = ["partner", "source", "outcome", "rule"]
    counted = outcomes.groupby(keys).size()
    return pd.DataFrame(counted, columns=["rows"]).reset_index()


def _sources(partner: str) -> tuple[Source, ...]:
    if partner not in PARTNERS:
        raise ParameterError(f"there is no partner {partner!r}", remedy=f"Choose among {', '.join(PARTNERS)}.")
    return PARTNERS[partner]


def _ingested(path: Path, source: Source) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowInvalid):
        raise TableError(f"the ingested table {path.stem} is missing", remedy=f"Ingest {source.name} first.") from None


def _harmonise_source(
    source: Source, tables: Mapping[str, pa.Table], key: bytes, as_of: date, proxies: Sequence[str]
) -> tuple[_Tables, list[str]]:
    raw, layout = tables[source.name], source.cases
    derived = derive(raw, source=source, as_of=as_of, proxies=proxies)
    parts = identities(raw, layout=layout)
    excluded = np.full(raw.num_rows, None, object)
    identified = np.logical_and.reduce([part != "" for part in parts])
    warnings: list[str] = []
    if source.opt_outs:
        warnings += _opt_out(excluded, parts, tables[f"{source.name}_opt_outs"], source, source.opt_outs)
    if source.consents:
        warnings += _consent(excluded, parts, tables[f"{source.name}_consents"], source, source.consents, raw, derived)
    for field in layout.having("status"):
        meaning, _ = coded(raw, field=field, layout=layout)
        _exclude(excluded, meaning, pd.notna(meaning))
    if source.reported_from:
        days, _ = parse_days(raw, field=layout.having("registered")[0], layout=layout)
        _exclude(excluded, "reported-too-early", days < np.datetime64(source.reported_from, "D"))
    excluded[~identified] = None  # Whose identity is blank can be held against no list: quarantined for that.
    quarantined = derived.quarantined & pd.isna(excluded)
    keys = pseudonyms(parts, source=source.name, key=key)
    remaining = ~quarantined & pd.isna(excluded)
    _exclude(excluded, "duplicate-case", remaining & _repeats(keys, derived, remaining))
    accepted = ~quarantined & pd.isna(excluded)
    return _tables(source, raw, derived, keys, accepted, quarantined, excluded), warnings


def _exclude(excluded: Texts, rule: str | Texts, mask: Mask) -> None:
    """Mark the rows in ``mask`` that no earlier rule has left out."""
    free = mask & pd.isna(excluded)
    excluded[free] = rule[free] if isinstance(rule, np.ndarray) else rule


def _among(parts: Sequence[Texts], names: Collection[tuple[str, ...]]) -> Mask:
    """Whose identity is one of ``names``."""
    return np.fromiter((row in names for row in zip(*parts, strict=True)), bool, len(parts[0]))


def _entries(table: pa.Table, source: Source, layout: Layout) -> list[Texts]:
    """The identities a list names; refuses an entry that names nobody."""
    parts = identities(table, layout=layout)
    for position in np.flatnonzero(parts[0] == "")[:1]:
        raise DeliveryError(
            "the entry names nobody",
            remedy="Complete or remove it.",
            partner=source.name,
            file=table.column("_file")[position].as_py(),
            row=table.column("_row")[position].as_py(),
            column=layout.having("case_id")[0].name,
        )
    return parts


def _opt_out(excluded: Texts, parts: list[Texts], table: pa.Table, source: Source, layout: Layout) -> list[str]:
    entries = _entries(table, source, layout)
    groups = [*parts[:-1], np.full(len(parts[-1]), "", object)]
    named = {*zip(*entries, strict=True)}
    _exclude(excluded, "opted-out", _among(parts, named) | _among(groups, named))
    matched = _among(entries, {*zip(*parts, strict=True), *zip(*groups, strict=True)})
    if named and not matched.any():
        raise DeliveryError(
            "the opt-out list matches no case of the export",
            remedy="Check that both use the same numbers; publishing would include people who asked to be left out.",
            partner=source.name,
            file=table.column("_file")[0].as_py(),
        )
    missed = int((~matched).sum())
    return [f"{source.name}: {missed} of {len(matched)} opt-outs match no case of the export"] if missed else []


def _consent(
    excluded: Texts, parts: list[Texts], table: pa.Table, source: Source, layout: Layout, raw: pa.Table, derived: Derived
) -> list[str]:
    entries = _entries(table, source, layout)
    (status,) = layout.having("status")
    refusal, unknown = coded(table, field=status, layout=layout)
    blank = np.array([not text.strip() for text in table.column(status.name).to_pylist()], bool)
    for position in np.flatnonzero(unknown | blank)[:1]:
        raise DeliveryError(
            "the entry does not say whether consent was given",
            remedy="Use a code of the layout.",
            partner=source.name,
            file=table.column("_file")[position].as_py(),
            row=table.column("_row")[position].as_py(),
            column=status.name,
        )
    whole = entries[-1] == ""  # An entry without a person is the organisation's own.
    refused = pd.notna(refusal)
    listed = {*entries[0][whole]}
    member = parts[0]
    unlisted = np.array([name != "" and name not in listed for name in member], bool)
    files = pd.Series(raw.column("_file").to_numpy())
    for name in sorted({*files[unlisted]}):
        if unlisted[files == name].all():
            raise DeliveryError(
                "the consent register has no entry for the organisation that sent this file",
                remedy="Add the organisation to the register, with or without consent, or remove the file.",
                partner=source.name,
                file=name,
            )
    derived.break_rule("unknown-organisation", source.cases.having("case_id")[0].name, unlisted)
    agreed = listed - {*entries[0][whole & refused]}
    willing, unwilling = ({*zip(*(part[~whole & said] for part in entries), strict=True)} for said in (~refused, refused))
    _exclude(excluded, "organisation-without-consent", ~unlisted & ~_among([member], {(name,) for name in agreed}))
    _exclude(excluded, "individual-without-consent", ~unlisted & ~_among(parts, willing - unwilling))
    silent = len(agreed - {*member})
    return [f"{source.name}: {silent} consenting organisations sent no rows"] if silent else []


def _repeats(keys: Texts, derived: Derived, remaining: Mask) -> Mask:
    """Rows, among the remaining, that repeat a case of which a more complete or an earlier row remains."""
    filled = np.sum([pd.notna(values) for values in derived.values.values()], axis=0)
    order = pd.DataFrame({"key": keys, "filled": -filled, "row": np.arange(len(keys))}).loc[remaining]
    order = order.sort_values(["key", "filled", "row"])
    repeats = np.zeros(len(keys), bool)
    repeats[order["row"][order["key"].duplicated()]] = True
    return repeats


def _tables(
    source: Source, raw: pa.Table, derived: Derived, keys: Texts, accepted: Mask, quarantined: Mask, excluded: Texts
) -> _Tables:
    place = pd.DataFrame(
        {
            "partner": source.partner,
            "source": source.name,
            "source_file": raw.column("_file").to_numpy(),
            "source_row": raw.column("_row").to_numpy(),
        }
    )
    rows = place[accepted].assign(case_key=keys[accepted])
    columns = {name: pa.array(rows[name].to_numpy()) for name in rows} | {
        name: pa.array(values[accepted], pa.string()) for name, values in derived.values.items()
    }
    position = {field.name: index for index, field in enumerate(source.cases.fields)}
    broken = [
        place[mask & quarantined].assign(field=field, rule=rule, at=position[field]) for field, rule, mask in derived.broken
    ]
    reasons = pd.concat(broken).sort_values(["source_file", "source_row", "at", "rule"])
    reasons = reasons.drop(columns="at").drop_duplicates()
    left_out = pd.notna(excluded)
    exclusions = place[left_out].assign(rule=excluded[left_out])
    first = reasons.drop_duplicates(["source_file", "source_row"])
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
    )


def _joined(parts: Sequence[_Tables]) -> _Tables:
    """All parts as one, without the metadata a data frame leaves behind. Parts come in order, so the whole is ordered."""
    names = ("harmonised", "quarantine", "exclusions", "accounting")
    return _Tables(*(pa.concat_tables([getattr(part, name).replace_schema_metadata() for part in parts]) for name in names))
