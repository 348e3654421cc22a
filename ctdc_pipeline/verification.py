"""What the checks of a release share: their names, what they find, and how the files of a release are read.

The files may be anybody's, so nothing in them is taken for granted.
"""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from python_calamine import CalamineError, CalamineWorkbook

from ctdc_pipeline import proof, signature
from ctdc_pipeline.codebook import Variable, codebook, countries

MANIFEST = "manifest.json"
TOMBSTONE = "WITHDRAWN.json"
PUBLICATION = "publication.json"
BESIDE = {MANIFEST, MANIFEST + signature.SUFFIX, PUBLICATION}
"""What a manifest cannot list: itself, and what is written about it afterwards."""
RECORDS = "global_synthetic_dataset"
AGGREGATES = "reportable_aggregates.csv"
DICTIONARY = "data_dictionary.csv"
CODEBOOK = "codebook.xlsx"
REPORT = "quality_report.html"
CHANGES = "CHANGELOG.md"
NEEDED = (f"{RECORDS}.csv", f"{RECORDS}.tsv", f"{RECORDS}.parquet", AGGREGATES, DICTIONARY)
DELIMITERS = {".csv": ",", ".tsv": "\t"}
ROUNDING = 0.0501
"""How far a percentage of one decimal may be from the exact one."""
STATA_NAME = 32  # letters of a variable's name
TOLD = 5  # problems of one check that are told in full
HOLDS, FAILS, NOT_CHECKED = "holds", "FAILS", "not checked"
_AGAIN = "Get the release again from its publisher; if it is the same there, tell them and do not use it."
_CHANGED = "The files are not what was published, or should never have been. Do not use them; tell the publisher."
_WITHDRAW = "Withdraw the release: it may disclose people. Then find out how it came to be published."

CHECKS: Mapping[str, tuple[str, str]] = {
    "manifest": ("the manifest is there and says all it must", _AGAIN),
    "version": ("folder, manifest and descriptions name one version", _AGAIN),
    "files": ("every file that the manifest lists is there, and no other", _AGAIN),
    "checksums": ("every file has the SHA-256 that the manifest gives", _AGAIN),
    "signature": (
        "the manifest is signed by the owner of the public key",
        "Get the publisher's public key by another way.",
    ),
    "publication": ("what is said of the publication is about this manifest", _AGAIN),
    "readable": ("every file is what its name says", _AGAIN),
    "columns": ("the records have the codebook's variables in their order, as text", _CHANGED),
    "forbidden columns": ("no table has a column that tells of cases, sources or dates", _WITHDRAW),
    "pseudonyms": ("no text holds a hash that the manifest does not explain", _WITHDRAW),
    "code lists": ("every value is in the list of its variable", _CHANGED),
    "copies": ("all copies hold the same records in the same order", _CHANGED),
    "rows": ("the tables have as many rows as the manifest says", _CHANGED),
    "empty records": ("no record is empty", _CHANGED),
    "multiples of k": ("every attribute's count in the records is a multiple of k", _WITHDRAW),
    "aggregates": ("each aggregate is one combination, in order, told once, no longer than the reporting length", _CHANGED),
    "aggregate counts": ("every aggregate is at least k and a multiple of k", _WITHDRAW),
    "aggregates add up": ("no combination is more frequent than its parts, nor are a variable's values together", _CHANGED),
    "single counts": ("records and aggregates count every attribute alike", _CHANGED),
    "reported combinations": ("every combination in the records, up to the reporting length, is a reported one", _WITHDRAW),
    "manifest figures": ("what the manifest says of the data is so, and rounded where it must be", _CHANGED),
    "data dictionary": ("the data dictionary is the codebook's", _AGAIN),
    "data package": ("the data package describes these files: their hashes, columns and code lists", _AGAIN),
    "codebook": ("the codebook's workbook lists the variables, and as many values as the records hold", _CHANGED),
    "protected tables": (
        "told counts are reported ones, percentages are theirs, no denominator betrays a hidden count",
        _WITHDRAW,
    ),
    "map": ("the same of the map, whose files say one thing, of countries and nothing smaller", _WITHDRAW),
    "k-anonymised": (
        "every group of the k-anonymised records is of 11 people or a multiple, in quasi-identifiers only",
        _WITHDRAW,
    ),
    "report": ("the tables of the quality report tell what the other files do, and what follows from them", _CHANGED),
    "support": ("every record, however long, is held by k sensitive records", _WITHDRAW),
    "exact counts": ("every attribute's count is the sensitive one rounded down to a multiple of k", _WITHDRAW),
    "exact aggregates": ("the aggregates are all common combinations, their counts rounded down to multiples of k", _WITHDRAW),
}
"""What is checked, by name and in order: what holds when it holds, and what to do when it does not."""

PROOFS = ("support", "exact counts", "exact aggregates")

UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    RecursionError,
    csv.Error,
    pa.ArrowException,
    CalamineError,
    zipfile.BadZipFile,
)
"""What readers raise at files that are not what they should be; UnicodeDecodeError and JSONDecodeError are ValueErrors."""


@dataclass(frozen=True)
class Check:
    """The result of one check, and what was found: problems if it fails, else what was looked at."""

    name: str
    result: str
    found: tuple[str, ...]
    meaning: str
    remedy: str


@dataclass(frozen=True)
class Report:
    """All checks of one release."""

    folder: str
    version: str | None
    k: int | None
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing that was checked fails."""
        return all(check.result != FAILS for check in self.checks)

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the checks that fail."""
        return tuple(check.name for check in self.checks if check.result == FAILS)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and texts, for JSON."""
        return {**asdict(self), "holds": self.holds}


@dataclass
class Findings:
    """What the checks find while they run."""

    problems: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def require(self, check: str, holds: bool, problem: str) -> bool:
        """Note that ``check`` was made, and the ``problem`` unless it ``holds``; returns whether it does."""
        problems = self.problems.setdefault(check, [])
        if not holds:
            problems.append(problem)
        return holds

    def note(self, check: str, said: str) -> None:
        """Say something of a check that is no problem."""
        self.notes.setdefault(check, []).append(said)

    def checks(self) -> tuple[Check, ...]:
        """One result a check, in the order of ``CHECKS``."""
        return tuple(self._check(name, meaning, remedy) for name, (meaning, remedy) in CHECKS.items())

    def _check(self, name: str, meaning: str, remedy: str) -> Check:
        problems = self.problems.get(name)
        if problems:
            more = [f"and {len(problems) - TOLD} more"] if len(problems) > TOLD else []
            return Check(name, FAILS, (*problems[:TOLD], *more), meaning, remedy)
        return Check(name, NOT_CHECKED if problems is None else HOLDS, tuple(self.notes.get(name, ())), meaning, "")


@dataclass(frozen=True)
class Contents:
    """A release as it was found, for the checks of its files."""

    folder: Path
    manifest: Mapping[str, Any]
    numbering: proof.Numbering
    findings: Findings
    tables: dict[str, pa.Table | None] = field(default_factory=dict)

    @property
    def k(self) -> int:
        return self.manifest["k"]

    @property
    def length(self) -> int:
        return self.manifest["reporting_length"]

    def table(self, name: str) -> Any:
        """The file as a table of text, read once; None, and a finding, if that fails."""
        if name not in self.tables:
            self.tables[name] = self.read(name, read_text_table)
        return self.tables[name]

    def read(self, name: str, how: Callable[[Path], Any]) -> Any:
        """The file's content as ``how`` reads it; None, and a finding, if that fails."""
        try:
            content = how(self.folder / name)
        except UNREADABLE as error:
            self.findings.require("readable", False, f"{name}: cannot be read ({type(error).__name__})")
            return None
        self.findings.require("readable", True, "")
        return content


def code_lists(*, last_year: int) -> dict[str, tuple[str, ...]]:
    """The values that each variable of the release may have, by name and in order."""
    return {variable.name: _values(variable, last_year) for variable in codebook().variables}


def read_text_table(path: Path) -> pa.Table:
    """A CSV, TSV or Parquet file as a table of text, an empty cell for null. Raises one of the errors that readers raise."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    with path.open(newline="", encoding="utf-8") as file:
        names = next(csv.reader(file, delimiter=DELIMITERS[path.suffix], strict=True), [])
    if not names or len(set(names)) < len(names):
        raise ValueError("no columns, or repeated ones")
    return pa_csv.read_csv(
        path,
        read_options=pa_csv.ReadOptions(column_names=names, skip_rows=1),
        parse_options=pa_csv.ParseOptions(delimiter=DELIMITERS[path.suffix], newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )


def read_workbook(path: Path) -> pa.Table:
    """The records in a workbook, over one sheet or several, as text. Raises one of the errors that readers raise.

    Few of them differ, so that each distinct one is made text once.
    """
    with zipfile.ZipFile(path) as archive:
        for part in archive.namelist():
            if part.startswith("xl/worksheets/") and _holds(archive, part, _SHOWN_OTHERWISE):
                raise ValueError("a formula or a truth value, which another program could show otherwise")
    book = CalamineWorkbook.from_path(path)
    names, distinct, numbers = list(codebook().names), dict[tuple[Any, ...], int](), list[int]()
    for sheet in map(book.get_sheet_by_name, book.sheet_names):
        if sheet.start != (0, 0):
            raise ValueError("a sheet that does not begin in its first cell")
        rows = sheet.iter_rows()
        if (heading := next(rows)) != names:
            return pa.table({str(name): pa.array([], pa.string()) for name in heading})
        numbers += [distinct.setdefault(tuple(row), len(distinct)) for row in rows]
    columns = list(zip(*distinct, strict=True)) or [()] * len(names)
    return pa.table([_words(column) for column in columns], names=names).take(pa.array(numbers, pa.int64()))


def read_stata(path: Path) -> pa.Table:
    """The records in a Stata file as text, a name that Stata cuts written out. Raises one of the errors that readers raise."""
    frame: Any = pd.read_stata(path)
    short = {name[:STATA_NAME]: name for name in codebook().names}
    coded = {short.get(name, name): pa.array(frame[name]).dictionary_encode() for name in map(str, frame.columns)}
    return pa.table({name: _words(column.dictionary.to_pylist()).take(column.indices) for name, column in coded.items()})


def _words(cells: Sequence[Any]) -> pa.Array:
    known = {cell: cell_text(cell) for cell in set(cells)}
    return pa.array(map(known.__getitem__, cells), pa.string())


_SHOWN_OTHERWISE = tuple(map(re.compile, (rb"<f[\s/>]", rb":f[\s/>]", rb"=\s*[\"']b[\"']")))
"""In the XML of a sheet: a formula, or a cell that is true or false, which equals 1 or 0 here and is another word elsewhere."""


def _holds(archive: zipfile.ZipFile, part: str, what: Sequence[re.Pattern[bytes]]) -> bool:
    """Whether one of ``what``, of a few bytes, is in a file of ``archive``."""
    tail = b""
    with archive.open(part) as file:
        while block := file.read(1 << 20):
            if any(one.search(tail + block) for one in what):
                return True
            tail = block[-16:]
    return False


def cell_text(cell: Any) -> str | None:
    """A cell as the text files have it: whole numbers without a decimal point, nothing for an empty one."""
    if isinstance(cell, float | np.floating) and cell == int(cell):
        return str(int(cell))
    return None if cell is None or cell == "" else str(cell)


def read_json(path: Path) -> Any:
    """A JSON file in which no object names a thing twice, for then readers would differ in what it says. Raises ValueError."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name is repeated")
        return dict(pairs)

    return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)


def _values(variable: Variable, last_year: int) -> tuple[str, ...]:
    if variable.kind == "year":
        return tuple(str(year) for year in range(codebook().first_year, last_year + 1))
    return tuple(country.iso3 for country in countries().rows) if variable.kind == "country" else variable.values


@dataclass(frozen=True)
class Aggregates:
    """Reported combinations by length: their attributes, ascending, their keys, ascending, and their counts.

    ``held``: how many of the records hold each, once they were looked at.
    """

    sets: dict[int, proof.Codes] = field(default_factory=dict)
    keys: dict[int, proof.Ints] = field(default_factory=dict)
    counts: dict[int, proof.Ints] = field(default_factory=dict)
    held: dict[int, proof.Ints] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(map(len, self.counts.values()))


def numbers(column: pa.ChunkedArray, *, decimal: bool = False) -> Any:
    """The numbers that a column of text holds, as int64 or double; None if it holds anything else."""
    try:
        return None if column.null_count else column.cast(pa.float64() if decimal else pa.int64()).to_numpy()
    except pa.ArrowException:
        return None
