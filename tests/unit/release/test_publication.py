"""Approval and withdrawal: what is published is what was approved, whole or not at all, and nothing else changes with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ctdc_pipeline.cli.main import cli
from ctdc_pipeline.errors import CtdcError, ParameterError, PrivacyError, ReleaseError, ResourceError
from ctdc_pipeline.operations import backup
from ctdc_pipeline.privacy.suppressed_countries import SuppressedCountries
from ctdc_pipeline.products import catalogue
from ctdc_pipeline.release import register
from ctdc_pipeline.release.candidate import Release, make_candidate
from ctdc_pipeline.release.publication import publish, withdraw
from ctdc_pipeline.storage.files import read_parquet, sha256, write_parquet
from ctdc_pipeline.storage.zones import Zones
from ctdc_pipeline.verification.release_folder import verify
from tests.support.faults import full_at, full_at_each, left_by_kills
from tests.support.releases import LAST_YEAR, LENGTH, K, fill


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


@pytest.mark.parametrize(
    "changes", [{"k": K + 1}, {"suppressed": SuppressedCountries.of({"citizenship": ["UKR"]})}], ids=["k", "countries"]
)
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


@pytest.fixture(scope="module")
def _published(_home: Zones, tmp_path_factory: pytest.TempPathFactory) -> Zones:
    home = Zones(tmp_path_factory.mktemp("published") / "home")
    shutil.copytree(_home.root, home.root)
    approve(home)
    candidate(home, "2")
    return home


@pytest.fixture
def published(_published: Zones, tmp_path: Path) -> Zones:
    """A home in which release 1 is public and candidate 2 waits."""
    shutil.copytree(_published.root, tmp_path / "home")
    return Zones(tmp_path / "home")


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
    backup.backup(published, tmp_path / "backup.tar")
    home = Zones(tmp_path / "other")
    backup.restore(home, tmp_path / "backup.tar")
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
    made = candidate(published, "2").folder
    text = (made / "CHANGELOG.md").read_text()
    assert "Since release 1" in text
    assert "| polaris | polaris | new | 2021 | 2022 |" in text
    assert "As before." in text
    assert "report" not in verify(made).failed, "which has the same tables"


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


def test_a_withdrawal_killed_at_any_step_is_run_again(published: Zones, tmp_path: Path) -> None:
    """Taken out, and then nothing said: the worst of it is a version that is simply gone."""
    left = left_by_kills(published, lambda: withdraw(published, "1", reason="a test"), tmp_path / "left")
    for home in left[:-1]:
        with home.alone():
            if not (home.releases / "1").exists():
                with pytest.raises(ReleaseError, match="missing"):
                    candidate(home, "3")
            withdraw(home, "1", reason="a test")
    for home in left:
        assert [one.withdrawn for one in register.history(home)] == [True]
    assert len(left) == 3, "before, taken out, and told"


def test_a_full_disk_at_the_tombstone_is_told(published: Zones) -> None:
    """A traceback says neither what was done nor that the command can be run again."""
    with full_at("WITHDRAWN.json"), pytest.raises(ResourceError):
        withdraw(published, "1", reason="a test")
    withdraw(published, "1", reason="a test")
    assert [one.withdrawn for one in register.history(published)] == [True]


def test_a_full_disk_at_any_file_leaves_no_candidate(zones: Zones) -> None:
    """A candidate cut short would be approved for a whole one."""
    files = {file.name for file in catalogue.FILES} | {"CHANGELOG.md", "manifest.json"}
    assert full_at_each(files, zones, lambda: candidate(zones, "2")) == {name: [] for name in files}
    assert register.file_hashes(zones.candidates / "2").keys() == files - {"manifest.json"}, "this process had space"


def test_a_full_disk_while_publishing_publishes_nothing(zones: Zones) -> None:
    """The candidate stays as it was, to be published when there is space."""
    with full_at("publication.json"), pytest.raises(ResourceError, match="nothing was published"):
        approve(zones)
    assert released(zones) == []
    approve(zones)
    assert released(zones) == ["1"]


def test_a_full_disk_after_publishing_does_not_deny_it(zones: Zones) -> None:
    """Told that nothing was published, somebody would publish it again."""
    with full_at("published.json"):
        assert approve(zones).version == "1"
    assert [one.version for one in register.history(zones)] == ["1"]


def test_a_candidate_killed_at_any_step_is_whole_or_absent(zones: Zones, tmp_path: Path) -> None:
    """A power cut must not leave half a candidate to approve, nor anything that keeps the next one from being made."""
    left = left_by_kills(zones, lambda: candidate(zones, "2"), tmp_path / "left")
    for home in left:
        assert released(home) == []
        with home.alone():
            assert not list(home.tmp.iterdir())
            waiting = sorted(folder.name for folder in home.candidates.iterdir())
            assert waiting == (["1", "2"] if home == left[-1] else ["1"])
            if home == left[0]:
                candidate(home, "2")
    for home in (left[0], left[-1]):
        assert register.file_hashes(home.candidates / "2") == register.file_hashes(zones.candidates / "2")


def test_a_publication_killed_at_any_step_is_whole_or_absent(zones: Zones, tmp_path: Path) -> None:
    """A power cut must not leave half a release in public, nor lose the candidate."""
    files = register.file_hashes(zones.candidates / "1")
    left = left_by_kills(zones, lambda: approve(zones), tmp_path / "left")
    assert [released(home) for home in left] == [[], [], [], ["1"], ["1"]], "before, compared, approved, moved, listed"
    for home in left:
        with home.alone():
            if not released(home):
                approve(home)
            assert register.file_hashes(home.releases / "1") == files
            assert [one.version for one in register.history(home)] == ["1"]
            assert {path.stat().st_mode & 0o777 for path in (home.releases / "1").iterdir()} == {0o644}
