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
