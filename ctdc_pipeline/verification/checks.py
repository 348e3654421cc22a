"""What the checks of a release share: their names, what they find, and how the files of a release are read.

The files may be anybody's, so nothing in them is taken for granted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import Variable, codebook
from ctdc_pipeline.storage import approval, signature
from ctdc_pipeline.verification import recount
from ctdc_pipeline.verification.readers import UNREADABLE, read_text_table

MANIFEST = "manifest.json"
TOMBSTONE = "WITHDRAWN.json"
PUBLICATION = "publication.json"
BESIDE = {MANIFEST, MANIFEST + signature.SUFFIX, PUBLICATION, PUBLICATION + signature.SUFFIX, approval.APPROVALS}
"""What a manifest cannot list: itself, and what is written about it afterwards."""
RECORDS = "global_synthetic_dataset"
AGGREGATES = "reportable_aggregates.csv"
DICTIONARY = "data_dictionary.csv"
CODEBOOK = "codebook.xlsx"
REPORT = "quality_report.html"
CHANGES = "CHANGELOG.md"
NEEDED = (f"{RECORDS}.csv", f"{RECORDS}.tsv", f"{RECORDS}.parquet", AGGREGATES, DICTIONARY)
FILES = (
    *(f"{RECORDS}.{form}" for form in ("csv", "tsv", "parquet", "xlsx", "dta")),
    *(AGGREGATES, DICTIONARY, "data_dictionary.md", CODEBOOK, "codebook.html", "codebook.pdf", REPORT, CHANGES),
    *("global_dataset_k_anonymised.csv", "global_dataset_k_anonymised_summary.csv", "datapackage.json", "showcase.html"),
    *("map.csv", "map.html", "map_citizenship.geojson", "map_CountryOfExploitation.geojson", "known_values.csv"),
    *("story_age_by_gender.csv", "story_exploitation_by_year.csv", "story_exploitation_by_gender.csv", "story_corridors.csv"),
    *("story_means_of_control.csv", "story_means_of_control_by_age.csv", "story_recruiter_relation.csv"),
    *("story_recruiter_relation_by_age.csv", "story_sector_of_labour.csv", "story_sector_of_labour_by_gender.csv"),
    *("story_form_of_sexual_exploitation.csv", "story_gender_by_year.csv", "story_country_by_year.csv"),
)
"""All files that a release may hold, but for those beside."""
ROUNDING = 0.0501
"""How far a percentage of one decimal may be from the exact one."""
TOLD = 5  # problems of one check that are told in full
HOLDS, FAILS, NOT_CHECKED = "holds", "FAILS", "not checked"
AGAIN = "Get the release again from its publisher; if it is the same there, tell them and do not use it."
CHANGED = "The files are not what was published, or should never have been. Do not use them; tell the publisher."
WITHDRAW = "Withdraw the release: it may disclose people. Then find out how it came to be published."

CHECKS: Mapping[str, tuple[str, str]] = {
    "manifest": ("the manifest exists and is complete", AGAIN),
    "version": ("folder, manifest and descriptions name the same version", AGAIN),
    "files": ("the release contains exactly the files that the manifest lists, each a plain file of a readable size", AGAIN),
    "known files": ("every file is one that a release may contain", CHANGED),
    "structure": ("no file contains anything beside its table: no property, comment, metadata or extra name", CHANGED),
    "pages": (
        "the pages' scripts, styles and policies are this software's, and the map's figures match its table",
        CHANGED,
    ),
    "checksums": ("every file has the SHA-256 that the manifest gives", AGAIN),
    "signature": (
        "publication and manifest are signed by the owner of the public key",
        "Get the publisher's public key by another way.",
    ),
    "publication": ("the approval names this manifest", AGAIN),
    "approvals": ("every approval is a signature of this manifest by the approver it names", AGAIN),
    "readable": ("every file is what its name says", AGAIN),
    "columns": ("the records have the codebook's variables in their order, as text", CHANGED),
    "forbidden columns": ("no table has a column about cases, sources or dates", WITHDRAW),
    "pseudonyms": ("no text contains a hash that the manifest does not list", WITHDRAW),
    "code lists": ("every value is in the list of its variable", CHANGED),
    "copies": ("all copies contain the same records in the same order", CHANGED),
    "rows": ("the tables have as many rows as the manifest says", CHANGED),
    "empty records": ("no record is empty", CHANGED),
    "multiples of k": ("every attribute's count in the records is a multiple of k", WITHDRAW),
    "aggregates": ("each aggregate is one combination, in order, listed once, no longer than the reporting length", CHANGED),
    "aggregate counts": ("every aggregate is at least k and a multiple of k", WITHDRAW),
    "aggregates add up": (
        "no combination is more frequent than its parts, nor are a variable's values together",
        CHANGED,
    ),
    "bounds": ("no group of 1 to k - 1 people follows from the aggregates together", WITHDRAW),
    "single counts": ("records and aggregates agree on the count of every attribute", CHANGED),
    "reported combinations": ("every combination in the records, up to the reporting length, is a reported one", WITHDRAW),
    "manifest figures": ("the manifest's figures match the data, and are rounded where they must be", CHANGED),
    "data dictionary": ("the data dictionary is the codebook's", AGAIN),
    "data package": ("the data package describes these files: their hashes, columns and code lists", AGAIN),
    "codebook": ("the codebook's workbook lists the variables, and as many values as the records hold", CHANGED),
    "protected tables": (
        "published counts match the aggregates, percentages follow from them, and no denominator reveals a hidden count",
        WITHDRAW,
    ),
    "map": ("the same for the map; its files agree, and it shows nothing smaller than a country", WITHDRAW),
    "k-anonymised": (
        "every group of the k-anonymised records is of 11 people or a multiple, in quasi-identifiers only",
        WITHDRAW,
    ),
    "report": ("the tables of the quality report match the other files and what follows from them", CHANGED),
    "showcase": ("the records, counts and shares that the showcase embeds match the other files", CHANGED),
    "inputs": (
        "the sensitive records are those that the release was made from",
        "This is not the table it was made from, or the manifest was changed. Give the tables as they were for this release.",
    ),
    "support": ("at least k sensitive records contain each record, however long", WITHDRAW),
    "exact counts": ("every attribute's count is the sensitive one rounded down to a multiple of k", WITHDRAW),
    "exact aggregates": ("the aggregates are all common combinations, their counts rounded down to multiples of k", WITHDRAW),
}
"""What is checked, by name and in order: what holds when it holds, and what to do when it does not."""

PROOFS = ("support", "exact counts", "exact aggregates")


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
    unread: tuple[str, ...] = ()
    """What no check reads, and what to do about it."""
    invented: bool = False
    """Whether the release says that it tells of no real people."""

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
        return {"invented": self.invented, **asdict(self), "holds": self.holds}


@dataclass
class Findings:
    """What the checks find while they run."""

    problems: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    about: Mapping[str, tuple[str, str]] = field(default_factory=lambda: CHECKS)
    """What is checked of this release, as in ``CHECKS``."""

    def require(self, check: str, holds: bool, problem: str) -> bool:
        """Note that ``check`` was made, and the ``problem`` unless it ``holds``; returns whether it does."""
        problems = self.problems.setdefault(check, [])
        if not holds:
            problems.append(problem)
        return holds

    def note(self, check: str, text: str) -> None:
        """Say something of a check that is no problem."""
        self.notes.setdefault(check, []).append(text)

    def checks(self) -> tuple[Check, ...]:
        """One result a check, in the order of ``about``."""
        return tuple(self._check(name, meaning, remedy) for name, (meaning, remedy) in self.about.items())

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
    numbering: recount.Numbering
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


def _values(variable: Variable, last_year: int) -> tuple[str, ...]:
    if variable.kind == "year":
        return tuple(str(year) for year in range(codebook().first_year, last_year + 1))
    return tuple(country.iso3 for country in countries().rows) if variable.kind == "country" else variable.values


@dataclass(frozen=True)
class Aggregates:
    """Reported combinations by length: their attributes, ascending, their keys, ascending, and their counts.

    ``held``: how many of the records hold each, once they were looked at.
    """

    sets: dict[int, recount.Codes] = field(default_factory=dict)
    keys: dict[int, recount.Ints] = field(default_factory=dict)
    counts: dict[int, recount.Ints] = field(default_factory=dict)
    held: dict[int, recount.Ints] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(map(len, self.counts.values()))
