"""A home and a release of the version before: what was kept stays readable, and what was published stays in account."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from ctdc_pipeline.operations.backup import backup, restore
from ctdc_pipeline.privacy import differencing
from ctdc_pipeline.storage.files import sha256
from ctdc_pipeline.storage.zones import Zones
from ctdc_pipeline.verification.release_folder import verify
from tests.integration.conftest import Graph, told

ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "home_02e6f5e.tar.xz"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Zones:
    if not ARCHIVE.exists():
        pytest.skip("the home of the version before is not beside the project")
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    (manifest,) = folder.rglob("manifest.json")
    return Zones(manifest.parents[2])


@pytest.fixture
def earlier(unpacked: Zones, tmp_path: Path) -> Graph:
    shutil.copytree(unpacked.root, tmp_path / "home")
    return Graph(Zones(tmp_path / "home").prepare())


def test_the_earlier_release_is_checked_and_its_small_groups_are_found(earlier: Graph) -> None:
    """Guards against an old release that passes although groups follow from it, or that cannot be read at all."""
    (release,) = earlier.released()
    report = verify(release)
    assert report.failed == ("version", "bounds")
    assert {"pages", "report"} <= {check.name for check in report.checks if check.result == "not checked"}


def test_the_earlier_release_would_be_refused_today(earlier: Graph) -> None:
    """Guards against a gate that lets the same small groups out again."""
    (release,) = earlier.released()
    manifest = json.loads((release / "manifest.json").read_text())
    findings = differencing.find_disclosed_groups(release, [], manifest=manifest)
    assert {"intersection"} <= set(findings["rule"].to_pylist())


def test_the_earlier_home_refreshes_and_releases(earlier: Graph) -> None:
    """Guards against an upgrade that loses what was received, or after which nothing can be published any more."""
    received = {path: sha256(path) for path in sorted(earlier.zones.deliveries.rglob("*")) if path.is_file()}
    refreshed = earlier.refresh()
    assert refreshed.success, told(refreshed)
    released = earlier.release()
    assert released.success, told(released)
    assert {path: sha256(path) for path in received} == received
    _, release = earlier.released()
    assert verify(release).failed == ()


def test_the_earlier_home_is_backed_up_and_restored(earlier: Graph, tmp_path: Path) -> None:
    """Guards against a backup that leaves out what this version does not write itself."""
    files = {path.relative_to(earlier.zones.root): sha256(path) for path in earlier.zones.private_files()}
    backup(earlier.zones, tmp_path / "backup.tar")
    restored = Zones(tmp_path / "restored")
    restore(restored, tmp_path / "backup.tar")
    kept = {path.relative_to(restored.root): sha256(path) for path in restored.private_files()}
    assert set(kept.items()) <= set(files.items())
    assert {path for path in files if "deliveries" in path.parts or "secrets" in path.parts} <= set(kept)
