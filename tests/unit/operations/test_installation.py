"""Where the code location lies, and which code this is."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ctdc_pipeline.operations import installation
from ctdc_pipeline.operations.installation import code_location, version

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def fresh() -> None:
    """The version is worked out once a process."""
    version.cache_clear()


def test_a_checkout_is_its_own_code_location() -> None:
    """Guards against a checkout that runs the assets of an older wheel."""
    assert code_location() == ROOT


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is not a git checkout")
def test_a_release_names_the_commit_that_made_it() -> None:
    """Every release said 0.1.0, whatever code had made it."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert re.fullmatch(rf"[\w.]+\+g{commit[:12]}(\.dirty)?", version())


def test_a_changed_checkout_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release made by code that nobody can look up any more."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    (tmp_path / "file").write_text("one")
    for arguments in (["init", "-q"], ["add", "file"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], cwd=tmp_path, check=True)
    monkeypatch.setattr(installation, "_CHECKOUT", tmp_path)
    clean = version()
    (tmp_path / "file").write_text("two")
    version.cache_clear()
    assert version() == f"{clean}.dirty"


def test_outside_git_the_version_is_that_of_the_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a version that pretends to know a commit."""
    monkeypatch.setattr(installation, "_CHECKOUT", tmp_path)
    assert version() == installation.distribution("ctdc-pipeline").version
    shutil.rmtree(tmp_path)
    monkeypatch.setattr(installation, "NAME", "no-such-package")
    version.cache_clear()
    assert version() == "0+unknown"
