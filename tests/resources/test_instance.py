"""The Dagster instance that people start."""

import os
import subprocess
import sys
from pathlib import Path

from resources import instance


def test_processes_that_start_at_once_all_find_a_storage(tmp_path: Path) -> None:
    """The webserver and the daemon both make a new instance's SQLite files, and one of them stops on the other's table."""
    command = [sys.executable, "-m", instance.__name__]
    environment = {**os.environ, "CTDC_HOME": str(tmp_path)}
    started = [
        subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    told = [one.communicate()[1][-2000:] for one in started]
    assert [one.returncode for one in started] == [0] * 6, told


def test_a_storage_that_cannot_be_opened_is_told_in_a_line(tmp_path: Path) -> None:
    """Guards against fifty lines of SQLAlchemy's, without a word on what to do, when the disk or the rights are wrong."""
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "history").write_text("a file where SQLite wants a folder")
    (tmp_path / "dagster" / "schedules").mkdir()
    (tmp_path / "dagster" / "schedules" / "schedules.db").mkdir()
    environment = {**os.environ, "CTDC_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", instance.__name__],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("ctdc: ")
    assert len(done.stderr.splitlines()) == 1
