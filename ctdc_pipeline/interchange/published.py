"""Published CTDC files as tables: which file it is, and its columns and values in the codebook's spelling.

The releases differ in names, codes for countries, marks for missing values and bands. What a file leaves out is empty here;
nothing is added but what the codebook's own merging says (``Variable.merges_into``). Rows stay as many and in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute

from ctdc_pipeline.codebook import Variable, codebook, countries
from ctdc_pipeline.errors import TableError
from ctdc_pipeline.tables import TEXT, read_table

pc: Any = pyarrow.compute  # made when imported, so type checkers cannot see its functions

_MISSING_2020 = frozenset({"-99"})
_SUPPRESSED_2020 = frozenset({"0", "00"})

_UNUSED_2020 = (
    "Datasource",
    "majorityStatus",
    "majorityEntry",
    "meansOfControlNotSpecified",
    "meansOfControlConcatenated",
    "isSexAndLabour",
    "typeOfExploitConcatenated",
    "isAbduction",
    "typeOfLabourNotSpecified",
    "typeOfLabourConcatenated",
    "typeOfSexConcatenated",
    "RecruiterRelationship",
    "recruiterRelationUnknown",
)
"""Columns of 2020 that say nothing the 37 variables hold: finer, summed up, or of another moment."""
_ONLY_2021 = ("traffickMonths", "typeOfSexOther")

_MEANS_2024 = {
    "meansDebtBondageEarnings": "Debt bondage or earnings taken",
    "meansThreats": "Threats, of law enforcement or by use of children too",
    "meansAbusePsyPhySex": "Psychological, physical or sexual abuse",
    "meansFalsePromises": "False promises",
    "meansDrugsAlcohol": "Drugs or alcohol",
    "meansDenyBasicNeeds": "Denies finances, movement, medical care or necessities",
    "meansExcessiveWorkHours": "Excessive working hours",
    "meansWithholdDocs": "Withholds documents",
}
_DROPPED_2024 = ("majorityStatusAtExploit", "typeOfLabourOther", "typeOfSexOther")
_MONTHS_2024 = ("0--12 (0-1 yr)", "13--24 (1-2 yrs)", "25+ (2+ yrs)")
_GENDERS = {"man": "Male", "woman": "Female", "trans/transgender/nonconforming": "Transgender/NonConforming"}


@dataclass(frozen=True)
class Format:
    """One form in which CTDC published. ``variables`` are those of the table it is read into, in order.

    ``columns`` gives the variable of each heading, in small letters; a heading without a variable is known and left out.
    ``missing`` and ``suppressed`` are texts for what was not recorded and for a country that was too rare to publish.
    """

    name: str
    title: str
    system: Literal["iso2", "iso3"]
    variables: tuple[Variable, ...]
    columns: Mapping[str, Variable | None]
    missing: frozenset[str] = frozenset()
    suppressed: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables in order."""
        return tuple(variable.name for variable in self.variables)


@dataclass(frozen=True)
class Imported:
    """A published file as a table. ``mapped`` are the columns that changed their name, with the new one; ``dropped`` those left
    out; ``absent`` the variables that the file does not hold."""

    format: Format
    table: pa.Table
    mapped: tuple[tuple[str, str], ...]
    dropped: tuple[str, ...]
    absent: tuple[str, ...]


@cache
def formats() -> tuple[Format, ...]:
    """The formats that are known, oldest first."""
    full = codebook().variables
    synthetic = _columns(full)
    k_anonymous = {
        **{heading: variable for heading, variable in synthetic.items() if variable and variable.name not in _ONLY_2021},
        **_columns(detail for detail in codebook().details if detail.merges_into),
        **{heading.casefold(): None for heading in _UNUSED_2020},
    }
    lean = _variables_2024()
    typed = {**_columns(lean), "meanswithholddocuments": next(one for one in lean if one.name == "meansWithholdDocs")}
    sectors = {heading.replace("typeof", "sectorof"): variable for heading, variable in typed.items()}
    return (
        Format(
            "2020",
            "k-anonymised Global Dataset (2020)",
            "iso2",
            full,
            k_anonymous,
            _MISSING_2020,
            _SUPPRESSED_2020,
        ),
        Format("2021", "Global Synthetic Dataset (2021)", "iso3", full, synthetic),
        Format("2024", "Global Synthetic Dataset (2024 and 2025)", "iso3", lean, typed),
        Format("2026", "Global Synthetic Dataset (2026)", "iso3", lean, sectors),
    )


def recognise(path: Path) -> Format:
    """The format of the file at ``path``, by its headings, and by its codes of countries where a part of a file has too few.

    Raises TableError for a heading that no format knows, or when nothing tells the formats apart.
    """
    return _recognised(path, read_table(path))


def load(path: Path) -> pa.Table:
    """The file at ``path`` in the variables of its format; see ``imported``. Raises TableError."""
    return imported(path).table


def imported(path: Path) -> Imported:
    """Read the published file at ``path``: a row for each row, a column for each variable of its format, empty for missing.

    Values are the codebook's: bands in one spelling, countries as alpha-3 codes, flags ``1`` or empty (a ``0`` says no more than
    an empty cell in the newer releases), genders as in 2021. Raises TableError, naming row and column but no value.
    """
    table = read_table(path)
    form = _recognised(path, table)
    found: dict[str, pa.Array] = {}
    mapped: list[tuple[str, str]] = []
    dropped: list[str] = []
    for heading in table.column_names:
        variable = form.columns[heading.strip().casefold()]
        if variable is None:
            dropped.append(heading)
            continue
        target = variable.merges_into or variable.name
        column = _spelled(table[heading], variable, form, f"{path.name}: column {heading}")
        found[target] = pc.coalesce(found[target], column) if target in found else column
        if heading != target:
            mapped.append((heading, target))
    nothing = pa.nulls(table.num_rows, pa.string())
    columns = [found.get(name, nothing).dictionary_encode().cast(TEXT) for name in form.names]
    absent = tuple(name for name in form.names if name not in found)
    return Imported(form, pa.table(columns, names=form.names), tuple(mapped), tuple(dropped), absent)


def _columns(variables: Any) -> dict[str, Variable | None]:
    return {name.casefold(): variable for variable in variables for name in (variable.name, *variable.aliases)}


def _variables_2024() -> tuple[Variable, ...]:
    """The 27 variables of 2024: those of 2021 that stayed, in order, with the means of control merged into eight."""
    kept = [
        replace(one, values=_MONTHS_2024) if one.name == "traffickMonths" else one
        for one in codebook().variables
        if one.group != "means" and one.name not in _DROPPED_2024
    ]
    means = [Variable(name, 0, label, "flag", "means", label, ("1",)) for name, label in _MEANS_2024.items()]
    start = next(index for index, one in enumerate(kept) if one.group == "exploitation")
    ordered = [*kept[:start], *means, *kept[start:]]
    return tuple(replace(one, position=position) for position, one in enumerate(ordered, start=1))


def _recognised(path: Path, table: pa.Table) -> Format:
    headings = [heading.strip().casefold() for heading in table.column_names]
    fitting = [form for form in formats() if all(heading in form.columns for heading in headings)]
    if not fitting:
        near = max(formats(), key=lambda form: sum(heading in form.columns for heading in headings))
        strange = [number for number, heading in enumerate(headings, start=1) if heading not in near.columns]
        if len(strange) > len(headings) / 2:
            raise TableError(
                f"{path.name}: the headings are those of no published CTDC file",
                remedy="Give a file as CTDC published it, with its headings in the first row.",
            )
        raise TableError(
            f"{path.name}: the heading of column {strange[0]} is unknown in the {near.title}, which the others fit best",
            remedy="Give the file as CTDC published it, or remove the column.",
        )
    if len(headings) != len(set(headings)):
        raise TableError(f"{path.name}: two headings differ in capitals only", remedy="Remove one of the two columns.")
    if len(fitting) > 1:
        # A part of a file may have columns of several formats only; the codes of its countries then tell 2020 from the others.
        codes = [
            value for name in table.column_names if name.strip().casefold() in _countries() for value in _distinct(table[name])
        ]
        lengths = {len(code.strip()) for code in codes if code.strip().isalpha()}
        told = [form for form in fitting if lengths == {{"iso2": 2, "iso3": 3}[form.system]}]
        fitting = told if len({form.names for form in told}) == 1 else [form for form in told if form.name == "2021"]
    if not fitting:
        raise TableError(
            f"{path.name}: too few columns to tell which published file it is", remedy="Give the file with all of its columns."
        )
    return fitting[0]


def _countries() -> set[str]:
    return {heading for form in formats() for heading, one in form.columns.items() if one and one.kind == "country"}


def _distinct(column: pa.ChunkedArray) -> list[str]:
    return [value for value in pc.unique(column.cast(pa.string())).to_pylist() if value]


def _spelled(column: pa.ChunkedArray, variable: Variable, form: Format, place: str) -> pa.Array:
    """The values of one column as the codebook writes them."""
    spelled: dict[str, str | None] = {}
    for text in _distinct(column):
        plain = text.strip().removesuffix(".0")
        absent = plain in form.missing or (plain in form.suppressed and variable.kind != "flag")
        known = None if absent else _value(plain, variable, form)
        if not known and not absent and not (variable.kind == "flag" and plain == "0"):
            row = pc.index(column.cast(pa.string()), text).as_py() + 1
            raise TableError(
                f"{place}, row {row}: the value is not in the code list", remedy=f"Compare it with the {form.title}."
            )
        spelled[text] = known
    keys = pa.array([*spelled], pa.string())
    values = pa.array([*spelled.values()], pa.string())
    return pc.take(values, pc.index_in(column.cast(pa.string()).combine_chunks(), keys))


def _value(text: str, variable: Variable, form: Format) -> str | None:
    if variable.kind == "country":
        return countries().alpha3(text, system=form.system)
    if variable.kind == "year":
        year = variable.canonical(text)
        return year if year and int(year) >= codebook().first_year else None
    return variable.canonical(text) or (_GENDERS.get(text.casefold()) if variable.name == "gender" else None)
