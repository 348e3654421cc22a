"""Files written whole or not at all, also where the process that writes is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ctdc_pipeline.storage.files import remove_abandoned, staged

WRITE = """
import sys, time
from pathlib import Path
from ctdc_pipeline.counting.combinations import database
from ctdc_pipeline.operations.limits import Limits
from ctdc_pipeline.storage.files import staged
folder = Path(sys.argv[1])
with staged(folder / "counts.parquet") as part, database(Limits(1, None, folder)):
    part.write_text("exact counts")
    print("writing", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def writer(tmp_path: Path) -> subprocess.Popen[str]:
    """A process in the middle of writing a file, with a spill folder beside it."""
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def test_what_a_killed_process_left_is_removed_by_the_next(writer: subprocess.Popen[str], tmp_path: Path) -> None:
    """Guards against exact counts that stay in clear beside an output after a kill or an out-of-memory stop."""
    writer.kill()
    writer.wait()
    assert len(list(tmp_path.iterdir())) == 2
    assert remove_abandoned(tmp_path) == 2
    assert not list(tmp_path.iterdir())


def test_what_a_living_process_writes_is_left_alone(writer: subprocess.Popen[str], tmp_path: Path) -> None:
    """Guards against two commands in one folder that destroy each other's work."""
    assert remove_abandoned(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 2
    writer.kill()
    writer.wait()


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    """Guards against a clean-up that removes what this project did not write."""
    names = {".data.csv.part", "data.123.part", ".rsync.Xa81bc", "spill-1", ".data.csv.12.part.old"}
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / ".link.1.part").symlink_to(tmp_path / "data.123.part")
    assert remove_abandoned(tmp_path) == 0
    assert {path.name for path in tmp_path.iterdir()} == {*names, ".link.1.part"}


def test_a_finished_file_holds_no_lock(tmp_path: Path) -> None:
    """Guards against a handle that stays open for every file written."""
    with staged(tmp_path / "a.csv") as part:
        part.write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert not [path for path in Path("/proc/self/fd").iterdir() if path.exists() and path.resolve().parent == tmp_path]
