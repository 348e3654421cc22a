"""From the raw rows of one source to the variables of the codebook, and every rule that a row can break on the way.

Works column by column: each distinct text is judged once. Which rows enter is decided in ``admission``; nothing here drops a row
or repairs a value.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ctdc_pipeline.codebook import codebook, countries
from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.partners.layout import Field, Layout, Source

Texts = NDArray[np.object_]
Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]

OLDEST = 120
"""Greatest believable age in years."""
ADULT = 18

RULES = {
    "missing-value": "a field that every row must fill is blank",
    "unknown-code": "the code is not in the field's code list",
    "unknown-country": "the country is not known in the code system of the export",
    "unknown-organisation": "the consent register does not know the organisation",
    "impossible-date": "the text is not a date of the calendar in a form of the layout",
    "date-in-the-future": "the date lies after the last day that the release covers",
    "not-a-whole-number": "the text is not a whole number",
    "age-out-of-range": f"the age is below 0 or above {OLDEST}",
    "duration-out-of-range": f"the duration is below 0 or above {OLDEST} years",
    "registered-too-early": "registration before the first year of the codebook",
    "registered-in-the-future": "registration after the last day that the release covers",
    "conflicting-values": "two fields of the row contradict each other",
    "formula-text": "the cell begins like a spreadsheet formula",
}
"""Rules whose breach sends a row to quarantine, and what each means."""

_FORMULA = pc.MatchSubstringOptions(r"^\s*([=@＝＠]|[+\-]\S*[A-Za-z]\S*[|!(])")


@dataclass
class Derived:
    """One source's rows: the texts of each variable (None where missing), and which rows break which rule of which field."""

    values: dict[str, Texts]
    broken: list[tuple[str, str, Mask]] = field(default_factory=list)

    @property
    def quarantined(self) -> Mask:
        """Rows that break any rule."""
        return np.logical_or.reduce([mask for _, _, mask in self.broken])

    def break_rule(self, rule: str, field: str, mask: Mask) -> None:
        """Note that the rows in ``mask`` break ``rule`` in ``field``."""
        self.broken.append((field, rule, mask))


def derive(raw: pa.Table, *, source: Source, as_of: date, proxies: Sequence[str] = ()) -> Derived:
    """The variables of every row of ``raw`` (as ``ingest`` wrote it), by the rules of the codebook.

    ``as_of`` is the last day that the release covers: nothing may lie after it. ``proxies`` are fields for the country of
    exploitation in the order in which they are tried; the layout's own order without it.
    """
    return _Derivation(raw, source, as_of).run(proxies)


def identities(raw: pa.Table, *, layout: Layout) -> list[Texts]:
    """The parts of the case identity of each row, without outer spaces and in upper case; "" where a part is blank."""
    return [np.array([*map(str.upper, texts(raw, field=field, layout=layout))], object) for field in layout.having("case_id")]


def pseudonyms(parts: list[Texts], *, source: str, key: bytes) -> Texts:
    """HMAC-SHA256 of each row's identity within its source, written as a JSON list so that no two run together; hexadecimal."""
    rows = zip(*parts, strict=True)
    return np.array([hmac.digest(key, json.dumps([source, *row]).encode(), "sha256").hex() for row in rows], object)


def texts(raw: pa.Table, *, field: Field, layout: Layout) -> Texts:
    """The text of each row without outer spaces, "" where blank."""
    distinct, rows = _distinct(raw, field, layout)
    return distinct[rows]


def coded(raw: pa.Table, *, field: Field, layout: Layout) -> tuple[Texts, Mask]:
    """What each row's code of a single-choice ``field`` means (its first meaning, else None), and where the code is unknown."""
    listed = {code.code.casefold(): code.means[0] if code.means else None for code in field.codes}
    distinct, rows = _distinct(raw, field, layout)
    known = np.array([not text or text.casefold() in listed for text in distinct], bool)
    return np.array([listed.get(text.casefold()) for text in distinct], object)[rows], ~known[rows]


class _Derivation:
    def __init__(self, raw: pa.Table, source: Source, as_of: date) -> None:
        self.raw, self.layout, self.size = raw, source.cases, raw.num_rows
        self.as_of = np.datetime64(as_of, "D")
        self.derived = Derived({variable.name: np.full(self.size, None, object) for variable in codebook().harmonised})
        self.values, self.breaks = self.derived.values, self.derived.break_rule

    def run(self, proxies: Sequence[str]) -> Derived:
        self.cells()
        registered = self.registration()
        age, born = self.age(registered)
        began = self.duration(registered, born)
        self.majority(age, born, began)
        for one in self.layout.having("gender"):
            self.values["gender"] = self.code(one)
        for one in self.layout.having("status"):
            self.code(one)
        self.values["citizenship"] = self.country(self.layout.having("citizenship"))
        self.values["CountryOfExploitation"] = self.country(self.chain(proxies))
        self.flags()
        return self.derived

    def cells(self) -> None:
        """Rules on any cell, whatever its field."""
        for one in self.layout.fields:
            looks = pc.call_function("match_substring_regex", [self.raw.column(one.name)], _FORMULA)
            formula = looks.to_numpy(zero_copy_only=False)
            if formula.any():
                self.breaks("formula-text", one.name, formula)
            if one.filled:
                self.breaks("missing-value", one.name, texts(self.raw, field=one, layout=self.layout) == "")

    def registration(self) -> NDArray[np.datetime64]:
        (one,) = self.layout.having("registered")
        days = self.day(one)
        years = _years(days)
        self.breaks("registered-too-early", one.name, years < codebook().first_year)
        self.breaks("registered-in-the-future", one.name, days > self.as_of)
        self.values["yearOfRegistration"] = _as_text(years)
        return days

    def age(self, registered: NDArray[np.datetime64]) -> tuple[Numbers, NDArray[np.datetime64]]:
        """Age in completed years at registration and day of birth. The day of birth decides; a stated age may differ by one."""
        age, born = np.full(self.size, np.nan), np.full(self.size, np.datetime64("NaT", "D"))
        for one in self.layout.having("age"):
            age = self.number(one)
            self.breaks("age-out-of-range", one.name, (age < 0) | (age > OLDEST))
        for one in self.layout.having("birth"):
            born = self.day(one)
            reckoned = completed_months(born, registered) // 12
            self.breaks("age-out-of-range", one.name, (reckoned < 0) | (reckoned > OLDEST))
            self.breaks("conflicting-values", one.name, np.abs(reckoned - age) > 1)
            age = np.where(np.isnan(reckoned), age, reckoned)
        self.values["ageBroad"] = _banded("ageBroad", age)
        return age, born

    def duration(self, registered: NDArray[np.datetime64], born: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
        """Completed months between the two dates, else as stated; returns the first day of exploitation."""
        months, began = np.full(self.size, np.nan), np.full(self.size, np.datetime64("NaT", "D"))
        for one in self.layout.having("months"):
            months = self.number(one)
            self.breaks("duration-out-of-range", one.name, (months < 0) | (months > OLDEST * 12))
        for one in self.layout.having("exploited_from"):
            began = self.day(one)
            self.breaks("date-in-the-future", one.name, began > self.as_of)
            self.breaks("conflicting-values", one.name, (began > registered) | (began < born))
        for one in self.layout.having("exploited_to"):
            ended = self.day(one)
            self.breaks("date-in-the-future", one.name, ended > self.as_of)
            self.breaks("conflicting-values", one.name, ended < began)
            reckoned = completed_months(began, ended)
            self.breaks("conflicting-values", one.name, np.abs(reckoned - months) > 1)
            months = np.where(np.isnan(reckoned), months, reckoned)
        self.values["traffickMonths"] = _banded("traffickMonths", months)
        return began

    def majority(self, age: Numbers, born: NDArray[np.datetime64], began: NDArray[np.datetime64]) -> None:
        """As coded, else by the age when exploitation began, else by the day of birth and its first day."""
        status = np.full(self.size, None, object)
        for one in self.layout.having("majority"):
            status = self.code(one)
            self.breaks("conflicting-values", one.name, (status == "Adult") & (age < ADULT))
        at_start = completed_months(born, began) // 12
        for one in self.layout.having("age_at_exploitation"):
            stated = self.number(one)
            self.breaks("age-out-of-range", one.name, (stated < 0) | (stated > OLDEST))
            self.breaks("conflicting-values", one.name, stated > age)
            at_start = np.where(np.isnan(stated), at_start, stated)
        reckoned = np.where(at_start < ADULT, "Minor", "Adult").astype(object)
        reckoned[np.isnan(at_start)] = None
        self.values["majorityStatusAtExploit"] = np.where(pd.isna(status), reckoned, status)

    def chain(self, proxies: Sequence[str]) -> tuple[Field, ...]:
        fields = {one.name: one for one in self.layout.having("exploitation_country")}
        unknown = [name for name in proxies if name not in fields]
        if unknown:
            raise ParameterError(
                f"not a field for the country of exploitation: {', '.join(unknown)}", remedy=f"Choose among {', '.join(fields)}."
            )
        return tuple(fields[name] for name in proxies) or tuple(fields.values())

    def country(self, fields: Sequence[Field]) -> Texts:
        """Alpha-3 code of the first of ``fields`` that has a value; of several values in one cell the first counts."""
        found = np.full(self.size, None, object)
        for one in fields:
            distinct, rows = _distinct(self.raw, one, self.layout)
            first = [text.split(one.separator)[0] if one.multi else text for text in distinct]
            codes = np.array([countries().alpha3(text, system=self.layout.countries) for text in first], object)
            self.breaks("unknown-country", one.name, pd.isna(codes)[rows] & (distinct != "")[rows])
            found = np.where(pd.isna(found), codes[rows], found)
        return found

    def flags(self) -> None:
        """Each flag that a code means, and what each detail merges into."""
        holds: dict[str, Mask] = {}
        for one in self.layout.having("flags"):
            listed = {code.code.casefold(): code.means for code in one.codes}
            distinct, rows = _distinct(self.raw, one, self.layout)
            parts = ([*text.split(one.separator)] if one.multi else [text] for text in distinct)
            chosen = [[part.strip().casefold() for part in cells] for cells in parts]
            unknown = np.array([any(part and part not in listed for part in cells) for cells in chosen], bool)
            self.breaks("unknown-code", one.name, unknown[rows])
            for name in {name for means in listed.values() for name in means}:
                told = np.array([any(name in listed.get(part, ()) for part in cells) for cells in chosen], bool)[rows]
                holds[name] = holds[name] | told if name in holds else told
        for detail in codebook().details:
            if detail.merges_into and detail.name in holds:
                holds[detail.merges_into] = holds.get(detail.merges_into, np.zeros(self.size, bool)) | holds[detail.name]
        for name, mask in holds.items():
            self.values[name][mask] = "1"

    def code(self, one: Field) -> Texts:
        meaning, unknown = coded(self.raw, field=one, layout=self.layout)
        self.breaks("unknown-code", one.name, unknown)
        return meaning

    def day(self, one: Field) -> NDArray[np.datetime64]:
        days, impossible = parse_days(self.raw, field=one, layout=self.layout)
        self.breaks("impossible-date", one.name, impossible)
        return days

    def number(self, one: Field) -> Numbers:
        distinct, rows = _distinct(self.raw, one, self.layout)
        numbers = np.array([_whole(text) for text in distinct], float)
        self.breaks("not-a-whole-number", one.name, np.isnan(numbers)[rows] & (distinct != "")[rows])
        return numbers[rows]


def parse_days(raw: pa.Table, *, field: Field, layout: Layout) -> tuple[NDArray[np.datetime64], Mask]:
    """The day in each row (NaT where blank or impossible; a year alone is its first day), and where there is text but no day."""
    distinct, rows = _distinct(raw, field, layout)
    days = np.full(len(distinct), np.datetime64("NaT", "D"))
    for form in layout.date_formats:
        read = pd.to_datetime(pd.Series(distinct, dtype="str"), format=form, errors="coerce").to_numpy().astype("datetime64[D]")
        days = np.where(np.isnat(days), read, days)
    return days[rows], (np.isnat(days) & (distinct != ""))[rows]


def completed_months(start: NDArray[np.datetime64], end: NDArray[np.datetime64]) -> Numbers:
    """Whole months from ``start`` to ``end``, negative if it lies before; NaN where either is missing."""
    first, last = start.astype("datetime64[M]"), end.astype("datetime64[M]")
    months = (last - first).astype("timedelta64[M]").astype(float)
    short = (end - last.astype("datetime64[D]")) < (start - first.astype("datetime64[D]"))
    return np.where(np.isnat(start) | np.isnat(end), np.nan, months - short)


def _distinct(raw: pa.Table, field: Field, layout: Layout) -> tuple[Texts, NDArray[np.intp]]:
    """The distinct texts of a column, without outer spaces and with "" for what the layout calls blank, and each row's index."""
    rows, cells = pd.factorize(raw.column(field.name).to_numpy())
    blanks = {blank.casefold() for blank in layout.blanks}
    plain = [text.strip() for text in cells]
    return np.array(["" if text.casefold() in blanks else text for text in plain], object), rows


def _whole(text: str) -> float:
    digits = text[1:] if text[:1] in "+-" else text
    return float(text) if digits.isascii() and digits.isdigit() and len(digits) < 10 else np.nan


def _years(days: NDArray[np.datetime64]) -> Numbers:
    return np.where(np.isnat(days), np.nan, days.astype("datetime64[Y]").astype(int) + 1970.0)


def _as_text(numbers: Numbers) -> Texts:
    distinct, rows = np.unique(numbers, return_inverse=True)
    return np.array([None if np.isnan(number) else str(int(number)) for number in distinct], object)[rows]


def _banded(name: str, numbers: Numbers) -> Texts:
    distinct, rows = np.unique(numbers, return_inverse=True)
    bands: Callable[[int], str | None] = codebook().variable(name).band
    return np.array([None if np.isnan(number) else bands(int(number)) for number in distinct], object)[rows]
