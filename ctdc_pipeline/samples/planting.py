"""What goes wrong in real exports, planted on purpose and counted, so that a run can be checked against what was put in.

Each defect sits in a row of its own, in a row that would otherwise be accepted: the counts are exact, not estimates. Oddities are
text a reader must cope with; they change no outcome and may sit anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ctdc_pipeline.partners.layout import Field, Layout
from ctdc_pipeline.samples.identities import FORMULA_NOTES

Rows = NDArray[np.intp]

# Rows among each 1,000 (at least one row of each kind, while half of the rows stay sound).
DEFECTS = {
    "unknown code": 2.0,
    "impossible date": 1.0,
    "registered before 2002": 0.5,
    "registered in the future": 0.5,
    "age out of range": 1.5,
    "unknown country": 2.0,
    "blank where a value is due": 1.0,
    "row sent twice": 1.5,
    "case number used twice": 1.0,
}
ODDITY = 5.0
UNKNOWN_COUNTRY = {"iom": "QQ", "iso2": "QQ", "iso3": "QQQ", "name": "Atlantis"}


class Planting:
    """Plants into ``table`` (str cells in the columns of ``layout``), in place, and counts what it planted by kind."""

    def __init__(self, rng: np.random.Generator, layout: Layout, table: pd.DataFrame) -> None:
        self.rng, self.layout, self.table = rng, layout, table
        self.planted: Counter[str] = Counter()
        self._sound = np.ones(len(table), dtype=bool)

    def spend(self, rows: Rows | NDArray[np.bool_]) -> None:
        """Keep defects out of these rows: something else decides their outcome."""
        self._sound[rows] = False

    def take(self, kind: str, per_mille: float, where: NDArray[np.bool_] | None = None) -> Rows:
        """Choose sound rows (of those where ``where`` holds) for one kind, count them under it and spend them."""
        sound = np.flatnonzero(self._sound if where is None else self._sound & where)
        wanted = max(1, round(len(self._sound) * per_mille / 1000))
        if 2 * self._sound.sum() < len(self._sound):
            wanted = 0
        rows = np.sort(self.rng.permutation(sound)[:wanted])
        self.spend(rows)
        self.planted[kind] += len(rows)
        return rows

    def mark(self, kind: str, per_mille: float, column: str, value: str) -> Rows:
        """Write ``value`` into ``column`` of some sound rows."""
        rows = self.take(kind, per_mille)
        self._write(column, rows, lambda _: value)
        return rows

    def defects(self, *, registered_again: date) -> None:
        """Plant every kind of ``DEFECTS``; a case number used twice comes with that day of registration."""
        layout, day = self.layout, self.layout.date_formats[0]
        registered, age = layout.having("registered")[0].name, layout.having("age")[0].name
        coded = [field for field in layout.fields if field.codes and field.role in ("gender", "flags", "majority")]
        filled = [field for field in layout.fields if field.filled and field.role in ("status", "registered")]
        bad = {
            "unknown code": (coded, "X9"),
            "impossible date": ([layout.having("registered")[0]], _no_such_day(day)),
            "registered before 2002": ([layout.having("registered")[0]], date(1997, 5, 14).strftime(day)),
            "registered in the future": ([layout.having("registered")[0]], date(2199, 5, 14).strftime(day)),
            "unknown country": (layout.having("citizenship")[:1], UNKNOWN_COUNTRY[layout.countries]),
            "blank where a value is due": (filled, ""),
        }
        for kind, (fields, value) in bad.items():
            self._spread(kind, fields, lambda _, value=value: value)
        for column, value in ((age, "-2"), (age, "141")):
            self.mark("age out of range", DEFECTS["age out of range"] / 2, column, value)
        self._again("row sent twice")
        again = self._again("case number used twice")
        self._write(registered, again, lambda _: registered_again.strftime(day))

    def oddities(self) -> None:
        """Plant text that looks odd and changes nothing: spaces around codes, other case, formula text in free text."""
        size = len(self.table)
        coded = [field.name for field in self.layout.fields if field.codes and field.role in ("gender", "flags", "status")]
        free = [field.name for field in self.layout.fields if field.identifying]
        odd: dict[str, tuple[list[str], Callable[[str], str]]] = {
            "trailing space": (coded, lambda cell: cell + "  "),
            "other case": (coded, str.swapcase),
            "formula text": (free, lambda _: FORMULA_NOTES[0]),
        }
        for kind, (columns, change) in odd.items():
            rows = self.rng.permutation(size)[: max(1, round(size * ODDITY / 1000))]
            for row, column in zip(rows, self.rng.integers(0, len(columns), len(rows)), strict=True):
                cell = self.table.at[row, columns[column]]
                if cell:
                    self.table.at[row, columns[column]] = change(cell)
                    self.planted[kind] += 1

    def _spread(self, kind: str, fields: list[Field] | tuple[Field, ...], change: Callable[[str], str]) -> None:
        rows = self.take(kind, DEFECTS[kind])
        for field, part in zip(fields, np.array_split(rows, len(fields)), strict=True):
            self._write(field.name, part, change)

    def _write(self, column: str, rows: Rows, change: Callable[[str], str]) -> None:
        at = self.table.columns.get_loc(column)
        self.table.iloc[rows, at] = [change(cell) for cell in self.table.iloc[rows, at]]

    def _again(self, kind: str) -> Rows:
        """Append a copy of some sound rows; the positions of the copies."""
        rows = self.take(kind, DEFECTS[kind])
        copies = np.arange(len(self.table), len(self.table) + len(rows))
        self.table = pd.concat([self.table, self.table.iloc[rows]], ignore_index=True)
        self._sound = np.concatenate([self._sound, np.zeros(len(rows), dtype=bool)])
        return copies


def _no_such_day(date_format: str) -> str:
    """The 30th of February in a date format."""
    for directive, text in (("%d", "30"), ("%b", "Feb"), ("%m", "02"), ("%Y", "2016")):
        date_format = date_format.replace(directive, text)
    return date_format
