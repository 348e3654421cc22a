"""Nobody's case leaks: marks in every field of every export are searched for wherever they must not be."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from ctdc_pipeline.files import sha256
from ctdc_pipeline.landing import Landing
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.zones import Zones
from resources.instance import configure
from tests.integration.conftest import APPROVED, Graph
from tests.sentinels import MARK, leaks, plant_sentinels


@dataclass(frozen=True)
class Operator:
    """Who runs jobs in a process of their own, on a Dagster instance of their own, and looks everywhere afterwards."""

    zones: Zones
    folder: Path

    def refresh(self) -> subprocess.CompletedProcess[str]:
        """Take in what landed and make everything from it; the first that fails, or the last."""
        for landed in Landing(self.zones.landing).landed():
            with dg.DagsterInstance.from_config(str(configure(self.zones))) as instance:
                instance.add_dynamic_partitions(f"{landed.source}_refreshes", [landed.refresh])
            done = self.run(f"ingest_{landed.source}", {"dagster/partition": landed.refresh})
            if done.returncode != 0:
                return done
        return self.run("full_refresh")

    def release(self) -> subprocess.CompletedProcess[str]:
        """Make a candidate and publish it; the command that fails, or the last."""
        made = self.run("release_candidate")
        if made.returncode != 0:
            return made
        (manifest,) = self.zones.candidates.glob("*/manifest.json")
        decision = {"candidate": sha256(manifest), "reason": "test"}
        config = {"ops": {"release__global_synthetic_dataset": {"config": decision}}}
        return self.run("publish", config=config)

    def run(
        self, job: str, tags: Mapping[str, str] = APPROVED, *, config: Mapping[str, object] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``job`` as the command line does, everything captured."""
        temp = self.folder / "tmp"
        temp.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "CTDC_HOME": str(self.zones.root),
            "DAGSTER_HOME": str(configure(self.zones)),
            "TMPDIR": str(temp),
        }
        command = [
            "-m",
            "dagster",
            "job",
            "execute",
            "-m",
            "ctdc_pipeline.definitions",
            "-j",
            job,
            "--tags",
            json.dumps(dict(tags)),
        ]
        if config:
            (self.folder / "config.json").write_text(json.dumps(config))
            command += ["--config", str(self.folder / "config.json")]
        return subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def leaks(self, *runs: subprocess.CompletedProcess[str]) -> list[str]:
        """Where a mark is found outside the sensitive zone."""
        outside = [path for path in self.zones.root.iterdir() if path != self.zones.sensitive]
        assert any(path.name == "dagster" for path in outside), "the event log is among what is searched"
        return leaks(*outside, self.folder / "tmp", texts=[run.stdout + run.stderr for run in runs])


@pytest.fixture
def operator(landed: Graph, tmp_path: Path) -> Operator:
    return Operator(landed.zones, tmp_path)


def test_no_value_of_a_case_leaves_the_sensitive_zone(operator: Operator) -> None:
    """Event logs, compute logs and temp files are kept longer and seen by more people than case records may be."""
    plant_sentinels(operator.zones.landing)
    refresh, release = operator.refresh(), operator.release()

    assert refresh.returncode == 0, refresh.stderr[-3000:]
    assert release.returncode == 0, release.stderr[-3000:]
    assert operator.leaks(refresh, release) == []
    assert leaks(operator.zones.sensitive / "ingestion"), "the marks were read"
    assert leaks(*(operator.zones.sensitive / stage for stage in ("harmonised", "counts", "synthetic", "quality", "tmp"))) == []


def test_lists_that_are_refused_are_not_quoted(operator: Operator) -> None:
    """An opt-out list names exactly the people who least want to be named."""
    plant_sentinels(operator.zones.landing, in_lists=True)
    refresh = operator.refresh()

    assert refresh.returncode != 0
    assert operator.leaks(refresh) == []


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes() + f"{MARK},{MARK}".encode())


def too_many_cells(path: Path) -> None:
    path.write_bytes(path.read_bytes() + f"{','.join([MARK] * 500)}\n".encode())


def oversized_cell(path: Path) -> None:
    heading, first, *rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([heading, first.replace(b",", f",{MARK * 10_000}".encode(), 1), *rows]))


def values_for_headings(path: Path) -> None:
    heading, *rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([f"{','.join([MARK] * (heading.count(b',') + 1))}\n".encode(), *rows]))


def other_encoding(path: Path) -> None:
    path.write_bytes(path.read_bytes() + f"{MARK}\xe9\n".encode("latin-1"))


@pytest.mark.parametrize("damage", [cut_off, too_many_cells, oversized_cell, values_for_headings, other_encoding])
def test_a_file_that_cannot_be_read_is_not_quoted(operator: Operator, damage: Callable[[Path], None]) -> None:
    """Parsers quote the line they stumble over; that line is somebody's case."""
    (path,) = (operator.zones.landing / "polaris").glob(f"*/{SOURCES['polaris'].cases.file_pattern}")
    damage(path)
    refresh = operator.refresh()

    assert refresh.returncode != 0
    assert path.name in refresh.stderr
    assert operator.leaks(refresh) == []
