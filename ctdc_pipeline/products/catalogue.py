"""All products of a release in the order they are made, and every file of them: what it is and how it is protected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctdc_pipeline.products import (
    changelog,
    codebook_files,
    country_map,
    datapackage,
    dictionary,
    k_anonymous,
    records,
    report,
    showcase,
    story_tables,
)
from ctdc_pipeline.products.inputs import Inputs

_SYNTHETIC = "k-synthetic: each record is shared by at least k victims in all it says"
_REAL = "complete records: below k hidden, a few withheld, others rounded down to a multiple of k, percentages from these"
_NONE = "holds no figure about people"
_TOLD = "follows from what the other files and the manifest tell"
_BOTH = "k-synthetic records; coverage from complete records, below k hidden and others rounded down"


@dataclass(frozen=True)
class File:
    """One file of a release."""

    name: str
    about: str
    protection: str


FILES = (
    *(
        File(f"{records.NAME}.{form}", f"The Global Synthetic Dataset, {said}", _SYNTHETIC)
        for form, said in {
            "csv": "comma-separated",
            "tsv": "tab-separated",
            "parquet": "Parquet, with a description in each column's metadata",
            "xlsx": "workbook; years and flags are numbers",
            "dta": "Stata 14 and later, with variable and value labels; names are cut at 32 characters",
        }.items()
    ),
    File(f"{dictionary.AGGREGATES}.csv", "Counts of people by combinations of attributes, up to the reporting length", _REAL),
    File(f"{dictionary.DICTIONARY}.csv", "The variables: name, label, group, type, values, definition", _NONE),
    File(f"{dictionary.DICTIONARY}.md", "The same to read", _NONE),
    *(
        File(story_tables.file_name(story), f"{story.title}: count, denominator, percentage and its interval", _REAL)
        for story in story_tables.STORIES
    ),
    File(f"{story_tables.KNOWN}.csv", "Of how many people each variable, and each group of flags, is known", _REAL),
    File(
        f"{k_anonymous.NAME}.csv",
        "Real records, quasi-identifiers only, k-anonymised",
        f"each row occurs {k_anonymous.K} times or a multiple of it; cells and records are suppressed until that holds",
    ),
    File(f"{k_anonymous.SUMMARY}.csv", "Shares of records and values that k-anonymisation and synthesis keep", "whole percent"),
    File(f"{codebook_files.NAME}.xlsx", "Codebook as a workbook: sheets Main, TabStat and Region", _SYNTHETIC),
    File(f"{codebook_files.NAME}.html", "Codebook as one page", _BOTH),
    File(f"{codebook_files.NAME}.pdf", "Codebook as PDF/UA-1", _BOTH),
    File("map.csv", "Profile of victims by country of citizenship and by country of exploitation", _REAL),
    *(File(f"map_{role}.geojson", f"The same by {role}, with shapes of countries", _REAL) for role in country_map.ROLES),
    File("map.html", "The map as one page", _REAL),
    File(showcase.FILE, "Synthetic records beside reportable aggregates, to explore", f"{_SYNTHETIC}; aggregates as published"),
    File(report.FILE, "Quality and disclosure report: guarantees and proof, utility, suppression, partners, changes", _TOLD),
    File(changelog.FILE, "What changed since the release before", _TOLD),
    File(datapackage.NAME, "Data Package descriptor: all files above with their hashes, columns and code lists", _NONE),
)

PRODUCTS: tuple[Callable[[Inputs, Path], None], ...] = (
    records.write,
    dictionary.write,
    story_tables.write,
    k_anonymous.write,
    codebook_files.write,
    country_map.write,
    showcase.write,
)


def write(inputs: Inputs, folder: Path) -> None:
    """Write to ``folder`` every product that needs ``inputs`` only. Raises OSError, ReleaseError, ResourceError, TableError."""
    for product in PRODUCTS:
        product(inputs, folder)


def conclude(
    inputs: Inputs, folder: Path, *, manifest: Mapping[str, Any], since: Sequence[changelog.Listing]
) -> Mapping[str, str]:
    """Write to ``folder`` what can be told once all else in it was proved: report, changes and descriptor. Raises OSError.

    ``manifest`` as far as it does not name files. Returns the plots of the report, as SVG by name.
    """
    plots = report.write(inputs, folder, manifest=manifest, changes=since)
    (folder / changelog.FILE).write_text(changelog.text(manifest, since), encoding="utf-8")
    datapackage.write(inputs, folder, abouts={file.name: file.about for file in FILES})
    return plots


def documentation() -> str:
    """The files as a Markdown table."""
    lines = ["| File | What it is | How it is protected |", "|---|---|---|"]
    return "\n".join(lines + [f"| `{file.name}` | {file.about} | {file.protection} |" for file in FILES])
