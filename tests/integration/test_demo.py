"""`make demo`, as far as it is not the environment: one command, a release, and a summary that adds up."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def demo(home: Path) -> str:
    environment = {**os.environ, "CTDC_HOME": str(home), "CTDC_DEMO_SIZE": "500"}
    done = subprocess.run([sys.executable, ROOT / "demo.py"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def figure(output: str, label: str) -> int:
    found = re.search(rf"^ +{label} +([\d,]+) *$", output, re.MULTILINE)
    assert found, f"no {label} in the summary"
    return int(found[1].replace(",", ""))


def test_the_demonstration_publishes_and_can_be_repeated(tmp_path: Path) -> None:
    """It is the first thing anyone runs; a second run over the same data must not stumble over the first."""
    first, second = demo(tmp_path), demo(tmp_path)

    for output in (first, second):
        rows = figure(output, "rows in")
        assert rows == sum(figure(output, outcome) for outcome in ("accepted", "quarantined", "excluded")) > 0
        assert figure(output, "synthetic rows") > 0
        assert figure(output, "leaked rare combinations") == 0
    folders = sorted(path for path in (tmp_path / "releases").iterdir())
    assert [str(folder) in output for folder, output in zip(folders, (first, second), strict=True)] == [True, True]


def test_a_refresh_that_fails_ends_the_demonstration(tmp_path: Path) -> None:
    """An exit status of 0 after a failure would let a script go on with an old release."""
    environment = {**os.environ, "CTDC_HOME": str(tmp_path), "CTDC_DEMO_SIZE": "500", "CTDC_SEED": "not a seed"}
    done = subprocess.run([sys.executable, ROOT / "demo.py"], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "CTDC_SEED" in done.stdout
    assert not list((tmp_path / "releases").iterdir())
