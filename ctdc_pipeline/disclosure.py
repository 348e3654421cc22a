"""Proof that a release discloses nobody, from the bytes that are about to be published.

Independent on purpose: it shares no code with the counting, the synthesis or the evaluation, and reads the published text
with a reader of its own, so that one mistake cannot hide in both. What is done about a failed proof is the caller's matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ctdc_pipeline.errors import PrivacyError
from ctdc_pipeline.files import queries

Ranks = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Proof:
    """What was checked and what was found wrong. Counts only."""

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

    @property
    def holds(self) -> bool:
        return not (self.rare_records or self.empty_records or self.inexact_counts or self.wrong_aggregates)

    def require(self) -> Proof:
        """Return the proof if it holds. Raises PrivacyError, saying how much is wrong but not where."""
        if not self.holds:
            raise PrivacyError(
                f"{self.rare_records} distinct synthetic records have fewer than {self.k} sensitive records behind them, "
                f"{self.empty_records} records are empty, {self.inexact_counts} attribute counts are not the sensitive count "
                f"rounded down to a multiple of {self.k}, {self.wrong_aggregates} reportable aggregates are wrong",
                remedy="Nothing was published. Run the full refresh again; if this returns, the synthesis is at fault.",
            )
        return self


def prove(sensitive: Path, synthetic: Path, aggregates: Path, *, variables: Sequence[str], k: int) -> Proof:
    """Check published files against the sensitive records; see the three checks below for what is checked.

    Each path is a Parquet file, or a CSV file in which an empty cell is a missing value. ``sensitive`` has at least the columns
    ``variables``, ``synthetic`` too; ``aggregates`` is laid out as ``aggregates.reportable_aggregates`` does.
    """
    supports = record_supports(sensitive, synthetic, variables=variables)
    attributes, inexact = inexact_counts(sensitive, synthetic, variables=variables, k=k)
    combinations, wrong = wrong_aggregates(sensitive, aggregates, variables=variables, k=k)
    with queries(records=synthetic) as connection:
        empty = " AND ".join(f'"{name}" IS NULL' for name in variables)
        counts = connection.sql(f"SELECT count(*), count(*) FILTER ({empty}) FROM records").fetchall()
    return Proof(
        k=k,
        synthetic_records=counts[0][0],
        distinct_records=len(supports),
        smallest_support=int(supports.min()) if len(supports) else 0,
        rare_records=int((supports < k).sum()),
        empty_records=counts[0][1],
        attributes=attributes,
        inexact_counts=inexact,
        aggregates=combinations,
        wrong_aggregates=wrong,
    )


def record_supports(sensitive: Path, synthetic: Path, *, variables: Sequence[str]) -> npt.NDArray[np.int64]:
    """Of every distinct synthetic record, however many attributes it has: how many sensitive records contain it.

    An empty record is contained in all of them.
    """
    index = _Index(_table(sensitive, variables))
    return index.supports(index.ranks_of_records(_table(synthetic, variables, distinct=True)))


def inexact_counts(sensitive: Path, synthetic: Path, *, variables: Sequence[str], k: int) -> tuple[int, int]:
    """How many attributes either file has, and of how many the count is not the sensitive one rounded down to multiples of k."""
    with queries(actual=sensitive, published=synthetic) as connection:
        return connection.sql(_INEXACT.format(k=k, names=_names(variables))).fetchall()[0]


def wrong_aggregates(sensitive: Path, aggregates: Path, *, variables: Sequence[str], k: int) -> tuple[int, int]:
    """How many aggregates there are, and how many are below k or not their exact support rounded down to a multiple of k."""
    combinations = _table(aggregates)
    index = _Index(_table(sensitive, variables))
    supports = index.supports(index.ranks_of_combinations(combinations))
    reported = combinations["count"].cast(pa.int64()).to_numpy()
    return len(combinations), int(((reported != supports - supports % k) | (reported < k)).sum())


def _table(path: Path, columns: Sequence[str] = (), *, distinct: bool = False) -> pa.Table:
    with queries(records=path) as connection:
        what = f"{'DISTINCT ' if distinct else ''}{_names(columns) or '*'}"
        return connection.sql(f"SELECT {what} FROM records").to_arrow_table()


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


# Attributes in either table, and how many of them are published with a count other than the sensitive one rounded down.
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

    An attribute is known by its rank, the rarest first, so that intersecting a set in rank order starts from few records.
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
        place = {name: place for place, name in enumerate(actual.column_names)}
        self._column_of = [place[name] for name, _ in self._rank]
        self._records: list[npt.NDArray[np.int64]] = []
        for rank, column in enumerate(self._column_of):
            self._records.append(np.flatnonzero(self._columns[column] == rank))

    def ranks_of_records(self, table: pa.Table) -> Ranks:
        """One row per record: the ranks of its attributes, ascending, padded with the rank of a missing value."""
        return self._sorted([self._ranks(name, table[name]) for name in table.column_names])

    def ranks_of_combinations(self, table: pa.Table) -> Ranks:
        """The same for a table of combinations, where columns name the variable as well as the value."""
        columns = []
        for place in range(1, sum(name.startswith("variable_") for name in table.column_names) + 1):
            variables, values = table[f"variable_{place}"].to_pylist(), table[f"value_{place}"].to_pylist()
            pairs = zip(variables, values, strict=True)
            columns.append(np.array([self._rank_of(variable, value) for variable, value in pairs], dtype=np.int32))
        return self._sorted(columns)

    def supports(self, sets: Ranks) -> npt.NDArray[np.int64]:
        """How many sensitive records contain each set of attributes. Sets that begin alike share the work."""
        supports = np.zeros(len(sets), dtype=np.int64)
        order = np.lexsort(sets.T[::-1])
        path: list[int] = []
        found: list[npt.NDArray[np.int64]] = []
        for position, ranks in zip(order.tolist(), sets[order].tolist(), strict=True):
            if self._unknown in ranks:
                continue
            wanted = [rank for rank in ranks if rank != self._missing]
            shared = 0
            while shared < min(len(path), len(wanted)) and path[shared] == wanted[shared]:
                shared += 1
            del path[shared:], found[shared:]
            for rank in wanted[shared:]:
                among = found[-1] if found else None
                column = self._columns[self._column_of[rank]]
                found.append(self._records[rank] if among is None else among[column[among] == rank])
                path.append(rank)
            supports[position] = len(found[-1]) if found else self._size
        return supports

    def _ranks(self, name: str, column: pa.ChunkedArray) -> Ranks:
        encoded = column.combine_chunks().dictionary_encode()
        ranks = [self._rank_of(name, value) for value in encoded.dictionary.to_pylist()]
        places = encoded.indices.fill_null(len(ranks)).to_numpy()
        return np.array([*ranks, self._missing], dtype=np.int32)[places]

    def _rank_of(self, variable: str | None, value: str | None) -> int:
        return self._rank.get((variable, value), self._unknown) if variable and value else self._missing

    def _sorted(self, columns: list[Ranks]) -> Ranks:
        return np.sort(np.stack(columns, axis=1), axis=1) if columns else np.empty((0, 0), dtype=np.int32)
