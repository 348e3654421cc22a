"""Account for every row: accepted, quarantined with a reason, or excluded by a rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ctdc_pipeline.codebook.schemas import ORIGIN
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import TableError
from ctdc_pipeline.privacy.suppressed_countries import by_variable
from ctdc_pipeline.storage.files import read_parquet, write_parquet


def _columns(*names: str) -> pa.Schema:
    types = {"source_row": pa.int64(), "rows": pa.int64(), "invented": pa.bool_()}
    return pa.schema([(name, types.get(name, pa.string())) for name in names])


ROW_ORIGIN = ("partner", "source", "refresh", "source_file", "source_row")
"""The columns that say where a row comes from."""
QUARANTINE = _columns(*ROW_ORIGIN, "field", "rule")
EXCLUDED = _columns(*ROW_ORIGIN, "rule")
ACCOUNTING = _columns("partner", "source", "refresh", "outcome", "rule", "rows")
HELD = _columns("source", "refresh", "content")
"""Columns of the table of deliveries that are held back."""
DELIVERIES = _columns("partner", "source", "refresh", "kind", "content", "rows", "invented")
Rows = Mapping[tuple[str, str], int]
"""Number of case rows by source and refresh."""
_COUNTED_BY = {
    "quarantine": ["source", "field", "rule"],
    "exclusions": ["source", "rule"],
    "accounting": ["source", "outcome", "rule"],
}
"""The columns by which ``outcome_counts`` counts the rows of a table."""
_PARTS = ("quarantine", "exclusions", "accounting", "deliveries", "suppressed")


@dataclass(frozen=True)
class HarmoniseSummary:
    """The outcomes of the rows of one partner, or of all: counts by rule, and warnings."""

    partner: str
    rows: int
    accepted: int
    quarantined: dict[str, int]
    excluded: dict[str, int]
    suppressed: dict[str, int]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tables:
    """The six harmonised tables of one partner, or of all partners together."""

    harmonised: pa.Table
    quarantine: pa.Table
    exclusions: pa.Table
    accounting: pa.Table
    deliveries: pa.Table
    suppressed: pa.Table

    def write(self, folder: Path, name: str, prefix: str) -> None:
        """Write ``<name>.parquet`` with the records, and ``<prefix><table>.parquet`` with the rest."""
        write_parquet(self.harmonised, folder / f"{name}.parquet")
        for part in _PARTS:
            write_parquet(getattr(self, part), folder / f"{prefix}{part}.parquet")

    @classmethod
    def read(cls, folder: Path, name: str, prefix: str) -> Tables:
        """Read what ``write`` wrote.

        Raises TableError if a table is missing or was written by an earlier version.
        """
        try:
            parts = {part: read_parquet(folder / f"{prefix}{part}.parquet") for part in _PARTS}
            tables = cls(read_parquet(folder / f"{name}.parquet"), **parts)
        except (OSError, pa.ArrowInvalid):
            raise TableError(f"the harmonised tables of {name} are missing", remedy="Harmonise that partner first.") from None
        if tables.deliveries.column_names != DELIVERIES.names:
            raise TableError(f"the harmonised tables of {name} are of an earlier version", remedy="Harmonise that partner again.")
        return tables

    def prove(self, rows: Rows) -> None:
        """Prove that each of ``rows`` has exactly one outcome; see ``prove_account``."""
        prove_account(
            self.harmonised, quarantine=self.quarantine, exclusions=self.exclusions, accounting=self.accounting, rows=rows
        )

    def summary(self, partner: str, warnings: Sequence[str] = ()) -> HarmoniseSummary:
        """Summarise the outcomes by rule."""
        accounting = self.accounting.to_pandas()
        rows = {outcome: part.groupby("rule")["rows"].sum() for outcome, part in accounting.groupby("outcome")}
        by_rule = {outcome: {str(rule): int(n) for rule, n in counts.items()} for outcome, counts in rows.items()}
        return HarmoniseSummary(
            partner,
            int(accounting["rows"].sum()),
            self.harmonised.num_rows,
            by_rule.get("quarantined", {}),
            by_rule.get("excluded", {}),
            by_variable(self.suppressed),
            tuple(warnings),
        )


def harmonised_columns() -> pa.Schema:
    """Return the columns of a harmonised table: origin, release variables in order, details.

    All are text except ``source_row`` (int64).
    """
    return _columns(*ORIGIN, *(variable.name for variable in codebook().harmonised))


def prove_account(harmonised: pa.Table, *, quarantine: pa.Table, exclusions: pa.Table, accounting: pa.Table, rows: Rows) -> None:
    """Prove that every row has one outcome, and that the account agrees with the tables.

    Args:
        harmonised: The accepted rows.
        quarantine: The quarantined rows; one row for each reason.
        exclusions: The excluded rows.
        accounting: Rows by partner, source, refresh, outcome and rule.
        rows: The number of case rows that came in, by source and refresh.

    Raises:
        TableError: If a row has no outcome or several, or the account differs from the tables.
    """
    origin = list(ROW_ORIGIN)
    outcomes = pd.concat(
        [
            harmonised.select(origin).to_pandas().assign(outcome="accepted", rule=""),
            quarantine.to_pandas().drop_duplicates(origin).drop(columns="field").assign(outcome="quarantined"),
            exclusions.to_pandas().assign(outcome="excluded"),
        ]
    )
    several_outcomes = Counter(
        outcomes.loc[outcomes.duplicated(origin), ["source", "refresh"]].itertuples(index=False, name=None)
    )
    rows_with_outcome = outcomes.groupby(["source", "refresh"]).size().to_dict()
    for source, refresh in sorted(rows.keys() | rows_with_outcome.keys()):
        expected = rows.get((source, refresh), 0)
        with_outcome, with_several = rows_with_outcome.get((source, refresh), 0), several_outcomes[source, refresh]
        if with_outcome != expected or with_several:
            raise TableError(
                f"{source}, {refresh}: {expected} rows came in, {with_outcome} have an outcome, {with_several} more than one",
                remedy="Ingest and harmonise the partner again; if it persists, this is a defect of the pipeline.",
            )
    account = account_of(outcomes)
    if set(account.itertuples(index=False, name=None)) != set(accounting.to_pandas().itertuples(index=False, name=None)):
        raise TableError("the account does not match the tables", remedy="Harmonise the partner again.")


def account_of(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return the number of rows by partner, source, refresh, outcome and rule, in that order."""
    keys = ["partner", "source", "refresh", "outcome", "rule"]
    counted = outcomes.groupby(keys).size()
    return pd.DataFrame(counted, columns=["rows"]).reset_index()


def outcome_counts(name: str, table: pa.Table) -> list[dict[str, str | int]] | None:
    """Return the row counts for which people open the table ``name``.

    Returns None for a table without such counts.
    """
    columns = _COUNTED_BY.get(name)
    if columns is None:
        return None
    counts = table.group_by(columns).aggregate([("rows", "sum") if name == "accounting" else ([], "count_all")])
    ordered = counts.sort_by([(column, "ascending") for column in columns])
    return ordered.rename_columns([*columns, "rows"]).to_pylist()


def joined(parts: Sequence[Tables]) -> Tables:
    """Return all parts as one, ordered by the origin of the rows, without pandas metadata."""

    def concatenated(name: str, *more_keys: str) -> pa.Table:
        table = pa.concat_tables([getattr(part, name).replace_schema_metadata() for part in parts])
        keys = [column for column in (*ROW_ORIGIN, *more_keys) if column in table.column_names]
        return table.sort_by([(key, "ascending") for key in keys])

    return Tables(
        concatenated("harmonised"),
        concatenated("quarantine"),
        concatenated("exclusions"),
        concatenated("accounting", "outcome", "rule"),
        concatenated("deliveries"),
        concatenated("suppressed", "variable"),
    )
