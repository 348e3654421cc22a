"""Read published CTDC files.

Recognise which file it is, and convert its columns and values to the codebook's. The releases differ in names, country codes,
marks for missing values, and bands. What a file leaves out is empty here; nothing is added except what the codebook merges
(``Variable.merges_into``). The rows keep their number and order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import Variable, codebook
from ctdc_pipeline.errors import TableError
from ctdc_pipeline.storage.tables import LONGEST_NAME, TEXT, plain, read_table

pc: Any = pyarrow.compute  # its functions are created at import, so type checkers cannot see them

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
"""Columns of 2020 that the 37 variables do not need: they are finer, summed up, or about another moment."""
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
    """One form in which CTDC published.

    ``variables`` are those of the resulting table, in order. ``columns`` gives the variable of each heading, in lower case; a
    heading with None is known and left out. ``missing`` and ``suppressed`` are the texts for a value that was not recorded, and
    for a country that was too rare to publish.
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
        """The names of the variables, in order."""
        return tuple(variable.name for variable in self.variables)


@dataclass(frozen=True)
class Imported:
    """A published file as a table.

    ``mapped`` are the columns whose name changed, with the new name; ``dropped`` the columns that were left out; ``absent`` the
    variables that the file does not have.
    """

    format: Format
    table: pa.Table
    mapped: tuple[tuple[str, str], ...]
    dropped: tuple[str, ...]
    absent: tuple[str, ...]


@cache
def formats() -> tuple[Format, ...]:
    """Return the known formats, oldest first."""
    variables_2021 = codebook().variables
    columns_2021 = _columns(variables_2021)
    columns_2020 = {
        **{heading: variable for heading, variable in columns_2021.items() if variable and variable.name not in _ONLY_2021},
        **_columns(detail for detail in codebook().details if detail.merges_into),
        **{heading.casefold(): None for heading in _UNUSED_2020},
    }
    variables_2024 = _variables_2024()
    columns_2024 = {
        **_columns(variables_2024),
        "meanswithholddocuments": next(variable for variable in variables_2024 if variable.name == "meansWithholdDocs"),
    }
    # Stata shortens names, and so does the published list of variables.
    columns_2021 |= {name[:LONGEST_NAME].casefold(): variable for name, variable in _columns(variables_2021).items() if variable}
    columns_2026 = {heading.replace("typeof", "sectorof"): variable for heading, variable in columns_2024.items()}
    return (
        Format(
            "2020",
            "k-anonymised Global Dataset (2020)",
            "iso2",
            variables_2021,
            columns_2020,
            _MISSING_2020,
            _SUPPRESSED_2020,
        ),
        Format("2021", "Global Synthetic Dataset (2021)", "iso3", variables_2021, columns_2021),
        Format("2024", "Global Synthetic Dataset (2024 and 2025)", "iso3", variables_2024, columns_2024),
        Format("2026", "Global Synthetic Dataset (2026)", "iso3", variables_2024, columns_2026),
    )


def recognise(path: Path) -> Format:
    """Return the format of the file at ``path``.

    Headings decide, or else country codes.

    Raises:
        TableError: If no format knows a heading, or several formats remain possible.
    """
    return _recognised(path, _table_and_notes(path)[0])


def load(path: Path) -> pa.Table:
    """Return the file at ``path`` in the variables of its format; see ``imported``.

    Raises TableError.
    """
    return imported(path).table


def imported(path: Path) -> Imported:
    """Read a published file.

    Values become the codebook's: bands in one spelling, countries as alpha-3 codes, flags ``1`` or empty (a ``0`` means no more
    than an empty cell in the newer releases), genders as in 2021.

    Args:
        path: The file, in any format that ``read_table`` reads.

    Returns:
        The table: one row for each row, one column for each variable of the format (dictionary-encoded text, null for missing).

    Raises:
        TableError: If the file is not a published CTDC file, or contains an unknown value. The message names row and column,
            but no value.
    """
    table, dropped = _table_and_notes(path)
    file_format = _recognised(path, table)
    columns_by_name: dict[str, pa.Array] = {}
    mapped: list[tuple[str, str]] = []
    for heading in table.column_names:
        variable = file_format.columns[heading.strip().casefold()]
        if variable is None:
            dropped.append(heading)
            continue
        target = variable.merges_into or variable.name
        column = _spelled(table[heading], variable, file_format, f"{path.name}: column {heading}")
        columns_by_name[target] = pc.coalesce(columns_by_name[target], column) if target in columns_by_name else column
        if heading != target:
            mapped.append((heading, target))
    empty_column = pa.nulls(table.num_rows, pa.string())
    columns = [columns_by_name.get(name, empty_column).dictionary_encode().cast(TEXT) for name in file_format.names]
    absent = tuple(name for name in file_format.names if name not in columns_by_name)
    return Imported(file_format, pa.table(columns, names=file_format.names), tuple(mapped), tuple(dropped), absent)


def _table_and_notes(path: Path) -> tuple[pa.Table, list[str]]:
    """Read the table at ``path``, and set aside columns that are only a note to readers.

    The first heading of the 2020 file is its terms of use, with no cell below it.
    """
    table = read_table(path)
    notes = [name for name in table.column_names if len(name.split()) > 2 and table[name].null_count == len(table)]
    return table.drop_columns(notes), notes


def _columns(variables: Any) -> dict[str, Variable | None]:
    return {name.casefold(): variable for variable in variables for name in (variable.name, *variable.aliases)}


def _variables_2024() -> tuple[Variable, ...]:
    """Return the 27 variables of 2024, with the means of control merged into eight."""
    kept = [
        replace(variable, values=_MONTHS_2024) if variable.name == "traffickMonths" else variable
        for variable in codebook().variables
        if variable.group != "means" and variable.name not in _DROPPED_2024
    ]
    means = [Variable(name, 0, label, "flag", "means", label, ("1",)) for name, label in _MEANS_2024.items()]
    start = next(index for index, variable in enumerate(kept) if variable.group == "exploitation")
    ordered = [*kept[:start], *means, *kept[start:]]
    return tuple(replace(variable, position=position) for position, variable in enumerate(ordered, start=1))


def _recognised(path: Path, table: pa.Table) -> Format:
    headings = [heading.strip().casefold() for heading in table.column_names]
    candidates = [candidate for candidate in formats() if all(heading in candidate.columns for heading in headings)]
    if not candidates:
        best_match = max(formats(), key=lambda candidate: sum(heading in candidate.columns for heading in headings))
        unknown_columns = [number for number, heading in enumerate(headings, start=1) if heading not in best_match.columns]
        if len(unknown_columns) > len(headings) / 2:
            raise TableError(
                f"{path.name}: the headings are those of no published CTDC file",
                remedy="Give a file as CTDC published it, with its headings in the first row.",
            )
        raise TableError(
            f"{path.name}: the heading of column {unknown_columns[0]} is unknown in the {best_match.title}, the best match",
            remedy="Give the file as CTDC published it, or remove the column.",
        )
    if len(headings) != len(set(headings)):
        raise TableError(f"{path.name}: two headings differ in capitals only", remedy="Remove one of the two columns.")
    if len(candidates) > 1:
        # Part of a file may have only columns that several formats share; then country codes distinguish 2020 from the others.
        codes = [
            value for name in table.column_names if name.strip().casefold() in _countries() for value in _distinct(table[name])
        ]
        lengths = {len(code.strip()) for code in codes if code.strip().isalpha()}
        fitting_codes = [candidate for candidate in candidates if lengths == {{"iso2": 2, "iso3": 3}[candidate.system]}]
        candidates = (
            fitting_codes
            if len({candidate.names for candidate in fitting_codes}) == 1
            else [candidate for candidate in fitting_codes if candidate.name == "2021"]
        )
    if not candidates:
        raise TableError(
            f"{path.name}: too few columns to tell which published file it is", remedy="Give the file with all of its columns."
        )
    return candidates[0]


def _countries() -> set[str]:
    return {
        heading
        for file_format in formats()
        for heading, variable in file_format.columns.items()
        if variable and variable.kind == "country"
    }


def _distinct(column: pa.ChunkedArray) -> list[str]:
    return [value for value in pc.unique(column.cast(pa.string())).to_pylist() if value]


def _spelled(column: pa.ChunkedArray, variable: Variable, file_format: Format, location: str) -> pa.Array:
    """Return the values of one column as the codebook writes them."""
    spelled: dict[str, str | None] = {}
    for text in _distinct(column):
        cell = plain(text.strip())
        is_missing = cell in file_format.missing or (cell in file_format.suppressed and variable.kind != "flag")
        value = None if is_missing else _value(cell, variable, file_format)
        if not value and not is_missing and not (variable.kind == "flag" and cell == "0"):
            row = pc.index(column.cast(pa.string()), text).as_py() + 1
            raise TableError(
                f"{location}, row {row}: the value is not in the code list", remedy=f"Compare it with the {file_format.title}."
            )
        spelled[text] = value
    keys = pa.array([*spelled], pa.string())
    values = pa.array([*spelled.values()], pa.string())
    return pc.take(values, pc.index_in(column.cast(pa.string()).combine_chunks(), keys))


def _value(text: str, variable: Variable, file_format: Format) -> str | None:
    if variable.kind == "country":
        return countries().alpha3(text, system=file_format.system)
    if variable.kind == "year":
        year = variable.canonical(text)
        return year if year and int(year) >= codebook().first_year else None
    return variable.canonical(text) or (_GENDERS.get(text.casefold()) if variable.name == "gender" else None)
