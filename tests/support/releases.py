"""A small release of invented victims, made by the pipeline's own functions, and ways to change what it holds."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting.aggregates import reportable_aggregates
from ctdc_pipeline.counting.combinations import count_combinations
from ctdc_pipeline.operations.limits import Limits
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.privacy.suppressed_countries import SUPPRESSED
from ctdc_pipeline.storage.files import read_parquet, sha256, write_parquet
from ctdc_pipeline.storage.tables import as_text
from ctdc_pipeline.storage.zones import Zones
from ctdc_pipeline.synthesis.k_synthetic import synthesize

K, LENGTH, LAST_YEAR = 5, 3, 2021
VERSION = "2026.11.21-1"
RECORDS = "global_synthetic_dataset"
NAMES = list(codebook().names)
CHOICES: dict[str, tuple[str, ...]] = {
    "yearOfRegistration": ("2016", "2017", "2018"),
    "gender": ("Female", "Female", "Male"),
    "ageBroad": ("9--17", "18--20", "30--38", ""),
    "citizenship": ("UKR", "USA", "PHL", "MDA", ""),
    "CountryOfExploitation": ("UKR", "USA", "RUS", ""),
    "meansOfControlThreats": ("1", "", ""),
    "isForcedLabour": ("1", "", ""),
    "isSexualExploit": ("1", ""),
    "recruiterRelationFamily": ("1", "", "", ""),
}


def victims(number: int = 600) -> pa.Table:
    """Invented victims, the same each time."""
    draw = random.Random(7)  # noqa: S311
    rows = [{name: draw.choice(values) or None for name, values in CHOICES.items()} for _ in range(number)]
    return pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in NAMES})


def fill(zones: Zones, *, invented: bool = False) -> Zones:
    """Put everything into the sensitive zone that a release is made of; from samples if ``invented``."""
    table = victims()
    whose = pa.array(["polaris"] * len(table))
    write_parquet(table.append_column("partner", whose).append_column("source", whose), zones.table("harmonised", "victims"))
    counts = zones.folder("counts", "combinations")
    count_combinations(table, counts, length=LENGTH, k=K, limits=Limits(threads=1))
    write_parquet(reportable_aggregates(counts, k=K, length=LENGTH), zones.table("counts", "reportable_aggregates"))
    write_parquet(as_text(synthesize(table, k=K, seed=1, limits=Limits(threads=1))), zones.table("synthetic", "records"))
    sent = [{"source": source, "refresh": "2021", "content": "0" * 64, "invented": invented} for source in SOURCES]
    write_parquet(pa.Table.from_pylist(sent), zones.table("harmonised", "deliveries"))
    write_parquet(SUPPRESSED.empty_table(), zones.table("harmonised", "suppressed"))
    return zones


def read_rows(path: Path) -> list[list[str]]:
    """The cells of a CSV or TSV file, the header first."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


def write_rows(path: Path, rows: list[list[str]]) -> None:
    """Write them back."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",", lineterminator="\n").writerows(rows)


def change_records(folder: Path, change: Callable[[list[list[str]]], object], *, only: str = "") -> None:
    """Change the records, without their header, in every copy that is text, or ``only`` in the one with that suffix."""
    for suffix in [only] if only else [".csv", ".tsv", ".parquet"]:
        path = folder / f"{RECORDS}{suffix}"
        if suffix == ".parquet":
            table = read_parquet(path)
            rows = [[cell or "" for cell in row.values()] for row in table.to_pylist()]
            change(rows)
            columns = zip(*rows, strict=True)
            cells = [pa.array([cell or None for cell in column], pa.string()) for column in columns]
            pq.write_table(pa.table(cells, schema=table.schema), path, compression="zstd")
        else:
            header, *rows = read_rows(path)
            change(rows)
            write_rows(path, [header, *rows])


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what the manifest says."""
    path = folder / "manifest.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    change(said)
    path.write_text(json.dumps(said, indent=2), encoding="utf-8")


def rehash(folder: Path) -> None:
    """Let the manifest name the files as they are now, with their hashes and numbers of rows, and the approval the manifest.

    So does the data package, for files that it described rightly before.
    """
    beside = ("manifest.json", "manifest.json.sig", "publication.json", "publication.json.sig", "approvals.json")
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    package = folder / "datapackage.json"
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        before = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
        described = json.loads(package.read_text(encoding="utf-8"))
        for resource in described["resources"]:
            path = folder / resource["path"]
            if resource["hash"] == f"sha256:{before.get(path.name)}" and path.is_file() and sha256(path) != before[path.name]:
                resource |= {"hash": f"sha256:{sha256(path)}", "bytes": path.stat().st_size}
        package.write_text(json.dumps(described), encoding="utf-8")
    records, aggregates = folder / f"{RECORDS}.csv", folder / "reportable_aggregates.csv"

    def change(said: dict[str, Any]) -> None:
        said["files"] = {name: sha256(path) for name, path in files.items() if name not in beside}
        with suppress(OSError, ValueError, IndexError):
            cells, told = read_rows(records)[1:], len(read_rows(aggregates)) - 1
            said["rows"] |= {RECORDS: len(cells), "reportable_aggregates": told}
            distinct = len({tuple(row) for row in cells})
            said["proof"] |= {"synthetic_records": len(cells), "distinct_records": distinct, "aggregates": told}

    change_manifest(folder, change)
    approval = folder / "publication.json"
    if approval.is_file():
        said = json.loads(approval.read_text(encoding="utf-8"))
        approval.write_text(json.dumps({**said, "candidate": sha256(folder / "manifest.json")}), encoding="utf-8")
