"""Prove that a k-anonymised file keeps its promise, from the bytes to be published.

This module is independent on purpose, like ``ctdc_pipeline.privacy.k_synthetic_proof``: it shares no code with what made the
file.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ctdc_pipeline.errors import PrivacyError
from ctdc_pipeline.storage.files import queries

# No value may be published in more records than there are people with it.
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
    """The findings about a file. They are counts only."""

    k: int
    small_groups: int
    """Groups of equal rows with fewer than k rows."""
    inexact_groups: int
    """Groups of equal rows whose number of rows is not a multiple of k."""
    empty_records: int
    invented_values: int
    """Values that occur in more records of the file than there are people with them."""
    other_columns: int

    @property
    def holds(self) -> bool:
        """Whether the file is k-anonymous."""
        return not (self.small_groups or self.inexact_groups or self.empty_records or self.invented_values or self.other_columns)

    def require(self) -> Anonymity:
        """Return these findings if the file is k-anonymous.

        Raises:
            PrivacyError: If it is not. The message says how much is wrong, but not where.
        """
        if not self.holds:
            raise PrivacyError(
                f"the k-anonymised dataset has {self.small_groups} groups of fewer than {self.k}, {self.inexact_groups} that are "
                f"not a multiple of {self.k}, {self.empty_records} empty records, {self.invented_values} values too many, "
                f"{self.other_columns} missing or forbidden columns",
                remedy="Nothing was published. Make the release again; if this returns, the k-anonymisation is at fault.",
                failed=["anonymity"],
            )
        return self


def prove_k_anonymity(victims: Path, published: Path, *, columns: Collection[str], k: int) -> Anonymity:
    """Check a k-anonymised file against the sensitive records.

    Args:
        victims: The sensitive records, a Parquet file.
        published: The k-anonymised file, a CSV file.
        columns: The columns that ``published`` must have, and no others.
        k: The smallest allowed group.
    """
    with queries(victims=victims, published=published) as connection:
        published_columns = [row[0] for row in connection.execute("DESCRIBE published").fetchall()]
        unexpected_columns = {*published_columns} ^ {*columns}
        names = ", ".join(f'"{name}"' for name in published_columns if name in columns)
        blank = " AND ".join(f'"{name}" IS NULL' for name in published_columns)
        connection.execute(_ALIKE.format(names=names)).fetchall()
        small_groups, inexact_groups = connection.execute(_SMALL.format(k=k)).fetchall()[0]
        empty_records = connection.execute(_EMPTY.format(blank=blank)).fetchall()[0][0]
        invented_values = connection.execute(_MORE.format(names=names)).fetchall()[0][0]
    return Anonymity(k, small_groups, inexact_groups, empty_records, invented_values, len(unexpected_columns))
