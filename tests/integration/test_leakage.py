"""Nobody's case leaks: sentinel values in every field of every export are searched for wherever they must not be."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import openpyxl
import pyarrow.parquet as pq
import pytest

from ctdc_pipeline.partners.layout import Field, Layout
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.zones import Zones
from tests.integration.conftest import Graph

ROOT = Path(__file__).parents[2]
SENTINEL = "Sentinel-Zqx"
SENTINEL_DAY = "1913-02-31"
SENTINEL_NUMBER = "7731995"
SENTINELS = (SENTINEL, SENTINEL_DAY, SENTINEL_NUMBER)


def free(field: Field) -> bool:
    """Whether any text will do in this field: names, notes, numbers of papers and cases."""
    return field.type == "text" and not field.codes and field.role in (None, "case_id")


def harmless(row: dict[str, str], layout: Layout) -> None:
    """Sentinels where they do not make the row fail."""
    for field in layout.fields:
        if free(field) and field.role is None:
            row[field.name] = f"{SENTINEL} {field.name}"


def hopeless(row: dict[str, str], layout: Layout) -> None:
    """Sentinels in every field, so that the row breaks every rule there is."""
    for field in layout.fields:
        row[field.name] = {"date": SENTINEL_DAY, "integer": SENTINEL_NUMBER}.get(field.type, f"{SENTINEL} {field.name}")


def identified(row: dict[str, str], layout: Layout) -> None:
    """Sentinels in the last part of the identity only, which becomes a pseudonym."""
    row[layout.having("case_id")[-1].name] = f"{SENTINEL} case"


def plant(path: Path, layout: Layout, edits: dict[int, Callable[[dict[str, str], Layout], None]]) -> None:
    """Edit rows of a landed file, counted from 0, as its partner could have."""
    if path.suffix == ".xlsx":
        book = openpyxl.load_workbook(path)
        sheet = book[layout.sheet]
        names = [str(cell.value) for cell in sheet[1]]
        for number, edit in edits.items():
            row: dict[str, str] = {}
            edit(row, layout)
            for name, value in row.items():
                sheet.cell(number + 2, names.index(name) + 1).value = value
        book.save(path)
        return
    with path.open(encoding=layout.encoding, newline="") as file:
        rows = list(csv.DictReader(file, delimiter=layout.delimiter))
    for number, edit in edits.items():
        if number < len(rows):
            edit(rows[number], layout)
    with path.open("w", encoding=layout.encoding, newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=layout.delimiter)
        writer.writeheader()
        writer.writerows(rows)


def landed_files(zones: Zones) -> Iterator[tuple[str, Path, Layout]]:
    """Every landed file with its kind of table and its layout."""
    for source in SOURCES.values():
        for kind, layout in source.layouts.items():
            for path in sorted((zones.landing / source.name).glob(layout.file_pattern)):
                yield kind, path, layout


def run(zones: Zones, folder: Path, job: str) -> subprocess.CompletedProcess[str]:
    """Run a job as an operator does, in a process of its own on an instance of its own."""
    home = zones.root / "dagster"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    (folder / "tmp").mkdir(exist_ok=True)
    environment = {**os.environ, "CTDC_HOME": str(zones.root), "DAGSTER_HOME": str(home), "TMPDIR": str(folder / "tmp")}
    tags = '{"ctdc/approver": "test"}'
    command = ["-m", "dagster", "job", "execute", "-m", "ctdc_pipeline.definitions", "-j", job, "--tags", tags]
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    (folder / f"{job}.log").write_text(done.stdout + done.stderr)
    return done


def leaks(folder: Path, zones: Zones) -> list[str]:
    """Files outside the sensitive zone that hold a sentinel: output, DAGSTER_HOME, temp files, releases."""
    texts = [text.encode(code) for text in SENTINELS for code in ("utf-8", "utf-16-le")]
    files = [path for path in folder.rglob("*") if path.is_file() and zones.sensitive not in path.parents]
    assert any(path.suffix == ".db" for path in files), "the event log is among what is searched"
    found = [path for path in files if any(text.lower() in path.read_bytes().lower() for text in texts)]
    for path in zones.releases.rglob("*.parquet"):
        found += [path] if any(text in str(pq.read_table(path).to_pydict()) for text in SENTINELS) else []
    return [str(path.relative_to(folder)) for path in found]


def test_no_value_of_a_case_leaves_the_sensitive_zone(landed: Graph, tmp_path: Path) -> None:
    """Event logs, compute logs and temp files are kept longer and seen by more people than case records may be."""
    for kind, path, layout in landed_files(landed.zones):
        plant(path, layout, {0: harmless, 1: identified, 2: hopeless} if kind in SOURCES else {0: harmless})
    refresh, release = run(landed.zones, tmp_path, "full_refresh"), run(landed.zones, tmp_path, "release")

    assert refresh.returncode == 0, refresh.stderr[-3000:]
    assert release.returncode == 0, release.stderr[-3000:]
    assert leaks(tmp_path, landed.zones) == []
    ingested = [str(pq.read_table(path).to_pydict()) for path in landed.zones.sensitive.glob("ingestion/*.parquet")]
    assert any(SENTINEL in text for text in ingested), "the sentinels were read"
    for stage in ("harmonised", "synthetic", "quality"):
        for path in (landed.zones.sensitive / stage).glob("*.parquet"):
            assert not any(text in str(pq.read_table(path).to_pydict()) for text in SENTINELS), path


def append(text: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)

    return change


def wide_cell(path: Path) -> None:
    plant(path, SOURCES["polaris"].cases, {0: lambda row, layout: row.update(Reporter_Name=SENTINEL * 10_000)})


def headless(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([",".join([SENTINEL] * (lines[0].count(",") + 1)) + "\n", *lines[1:]]), encoding="utf-8")


def undecodable(path: Path) -> None:
    path.write_bytes(path.read_bytes() + f"{SENTINEL}\xe9\n".encode("latin-1"))


BROKEN = {
    "cut off": append(f"{SENTINEL},{SENTINEL_DAY}"),
    "too many cells": append(",".join([SENTINEL] * 500) + "\n"),
    "oversized cell": wide_cell,
    "values for headings": headless,
    "other encoding": undecodable,
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_cannot_be_read_is_not_quoted(landed: Graph, tmp_path: Path, change: Callable[[Path], None]) -> None:
    """Parsers quote the line they stumble over; that line is somebody's case."""
    (path,) = (landed.zones.landing / "polaris").glob(SOURCES["polaris"].cases.file_pattern)
    change(path)
    refresh = run(landed.zones, tmp_path, "full_refresh")

    assert refresh.returncode != 0
    assert "polaris" in refresh.stderr
    assert leaks(tmp_path, landed.zones) == []
