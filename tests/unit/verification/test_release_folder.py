"""Verification: a good release passes, and whatever is done to one is found by the check that is there for it."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import CtdcError, ParameterError, ReleaseError, TableError
from ctdc_pipeline.operations.limits import Limits
from ctdc_pipeline.products import catalogue
from ctdc_pipeline.quality.evaluation import evaluate
from ctdc_pipeline.release.candidate import make_candidate
from ctdc_pipeline.release.publication import publish
from ctdc_pipeline.storage.files import read_parquet
from ctdc_pipeline.storage.signature import sign
from ctdc_pipeline.storage.tables import as_text
from ctdc_pipeline.storage.zones import Zones
from ctdc_pipeline.synthesis import k_synthetic
from ctdc_pipeline.verification import recount
from ctdc_pipeline.verification.bounds import YEAR, small_groups
from ctdc_pipeline.verification.checks import CHECKS, FILES, PROOFS, Aggregates
from ctdc_pipeline.verification.release_folder import verify
from tests.support.releases import (
    LAST_YEAR,
    LENGTH,
    NAMES,
    RECORDS,
    VERSION,
    K,
    change_manifest,
    change_records,
    fill,
    read_rows,
    rehash,
    victims,
    write_rows,
)

AGGREGATES = "reportable_aggregates.csv"
Rows = list[list[str]]
Tampering = Callable[[Path], object]


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory) -> Zones:
    """A home in which a release was made and published."""
    zones = fill(Zones(tmp_path_factory.mktemp("verify") / "home").prepare())
    made = make_candidate(zones, version=VERSION, k=K, length=LENGTH, last_year=LAST_YEAR)
    publish(zones, candidate=made.digest, approver="A. Person", reason="A test.", k=K)
    return zones


@pytest.fixture
def folder(zones: Zones, tmp_path: Path) -> Path:
    """A copy of the release, to be tampered with."""
    return shutil.copytree(zones.releases / VERSION, tmp_path / VERSION)


@pytest.fixture
def sensitive(zones: Zones) -> Path:
    return zones.table("harmonised", "victims")


def place(name: str) -> int:
    return NAMES.index(name)


def in_records(change: Callable[[Rows], object], *, only: str = "") -> Tampering:
    return lambda folder: change_records(folder, change, only=only)


def in_rows(name: str, change: Callable[[Rows], object]) -> Tampering:
    """Change all cells of a CSV file, the header too."""

    def tamper(folder: Path) -> None:
        rows = read_rows(folder / name)
        change(rows)
        write_rows(folder / name, rows)

    return tamper


def in_manifest(change: Callable[[dict[str, Any]], object]) -> Tampering:
    return lambda folder: change_manifest(folder, change)


def with_file(name: str, text: str) -> Tampering:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def cell(name: str, value: str) -> Callable[[Rows], object]:
    """Another value in the first record that has one of the variable."""

    def change(rows: Rows) -> None:
        next(row for row in rows if row[place(name)] not in ("", value))[place(name)] = value

    return change


def swapped(rows: Rows) -> None:
    """Two values change places, so that every count stays and a record comes about that hardly anybody is like."""
    column = place("citizenship")
    flags = [place(name) for name in ("isForcedLabour", "isSexualExploit", "recruiterRelationFamily", "meansOfControlThreats")]
    longest = max(rows, key=lambda row: (sum(map(bool, row)), row))
    for number in [*flags, column]:
        if not longest[number]:
            other = next(row for row in rows if row[number] and row is not longest and sum(map(bool, row)) > 1)
            longest[number], other[number] = other[number], ""


def unlike(folder: Path) -> None:
    """Three values change places to come together in one record, as they do in nobody's report."""
    told = {frozenset(filter(None, pairs)) for pairs in _reported(folder)}
    single = sorted(pair for part in told if len(part) == 1 for pair in part)
    three = next(part for part in combinations(single, 3) if len(dict(part)) == 3 and frozenset(part) not in told)

    def change(rows: Rows) -> None:
        target = rows[0]
        for name, value in three:
            donor = next(row for row in rows[1:] if row[place(name)] == value)
            target[place(name)], donor[place(name)] = donor[place(name)], target[place(name)]

    change_records(folder, change)


def count_of(length: int, more: int, *, which: int = 0) -> Callable[[Rows], object]:
    """Another count of an aggregate of that length."""

    def change(rows: Rows) -> None:
        row = [row for row in rows if row[0] == str(length)][which]
        row[-1] = str(int(row[-1]) + more)

    return change


def without_part(rows: Rows) -> None:
    """A pair goes that triples are made of."""
    triple = next(row for row in rows if row[0] == "3")
    rows[:] = [row for row in rows if row[0] != "2" or row[1:5] != triple[1:5]]


def reordered(rows: Rows) -> None:
    row = next(row for row in rows if row[0] == "2")
    row[1:5] = [*row[3:5], *row[1:3]]


def swapped_columns(folder: Path) -> None:
    for suffix in (".csv", ".tsv"):
        rows = read_rows(folder / f"{RECORDS}{suffix}")
        write_rows(folder / f"{RECORDS}{suffix}", [[row[1], row[0], *row[2:]] for row in rows])


def with_numbers(folder: Path) -> None:
    table = read_parquet(folder / f"{RECORDS}.parquet")
    number = place("yearOfRegistration")
    years = table["yearOfRegistration"].cast(pa.int64())
    pq.write_table(table.set_column(number, "yearOfRegistration", years), folder / f"{RECORDS}.parquet")


def without_needed(folder: Path) -> None:
    (folder / f"{RECORDS}.tsv").unlink()


def flipped(folder: Path) -> None:
    path = folder / AGGREGATES
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b"5" + content[-1:] if content[-2:-1] == b"0" else content[:-2] + b"0" + content[-1:])


def repeated_name(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace("{", '{"k": 5,', 1))


def linked(folder: Path) -> None:
    (folder / "data_dictionary.md").unlink()
    (folder / "data_dictionary.md").symlink_to("data_dictionary.csv")


def in_json(name: str, change: Callable[[Any], object]) -> Tampering:
    """Change a description that is JSON."""

    def tamper(folder: Path) -> None:
        said = json.loads((folder / name).read_text(encoding="utf-8"))
        change(said)
        (folder / name).write_text(json.dumps(said), encoding="utf-8")

    return tamper


def in_shape(change: Callable[[dict[str, Any]], object]) -> Tampering:
    """Change the first country of the map that has a shape."""
    return in_json(
        "map_citizenship.geojson", lambda said: change(next(feature for feature in said["features"] if feature["geometry"]))
    )


def package(**wrong: Any) -> Tampering:
    """A data package that tells something ``wrong`` of the records."""
    own = f"{RECORDS}.csv"
    return in_json("datapackage.json", lambda said: next(part for part in said["resources"] if part["path"] == own).update(wrong))


def in_workbook(name: str, sheet: str, cell: str, value: str | float) -> Tampering:
    def tamper(folder: Path) -> None:
        book = openpyxl.load_workbook(folder / name)
        book[sheet][cell] = value
        book.save(folder / name)

    return tamper


def in_sheet(old: bytes, new: bytes) -> Tampering:
    """Change the XML of the records' sheet once, as no program would."""

    def tamper(folder: Path) -> None:
        path, sheet = folder / f"{RECORDS}.xlsx", "xl/worksheets/sheet1.xml"
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        assert old in parts[sheet]
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, content.replace(old, new, 1) if name == sheet else content)

    return tamper


def shifted(folder: Path) -> None:
    book = openpyxl.load_workbook(folder / f"{RECORDS}.xlsx")
    book["Data"].insert_cols(1)
    book.save(folder / f"{RECORDS}.xlsx")


def in_stata(folder: Path) -> None:
    frame: Any = pd.read_stata(folder / f"{RECORDS}.dta")
    frame.iloc[::-1].to_stata(folder / f"{RECORDS}.dta", write_index=False, version=118)


ANONYMISED = "global_dataset_k_anonymised.csv"
AGES, MEANS, MAP = "story_age_by_gender.csv", "story_means_of_control.csv", "map.csv"
GENDERS = [{"name": name, **({"constraints": {"enum": ["X"]}} if name == "gender" else {})} for name in NAMES]


def in_cell(column: int, value: str, *, row: int = 1) -> Callable[[Rows], object]:
    return lambda rows: rows[row].__setitem__(column, value)


def raised(rows: Rows) -> None:
    """A figure of the map that tells k people more, with its percentage."""
    row = next(row for row in rows[1:] if row[6] and int(row[5]) + K <= int(row[6]))
    row[5] = str(int(row[5]) + K)
    row[7] = str(round(100 * int(row[5]) / int(row[6]), 1))


def invented(rows: Rows) -> None:
    """Eleven people of the k-anonymised records, many times over."""
    rows += [rows[1]] * 11 * 60


def in_report(old: str, new: str) -> Tampering:
    """Write ``new`` for what the pattern ``old`` finds first in the page of the report."""

    def tamper(folder: Path) -> None:
        path = folder / "quality_report.html"
        text, found = re.subn(old, new, path.read_text(encoding="utf-8"), count=1, flags=re.DOTALL)
        assert found
        path.write_text(text, encoding="utf-8")

    return tamper


def cut(name: str) -> Tampering:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-40])


# What is done, the check that must fail, and whether the manifest is made to agree with the files afterwards.
TAMPERED: dict[str, tuple[Tampering, str, bool]] = {
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "manifest", False),
    "a manifest that is no JSON": (cut("manifest.json"), "manifest", False),
    "a manifest that is a list": (with_file("manifest.json", "[]"), "manifest", False),
    "a manifest that says two things": (repeated_name, "manifest", False),
    "a manifest that passes for an earlier version's": (in_manifest(lambda said: said.pop("core")), "version", False),
    "a k of 1": (in_manifest(lambda said: said.update(k=1)), "manifest", False),
    "a k that is no number": (in_manifest(lambda said: said.update(k="10")), "manifest", False),
    "an endless list of years": (in_manifest(lambda said: said.update(last_year=10**9)), "manifest", False),
    "a file elsewhere": (in_manifest(lambda said: said["files"].update({"../secret": "0" * 64})), "manifest", False),
    "a withdrawn release": (with_file("WITHDRAWN.json", "{}"), "manifest", False),
    "another version": (in_manifest(lambda said: said.update(version="2026.11.21-2")), "version", False),
    "a file that went": (lambda folder: (folder / "data_dictionary.md").unlink(), "files", False),
    "a file that came": (with_file("notes.txt", "hello"), "files", False),
    "a format that went everywhere": (without_needed, "files", True),
    "a link": (linked, "files", True),
    "a byte": (flipped, "checksums", False),
    "a wrong hash": (in_manifest(lambda said: said["files"].update({AGGREGATES: "0" * 64})), "checksums", False),
    "an approval of something else": (with_file("publication.json", '{"version": "1", "candidate": ""}'), "publication", False),
    "an approval that signs nothing": (with_file("approvals.json", "{}"), "approvals", False),
    "a table cut short": (cut(f"{RECORDS}.parquet"), "readable", True),
    "a row of too few cells": (in_rows(AGGREGATES, lambda rows: rows[1].pop()), "readable", True),
    "text that is not UTF-8": (lambda folder: (folder / AGGREGATES).write_bytes(b"\xff\xfe\xff"), "readable", True),
    "an empty file": (lambda folder: (folder / AGGREGATES).write_bytes(b""), "readable", True),
    "columns in another order": (swapped_columns, "columns", True),
    "numbers for text": (with_numbers, "columns", True),
    "one more column": (in_rows(f"{RECORDS}.csv", lambda rows: [row.append("case_key") for row in rows]), "columns", True),
    "pseudonyms of cases": (
        in_rows(f"{RECORDS}.csv", lambda rows: [r.append("case_key") for r in rows]),
        "forbidden columns",
        True,
    ),
    "a table by partner": (with_file("more.csv", "partner,count\niom,10\n"), "forbidden columns", True),
    "a table of cases": (with_file("more.csv", "CaseId,gender\n1,Female\n"), "forbidden columns", True),
    "a table with days": (with_file("more.tsv", "interviewDate\tgender\n2016-01-02\tFemale\n"), "forbidden columns", True),
    "a detail that only harmonised records hold": (
        with_file("more.csv", f"gender,{codebook().details[0].name}\nFemale,1\n"),
        "forbidden columns",
        True,
    ),
    "a pseudonym in a text": (with_file("more.md", f"Seen: {'ab' * 32}.\n"), "pseudonyms", True),
    "a value in no list": (in_records(cell("gender", "Unlisted")), "code lists", True),
    "a formula": (in_records(cell("gender", "=1+1")), "code lists", True),
    "a year after the last": (in_records(cell("yearOfRegistration", "2022")), "code lists", True),
    "a zero for a flag": (in_records(cell("isForcedLabour", "0")), "code lists", True),
    "a value in no list, of an aggregate": (in_rows(AGGREGATES, lambda rows: rows[1].__setitem__(2, "XYZ")), "code lists", True),
    "a value in no list, of another table": (with_file("more.csv", "citizenship,count\nXYZ,10\n"), "code lists", True),
    "one copy that differs": (in_records(cell("gender", "Male"), only=".tsv"), "copies", True),
    "one copy in another order": (in_records(lambda rows: rows.reverse(), only=".csv"), "copies", True),
    "a workbook that differs": (in_workbook(f"{RECORDS}.xlsx", "Data", "A2", 2021), "copies", True),
    "a workbook with a formula": (in_workbook(f"{RECORDS}.xlsx", "Data", "B2", "=A2"), "readable", True),
    "a workbook with a hidden formula": (in_sheet(b"<v>1</v>", b"<x:f>1</x:f><v>1</v>"), "readable", True),
    "a workbook with a truth value": (in_sheet(b"><v>1</v>", b" t='b'><v>1</v>"), "readable", True),
    "a workbook that begins elsewhere": (shifted, "readable", True),
    "a workbook with one more column": (in_workbook(f"{RECORDS}.xlsx", "Data", "AL1", "case"), "columns", True),
    "a workbook cut short": (cut(f"{RECORDS}.xlsx"), "readable", True),
    "a Stata file in another order": (in_stata, "copies", True),
    "a codebook of other counts": (in_workbook("codebook.xlsx", "TabStat", "C2", 7), "codebook", True),
    "a codebook of other variables": (in_workbook("codebook.xlsx", "Main", "B2", "name"), "codebook", True),
    "rows added": (in_records(lambda rows: rows.append(rows[0])), "rows", False),
    "rows of aggregates removed": (in_rows(AGGREGATES, lambda rows: rows.pop()), "rows", False),
    "an empty record": (in_records(lambda rows: rows.append([""] * len(NAMES))), "empty records", True),
    "a record removed": (in_records(lambda rows: rows.pop()), "multiples of k", True),
    "a value removed": (in_records(cell("gender", "")), "multiples of k", True),
    "a combination told twice": (in_rows(AGGREGATES, lambda rows: rows.append(rows[-1])), "aggregates", True),
    "a combination of another length": (in_rows(AGGREGATES, lambda rows: rows[-1].__setitem__(0, "2")), "aggregates", True),
    "a combination in another order": (in_rows(AGGREGATES, reordered), "aggregates", True),
    "counts that are no numbers": (in_rows(AGGREGATES, lambda rows: rows[1].__setitem__(-1, "many")), "aggregates", True),
    "a shorter reporting length": (in_manifest(lambda said: said.update(reporting_length=2)), "aggregates", False),
    "a rare aggregate": (in_rows(AGGREGATES, lambda rows: rows[-1].__setitem__(-1, str(K - 1))), "aggregate counts", True),
    "an aggregate of nobody": (in_rows(AGGREGATES, lambda rows: rows[-1].__setitem__(-1, "0")), "aggregate counts", True),
    "an exact aggregate": (in_rows(AGGREGATES, count_of(2, 1)), "aggregate counts", True),
    "another k": (in_manifest(lambda said: said.update(k=K + 1)), "aggregate counts", False),
    "a pair more frequent than its parts": (in_rows(AGGREGATES, count_of(2, 100 * K)), "aggregates add up", True),
    "a triple without one of its pairs": (in_rows(AGGREGATES, without_part), "aggregates add up", True),
    "a single count of aggregates": (in_rows(AGGREGATES, count_of(1, K)), "single counts", True),
    "a single aggregate that went": (in_rows(AGGREGATES, lambda rows: rows.pop(1)), "single counts", True),
    "a record like hardly anybody": (unlike, "reported combinations", True),
    "a proof with another k": (in_manifest(lambda said: said["proof"].update(k=2)), "manifest figures", False),
    "a proof that fails": (in_manifest(lambda said: said["proof"].update(rare_records=1)), "manifest figures", False),
    "an exact figure": (in_manifest(lambda said: said["proof"].update(smallest_support=5)), "manifest figures", False),
    "exact suppressed values": (
        in_manifest(lambda said: said["suppressed_values"].update(citizenship=7)),
        "manifest figures",
        False,
    ),
    "another definition": (
        in_rows("data_dictionary.csv", lambda rows: rows[1].__setitem__(-2, "Anything.")),
        "data dictionary",
        True,
    ),
    "a package of another file": (package(path="secret.csv"), "data package", True),
    "a package of other bytes": (package(hash=f"sha256:{'0' * 64}"), "data package", True),
    "a package of another size": (package(bytes=1), "data package", True),
    "a package of other columns": (package(schema={"fields": [{"name": "gender"}]}), "data package", True),
    "a package with another code list": (package(schema={"fields": GENDERS}), "data package", True),
    "a package of another version": (in_json("datapackage.json", lambda said: said.update(version="1")), "version", True),
    "a table below k": (in_rows(AGES, in_cell(3, str(K - 1))), "protected tables", True),
    "a table of other counts": (in_rows(AGES, in_cell(3, str(K))), "protected tables", True),
    "a table of other shares": (in_rows(AGES, in_cell(5, "99.9")), "protected tables", True),
    "an exact denominator": (in_rows(AGES, in_cell(4, "313")), "protected tables", True),
    "a denominator that tells more": (in_rows(MEANS, in_cell(3, "5000")), "protected tables", True),
    "a figure told twice": (in_rows(AGES, lambda rows: rows.append(rows[-1])), "protected tables", True),
    "a table of no variables": (in_rows(AGES, in_cell(0, "town", row=0)), "protected tables", True),
    "a table of a value in no list": (in_rows(AGES, in_cell(2, "98--99")), "code lists", True),
    "a map of other counts": (in_rows(MAP, raised), "map", True),
    "a map of exact counts": (in_rows(MAP, in_cell(5, "7")), "map", True),
    "a map of routes": (in_rows(MAP, in_cell(0, "route", row=0)), "map", True),
    "a map with a misnamed country": (in_rows(MAP, in_cell(2, "Atlantis")), "map", True),
    "a map of no country": (in_rows(MAP, in_cell(1, "XYZ")), "code lists", True),
    "a map whose shapes tell more": (in_shape(lambda one: one["properties"].update(count=7)), "map", True),
    "a map of places": (in_shape(lambda one: one.update(geometry={"type": "Point", "coordinates": [1, 2]})), "map", True),
    "a group of ten": (in_rows(ANONYMISED, lambda rows: rows.pop()), "k-anonymised", True),
    "an empty group": (in_rows(ANONYMISED, lambda rows: rows.extend([[""] * len(rows[0])] * 11)), "k-anonymised", True),
    "a group of more than there are": (in_rows(ANONYMISED, invented), "k-anonymised", True),
    "a report of more lost": (
        in_report(r'(id="lengths">.*?<th scope="row">2</th>.*?</td>.*?>)\d+<', r"\g<1>1,000<"),
        "report",
        True,
    ),
    "a report of less error": (in_report(r'(id="counts">.*>)\d+\.\d%</td></tr>', r"\g<1>0.1%</td></tr>"), "report", True),
    "a report of shorter records": (in_report(r'(id="sizes">.*?<th scope="row">)\d', r"\g<1>9"), "report", True),
    "a report of more kept": (in_report(r'(id="variables">.*?)\d+%', r"\g<1>101%"), "report", True),
    "a report of exact victims": (in_report(r'(id="partners">.*?<td class="n">)600', r"\g<1>601"), "report", True),
    "a report without a partner": (in_report(r'(id="partners">.*?<tbody>\s*)<tr>.*?</tr>', r"\g<1>"), "report", True),
    "a report of another state": (in_report(r'(id="partners">.*?<td>)new<', r"\g<1>carried forward<"), "report", True),
    "a report of something found": (in_report(r'(id="proof">.*?<td class="n">)0', r"\g<1>1"), "report", True),
    "a report of other files": (in_report(r'(id="files">.*?<td>)[0-9a-f]{8}', r"\g<1>"), "report", True),
    "a report of another k": (in_report(r"(<dd>)5", r"\g<1>9"), "report", True),
    "a report of more figures": (in_report("</main>", "<table id='more'><tr><td>7</td></tr></table></main>"), "report", True),
    "a report without its tables": (in_report(r"<table.*</table>", ""), "report", True),
    "changes that the report does not tell": (
        lambda folder: (folder / "CHANGELOG.md").write_text("# Changes\n\n## Counts\n\n| a | b |\n| --- | --- |\n| c | 1 |\n"),
        "report",
        True,
    ),
    "means of control of real people": (
        in_rows(ANONYMISED, lambda rows: [row.append("meansOfControlThreats" if row is rows[0] else "1") for row in rows]),
        "k-anonymised",
        True,
    ),
}


def overlapping(folder: Path) -> None:
    """Withhold the triple of those two of a pair's triples that overlap with certainty: take it from the aggregates."""
    rows = read_rows(folder / AGGREGATES)
    told = {tuple(sorted((row[1 + 2 * n], row[2 + 2 * n]) for n in range(int(row[0])))): int(row[-1]) for row in rows[1:]}
    for triple in (part for part in told if len(part) == 3):
        for parent in triple:
            a, b = (tuple(sorted((parent, other))) for other in triple if other != parent)
            if told[a] + told[b] - told[(parent,)] - K + 1 >= 1:
                gone = [cell for pair in sorted(triple, key=lambda pair: place(pair[0])) for cell in pair]
                write_rows(folder / AGGREGATES, [row for row in rows if row[1:7] != gone])
                return
    raise AssertionError("no triple follows from its pairs")


def in_text(name: str, old: str, new: str) -> Tampering:
    """Another text in a file, once."""

    def tamper(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text, old
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return tamper


def in_archive(name: str, change: Callable[[dict[str, bytes]], object], *, comment: bytes = b"", extra: bytes = b"") -> Tampering:
    """Other parts in a workbook's archive."""

    def tamper(folder: Path) -> None:
        with zipfile.ZipFile(folder / name) as archive:
            parts = {part: archive.read(part) for part in archive.namelist()}
        change(parts)
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for part, content in parts.items():
                about = zipfile.ZipInfo(part, (1980, 1, 31, 0, 0, 0))
                about.compress_type, about.extra = zipfile.ZIP_DEFLATED, extra
                archive.writestr(about, content)
            archive.comment = comment

    return tamper


def in_part(part: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], object]:
    def change(parts: dict[str, bytes]) -> None:
        assert old in parts[part]
        parts[part] = parts[part].replace(old, new, 1)

    return change


def in_parquet(change: Callable[[pa.Table], pa.Table], **how: Any) -> Tampering:
    def tamper(folder: Path) -> None:
        path = folder / f"{RECORDS}.parquet"
        options: dict[str, Any] = {"compression": "zstd", **how}
        pq.write_table(change(read_parquet(path)), path, **options)

    return tamper


def between(folder: Path) -> None:
    """Bytes before the footer that no column explains."""
    path = folder / f"{RECORDS}.parquet"
    content = path.read_bytes()
    at = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    path.write_bytes(content[:at] + b"Jane Doe" + content[at:])


def stata(**how: Any) -> Tampering:
    """Another Stata file of the same cells."""

    def tamper(folder: Path) -> None:
        path = folder / f"{RECORDS}.dta"
        with pd.io.stata.StataReader(path) as reader:
            frame, title = reader.read(), reader.data_label
        options: dict[str, Any] = {"write_index": False, "version": 118, "data_label": title, **how}
        frame.to_stata(path, **options)

    return tamper


def pipe(folder: Path) -> None:
    (folder / "CHANGELOG.md").unlink()
    os.mkfifo(folder / "CHANGELOG.md")


def sparse(folder: Path) -> None:
    with (folder / f"{RECORDS}.csv").open("r+b") as file:
        file.truncate(1 << 40)


def bomb(path: Path) -> None:
    """64 MB of nothing in a few kB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(1 << 26))


def inside(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "names.txt").write_text("Jane Doe")


BOOK, SHEET, CODES = f"{RECORDS}.xlsx", "xl/worksheets/sheet1.xml", "codebook.xlsx"
PIPED: dict[str, Tampering] = {
    "a pipe": pipe,
    "a pipe for the signature": lambda folder: os.mkfifo(folder / "manifest.json.sig"),
    "a pipe for the signature of the publication": lambda folder: os.mkfifo(folder / "publication.json.sig"),
    "a pipe more": lambda folder: os.mkfifo(folder / "more"),
    "a pipe for the tombstone": lambda folder: os.mkfifo(folder / "WITHDRAWN.json"),
    "a device": lambda folder: (folder / "more.csv").symlink_to("/dev/zero"),
    "a sparse file": sparse,
    "a folder inside": inside,
    "a workbook that unpacks to too much": lambda folder: bomb(folder / BOOK),
    "a thousand files": lambda folder: [(folder / f"{n}.csv").touch() for n in range(1000)],
}


@pytest.mark.parametrize("tamper", PIPED.values(), ids=PIPED.keys())
def test_what_is_no_plain_file_is_refused_before_it_is_opened(folder: Path, tamper: Tampering) -> None:
    """A pipe would be waited for and a sparse file read until the memory is full."""
    tamper(folder)
    assert verify(folder).failed == ("files",)


# What is done to a release whose checksums are made anew, and the check that must fail.
CLOSED: dict[str, tuple[Tampering, str]] = {
    "a table of exact counts": (with_file("exact.csv", "gender,count\nFemale,10\n"), "known files"),
    "a table of names": (with_file("names.tsv", "gender\nFemale\n"), "known files"),
    "a note": (with_file("notes.md", "Jane Doe"), "known files"),
    "a hidden file": (with_file(".hidden", "Jane Doe"), "known files"),
    "a page more": (with_file("more.html", "Jane Doe"), "known files"),
    "a geojson more": (with_file("map_gender.geojson", "{}"), "known files"),
    "a story more": (with_file("story_names.csv", "variable,value,count,denominator,percentage\n"), "known files"),
    "a program": (with_file("run.sh", "true"), "known files"),
    "a picture": (lambda folder: (folder / "face.png").write_bytes(b"\x89PNG"), "known files"),
    "a comment of an archive": (in_archive(BOOK, lambda _: None, comment=b"Jane Doe"), "structure"),
    "an extra field of an archive": (in_archive(BOOK, lambda _: None, extra=b"\x01\x02\x04\x00Jane"), "structure"),
    "an extra part": (in_archive(BOOK, lambda parts: parts.update({"xl/media/face.png": b"Jane"})), "structure"),
    "an extra part of the codebook": (in_archive(CODES, lambda parts: parts.update({"names.txt": b"Jane"})), "structure"),
    "a comment of a sheet": (in_archive(BOOK, lambda parts: parts.update({"xl/comments1.xml": b"<a/>"})), "structure"),
    "custom properties": (in_archive(BOOK, lambda parts: parts.update({"docProps/custom.xml": b"<a/>"})), "structure"),
    "an author": (
        in_archive(BOOK, in_part("docProps/core.xml", b"<dc:creator></", b"<dc:creator>Jane Doe</")),
        "structure",
    ),
    "a company": (in_archive(BOOK, in_part("docProps/app.xml", b"<Company></", b"<Company>Jane Doe</")), "structure"),
    "a defined name": (
        in_archive(BOOK, in_part("xl/workbook.xml", b"</sheets>", b"</sheets><definedNames/>")),
        "structure",
    ),
    "a hidden sheet": (in_archive(BOOK, in_part("xl/workbook.xml", b'sheetId="1"', b'sheetId="1" state="hidden"')), "structure"),
    "a link out": (in_archive(BOOK, in_part("xl/_rels/workbook.xml.rels", b"</Rel", b"<!--Jane--></Rel")), "structure"),
    "a comment in XML": (in_archive(BOOK, in_part(SHEET, b"<sheetData>", b"<!--Jane Doe--><sheetData>")), "structure"),
    "a comment after the cells": (in_archive(BOOK, in_part(SHEET, b"</sheetData>", b"</sheetData><!--Jane-->")), "structure"),
    "a header of a sheet": (
        in_archive(
            BOOK, in_part(SHEET, b"</worksheet>", b"<headerFooter><oddHeader>Jane</oddHeader></headerFooter></worksheet>")
        ),
        "structure",
    ),
    "an attribute of a row": (in_archive(BOOK, in_part(SHEET, b'<row r="2"', b'<row r="2" ht="9"')), "structure"),
    "a style more": (in_archive(BOOK, in_part("xl/styles.xml", b"Calibri", b"Jane Doe")), "structure"),
    "a theme": (in_archive(BOOK, in_part("xl/theme/theme1.xml", b"Office", b"Jane Doe")), "structure"),
    "bytes before a workbook": (lambda folder: prepend(folder / BOOK), "structure"),
    "a sheet of exact counts": (
        lambda folder: with_sheet(folder / CODES),
        "structure",
    ),
    "metadata of a table": (
        in_parquet(lambda table: table.replace_schema_metadata({**(table.schema.metadata or {}), b"names": b"Jane Doe"})),
        "structure",
    ),
    "a title that says more": (
        in_parquet(lambda t: t.replace_schema_metadata({**(t.schema.metadata or {}), b"title": b"2026.11.21-1" * 20})),
        "structure",
    ),
    "metadata of a column": (
        in_parquet(lambda t: t.cast(t.schema.set(0, t.schema.field(0).with_metadata({b"label": b"Jane Doe"})))),
        "structure",
    ),
    "another codec": (in_parquet(lambda table: table, compression="gzip"), "structure"),
    "other groups of rows": (in_parquet(lambda table: table, row_group_size=10), "structure"),
    "bytes before the footer": (between, "structure"),
    "a label of a variable": (stata(variable_labels={"gender": "Jane Doe"}), "structure"),
    "a label of the data": (stata(data_label="Jane Doe"), "structure"),
    "another time": (stata(time_stamp=datetime(2026, 1, 1)), "structure"),
    "bytes after a Stata file": (lambda folder: append(folder / f"{RECORDS}.dta", b"Jane Doe"), "structure"),
    "quotes that say something": (in_text(f"{RECORDS}.csv", ",Female,", ',"Female",'), "structure"),
    "a mark at the beginning": (lambda folder: prepend(folder / "map.csv", b"\xef\xbb\xbf"), "structure"),
    "other line ends": (in_text("map.csv", "\n", "\r\n"), "structure"),
    "a key of the manifest": (in_manifest(lambda said: said.update(names="Jane Doe")), "structure"),
    "a key of the proof": (in_manifest(lambda said: said["proof"].update(who="Jane Doe")), "structure"),
    "a key of the publication": (in_json("publication.json", lambda said: said.update(names="Jane Doe")), "structure"),
    "a list in the publication": (in_json("publication.json", lambda said: said.update(reason=["Jane"])), "structure"),
    "a key of the package": (in_json("datapackage.json", lambda said: said.update(names="Jane Doe")), "structure"),
    "a key of a resource": (package(names="Jane Doe"), "structure"),
    "a key of a shape": (in_shape(lambda one: one.update(names="Jane Doe")), "structure"),
    "a property of a shape": (in_shape(lambda one: one["properties"].update(names="Jane Doe")), "structure"),
    "another name of a shape": (in_shape(lambda one: one.update(id="Jane Doe")), "structure"),
    "a foreign member of a map": (in_json("map_citizenship.geojson", lambda said: said.update(names="Jane")), "structure"),
    "a geometry that says more": (in_shape(lambda one: one["geometry"].update(names="Jane Doe")), "structure"),
    "another script of the map": (in_text("map.html", "'use strict';", "'use strict';fetch('x');"), "pages"),
    "another script of the showcase": (in_text("showcase.html", "'use strict';", "'use strict';1;"), "pages"),
    "a script in the report": (in_text("quality_report.html", "</main>", "<script>1</script></main>"), "pages"),
    "another style": (in_text("map.html", "<style>", "<style>body{display:none}"), "pages"),
    "a handler": (in_text("quality_report.html", "<main", "<main onclick='1'"), "pages"),
    "a frame": (in_text("codebook.html", "<main>", "<iframe></iframe><main>"), "pages"),
    "a looser policy": (in_text("map.html", "default-src &#39;none&#39;", "default-src *"), "pages"),
    "another figure on the map's page": (lambda folder: on_map(folder), "pages"),
    "an aggregate that follows": (overlapping, "bounds"),
    "endless brackets": (with_file("datapackage.json", "[" * 100_000), "readable"),
    "a count in the codebook's list": (in_workbook(CODES, "Main", "H3", 7), "codebook"),
    "another note of a variable": (in_workbook(CODES, "Main", "F3", "Jane Doe"), "codebook"),
    "a row below the codebook's list": (in_workbook(CODES, "Main", "A60", 7), "codebook"),
    "another share in the codebook": (in_workbook(CODES, "TabStat", "D2", 7.5), "codebook"),
    "a country more": (in_workbook(CODES, "Region", "C2", "Jane Doe"), "codebook"),
    "a source that says more": (
        in_manifest(lambda said: next(iter(said["deliveries"].values())).update(names="Jane")),
        "structure",
    ),
    "a partner that is a person": (
        in_manifest(lambda said: next(iter(said["deliveries"].values())).update(partner="Jane Doe")),
        "structure",
    ),
    "rows of something else": (in_manifest(lambda said: said["rows"].update({"Jane Doe": 7})), "structure"),
    "a name as the software's version": (in_manifest(lambda said: said["software"].update(version="1.0+jane.doe")), "structure"),
    "software that says more": (in_manifest(lambda said: said["software"].update(names="Jane Doe")), "structure"),
    "a withheld person": (in_manifest(lambda said: said.setdefault("withheld", {}).update({"Jane Doe": 7})), "structure"),
    "inputs that are no hash": (in_manifest(lambda said: said.update(inputs="Jane Doe")), "structure"),
    "a mark that is a text": (in_manifest(lambda said: said.update(invented="Jane Doe")), "structure"),
    "a signature that is a text": (with_file("publication.json.sig", "Jane Doe, 7 people"), "structure"),
    "an old signature that is a text": (with_file("manifest.json.sig", "Jane Doe, 7 people"), "structure"),
    "a warning that is a text": (
        in_json("publication.json", lambda said: said.update(acknowledged_warnings=["Jane Doe"])),
        "structure",
    ),
    "a dialect that says more": (package(dialect={"names": "Jane Doe"}), "structure"),
    "a package of no file": (in_json("datapackage.json", lambda said: said.update(resources=[])), "data package"),
    "another note of a map": (in_json("map_citizenship.geojson", lambda said: said.update(note="Jane Doe")), "structure"),
    "a country of another name": (in_shape(lambda one: one["properties"].update(name="Jane Doe")), "structure"),
    "an outline of words": (in_shape(lambda one: one["geometry"].update(coordinates=["Jane Doe"])), "structure"),
    "another alias": (in_rows("data_dictionary.csv", lambda rows: rows[1].__setitem__(-1, "Jane Doe")), "data dictionary"),
    "a summary of something else": (
        in_rows("global_dataset_k_anonymised_summary.csv", lambda rows: rows[1].__setitem__(0, "Jane Doe")),
        "report",
    ),
    "data that no script reads": (
        in_text("quality_report.html", "</main>", '<script type="application/json" id="x">7</script></main>'),
        "pages",
    ),
    "a comment in a page": (in_text("quality_report.html", "</main>", "<!-- Jane Doe --></main>"), "pages"),
    "a page that leads elsewhere": (
        in_text("quality_report.html", "<title>", '<meta http-equiv="refresh" content="0;url=http://x.example"><title>'),
        "pages",
    ),
    "a handler behind a slash": (in_text("quality_report.html", "</main>", "<svg/onload=alert(1)></svg></main>"), "pages"),
    "a handler behind a quote": (in_text("showcase.html", "</main>", '<p title="a>b" onclick="x"></p></main>'), "pages"),
    "a picture from elsewhere": (in_text("map.html", "</main>", '<img src="http://x.example/x.png"></main>'), "pages"),
    "an icon from elsewhere": (in_text("map.html", "<title>", '<link rel="icon" href="http://x.example"><title>'), "pages"),
    "a form": (in_text("showcase.html", "</main>", '<form action="http://x.example"></form></main>'), "pages"),
    "a policy in a comment": (in_report(r'(<meta http-equiv="Content-Security-Policy"[^>]*>)', r"<!--\g<1>-->"), "pages"),
    "a style of the codebook": (in_text("codebook.html", "<main>", "<style>td{display:none}</style><main>"), "pages"),
    "a number that is spelt out": (in_archive(BOOK, in_part(SHEET, b"<v>1</v>", b"<v>1.00</v>")), "structure"),
    "a hidden row": (in_archive(BOOK, in_part(SHEET, b'<row r="2"', b'<row r="2" hidden="1"')), "structure"),
    "a space behind a value": (in_archive(BOOK, in_part(SHEET, b"<t>Female</t>", b"<t>Female </t>")), "structure"),
}


def prepend(path: Path, content: bytes = b"Jane Doe") -> None:
    path.write_bytes(content + path.read_bytes())


def append(path: Path, content: bytes) -> None:
    path.write_bytes(path.read_bytes() + content)


def with_sheet(path: Path) -> None:
    book = openpyxl.load_workbook(path)
    book.create_sheet("Exact")["A1"] = 7
    book.save(path)


def on_map(folder: Path) -> None:
    path = folder / "map.html"
    text, found = re.subn(r'("profiles":.*?"count":)\d+', r"\g<1>7", path.read_text(encoding="utf-8"), count=1)
    assert found
    path.write_text(text, encoding="utf-8")


def in_showcase(change: Callable[[dict[str, Any]], object]) -> Tampering:
    """Another description in the showcase, which its script would believe."""

    def tamper(folder: Path) -> None:
        path = folder / "showcase.html"
        text = path.read_text(encoding="utf-8")
        head, data, tail = re.split(r'(?<=id="data">)(.*?)(?=</script)', text, maxsplit=1, flags=re.DOTALL)
        page = json.loads(data)
        change(page)
        path.write_text(head + json.dumps(page).replace("<", "\\u003c") + tail, encoding="utf-8")

    return tamper


def in_block(name: str, change: Callable[[bytearray], object]) -> Tampering:
    """Other bytes in a block that the showcase's script unpacks."""

    def tamper(folder: Path) -> None:
        path = folder / "showcase.html"
        text = path.read_text(encoding="utf-8")
        head, packed, tail = re.split(rf'(?<=id="{name}">)(.*?)(?=</script)', text, maxsplit=1, flags=re.DOTALL)
        content = bytearray(zlib.decompress(base64.b64decode(packed)))
        change(content)
        path.write_text(head + base64.b64encode(zlib.compress(bytes(content))).decode() + tail, encoding="utf-8")

    return tamper


def one_more(content: bytearray) -> None:
    content[-1] += 1


def without_a_value(page: dict[str, Any]) -> None:
    """A value less, so that all numbers behind it mean other attributes."""
    for name in ("values", "labels"):
        page["variables"][1][name].pop()


SHOWN: dict[str, Tampering] = {
    "another record": in_block("records", lambda content: content.__setitem__(0, content[0] % 2 + 1)),
    "a record of no attribute": in_block("records", lambda content: content.__setitem__(0, 250)),
    "bytes behind the records": in_block("records", lambda content: content.extend(b"Jane Doe")),
    "another count of an attribute": in_block("counts-1", one_more),
    "another count of a pair": in_block("counts-2", one_more),
    "a combination more": in_block("counts-2", lambda content: content.extend(b"\1\1")),
    "a count that does not end": in_block("counts-2", lambda content: content.__setitem__(-1, 128)),
    "a count that is too long": in_block("counts-2", lambda content: content.__setitem__(slice(-1, None), b"\x81" * 10 + b"\1")),
    "bytes behind a block": in_text("showcase.html", '" id="records">', '" id="records">AAAA'),
    "fewer combinations told": in_showcase(lambda page: page["embedded"].pop()),
    "another threshold": in_showcase(lambda page: page["embedded"][0].update(least=2 * K)),
    "another number of records": in_showcase(lambda page: page.update(rows=page["rows"] + K)),
    "another k": in_showcase(lambda page: page.update(k=K + 1)),
    "more than the page needs": in_showcase(lambda page: page.update(names2=["Jane Doe"])),
    "another name of a country": in_showcase(lambda page: page["names"].update(AFG="Jane Doe")),
    "another label": in_showcase(lambda page: page["variables"][1]["labels"].__setitem__(0, "Jane Doe")),
    "a value of no list": in_showcase(lambda page: page["variables"][1]["values"].append("Jane Doe")),
    "a value less": in_showcase(without_a_value),
    "another variable": in_showcase(lambda page: page["variables"].pop()),
    "a smaller error": in_showcase(lambda page: page["pairs"][0].__setitem__(3, page["pairs"][0][3] + 0.002)),
    "a pair less": in_showcase(lambda page: page["pairs"].pop()),
    "another limit of a good pair": in_showcase(lambda page: page.update(limits=[0.5, 0.6])),
    "another use": in_showcase(lambda page: page["uses"].update(always="Use them.")),
    "another number of people": in_showcase(lambda page: page["known"][""].update(all=7)),
    "a number of people more": in_showcase(lambda page: page["known"].update(Jane={"Doe": 7})),
    "no description": in_showcase(lambda page: page.clear()),
}


@pytest.mark.parametrize("tamper", SHOWN.values(), ids=SHOWN.keys())
def test_another_figure_in_the_showcase_is_found(folder: Path, tamper: Tampering) -> None:
    """Guards against a page that shows readers other figures than the tables that the publisher signed."""
    tamper(folder)
    rehash(folder)
    assert "showcase" in verify(folder).failed


@pytest.mark.parametrize(("tamper", "check"), CLOSED.values(), ids=CLOSED.keys())
def test_what_hides_beside_the_tables_is_found(folder: Path, tamper: Tampering, check: str) -> None:
    """Formats have room that no program shows; whoever makes the checksums anew could hide people there."""
    tamper(folder)
    rehash(folder)
    assert check in verify(folder).failed


def test_a_good_release_passes_and_every_check_was_made(zones: Zones, sensitive: Path) -> None:
    """A check that is never made, or that fails on a good release, protects nobody."""
    found = verify(zones.releases / VERSION, sensitive=sensitive)

    assert found.holds, [check for check in found.checks if check.result == "FAILS"]
    assert {check.name for check in found.checks if check.result == "not checked"} == {"signature"}
    assert [check.name for check in found.checks] == list(CHECKS)


def test_an_invented_release_passes_and_says_so_first(tmp_path: Path) -> None:
    """Its mark stands in every file, none of which may hold more; and nobody should take it for one of real people."""
    zones = fill(Zones(tmp_path / "home").prepare(), invented=True)
    made = make_candidate(zones, version=VERSION, k=K, length=LENGTH, last_year=LAST_YEAR)
    publish(zones, candidate=made.digest, approver="A. Person", reason="A test.", k=K)
    found = verify(zones.releases / VERSION, sensitive=zones.table("harmonised", "victims"))

    assert found.failed == (), [check for check in found.checks if check.result == "FAILS"]
    assert found.invented
    assert next(iter(found.to_dict())) == "invented"
    assert ctdc(zones.releases / VERSION).stdout.startswith("INVENTED DATA")


def test_without_the_sensitive_records_the_proofs_are_told_as_not_made(zones: Zones) -> None:
    """A sceptic must see what was not proved, not only that nothing failed."""
    found = verify(zones.releases / VERSION)

    assert found.holds
    assert {check.name for check in found.checks if check.result == "not checked"} == {"signature", "inputs", *PROOFS}


def test_a_manifest_made_anew_for_the_same_files_passes(folder: Path) -> None:
    """The tests below would otherwise find what they did not do."""
    change_records(folder, lambda rows: None)
    rehash(folder)
    assert verify(folder).failed == ()


@pytest.mark.parametrize(("tamper", "check", "agree"), TAMPERED.values(), ids=TAMPERED.keys())
def test_tampering_is_found(folder: Path, tamper: Tampering, check: str, agree: bool) -> None:
    """A release that was changed after it was published, by whoever, must not pass for the one that was."""
    tamper(folder)
    if agree:
        rehash(folder)
    found = verify(folder)

    assert check in found.failed, found.failed
    assert not {"checksums", "files"} & set(found.failed) or not agree or check == "files"
    assert all(part.remedy for part in found.checks if part.result == "FAILS")


def test_there_are_enough_ways_of_tampering() -> None:
    """Every check but those that need sensitive records or a key is violated by one of them at least."""
    tried = {check for _, check, _ in TAMPERED.values()} | {check for _, check in CLOSED.values()}
    assert len(TAMPERED) + len(CLOSED) + len(PIPED) + len(SHOWN) >= 195
    assert tried == set(CHECKS) - {*PROOFS, "inputs", "signature", "showcase"}


def off_by_k(rows: Rows) -> None:
    """One attribute occurs k times less: still a multiple of k."""
    column, left = place("isSexualExploit"), K
    for row in sorted(rows, key=lambda row: -sum(map(bool, row))):
        if row[column] and left:
            row[column], left = "", left - 1


def swapped_counts(rows: Rows) -> None:
    pairs = [row for row in rows if row[0] == "3"]
    one, other = next((a, b) for a, b in combinations(pairs, 2) if a[-1] != b[-1])
    one[-1], other[-1] = other[-1], one[-1]


AGAINST_SENSITIVE: dict[str, tuple[Tampering, str]] = {
    "a rare combination": (in_records(swapped), "support"),
    "a count off by k": (in_records(off_by_k), "exact counts"),
    "swapped aggregates": (in_rows(AGGREGATES, swapped_counts), "exact aggregates"),
    "an invented group": (in_rows(ANONYMISED, lambda rows: rows.extend([rows[1]] * 110)), "k-anonymised"),
    "a missing aggregate": (in_rows(AGGREGATES, lambda rows: rows.pop()), "exact aggregates"),
}


@pytest.mark.parametrize(("tamper", "check"), AGAINST_SENSITIVE.values(), ids=AGAINST_SENSITIVE.keys())
def test_what_differs_from_the_sensitive_records_is_found(folder: Path, sensitive: Path, tamper: Tampering, check: str) -> None:
    """What the public side cannot know must be found where the records are."""
    tamper(folder)
    rehash(folder)
    assert check in verify(folder, sensitive=sensitive).failed


def test_a_rare_record_is_found_however_long_it_is(folder: Path, sensitive: Path) -> None:
    """A record all of whose reported parts are common can still be of fewer than k people; only the records tell."""
    rows = [tuple(row.values()) for row in read_parquet(sensitive, columns=NAMES).to_pylist()]
    common = {frozenset(filter(None, pairs)) for pairs in _reported(folder)}
    attributes = [[(name, value) for name, value in zip(NAMES, row, strict=True) if value] for row in rows]

    def rare(part: tuple[tuple[str, str], ...]) -> bool:
        return sum(set(part) <= set(own) for own in attributes) < K

    candidates = (part for own in attributes for part in combinations(own, LENGTH + 1))
    hidden = next(
        part for part in candidates if all(frozenset(three) in common for three in combinations(part, LENGTH)) and rare(part)
    )

    def plant(records: Rows) -> None:
        records.append([dict(hidden).get(name, "") for name in NAMES])

    change_records(folder, plant)
    rehash(folder)
    found = verify(folder, sensitive=sensitive)
    assert "support" in found.failed
    assert "reported combinations" not in found.failed


def _reported(folder: Path) -> list[list[tuple[str, str] | None]]:
    _, *rows = read_rows(folder / AGGREGATES)
    return [[(row[1 + 2 * n], row[2 + 2 * n]) if row[1 + 2 * n] else None for n in range(LENGTH)] for row in rows]


BROKEN: dict[str, tuple[Any, str, Callable[..., Any], str]] = {
    "rare combinations pass for common": (
        k_synthetic,
        "sensitive_index",
        lambda real: lambda records, *, k, **how: real(records, k=1, **how),
        "support",
    ),
    "counts are not cut to multiples": (
        k_synthetic.Synthesis,
        "suppress",
        lambda real: lambda run, built: built.codes(records=run.records),
        "exact counts",
    ),
    "an emptied record stays": (
        k_synthetic.Synthesis,
        "suppress",
        lambda real: lambda run, built: np.vstack([codes := real(run, built), np.full((1, codes.shape[1]), -1, np.int32)]),
        "empty records",
    ),
}


@pytest.mark.parametrize(("owner", "part", "broken", "check"), BROKEN.values(), ids=BROKEN.keys())
def test_a_synthesizer_that_breaks_a_guarantee_is_caught_twice(
    monkeypatch: pytest.MonkeyPatch, folder: Path, sensitive: Path, owner: Any, part: str, broken: Callable[..., Any], check: str
) -> None:
    """Neither the evaluation nor the verification may take the synthesizer's word."""
    monkeypatch.setattr(owner, part, broken(getattr(owner, part)))
    made = as_text(k_synthetic.synthesize(victims(), k=K, seed=1, limits=Limits(threads=1)))

    def replace(rows: Rows) -> None:
        rows[:] = [[value or "" for value in row.values()] for row in made.to_pylist()]

    change_records(folder, replace)
    rehash(folder)
    assert check in verify(folder, sensitive=sensitive).failed
    assert not evaluate(victims(), made, k=K, length=1, limits=Limits(threads=1)).private


def test_what_no_check_reads_is_told_with_what_to_do(zones: Zones) -> None:
    """Silence about a file would pass for approval of it."""
    said = " ".join(verify(zones.releases / VERSION).unread)
    for name in ("codebook.pdf", "codebook.html", "quality_report.html", "showcase.html", "CHANGELOG.md", "who approved it"):
        assert name in said


def test_the_known_files_are_those_of_the_catalogue() -> None:
    """Verification has a list of its own, for it shares no code; a product that it does not know would fail every release."""
    assert set(FILES) == {file.name for file in catalogue.FILES}


def test_the_bounds_attack_of_two_counts_is_found(zones: Zones, tmp_path: Path) -> None:
    """Of 30 people with X, 30 have A and 10 have B: somebody is in X, A and B, who are told to be fewer than k."""
    folder = shutil.copytree(zones.releases / VERSION, tmp_path / VERSION)
    overlapping(folder)
    rehash(folder)
    assert "bounds" in verify(folder).failed


BOUND_K = 3
BOUNDED = recount.Numbering({"yearOfRegistration": ("2016", "2017"), **dict.fromkeys("abc", ("x", "y"))})
PEOPLE = st.lists(
    st.tuples(st.sampled_from(["2016", "2016", "2016", "2017"]), *[st.sampled_from(["x", "x", "x", "y", None])] * 3)
)
Group = frozenset[tuple[str, str]]


def told_of(people: list[tuple[str | None, ...]], gone: set[int], length: int) -> dict[Group, int]:
    """The common combinations of ``people``, rounded down, without every one of the numbers ``gone`` and what holds it."""
    names = list(BOUNDED.lists)
    counted: dict[Group, int] = {}
    for person in people:
        own = [(name, value) for name, value in zip(names, person, strict=True) if value]
        for size in range(1, length + 1):
            for part in combinations(own, size):
                counted[frozenset(part)] = counted.get(frozenset(part), 0) + 1
    common = {part: count // BOUND_K * BOUND_K for part, count in counted.items() if count >= BOUND_K}
    hidden = [part for number, part in enumerate(sorted(common, key=lambda part: (len(part), sorted(part)))) if number in gone]
    return {part: count for part, count in common.items() if not any(less <= part for less in hidden)}


def followed(told: dict[Group, int], people: int, length: int) -> set[Group]:
    """What follows, by the rules written out: two and three supersets of every parent, and the years that are not told."""
    least_of, found = {frozenset[tuple[str, str]](): people, **told}, set[Group]()
    attributes = sorted((name, value) for name, values in BOUNDED.lists.items() for value in values)
    everybody = sum(told.get(frozenset({(YEAR, year)}), 0) + BOUND_K - 1 for year in BOUNDED.lists[YEAR])
    for parent, count in least_of.items():
        most = count + BOUND_K - 1 if parent else min(count + BOUND_K - 1, everybody)
        for more in (2, 3):
            for others in combinations(attributes, more):
                group = parent | set(others)
                parts = [told.get(parent | {other}) for other in others]
                if len(dict(group)) < len(parent) + more or len(group) > length or group in told or None in parts:
                    continue
                if sum(part or 0 for part in parts) - (more - 1) * most >= 1:
                    found.add(group)
        years = [(YEAR, value) for value in BOUNDED.lists[YEAR]]
        for year in years if YEAR not in dict(parent) and len(parent) < length else ():
            others = sum(told.get(parent | {other}, 0) + BOUND_K - 1 for other in years if other != year)
            if parent | {year} not in told and count - others >= 1:
                found.add(parent | {year})
    return found


def as_aggregates(told: dict[Group, int], length: int) -> Aggregates:
    aggregates = Aggregates()
    for size in range(1, length + 1):
        rows = [
            (sorted(BOUNDED.first[n] + BOUNDED.lists[n].index(v) for n, v in part), c)
            for part, c in told.items()
            if len(part) == size
        ]
        sets = np.array([row for row, _ in rows], np.int32).reshape(-1, size)
        order = np.argsort(BOUNDED.keys(sets))
        aggregates.sets[size], aggregates.keys[size] = sets[order], BOUNDED.keys(sets)[order]
        aggregates.counts[size] = np.array([count for _, count in rows], np.int64)[order]
    return aggregates


@settings(max_examples=200, deadline=None)
@given(
    people=PEOPLE.filter(lambda rows: len(rows) >= BOUND_K),
    gone=st.sets(st.integers(0, 30), max_size=3),
    length=st.integers(1, 4),
)
def test_small_groups_equal_brute_force(people: list[tuple[str | None, ...]], gone: set[int], length: int) -> None:
    """A group overlooked here is a person that anybody can find with a calculator."""
    told, number = told_of(people, gone, length), len(people) // BOUND_K * BOUND_K
    found = small_groups(as_aggregates(told, length), numbering=BOUNDED, k=BOUND_K, people=number)
    assert found is not None
    expected: dict[int, set[int]] = {size: set() for size in range(1, length + 1)}
    for group in followed(told, number, length):
        attributes = sorted(BOUNDED.first[name] + BOUNDED.lists[name].index(value) for name, value in group)
        expected[len(group)].add(int(BOUNDED.keys(np.array([attributes], np.int32))[0]))
    assert {size: set(keys.tolist()) for size, keys in found.items()} == expected


@pytest.mark.parametrize(
    ("told", "group"),
    [
        ({"a": 6, "2016a": 3, "2017a": 3}, None),
        ({"a": 30, "b": 30, "c": 30, "ab": 30, "ac": 9}, "abc"),  # two supersets
        ({"a": 9, "b": 60, "c": 60}, "bc"),  # of all people
        ({"a": 60, "b": 60, "c": 60, "ab": 60, "ac": 60, "bc": 60}, "abc"),  # two and three
        ({"2016": 30, "a": 30, "2016a": 9}, "2017a"),  # the year that is left
    ],
)
def test_each_rule_finds_its_group(told: dict[str, int], group: str | None) -> None:
    """Each rule by itself, so that none hides behind another."""
    names = {"a": ("a", "x"), "b": ("b", "x"), "c": ("c", "x"), "2016": (YEAR, "2016"), "2017": (YEAR, "2017")}

    def part(text: str) -> Group:
        return frozenset(names[word] for word in re.findall(r"\d+|[abc]", text))

    aggregates = as_aggregates({part(text): count for text, count in ({"2016": 30, "2017": 30} | told).items()}, 3)
    found = small_groups(aggregates, numbering=BOUNDED, k=BOUND_K, people=60)
    assert found is not None
    keys = as_aggregates({part(group): 3}, 3).keys if group else {}
    for size, wanted in keys.items():
        assert set(wanted.tolist()) <= set(found[size].tolist())
    assert group or not any(map(len, found.values()))


def test_other_sensitive_tables_are_no_disclosure(zones: Zones, tmp_path: Path) -> None:
    """After a refresh the records are others; nobody should withdraw a good release for that."""
    sensitive = shutil.copytree(zones.table("harmonised", "victims").parent.parent, tmp_path / "sensitive")
    table = read_parquet(sensitive / "harmonised" / "victims.parquet")
    pq.write_table(table.slice(20), sensitive / "harmonised" / "victims.parquet", compression="zstd")
    found = verify(zones.releases / VERSION, sensitive=sensitive / "harmonised" / "victims.parquet")
    assert found.failed == ("inputs",)
    assert "not the table it was made from" in next(check.remedy for check in found.checks if check.name == "inputs")


JUNK = st.sampled_from([None, True, -1, 10**40, 0.5, "", "x", [], [[]], {}, {"a": []}, float("nan")])


@settings(max_examples=30, deadline=None)
@given(data=st.data(), name=st.sampled_from(["manifest.json", "publication.json", "datapackage.json", "map_citizenship.geojson"]))
def test_whatever_a_description_says_is_reported(
    zones: Zones, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    """A release made to crash the verification would leave a sceptic with a traceback instead of an answer."""
    folder = shutil.copytree(zones.releases / VERSION, tmp_path_factory.mktemp("junk") / VERSION)
    said = json.loads((folder / name).read_text(encoding="utf-8"))
    part, path = said, []
    while isinstance(part, dict | list) and part:
        keys: list[Any] = sorted(part) if isinstance(part, dict) else list(range(min(len(part), 3)))
        path.append((part, data.draw(st.sampled_from(keys))))
        part = path[-1][0][path[-1][1]]
        if data.draw(st.booleans()):
            break
    path[-1][0][path[-1][1]] = data.draw(JUNK)
    (folder / name).write_text(json.dumps(said), encoding="utf-8")
    if name != "manifest.json":
        rehash(folder)
    verify(folder)  # whether it holds depends on what was changed; that it answers must not
    shutil.rmtree(folder.parent)


def test_what_is_no_release_is_an_error_or_told(tmp_path: Path, zones: Zones, sensitive: Path) -> None:
    """A mistyped path must not look like a release that was tampered with, nor like a good one."""
    with pytest.raises(ReleaseError, match="no folder"):
        verify(tmp_path / "absent")
    assert verify(tmp_path).failed == ("manifest",)
    with pytest.raises(TableError, match="cannot be read"):
        verify(zones.releases / VERSION, sensitive=tmp_path / "absent.parquet")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(TableError, match="cannot be read"):
        verify(zones.releases / VERSION, sensitive=tmp_path / "other.csv")
    with pytest.raises(CtdcError):
        verify(zones.releases / VERSION, sensitive=tmp_path)


def test_no_cell_is_quoted(folder: Path) -> None:
    """What should not be in a release should not be in a report about it either."""
    change_records(folder, cell("gender", "Sentinel-7391"))
    rehash(folder)
    assert "Sentinel" not in json.dumps(verify(folder).to_dict())


def test_verification_shares_no_code_with_what_it_verifies() -> None:
    """A mistake in shared code would be on both sides and cancel out."""
    script = "import sys, ctdc_pipeline.verification.release_folder\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    rooms = {name.split(".")[1] for name in done.stdout.split() if name.startswith("ctdc_pipeline.")}
    assert rooms == {"verification", "codebook", "storage", "operations", "errors", "spelling"}


CELLS = st.sampled_from([None, "x", "y", "other"])
SMALL = st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS), max_size=14)
NUMBERING = recount.Numbering(dict.fromkeys("abcd", ("x", "y")))


def table(rows: list[tuple[str | None, ...]]) -> pa.Table:
    return pa.table({name: pa.array([row[number] for row in rows], pa.string()) for number, name in enumerate("abcd")})


@settings(max_examples=80, deadline=None)
@given(sensitive=SMALL, records=SMALL)
def test_supports_equal_brute_force(sensitive: list[tuple[str | None, ...]], records: list[tuple[str | None, ...]]) -> None:
    """A support counted too high would pass a record of fewer than k people."""
    codes = [NUMBERING.codes(table(rows)) for rows in (sensitive, records)]
    found = recount.supports(codes[0], codes[1], numbering=NUMBERING)

    def held(record: tuple[str | None, ...], row: tuple[str | None, ...]) -> bool:
        return "other" not in record and all(mine in (None, its) for mine, its in zip(record, row, strict=True))

    assert found.tolist() == [sum(held(record, row) for row in sensitive) for record in records]


@settings(max_examples=80, deadline=None)
@given(rows=SMALL, k=st.integers(1, 4), length=st.integers(1, 4))
def test_common_combinations_equal_brute_force(rows: list[tuple[str | None, ...]], k: int, length: int) -> None:
    """A combination overlooked here could be missing from a release, or be in it, unseen."""
    found = recount.common(NUMBERING.codes(table(rows)), numbering=NUMBERING, length=length, k=k)
    sets = [[("abcd"[number], value) for number, value in enumerate(row) if value and value != "other"] for row in rows]
    for size in range(1, length + 1):
        counted: dict[tuple[tuple[str, str], ...], int] = {}
        for own in sets:
            for part in combinations(own, size):
                counted[part] = counted.get(part, 0) + 1
        expected = {
            int(NUMBERING.keys(NUMBERING.number(*map(pa.array, zip(*part, strict=True)))[None, :])[0]): count
            for part, count in counted.items()
            if count >= k
        }
        assert dict(zip(*(values.tolist() for values in found[size]), strict=True)) == expected
        assert found[size][0].tolist() == sorted(expected)


def test_a_wrong_public_key_is_an_error(zones: Zones, tmp_path: Path) -> None:
    """A text file given for a key must not read as a bad signature, nor as none."""
    wrong = tmp_path / "key.pem"
    wrong.write_text("no key")
    assert "signature" in verify(zones.releases / VERSION, public_key=wrong).failed  # it is not signed at all
    signed = shutil.copytree(zones.releases / VERSION, tmp_path / VERSION)
    (signed / "manifest.json.sig").write_bytes(b"0" * 64)
    with pytest.raises(ParameterError, match="public key"):
        verify(signed, public_key=wrong)


def ctdc(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from ctdc_pipeline.cli.main import main; main()", "verify", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_tells_and_returns_whether_it_holds(zones: Zones, folder: Path, sensitive: Path) -> None:
    """A script that looks at the exit status, and a person who reads, must come to one conclusion."""
    good = ctdc(zones.releases / VERSION, "--sensitive", sensitive)
    assert (good.returncode, good.stderr) == (0, "")
    assert "Everything that was checked holds." in good.stdout

    change_records(folder, cell("gender", "Sentinel-7391"))
    rehash(folder)
    bad = ctdc(folder)
    assert bad.returncode == 1
    assert "DOES NOT HOLD: " in bad.stdout
    assert "Do not use them" in bad.stdout
    assert "Sentinel" not in bad.stdout + bad.stderr
    document = json.loads(ctdc(folder, "--json").stdout)
    assert not document["holds"]
    assert [part["name"] for part in document["checks"]] == list(CHECKS)

    none = ctdc(folder / "absent")
    assert (none.returncode, none.stdout) == (1, "")
    assert none.stderr.startswith("ctdc: absent is no folder.")


def test_a_signed_release_passes_and_any_other_manifest_does_not(folder: Path, tmp_path: Path) -> None:
    """Whoever changes files and manifest alike cannot sign it."""
    private, public = tmp_path / "signing.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    assert verify(folder, public_key=public).failed == ("signature",)
    sign(folder / "manifest.json", private)  # as releases before were signed
    assert verify(folder, public_key=public).failed == ()
    (folder / "manifest.json.sig").unlink()
    sign(folder / "publication.json", private)
    assert verify(folder, public_key=public).failed == ()
    said = (folder / "publication.json").read_text()
    (folder / "publication.json").write_text(said.replace("A. Person", "B. Person"))
    assert verify(folder, public_key=public).failed == ("signature",)
    (folder / "publication.json").write_text(said)
    rehash(folder)
    change_manifest(folder, lambda said: said.update(note="changed"))
    assert "signature" in verify(folder, public_key=public).failed
