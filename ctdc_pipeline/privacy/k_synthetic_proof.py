"""Prove that a release discloses nobody, from the bytes that are about to be published.

This module is independent on purpose: it shares no code with counting, synthesis or evaluation, and has its own reader for the
published text, so that one mistake cannot hide in both. The caller decides what to do about a failed proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ctdc_pipeline.errors import PrivacyError
from ctdc_pipeline.storage.files import queries

Ranks = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Proof:
    """What was checked, and what was found wrong. Counts only."""

    k: int
    synthetic_records: int
    distinct_records: int
    smallest_support: int
    rare_records: int
    empty_records: int
    attributes: int
    inexact_counts: int
    aggregates: int
    wrong_aggregates: int
    homogeneous_percent: int
    """The share of distinct synthetic records, in whole percent, whose people all share a further value."""

    @property
    def failed(self) -> list[str]:
        """The names of the guarantees that do not hold."""
        violations = {
            "k_at_any_length": self.rare_records or self.empty_records,
            "exact_counts": self.inexact_counts,
            "aggregates": self.wrong_aggregates,
        }
        return [name for name, count in violations.items() if count]

    @property
    def holds(self) -> bool:
        """Whether every guarantee holds."""
        return not self.failed

    def require(self) -> Proof:
        """Return the proof if it holds.

        Raises:
            PrivacyError: If it does not hold. The message says how much is wrong, but not where.
        """
        if not self.holds:
            raise PrivacyError(
                f"{self.rare_records} distinct synthetic records have fewer than {self.k} sensitive records behind them, "
                f"{self.empty_records} records are empty, {self.inexact_counts} attribute counts are not the sensitive count "
                f"rounded down to a multiple of {self.k}, {self.wrong_aggregates} reportable aggregates are wrong",
                remedy="Nothing was published. Run the full refresh again; if this returns, the synthesis is at fault.",
                failed=self.failed,
            )
        return self


def prove_k_synthetic(sensitive: Path, synthetic: Path, aggregates: Path, *, variables: Sequence[str], k: int) -> Proof:
    """Check published files against the sensitive records, with the three checks below.

    Each path is a Parquet file, or a CSV file in which an empty cell is a missing value.

    Args:
        sensitive: The sensitive records, with at least the columns ``variables``.
        synthetic: The synthetic records, with at least the columns ``variables``.
        aggregates: The aggregates, laid out as ``aggregates.reportable_aggregates`` does.
        variables: The names of the published variables.
        k: The resolution.
    """
    index = _Index(_table(sensitive, variables))
    records = index.ranks_of_records(_table(synthetic, variables, distinct=True))
    supports = index.supports(records)
    attributes, inexact_attributes = inexact_counts(sensitive, synthetic, variables=variables, k=k)
    combinations, wrong_combinations = wrong_aggregates(sensitive, aggregates, variables=variables, k=k)
    with queries(records=synthetic) as connection:
        empty = " AND ".join(f'"{name}" IS NULL' for name in variables)
        counts = connection.sql(f"SELECT count(*), count(*) FILTER ({empty}) FROM records").fetchall()  # noqa: S608
    return Proof(
        k=k,
        synthetic_records=counts[0][0],
        distinct_records=len(supports),
        smallest_support=int(supports.min()) if len(supports) else 0,
        rare_records=int((supports < k).sum()),
        empty_records=counts[0][1],
        attributes=attributes,
        inexact_counts=inexact_attributes,
        aggregates=combinations,
        wrong_aggregates=wrong_combinations,
        homogeneous_percent=round(100 * index.homogeneous(records) / max(1, len(records))),
    )


def record_supports(sensitive: Path, synthetic: Path, *, variables: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return how many sensitive records contain each distinct synthetic record, as int64.

    A record may have any number of attributes; an empty record is contained in all of them.
    """
    index = _Index(_table(sensitive, variables))
    return index.supports(index.ranks_of_records(_table(synthetic, variables, distinct=True)))


def inexact_counts(sensitive: Path, synthetic: Path, *, variables: Sequence[str], k: int) -> tuple[int, int]:
    """Return how many attributes either file has, and how many have a wrong count.

    A count is right if it is the sensitive count rounded down to a multiple of ``k``.
    """
    with queries(actual=sensitive, published=synthetic) as connection:
        return connection.sql(_INEXACT.format(k=k, names=_names(variables))).fetchall()[0]


def wrong_aggregates(sensitive: Path, aggregates: Path, *, variables: Sequence[str], k: int) -> tuple[int, int]:
    """Return how many aggregates there are, and how many are wrong.

    An aggregate is wrong if it is below ``k``, or not its exact support rounded down to a multiple of ``k``.
    """
    combinations = _table(aggregates)
    index = _Index(_table(sensitive, variables))
    supports = index.supports(index.ranks_of_combinations(combinations))
    reported = combinations["count"].cast(pa.int64()).to_numpy()
    return len(combinations), int(((reported != supports - supports % k) | (reported < k)).sum())


def _table(path: Path, columns: Sequence[str] = (), *, distinct: bool = False) -> pa.Table:
    with queries(records=path) as connection:
        selection = f"{'DISTINCT ' if distinct else ''}{_names(columns) or '*'}"
        return connection.sql(f"SELECT {selection} FROM records").to_arrow_table()  # noqa: S608


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


# Attributes in either table, and how many are published with a count other than the sensitive count rounded down.
_INEXACT = """
    WITH cells AS (
        SELECT variable, value, 1 AS before, 0 AS after
        FROM (UNPIVOT (SELECT {names} FROM actual) ON * INTO NAME variable VALUE value)
        UNION ALL SELECT variable, value, 0, 1
        FROM (UNPIVOT (SELECT {names} FROM published) ON * INTO NAME variable VALUE value)
    ), counts AS (SELECT sum(before) AS before, sum(after) AS after FROM cells GROUP BY variable, value)
    SELECT count(*), count(*) FILTER (after != before - before % {k}) FROM counts
"""


class _Index:
    """The sensitive records, arranged to find those that contain a given set of attributes.

    Attributes are numbered by rank, the rarest first, so that intersecting a set in rank order starts with few records.
    """

    def __init__(self, actual: pa.Table) -> None:
        counts: list[tuple[int, str, str]] = []
        for name in actual.column_names:
            tallies = actual[name].drop_null().value_counts().to_pylist()
            counts += [(tally["counts"], name, tally["values"]) for tally in tallies]
        self._rank = {(name, value): rank for rank, (_, name, value) in enumerate(sorted(counts))}
        self._size = len(actual)
        self._missing = len(self._rank)
        self._unknown = self._missing + 1
        self._columns = [self._ranks(name, actual[name]) for name in actual.column_names]
        position = {name: number for number, name in enumerate(actual.column_names)}
        self._column_of = [position[name] for name, _ in self._rank]
        self._records: list[npt.NDArray[np.int64]] = []
        for rank, column in enumerate(self._column_of):
            self._records.append(np.flatnonzero(self._columns[column] == rank))

    def ranks_of_records(self, table: pa.Table) -> Ranks:
        """Return the ranks of each record's attributes, ascending.

        Rows are padded with the rank of a missing value.
        """
        return self._sorted([self._ranks(name, table[name]) for name in table.column_names])

    def ranks_of_combinations(self, table: pa.Table) -> Ranks:
        """Return the same for combinations, whose columns name the variable and the value."""
        columns = []
        for number in range(1, sum(name.startswith("variable_") for name in table.column_names) + 1):
            variables, values = table[f"variable_{number}"].to_pylist(), table[f"value_{number}"].to_pylist()
            pairs = zip(variables, values, strict=True)
            columns.append(np.array([self._rank_of(variable, value) for variable, value in pairs], dtype=np.int32))
        return self._sorted(columns)

    def supports(self, sets: Ranks) -> npt.NDArray[np.int64]:
        """Return how many sensitive records contain each set of attributes."""
        supports = np.zeros(len(sets), dtype=np.int64)
        for position, records in self._containing(sets):
            supports[position] = self._size if records is None else len(records)
        return supports

    def homogeneous(self, sets: Ranks) -> int:
        """Return how many sets only occur in records that all share a further attribute."""
        homogeneous_sets = 0
        for position, records in self._containing(sets):
            if records is None or not len(records):
                continue
            for column in self._columns:
                shared = column[records[0]]
                # For most columns the first few records already differ.
                alike = shared != self._missing and (column[records[:20]] == shared).all() and (column[records] == shared).all()
                if alike and shared not in sets[position]:
                    homogeneous_sets += 1
                    break
        return homogeneous_sets

    def _containing(self, sets: Ranks) -> Iterator[tuple[int, npt.NDArray[np.int64] | None]]:
        """Yield the position of each set, and the sensitive records that contain it.

        None stands for all records. Sets with a common beginning share its intersection.
        """
        order = np.lexsort(sets.T[::-1])
        current_ranks: list[int] = []
        intersections: list[npt.NDArray[np.int64]] = []
        for position, ranks in zip(order.tolist(), sets[order].tolist(), strict=True):
            if self._unknown in ranks:
                continue
            set_ranks = [rank for rank in ranks if rank != self._missing]
            shared = 0
            while shared < min(len(current_ranks), len(set_ranks)) and current_ranks[shared] == set_ranks[shared]:
                shared += 1
            del current_ranks[shared:], intersections[shared:]
            for rank in set_ranks[shared:]:
                previous = intersections[-1] if intersections else None
                column = self._columns[self._column_of[rank]]
                intersections.append(self._records[rank] if previous is None else previous[column[previous] == rank])
                current_ranks.append(rank)
            yield position, intersections[-1] if intersections else None

    def _ranks(self, name: str, column: pa.ChunkedArray) -> Ranks:
        encoded = column.combine_chunks().dictionary_encode()
        ranks = [self._rank_of(name, value) for value in encoded.dictionary.to_pylist()]
        positions = encoded.indices.fill_null(len(ranks)).to_numpy()
        return np.array([*ranks, self._missing], dtype=np.int32)[positions]

    def _rank_of(self, variable: str | None, value: str | None) -> int:
        return self._rank.get((variable, value), self._unknown) if variable and value else self._missing

    def _sorted(self, columns: list[Ranks]) -> Ranks:
        return np.sort(np.stack(columns, axis=1), axis=1) if columns else np.empty((0, 0), dtype=np.int32)
