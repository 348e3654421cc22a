"""Approval and withdrawal: what is published is what was approved, whole or not at all, and nothing else changes with it."""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ctdc_pipeline import custody, register
from ctdc_pipeline.cli import cli
from ctdc_pipeline.errors import CtdcError, ParameterError, PrivacyError, ReleaseError, ResourceError
from ctdc_pipeline.files import read_parquet, sha256, write_parquet
from ctdc_pipeline.publication import publish, withdraw
from ctdc_pipeline.release import Release, make_candidate
from ctdc_pipeline.sensitive_countries import DenyList
from ctdc_pipeline.zones import Zones
from tests.releases import LAST_YEAR, LENGTH, K, fill

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Zones:
    zones = fill(Zones(tmp_path_factory.mktemp("home") / "home").prepare())
    candidate(zones, "1")
    return zones


@pytest.fixture
def zones(_home: Zones, tmp_path: Path) -> Zones:
    """A home in which candidate 1 waits."""
    shutil.copytree(_home.root, tmp_path / "home")
    return Zones(tmp_path / "home")


def candidate(zones: Zones, version: str) -> Release:
    return make_candidate(zones, version=version, k=K, length=LENGTH, last_year=LAST_YEAR)


def digest(zones: Zones, version: str = "1") -> str:
    return sha256(zones.candidates / version / "manifest.json")


def approve(zones: Zones, waiting: str = "1", *, approved: str = "", **changes: Any) -> Release:
    said = {"approver": "head of data", "reason": "yearly release"}
    decision: dict[str, Any] = {"candidate": approved or digest(zones, waiting), **said, "k": K}
    return publish(zones, **{**decision, **changes})


def released(zones: Zones) -> list[str]:
    return sorted(path.name for path in zones.releases.iterdir())


def test_a_release_says_who_published_it_and_why(zones: Zones) -> None:
    """A decision that nobody can trace is nobody's."""
    approved = digest(zones)
    done = approve(zones)
    said = json.loads((done.folder / "publication.json").read_text())
    assert (said["version"], said["approver"], said["reason"], said["candidate"]) == (
        "1",
        "head of data",
        "yearly release",
        approved,
    )
    assert done.digest == approved, "what was approved is what is published"
    assert not list(zones.candidates.iterdir())
    assert {path.stat().st_mode & 0o777 for path in done.folder.iterdir()} == {0o644}
    assert done.folder.stat().st_mode & 0o777 == 0o755


def test_a_candidate_is_private(zones: Zones) -> None:
    """Nothing is public before it is approved."""
    assert released(zones) == []
    assert (zones.candidates / "1").stat().st_mode & 0o777 == 0o700
    assert zones.candidates.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("missing", ["candidate", "approver", "reason"])
def test_a_decision_is_whole_or_none(zones: Zones, missing: str) -> None:
    """An approval without a name, a reason or a thing approved is a click."""
    with pytest.raises(ParameterError, match="is missing"):
        approve(zones, **{missing: " "})
    assert released(zones) == []


def add_victim(zones: Zones) -> None:
    path = zones.table("harmonised", "victims")
    table = read_parquet(path)
    write_parquet(table.slice(0, len(table) - 1), path)


def rewrite(zones: Zones) -> None:
    path = zones.table("counts", "reportable_aggregates")
    table = read_parquet(path)
    write_parquet(table.slice(0, len(table) - 1), path)


def cut(zones: Zones) -> None:
    path = zones.candidates / "1" / "codebook.html"
    path.write_bytes(path.read_bytes()[:-1])


def extra(zones: Zones) -> None:
    (zones.candidates / "1" / "names.csv").write_text("a")


def beside(zones: Zones) -> None:
    (zones.candidates / "1" / "manifest.json.names").write_text("a")


def fewer(zones: Zones) -> None:
    (zones.candidates / "1" / "map.csv").unlink()


def renamed(zones: Zones) -> None:
    (zones.candidates / "1").rename(zones.candidates / "2")


REFUSED: dict[str, tuple[Callable[[Zones], None], str]] = {
    "victims changed": (add_victim, "tables have changed"),
    "aggregates changed": (rewrite, "tables have changed"),
    "a file was altered": (cut, "not those that it was made with"),
    "a file was added": (extra, "not those that it was made with"),
    "a file was added that looks as if it belonged": (beside, "not those that it was made with"),
    "a file was removed": (fewer, "not those that it was made with"),
    "the folder was renamed": (renamed, "the name of another release"),
}


@pytest.mark.parametrize(("change", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_changed_since_the_approval_is_not_published(zones: Zones, change: Callable[[Zones], None], told: str) -> None:
    """Somebody looked at something else than what would be published."""
    approved = digest(zones)
    change(zones)
    with pytest.raises(ReleaseError, match=told):
        approve(zones, approved=approved)
    assert released(zones) == []


def test_an_altered_manifest_is_no_candidate(zones: Zones) -> None:
    """The hash that was approved names every file."""
    approved = digest(zones)
    manifest = zones.candidates / "1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"1"', '"1" '))
    with pytest.raises(ReleaseError, match="no candidate has this hash"):
        approve(zones, approved=approved)
    assert released(zones) == []


@pytest.mark.parametrize("changes", [{"k": K + 1}, {"deny": DenyList.of({"citizenship": ["UKR"]})}], ids=["k", "countries"])
def test_settings_that_changed_since_count(zones: Zones, changes: dict[str, Any]) -> None:
    """A country that was listed yesterday must not be named tomorrow, whatever was approved the day before."""
    with pytest.raises((ReleaseError, PrivacyError)):
        approve(zones, **changes)
    assert released(zones) == []


def test_of_two_candidates_the_older_one_must_be_named(zones: Zones) -> None:
    """Whoever approves the older one may not know of the newer one; and both follow the same release, so one must go."""
    candidate(zones, "2")
    first, second = digest(zones, "1"), digest(zones, "2")
    with pytest.raises(ReleaseError, match="candidate 2 is newer than 1"):
        approve(zones, approved=first)
    assert released(zones) == []
    approve(zones, approved=first, version="1")
    with pytest.raises(ReleaseError, match="another one was published since"):
        approve(zones, "1", approved=second)
    assert released(zones) == ["1"]


def test_a_candidate_that_follows_another_release_is_refused(zones: Zones) -> None:
    """It was compared with another release than the last one."""
    shutil.copytree(zones.candidates / "1", zones.tmp / "kept")
    approve(zones)
    candidate(zones, "2")
    withdraw(zones, "1", reason="a test")
    with pytest.raises(ReleaseError, match="published or withdrawn since"):
        approve(zones, "2")


@pytest.fixture
def published(zones: Zones) -> Zones:
    """Release 1 is public, candidate 2 waits."""
    approve(zones)
    candidate(zones, "2")
    return zones


def lose(folder: Path) -> None:
    shutil.rmtree(folder)


def lose_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def alter(folder: Path) -> None:
    path = folder / "reportable_aggregates.csv"
    path.write_bytes(path.read_bytes() + b"\n")


def alter_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text() + "\n")


@pytest.mark.parametrize("damage", [lose, lose_manifest, alter, alter_manifest])
def test_nothing_follows_a_release_that_is_missing_or_altered(published: Zones, damage: Callable[[Path], None]) -> None:
    """What is not there cannot be compared with, and a release that changed in silence is worse than none."""
    damage(published.releases / "1")
    for attempt in (lambda: approve(published, "2"), lambda: candidate(published, "3")):
        with pytest.raises(ReleaseError, match=r"release 1 was (published and is missing|altered)"):
            attempt()
    assert released(published) in ([], ["1"])


def test_releases_are_listed_again_after_a_restore(published: Zones, tmp_path: Path) -> None:
    """The register is not in the backup; releases are, the withdrawn ones too."""
    approve(published, "2")
    withdraw(published, "1", reason="a test")
    custody.backup(published, tmp_path / "backup.tar")
    home = Zones(tmp_path / "other")
    custody.restore(home, tmp_path / "backup.tar")
    assert [(one.version, one.withdrawn) for one in register.history(home)] == [("1", True), ("2", False)]
    shutil.rmtree(home.releases / "2")
    with pytest.raises(ReleaseError, match="release 2 was published and is missing"):
        register.history(home)


def test_the_changelog_tells_what_both_releases_tell(published: Zones) -> None:
    """Readers want to know what changed; differences of protected counts are all there is to say."""
    first = (published.releases / "1" / "CHANGELOG.md").read_text()
    assert "first release" in first
    shutil.rmtree(published.candidates / "2")
    path = published.table("harmonised", "deliveries")
    sent = read_parquet(path).to_pandas()
    sent.loc[sent["source"] == "polaris", "refresh"] = "2022"
    import pyarrow as pa

    write_parquet(pa.Table.from_pandas(sent, preserve_index=False), path)
    text = (candidate(published, "2").folder / "CHANGELOG.md").read_text()
    assert "Since release 1" in text
    assert "| polaris | polaris | new | 2021 | 2022 |" in text
    assert "As before." in text


def test_a_withdrawn_release_leaves_a_tombstone_and_its_version(published: Zones) -> None:
    """Whoever follows a citation must learn what became of it, and never find something else there."""
    held = {path.name for path in (published.releases / "1").iterdir()}
    stone = withdraw(published, "1", reason="a test")
    assert [path.name for path in (published.releases / "1").iterdir()] == ["WITHDRAWN.json"]
    assert json.loads(stone.read_text())["reason"] == "a test"
    assert stone.stat().st_mode & 0o777 == 0o644
    assert {path.name for path in (published.withdrawn / "1").iterdir()} == held, "later releases are compared with it"
    assert json.loads((candidate(published, "3").folder / "manifest.json").read_text())["previous"] is None
    for version in ("1", "9", "../sensitive"):
        with pytest.raises(CtdcError):
            withdraw(published, version, reason="a test")
    with pytest.raises(ReleaseError, match="exists already"):
        candidate(published, "1")


def test_a_release_is_withdrawn_from_the_command_line(published: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the day of a withdrawal nobody has time for a command that was never run."""
    monkeypatch.setenv("CTDC_HOME", str(published.root))
    assert "--reason" in CliRunner().invoke(cli, ["withdraw", "1"]).stderr
    assert not (published.releases / "1" / "WITHDRAWN.json").exists()
    done = CliRunner().invoke(cli, ["withdraw", "1", "--reason", "a test"])
    assert done.exit_code == 0, done.output
    assert json.loads((published.releases / "1" / "WITHDRAWN.json").read_text())["reason"] == "a test"
    again = CliRunner().invoke(cli, ["withdraw", "1", "--reason", "a test"])
    assert isinstance(again.exception, CtdcError)


def test_an_interrupted_withdrawal_is_run_again(published: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken out, and then nothing said: the worst of it is a version that is simply gone."""
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.parent.parent == published.tmp:
            raise OSError(errno.ENOSPC, "no space")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing)
        with pytest.raises(ResourceError):
            withdraw(published, "1", reason="a test")
    with pytest.raises(ReleaseError, match="missing"):
        candidate(published, "3")
    withdraw(published, "1", reason="a test")
    assert [one.withdrawn for one in register.history(published)] == [True]


@contextmanager
def full_at(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """No file that is called so can be written: the disk is full."""
    opening, os_opening = io.open, os.open

    def refuse(file: Any) -> None:
        if isinstance(file, str | Path) and name in Path(file).name:
            raise OSError(errno.ENOSPC, "no space left")

    def opened(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if set(mode) & set("wax+"):
            refuse(file)
        return opening(file, mode, *rest, **more)

    def os_opened(file: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            refuse(file)
        return os_opening(file, flags, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)
        patch.setattr(os, "open", os_opened)
        yield


ONE_OF_EACH_WRITER = (
    "global_synthetic_dataset.csv",
    "global_synthetic_dataset.parquet",
    "global_synthetic_dataset.xlsx",
    "global_synthetic_dataset.dta",
    "reportable_aggregates.csv",
    "data_dictionary.md",
    "story_corridors.csv",
    "global_dataset_k_anonymised.csv",
    "map.html",
    "map_citizenship.geojson",
    "showcase.html",
    "codebook.xlsx",
    "codebook.pdf",
    "datapackage.json",
    "CHANGELOG.md",
    "manifest.json",
)


@pytest.mark.parametrize("name", ONE_OF_EACH_WRITER)
def test_a_full_disk_at_any_file_leaves_no_candidate(zones: Zones, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate cut short would be approved for a whole one."""
    assert (zones.candidates / "1" / name).is_file()
    with full_at(name, monkeypatch), pytest.raises(ResourceError, match="nothing was published"):
        candidate(zones, "2")
    assert [path.name for path in zones.candidates.iterdir()] == ["1"]
    assert not list(zones.tmp.iterdir())


def test_a_full_disk_while_publishing_publishes_nothing(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """The candidate stays as it was, to be published when there is space."""
    with full_at("publication.json", monkeypatch), pytest.raises(ResourceError, match="nothing was published"):
        approve(zones)
    assert released(zones) == []
    approve(zones)
    assert released(zones) == ["1"]


def test_a_full_disk_after_publishing_does_not_deny_it(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told that nothing was published, somebody would publish it again."""
    with full_at("published.json", monkeypatch):
        assert approve(zones).version == "1"
    assert [one.version for one in register.history(zones)] == ["1"]


KILLING = """
import os, signal, sys
from pathlib import Path
from ctdc_pipeline.publication import publish
from ctdc_pipeline.zones import Zones

home, digest, step, k = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
steps = 0

def counting(call):
    def counted(*arguments, **options):
        global steps
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return counted

for name in ("rename", "chmod", "unlink"):
    setattr(Path, name, counting(getattr(Path, name)))
os.fsync = counting(os.fsync)
zones = Zones(home)
with zones.alone():
    publish(zones, candidate=digest, approver="a", reason="b", k=k)
"""


@pytest.mark.parametrize("step", [1, 3, 4, 5, 6, 10, 40, 80, 110, 115, 116, 117, 118, 120])
def test_a_publication_killed_at_any_step_is_whole_or_absent(zones: Zones, step: int) -> None:
    """A power cut must not leave half a release in public, nor lose the candidate."""
    approved = digest(zones)
    files = register.file_hashes(zones.candidates / "1")
    command = [sys.executable, "-c", KILLING, str(zones.root), approved, str(step), str(K)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-2000:]
    if not released(zones):
        with zones.alone():
            approve(zones)
    assert released(zones) == ["1"]
    assert register.file_hashes(zones.releases / "1") == files
    assert [one.version for one in register.history(zones)] == ["1"]
    assert not [path for path in zones.root.rglob("*") if path.name.endswith(".part")]
