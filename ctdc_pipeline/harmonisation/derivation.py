"""Derive the codebook's variables from raw rows, and report every broken rule.

The work is done column by column: each distinct text is judged once. ``exclusions`` decides which rows are admitted; this
module neither drops a row nor repairs a value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.harmonisation.cells import Mask, Numbers, Texts, coded, distinct_cells, parse_days, texts
from ctdc_pipeline.partners.layout import Field, Source
from ctdc_pipeline.spelling import normal_form

LAST_YEAR = 2021
"""The last year of registration in a release, unless it is configured."""
MAX_AGE = 120
"""The greatest believable age in years."""
ADULT_AGE = 18

RULES = {
    "missing-value": "a field that every row must fill is blank",
    "unknown-code": "the code is not in the field's code list",
    "unknown-country": "the country is not known in the code system of the export",
    "unknown-organisation": "the consent register does not know the organisation",
    "impossible-date": "the text is not a date of the calendar in a form of the layout",
    "date-in-the-future": "the date lies after the last day that the release covers",
    "not-a-whole-number": "the text is not a whole number",
    "age-out-of-range": f"the age is below 0 or above {MAX_AGE}",
    "duration-out-of-range": f"the duration is below 0 or above {MAX_AGE} years",
    "registered-too-early": "registration before the first year of the codebook",
    "registered-in-the-future": "registration after the last day that the release covers",
    "conflicting-values": "two fields of the row contradict each other",
    "look-alike-identity": "another row's identity differs only in characters that look the same or cannot be seen, or that of"
    " an entry in a list of opt-outs or consents only in upper and lower case",
    "formula-text": "the cell begins like a spreadsheet formula",
    "spreadsheet-error": "the cell is an error of a spreadsheet, such as #N/A or #REF!",
}
"""Rules that send a row to quarantine if they are broken, and what each means."""

_CELL_RULES = {
    "formula-text": pc.MatchSubstringOptions(r"^\s*([=@＝＠]|[+\-]\S*[A-Za-z]\S*[|!(])"),
    "spreadsheet-error": pc.MatchSubstringOptions(
        r"^\s*(#(N/?[ABDVЗ]|Н/Д|I/T|YOK|HIÁNYZIK|GETTING_DATA|[¡¿]?[\p{Lu}\p{Lo}\d/_ ]+[!?]|##+)|Err:\d{3})\s*$"
    ),
}
"""Patterns of cells that are quarantined in whatever field they occur."""


@dataclass
class Derived:
    """The variables of one source's rows, and the rules that the rows break.

    Values are texts, None where missing. ``broken`` lists (field, rule, mask of rows).
    """

    values: dict[str, Texts]
    broken: list[tuple[str, str, Mask]] = dataclasses.field(default_factory=list)

    @property
    def quarantined(self) -> Mask:
        """The rows that break any rule."""
        return np.logical_or.reduce([mask for _, _, mask in self.broken])

    def break_rule(self, rule: str, field: str, mask: Mask) -> None:
        """Record that the rows in ``mask`` break ``rule`` in ``field``."""
        self.broken.append((field, rule, mask))


def derive(raw: pa.Table, *, source: Source, as_of: date, proxies: Sequence[str] = ()) -> Derived:
    """Derive the variables of every row, by the rules of the codebook.

    Args:
        raw: The cases as ``ingest`` wrote them.
        source: The source, in the layout of ``raw``.
        as_of: The last day that the release covers; no date may be after it.
        proxies: Names of fields for the country of exploitation, in the order in which they are tried. If it is empty, the
            order of the layout counts.

    Raises:
        ParameterError: If ``proxies`` names a field that is not for the country of exploitation.
    """
    return _Derivation(raw, source, as_of).run(proxies)


def caseless(parts: Sequence[Texts]) -> list[Texts]:
    """Return the same identities without the difference between upper and lower case."""
    return [np.array([*map(str.casefold, part)], object) for part in parts]


def unusable_cells(cells: pa.ChunkedArray) -> list[tuple[str, Mask]]:
    """Return the rules for any cell that a column breaks, each with a mask of the cells."""
    matches = [
        (rule, pc.call_function("match_substring_regex", [cells], options).to_numpy(zero_copy_only=False))
        for rule, options in _CELL_RULES.items()
    ]
    return [(rule, mask) for rule, mask in matches if mask.any()]


class _Derivation:
    """Derives the variables of one table; each method handles the fields of one subject."""

    def __init__(self, raw: pa.Table, source: Source, as_of: date) -> None:
        self.raw, self.layout, self.size = raw, source.cases, raw.num_rows
        self.as_of = np.datetime64(as_of, "D")
        self.derived = Derived({variable.name: np.full(self.size, None, object) for variable in codebook().harmonised})
        self.values, self.breaks = self.derived.values, self.derived.break_rule

    def run(self, proxies: Sequence[str]) -> Derived:
        """Derive every variable, and return them with the broken rules."""
        self.cells()
        registered = self.registration()
        age, born = self.age(registered)
        exploited_from = self.duration(registered, born)
        self.majority(age, born, exploited_from)
        for field in self.layout.having("gender"):
            self.values["gender"] = self.code(field)
        for field in self.layout.having("status"):
            self.code(field)
        self.values["citizenship"] = self.country(self.layout.having("citizenship"))
        self.values["CountryOfExploitation"] = self.country(self.country_fields(proxies))
        self.flags()
        return self.derived

    def cells(self) -> None:
        """Apply the rules for any cell to the fields with a role.

        Other fields are not used after ingestion, so their cells do not matter.
        """
        for field in filter(lambda column: column.role, self.layout.fields):
            if field.filled:
                self.breaks("missing-value", field.name, texts(self.raw, field=field, layout=self.layout) == "")
            for rule, mask in unusable_cells(self.raw.column(field.name)):
                self.breaks(rule, field.name, mask)
                # No other rule can judge such a cell, so it counts as blank from here on.
                blank = pc.call_function("if_else", [pa.array(mask), pa.scalar(""), self.raw.column(field.name)])
                self.raw = self.raw.set_column(self.raw.column_names.index(field.name), field.name, blank)

    def registration(self) -> NDArray[np.datetime64]:
        """Derive the year of registration, and return the days of registration."""
        (field,) = self.layout.having("registered")
        days = self.day(field)
        years = _years(days)
        self.breaks("registered-too-early", field.name, years < codebook().first_year)
        self.breaks("registered-in-the-future", field.name, days > self.as_of)
        self.values["yearOfRegistration"] = _as_text(years)
        return days

    def age(self, registered: NDArray[np.datetime64]) -> tuple[Numbers, NDArray[np.datetime64]]:
        """Return the age in completed years at registration, and the day of birth.

        The age computed from the day of birth counts; a stated age may differ from it by one.
        """
        age, born = np.full(self.size, np.nan), np.full(self.size, np.datetime64("NaT", "D"))
        for field in self.layout.having("age"):
            age = self.number(field)
            self.breaks("age-out-of-range", field.name, (age < 0) | (age > MAX_AGE))
        for field in self.layout.having("birth"):
            born = self.day(field)
            computed = completed_months(born, registered) // 12
            self.breaks("age-out-of-range", field.name, (computed < 0) | (computed > MAX_AGE))
            self.breaks("conflicting-values", field.name, np.abs(computed - age) > 1)
            age = np.where(np.isnan(computed), age, computed)
        self.values["ageBroad"] = _banded("ageBroad", age)
        return age, born

    def duration(self, registered: NDArray[np.datetime64], born: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
        """Derive the duration, and return the first day of exploitation.

        The completed months between the two dates count, else the stated months.
        """
        months, began = np.full(self.size, np.nan), np.full(self.size, np.datetime64("NaT", "D"))
        for field in self.layout.having("months"):
            months = self.number(field)
            self.breaks("duration-out-of-range", field.name, (months < 0) | (months > MAX_AGE * 12))
        for field in self.layout.having("exploited_from"):
            began = self.day(field)
            self.breaks("date-in-the-future", field.name, began > self.as_of)
            self.breaks("conflicting-values", field.name, (began > registered) | (began < born))
        for field in self.layout.having("exploited_to"):
            ended = self.day(field)
            self.breaks("date-in-the-future", field.name, ended > self.as_of)
            self.breaks("conflicting-values", field.name, ended < began)
            computed = completed_months(began, ended)
            self.breaks("conflicting-values", field.name, np.abs(computed - months) > 1)
            months = np.where(np.isnan(computed), months, computed)
        self.values["traffickMonths"] = _banded("traffickMonths", months)
        return began

    def majority(self, age: Numbers, born: NDArray[np.datetime64], began: NDArray[np.datetime64]) -> None:
        """Derive whether the person was a minor or an adult when exploitation began.

        It is taken from the code, else from the age at that time, else from the day of birth and the first day of exploitation.
        """
        status = np.full(self.size, None, object)
        for field in self.layout.having("majority"):
            status = self.code(field)
            self.breaks("conflicting-values", field.name, (status == "Adult") & (age < ADULT_AGE))
        at_start = completed_months(born, began) // 12
        for field in self.layout.having("age_at_exploitation"):
            stated = self.number(field)
            self.breaks("age-out-of-range", field.name, (stated < 0) | (stated > MAX_AGE))
            self.breaks("conflicting-values", field.name, stated > age)
            at_start = np.where(np.isnan(stated), at_start, stated)
        computed = np.where(at_start < ADULT_AGE, "Minor", "Adult").astype(object)
        computed[np.isnan(at_start)] = None
        self.values["majorityStatusAtExploit"] = np.where(pd.isna(status), computed, status)

    def country_fields(self, proxies: Sequence[str]) -> tuple[Field, ...]:
        """Return the fields for the country of exploitation, in the order in which they are tried."""
        fields_by_name = {field.name: field for field in self.layout.having("exploitation_country")}
        unknown = [name for name in proxies if name not in fields_by_name]
        if unknown:
            raise ParameterError(
                f"not a field for the country of exploitation: {', '.join(unknown)}",
                remedy=f"Choose among {', '.join(fields_by_name)}.",
            )
        return tuple(fields_by_name[name] for name in proxies) or tuple(fields_by_name.values())

    def country(self, fields: Sequence[Field]) -> Texts:
        """Return the alpha-3 code of the first of ``fields`` that has a value.

        Of several values in one cell the first counts.
        """
        codes_found = np.full(self.size, None, object)
        for field in fields:
            distinct, rows = distinct_cells(self.raw, field, self.layout)
            first = [text.split(field.separator)[0] if field.multi else text for text in distinct]
            codes = np.array([countries().alpha3(text, system=self.layout.countries) for text in first], object)
            self.breaks("unknown-country", field.name, pd.isna(codes)[rows] & (distinct != "")[rows])
            codes_found = np.where(pd.isna(codes_found), codes[rows], codes_found)
        return codes_found

    def flags(self) -> None:
        """Set each flag that a code means, and the release variable into which each detail merges."""
        rows_by_flag: dict[str, Mask] = {}
        for field in self.layout.having("flags"):
            listed = {normal_form(code.code).casefold(): code.means for code in field.codes}
            distinct, rows = distinct_cells(self.raw, field, self.layout)
            parts = ([*text.split(field.separator)] if field.multi else [text] for text in distinct)
            cells_parts = [[part.strip().casefold() for part in cells] for cells in parts]
            unknown = np.array([any(part and part not in listed for part in cells) for cells in cells_parts], bool)
            self.breaks("unknown-code", field.name, unknown[rows])
            for name in {name for means in listed.values() for name in means}:
                is_meant = np.array([any(name in listed.get(part, ()) for part in cells) for cells in cells_parts], bool)[rows]
                rows_by_flag[name] = rows_by_flag[name] | is_meant if name in rows_by_flag else is_meant
        for detail in codebook().details:
            if detail.merges_into and detail.name in rows_by_flag:
                rows_by_flag[detail.merges_into] = (
                    rows_by_flag.get(detail.merges_into, np.zeros(self.size, bool)) | rows_by_flag[detail.name]
                )
        for name, mask in rows_by_flag.items():
            self.values[name][mask] = "1"

    def code(self, field: Field) -> Texts:
        """Return what the codes of a field mean; unknown codes break a rule."""
        meaning, unknown = coded(self.raw, field=field, layout=self.layout)
        self.breaks("unknown-code", field.name, unknown)
        return meaning

    def day(self, field: Field) -> NDArray[np.datetime64]:
        """Return the days of a field; impossible dates break a rule."""
        days, impossible = parse_days(self.raw, field=field, layout=self.layout)
        self.breaks("impossible-date", field.name, impossible)
        return days

    def number(self, field: Field) -> Numbers:
        """Return the whole numbers of a field; other texts break a rule."""
        distinct, rows = distinct_cells(self.raw, field, self.layout)
        numbers = np.array([_whole(text) for text in distinct], float)
        self.breaks("not-a-whole-number", field.name, np.isnan(numbers)[rows] & (distinct != "")[rows])
        return numbers[rows]


def completed_months(start: NDArray[np.datetime64], end: NDArray[np.datetime64]) -> Numbers:
    """Return the whole months from ``start`` to ``end``.

    Args:
        start: Days (datetime64[D]).
        end: Days (datetime64[D]), of the same length.

    Returns:
        Months as float64; negative if ``end`` is before ``start``, NaN where either day is missing.
    """
    first, last = start.astype("datetime64[M]"), end.astype("datetime64[M]")
    months = (last - first).astype("timedelta64[M]").astype(float)
    last_month_incomplete = (end - last.astype("datetime64[D]")) < (start - first.astype("datetime64[D]"))
    return np.where(np.isnat(start) | np.isnat(end), np.nan, months - last_month_incomplete)


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
