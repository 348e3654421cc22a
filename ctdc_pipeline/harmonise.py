"""The tables that result of a partner's exports: harmonised, quarantine, exclusions and the account that adds them up.

De-identification happens here: what leaves are codebook variables, row positions and a keyed pseudonym of the case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ctdc_pipeline.admission import Admission, admit
from ctdc_pipeline.codebook import codebook
from ctdc_pipeline.derivation import Derived, derive
from ctdc_pipeline.errors import ParameterError, TableError
from ctdc_pipeline.files import parquet_rows, read_parquet, write_parquet
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.registry import PARTNERS
from ctdc_pipeline.schemas import ORIGIN


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
            parts = [read_parquet(folder / f"{prefix}{part}.parquet") for part in ("quarantine", "exclusions", "accounting")]
            return cls(read_parquet(folder / f"{name}.parquet"), *parts)
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
    rows = {source.name: parquet_rows(ingested / f"{source.name}.parquet") for source in sources}
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
        return read_parquet(path)
    except (OSError, pa.ArrowInvalid):
        raise TableError(f"the ingested table {path.stem} is missing", remedy=f"Ingest {source.name} first.") from None


def _harmonise_source(
    source: Source, tables: Mapping[str, pa.Table], key: bytes, as_of: date, proxies: Sequence[str]
) -> tuple[_Tables, tuple[str, ...]]:
    derived = derive(tables[source.name], source=source, as_of=as_of, proxies=proxies)
    admission = admit(derived, source=source, tables=tables, key=key)
    return _tables(source, tables[source.name], derived, admission), admission.warnings


def _tables(source: Source, raw: pa.Table, derived: Derived, admission: Admission) -> _Tables:
    accepted, quarantined, excluded = admission.accepted, admission.quarantined, admission.excluded
    place = pd.DataFrame(
        {
            "partner": source.partner,
            "source": source.name,
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
