"""Plant what goes wrong in real exports, and count it.

A run can be compared with what was planted. Each defect is in its own row, which would otherwise be accepted, and has the name
of the one rule that must find it; so the counts are exact. Oddities are texts with which a reader must cope; they do not change
the outcome of a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ctdc_pipeline.partners.layout import Field, Role, Source
from ctdc_pipeline.samples.identities import FORMULA

Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]

# Rows per 1,000; at least one of each kind, as long as half of the rows stay sound.
DEFECTS = {
    "unknown-code": 2.0,
    "unknown-country": 2.0,
    "missing-value": 1.0,
    "impossible-date": 1.0,
    "registered-too-early": 0.5,
    "registered-in-the-future": 0.5,
    "age-out-of-range": 1.5,
    "not-a-whole-number": 1.0,
    "duration-out-of-range": 0.5,
    "conflicting-values": 0.5,
    "date-in-the-future": 0.5,
    "formula-text": 1.0,
    "spreadsheet-error": 1.0,
}
SENT_TWICE, CASE_AGAIN, LOOK_ALIKE = 1.5, 1.0, 0.5
ODDITY = 5.0
BEFORE_ALL, AFTER_ALL = date(1997, 5, 14), date(2199, 5, 14)
NO_COUNTRY = {"iom": "QQ", "iso2": "QQ", "iso3": "QQQ", "name": "Atlantis", "portuguese": "Atlântida"}


class Planting:
    """Plants defects in an export of ``source``, and counts them.

    ``table`` has str cells; ``planted`` counts the rows by rule or oddity. ``origin`` is, for each row of ``table``, the row of
    the original table from which it comes.
    """

    def __init__(self, rng: np.random.Generator, source: Source, table: pd.DataFrame) -> None:
        self.rng, self.source, self.table = rng, source, table
        self.planted: Counter[str] = Counter()
        self.origin: Rows = np.arange(len(table))
        self._sound = np.ones(len(table), dtype=bool)

    def already(self, rule: str, rows: Mask) -> None:
        """Count rows that the rule finds without a change, and keep defects out of them."""
        self.planted[rule] += int(rows.sum())
        self._sound[rows] = False

    def take(self, rule: str, per_mille: float, where: Mask | None = None) -> Rows:
        """Choose sound rows, count them under ``rule``, and keep other defects out of them.

        Args:
            rule: The rule or oddity.
            per_mille: How many rows per 1,000 of the table.
            where: The rows to choose from; all if it is None.
        """
        sound = np.flatnonzero(self._sound if where is None else self._sound & where)
        enough = 2 * int(self._sound.sum()) > len(self._sound)
        rows = np.sort(self.rng.permutation(sound)[: max(1, round(len(self._sound) * per_mille / 1000)) if enough else 0])
        self._sound[rows] = False
        self.planted[rule] += len(rows)
        return rows

    def mark(self, rule: str, per_mille: float, fields: Sequence[Field], value: str, where: Mask | None = None) -> None:
        """Write ``value`` into one of ``fields`` in some sound rows."""
        rows = self.take(rule, per_mille, where)
        for field, part in zip(fields, np.array_split(rows, len(fields)), strict=True):
            self._write(field.name, part, lambda _: value)

    def defects(self, *, registered_again: date) -> None:
        """Plant every kind of ``DEFECTS``, and cases that occur twice.

        A repeated case is a copy, or was entered again with the day ``registered_again``.
        """
        fields, day = self.source.cases.fields, self.source.cases.date_formats[0]
        registered, age, months = (self._having(role) for role in ("registered", "age", "months"))
        coded_fields = [field for field in fields if field.codes and field.role in ("gender", "flags", "majority")]
        filled_fields = [field for field in fields if field.filled and field.role in ("status", "registered")]
        values: list[tuple[str, Sequence[Field], str, Mask | None]] = [
            ("unknown-code", coded_fields, "X9", None),
            ("unknown-country", self._having("citizenship")[:1], NO_COUNTRY[self.source.cases.countries], None),
            ("missing-value", filled_fields, "", None),
            ("impossible-date", registered, _thirtieth_of_february(day), None),
            ("registered-too-early", registered, BEFORE_ALL.strftime(day), None),
            ("registered-in-the-future", registered, AFTER_ALL.strftime(day), None),
            ("age-out-of-range", age, "141", self._blank("birth")),
            ("not-a-whole-number", age, "about 20", None),
            ("duration-out-of-range", months, "-5", ~self._blank("months")),
            ("date-in-the-future", self._having("exploited_to"), AFTER_ALL.strftime(day), ~self._blank("exploited_to")),
            ("formula-text", coded_fields, FORMULA, None),
            ("spreadsheet-error", coded_fields, "#N/A", None),
        ]
        if stated := self._having("age_at_exploitation"):
            values.append(("conflicting-values", stated, "119", ~self._blank("age")))
        for field in self._having("majority"):
            adult = next(code.code for code in field.codes if code.means == ("Adult",))
            minor = np.isin(self.table[age[0].name].to_numpy(str), [str(years) for years in range(18)])
            values.append(("conflicting-values", [field], adult, minor))
        for rule, targets, value, where in values:
            if targets:
                # If only recent reports are admitted, a report from before the codebook's first year is excluded for that reason.
                found_by = "reported-too-early" if rule == "registered-too-early" and self.source.reported_from else rule
                self.mark(found_by, DEFECTS[rule], targets, value, where)
        self._again(SENT_TWICE)
        undated = self._blank("birth") & self._blank("exploited_from")  # no other date to contradict the new one
        repeated = self._again(CASE_AGAIN, undated)
        self._write(registered[0].name, repeated, lambda _: registered_again.strftime(day))
        lookalikes = self._again(LOOK_ALIKE, rule="look-alike-identity")
        self.planted["look-alike-identity"] += len(lookalikes)  # Both rows of each pair are quarantined.
        self._write(self._having("case_id")[-1].name, lookalikes, lambda cell: cell + "\N{RIGHT-TO-LEFT MARK}")

    def oddities(self) -> None:
        """Plant text that looks odd and changes nothing.

        It is spaces and case of codes, words for a blank, and near-formulas.
        """
        fields = self.source.cases.fields
        coded = [field.name for field in fields if field.codes and field.role in ("gender", "flags", "status")]
        answers = [field.name for field in fields if field.role in ("age", "citizenship", "exploitation_country", "months")]
        free = [field.name for field in fields if field.identifying and field.type == "text"]
        blank = (self.source.cases.blanks or ("",))[0]
        odd: dict[str, tuple[list[str], Callable[[str], str]]] = {
            "trailing space": (coded, lambda cell: cell and cell + "  "),
            "other case": (coded, str.swapcase),
            "word for a blank": (answers, lambda cell: cell or blank),
            "looks like a formula": (free, lambda cell: cell and "- " + cell),
        }
        for kind, (columns, change) in odd.items():
            for column in self.rng.permutation(columns)[:3]:
                where = np.array([change(cell) != cell for cell in self.table[column].tolist()])
                self._write(str(column), self.take(kind, ODDITY / 3, where), change)

    def _having(self, role: Role) -> tuple[Field, ...]:
        return self.source.cases.having(role)

    def _blank(self, role: Role) -> Mask:
        """Return the rows in which every field with this role is blank."""
        names = [field.name for field in self._having(role)]
        return np.all(self.table[names].to_numpy(str) == "", axis=1)

    def _write(self, column: str, rows: Rows, change: Callable[[str], str]) -> None:
        cells = self.table[column].to_numpy(object).copy()
        cells[rows] = [change(cell) for cell in cells[rows]]
        self.table[column] = cells

    def _again(self, per_mille: float, where: Mask | None = None, *, rule: str = "duplicate-case") -> Rows:
        """Append copies of some sound rows, and return their positions.

        One row of each pair counts under ``rule``.
        """
        rows = self.take(rule, per_mille, where)
        copies = np.arange(len(self.table), len(self.table) + len(rows))
        self.table = pd.concat([self.table, self.table.iloc[rows]], ignore_index=True)
        self.origin = np.concatenate([self.origin, self.origin[rows]])
        self._sound = np.concatenate([self._sound, np.zeros(len(rows), dtype=bool)])
        return copies


def _thirtieth_of_february(date_format: str) -> str:
    for directive, text in (("%d", "30"), ("%b", "Feb"), ("%m", "02"), ("%Y", "2016")):
        date_format = date_format.replace(directive, text)
    return date_format
