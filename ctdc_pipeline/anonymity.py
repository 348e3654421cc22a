"""Proof that a k-anonymised file is what it says, from the bytes that are about to be published.

Independent on purpose, as ``ctdc_pipeline.disclosure`` is: it shares no code with what made the file.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ctdc_pipeline.errors import PrivacyError
from ctdc_pipeline.files import queries

# A record of the file is real if all it says is true of one; at least as many must be as the file has of its like.
_ALIKE = "CREATE TEMP TABLE alike AS SELECT {names}, count(*) AS times FROM published GROUP BY ALL"
_SMALL = "SELECT count(*) FILTER (times < {k}), count(*) FILTER (times % {k} != 0) FROM alike"
_EMPTY = "SELECT count(*) FROM published WHERE {blank}"
_MORE = """
    WITH cells AS (
        SELECT name, cell, 1 AS real, 0 AS told FROM (UNPIVOT (SELECT {names} FROM victims) ON {names} INTO NAME name VALUE cell)
        UNION ALL SELECT name, cell, 0, 1 FROM (UNPIVOT (SELECT {names} FROM published) ON {names} INTO NAME name VALUE cell)
    ) SELECT count(*) FROM (SELECT sum(real) AS real, sum(told) AS told FROM cells GROUP BY name, cell) WHERE told > real
"""


@dataclass(frozen=True)
class Anonymity:
    """What was found in a file. Counts only."""

    k: int
    small_groups: int
    """Rows that fewer than k share."""
    inexact_groups: int
    """Rows whose number is not a multiple of k."""
    empty_records: int
    invented_values: int
    """Values that more records of the file have than there are people with them."""
    other_columns: int

    @property
    def holds(self) -> bool:
        return not (self.small_groups or self.inexact_groups or self.empty_records or self.invented_values or self.other_columns)

    def require(self) -> Anonymity:
        """Return this if it holds. Raises PrivacyError, saying how much is wrong but not where."""
        if not self.holds:
            raise PrivacyError(
                f"the k-anonymised dataset has {self.small_groups} groups of fewer than {self.k}, {self.inexact_groups} that are "
                f"no multiple of {self.k}, {self.empty_records} empty records, {self.invented_values} values too many, "
                f"{self.other_columns} columns that it must not have or lacks",
                remedy="Nothing was published. Make the release again; if this returns, the k-anonymisation is at fault.",
            )
        return self


def check(victims: Path, published: Path, *, columns: Collection[str], k: int) -> Anonymity:
    """Check the CSV file ``published``, which has exactly these ``columns``, against the sensitive records, a Parquet file."""
    with queries(victims=victims, published=published) as connection:
        found = [row[0] for row in connection.execute("DESCRIBE published").fetchall()]
        other = {*found} ^ {*columns}
        names = ", ".join(f'"{name}"' for name in found if name in columns)
        blank = " AND ".join(f'"{name}" IS NULL' for name in found)
        connection.execute(_ALIKE.format(names=names)).fetchall()
        small, inexact = connection.execute(_SMALL.format(k=k)).fetchall()[0]
        empty = connection.execute(_EMPTY.format(blank=blank)).fetchall()[0][0]
        more = connection.execute(_MORE.format(names=names)).fetchall()[0][0]
    return Anonymity(k, small, inexact, empty, more, len(other))
