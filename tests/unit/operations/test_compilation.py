"""Where compiled functions are kept: a service without a home must work, and leave nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numba
import pytest

import ctdc_pipeline
from ctdc_pipeline.operations.compilation import is_kept
from ctdc_pipeline.synthesis import kernel
from ctdc_pipeline.synthesis.k_synthetic import compile_now

NO_ACCOUNT = 54321
"""A user number that no account has, and so no home."""
WITHOUT_ACCOUNT = (
    "setpriv",
    f"--reuid={NO_ACCOUNT}",
    f"--regid={NO_ACCOUNT}",
    "--clear-groups",
    "--inh-caps=+dac_read_search",  # may read everything, for Python itself can be in a folder of root's
    "--ambient-caps=+dac_read_search",
)
COMMAND = (
    "-c",
    "from ctdc_pipeline.cli.main import main; main()",
    "synthesize",
    "table.csv",
    "--output",
    "made.csv",
    "--seed",
    "1",
)


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A compiled copy of the package that only root may write to."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to run a command as a user who may write nowhere")
    compile_now()
    package = Path(ctdc_pipeline.__file__).parent
    shutil.copytree(package, tmp_path / "site" / package.name)
    return tmp_path / "site"


@pytest.mark.parametrize("home", ["unset", "/nonexistent"])
def test_a_user_without_a_home_runs_a_read_only_installation(installation: Path, home: str) -> None:
    """Guards against an unforeseen RuntimeError of numba, a folder called ~, and a copy that stays in the temp folder."""
    with TemporaryDirectory() as work, TemporaryDirectory() as temporary:
        for folder in (work, temporary):
            os.chown(folder, NO_ACCOUNT, NO_ACCOUNT)
        run(installation, Path(work), Path(temporary), home=home)


def run(installation: Path, work: Path, temporary: Path, *, home: str) -> None:
    """Synthesize a table in ``work``, as a user without an account."""
    (work / "table.csv").write_text("a,b\n" + "x,y\n" * 20)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installation), "TMPDIR": str(temporary)}
    environment |= {} if home == "unset" else {"HOME": home}
    done = subprocess.run(
        [*WITHOUT_ACCOUNT, sys.executable, *COMMAND],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (work / "made.csv").read_text() == "a,b\n" + "x,y\n" * 20
    assert {path.name for path in work.iterdir()} == {"table.csv", "made.csv"}
    assert not list(temporary.iterdir())


def test_what_was_compiled_is_recognised() -> None:
    """Guards against a message about compiling before every synthesis, or none before the first."""
    compile_now()
    assert is_kept(kernel.redact)
    assert not is_kept(numba.njit(kernel.mix.py_func))
