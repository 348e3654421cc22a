"""Backups, restoring them, and changing keys: what must come back, and what must never be replaced."""

import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from ctdc_pipeline.errors import BackupError, CtdcError, ParameterError, ResourceError
from ctdc_pipeline.operations.backup import backup, reseal, restore, unsealed
from ctdc_pipeline.storage import encryption
from ctdc_pipeline.storage.files import read_bytes, read_parquet, write_bytes, write_parquet
from ctdc_pipeline.storage.zones import Zones

OLD, NEW = "0a" * 32, "1b" * 32
TABLE = pa.table({"name": ["a", "b"]})


@pytest.fixture
def zones(tmp_path: Path) -> Zones:
    zones = Zones(tmp_path / "home").prepare()
    write_bytes(b"content", zones.sensitive / "deliveries" / "polaris" / "2021" / "0a" / "cases.csv")
    write_bytes(b"key", zones.sensitive / "secrets" / "KEY")
    write_parquet(TABLE, zones.table("harmonised", "victims"))
    write_parquet(TABLE, zones.releases / "2021-1" / "records.parquet", private=False)
    (zones.root / "dagster").mkdir()
    (zones.root / "dagster" / "runs.db").write_bytes(b"runs")
    return zones


def held(zones: Zones) -> dict[str, bytes]:
    return {str(path.relative_to(zones.root)): path.read_bytes() for path in zones.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("history", [False, True])
def test_a_lost_home_comes_back(zones: Zones, tmp_path: Path, history: bool) -> None:
    """A backup from which a delivery, a decision or a secret is missing is found out on the worst day."""
    before = held(zones)
    count = backup(zones, tmp_path / "backup.tar", history=history)
    home = Zones(tmp_path / "other")
    assert restore(home, tmp_path / "backup.tar") == count

    derived = {"sensitive/.lock", "sensitive/harmonised/victims.parquet", *([] if history else ["dagster/runs.db"])}
    assert held(home) == {name: content for name, content in before.items() if name not in derived}
    assert (tmp_path / "backup.tar").stat().st_mode & 0o777 == 0o600
    for path in (home.sensitive, *home.sensitive.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_nothing_is_replaced(zones: Zones, tmp_path: Path) -> None:
    """A restore over a home in use, or a backup over the only good one, destroys what it should save."""
    backup(zones, tmp_path / "backup.tar")
    before = held(zones)
    with pytest.raises(BackupError, match="not empty"):
        restore(zones, tmp_path / "backup.tar")
    with pytest.raises(BackupError, match="exists"):
        backup(zones, tmp_path / "backup.tar")
    assert held(zones) == before


@pytest.mark.parametrize("damage", ["cut", "flipped", "no tar", "member missing", "member added", "absent", "outside"])
def test_a_damaged_backup_restores_nothing(zones: Zones, tmp_path: Path, damage: str) -> None:
    """Half a home, or changed records, that look like the whole."""
    path = tmp_path / "backup.tar"
    backup(zones, path)
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        path.write_bytes(content.replace(b"content", b"CONTENT"))
    elif damage == "no tar":
        path.write_bytes(b"records")
    elif damage == "absent":
        path.unlink()
    elif damage == "member missing":
        with tarfile.open(path) as archive, tarfile.open(tmp_path / "less.tar", "w") as less:
            for member in archive.getmembers()[:-1]:
                less.addfile(member, archive.extractfile(member))
        path = tmp_path / "less.tar"
    else:
        with tarfile.open(path, "a") as archive:
            archive.add(__file__, "../outside.py" if damage == "outside" else "sensitive/secrets/OTHER")
    with pytest.raises(BackupError):
        restore(Zones(tmp_path / "other"), path)
    assert not list((tmp_path / "other").rglob("*"))
    assert not (tmp_path / "outside.py").exists()


def test_an_empty_home_is_not_backed_up(tmp_path: Path) -> None:
    """A backup of nothing, from a mistyped CTDC_HOME, that replaces a good one in somebody's rotation."""
    with pytest.raises(BackupError, match="nothing"):
        backup(Zones(tmp_path / "home").prepare(), tmp_path / "backup.tar")
    assert not (tmp_path / "backup.tar").exists()


def test_a_disk_that_refuses_is_told(zones: Zones) -> None:
    """A traceback instead of what to do."""
    with pytest.raises(ResourceError, match="could not be written"):
        backup(zones, Path("/proc/backup.tar"))


def test_resealing_encrypts_everything_under_the_first_key(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables in clear that stay behind, or old keys that can never be given up."""
    assert unsealed(zones) == 3
    for keys in (OLD, f"{NEW},{OLD}"):
        monkeypatch.setenv(encryption.KEY, keys)
        assert reseal(zones) == 3
        assert unsealed(zones) == 0
        monkeypatch.setenv(encryption.KEY, keys.split(",")[0])
        assert read_parquet(zones.table("harmonised", "victims")).equals(TABLE)
        assert read_bytes(zones.sensitive / "secrets" / "KEY") == b"key"
    assert held(zones)["releases/2021-1/records.parquet"][:4] == encryption.PLAIN_TABLE
    monkeypatch.setenv(encryption.KEY, OLD)
    with pytest.raises(CtdcError, match="cannot be decrypted"):
        read_parquet(zones.table("harmonised", "victims"))


def test_resealing_needs_a_key(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything written in clear by a command that should protect it."""
    monkeypatch.delenv(encryption.KEY, raising=False)
    with pytest.raises(ParameterError, match="is not set"):
        reseal(zones)


def test_resealing_without_the_old_key_changes_nothing(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the zone under a key, the rest under another, and no way back."""
    monkeypatch.setenv(encryption.KEY, OLD)
    reseal(zones)
    before = held(zones)
    monkeypatch.setenv(encryption.KEY, NEW)
    with pytest.raises(ResourceError, match="Add the key"):
        reseal(zones)
    assert held(zones) == before
