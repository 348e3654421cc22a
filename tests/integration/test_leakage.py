"""Nobody's case leaks: marks in every field of every export are searched for wherever they must not be."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from ctdc_pipeline.ingestion.landing import Landing
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.storage.zones import Zones
from resources.instance import configure
from tests.integration.conftest import Graph
from tests.support import driver
from tests.support.sentinels import MARK, leaks, plant_sentinels


@dataclass(frozen=True)
class Operator:
    """Who runs jobs in a process of their own, on a Dagster instance of their own, and looks everywhere afterwards."""

    zones: Zones
    folder: Path

    def environment(self) -> dict[str, str]:
        temp = self.folder / "tmp"
        temp.mkdir(exist_ok=True)
        return {**os.environ, "TMPDIR": str(temp)}

    def everything(self) -> subprocess.CompletedProcess[str]:
        """Take in what landed, make everything from it and release it, in one process."""
        return driver.run(self.zones, environment=self.environment())

    def receive(self, source: str) -> subprocess.CompletedProcess[str]:
        """Take in what landed of one source, as the command line does, everything captured."""
        (refresh,) = (landed.refresh for landed in Landing(self.zones.landing).landed() if landed.source == source)
        with dg.DagsterInstance.from_config(str(configure(self.zones))) as instance:
            instance.add_dynamic_partitions(f"{source}_refreshes", [refresh])
        tags = json.dumps({"dagster/partition": refresh})
        command = ["dagster", "job", "execute", *driver.CODE_LOCATION, "-j", f"ingest_{source}", "--tags", tags]
        places = {"CTDC_HOME": str(self.zones.root), "DAGSTER_HOME": str(configure(self.zones))}
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env={**self.environment(), **places},
            capture_output=True,
            text=True,
            check=False,
        )

    def leaks(self, run: subprocess.CompletedProcess[str]) -> list[str]:
        """Where a mark is found outside the sensitive zone."""
        outside = [path for path in self.zones.root.iterdir() if path != self.zones.sensitive]
        assert any(path.name == "dagster" for path in outside), "the event log is among what is searched"
        return leaks(*outside, self.folder / "tmp", texts=[run.stdout + run.stderr])


@pytest.fixture
def operator(landed: Graph, tmp_path: Path) -> Operator:
    return Operator(landed.zones, tmp_path)


def test_no_value_of_a_case_leaves_the_sensitive_zone(operator: Operator) -> None:
    """Event logs, compute logs and temp files are kept longer and seen by more people than case records may be."""
    plant_sentinels(operator.zones.landing)
    done = operator.everything()

    assert done.returncode == 0, done.stderr[-3000:]
    assert operator.leaks(done) == []
    assert list(operator.zones.releases.iterdir()), "what is public was among what was searched"
    assert leaks(operator.zones.sensitive / "ingestion"), "the marks were read"
    assert leaks(*(operator.zones.sensitive / stage for stage in ("harmonised", "counts", "synthetic", "quality", "tmp"))) == []


def test_lists_that_are_refused_are_not_quoted(operator: Operator) -> None:
    """An opt-out list names exactly the people who least want to be named."""
    plant_sentinels(operator.zones.landing, in_lists=True)
    refused = operator.everything()

    assert refused.returncode == 1
    assert operator.leaks(refused) == []


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
    refused = operator.receive("polaris")

    assert refused.returncode != 0
    assert path.name in refused.stderr
    assert operator.leaks(refused) == []
