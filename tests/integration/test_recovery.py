"""What is left of a run that was killed, of a home that was lost and of a zone that is encrypted, over the whole graph."""

import hashlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ctdc_pipeline.operations.backup import backup, reseal, restore, unsealed
from ctdc_pipeline.storage import encryption, secrets
from ctdc_pipeline.storage.files import read_parquet, sha256
from ctdc_pipeline.storage.zones import Zones
from tests.integration.conftest import VICTIMS
from tests.support import driver
from tests.support.deliveries import land_sample
from tests.support.sentinels import MARK, leaks, plant_sentinels

DATA = (".csv", ".tsv", ".geojson")
"""Files of a release in which its version is not told."""
KEY, NEW_KEY = "0a" * 32, "1b" * 32
STAGES = (
    "sensitive/deliveries/",
    "sensitive/ingestion/",
    "sensitive/harmonised/polaris.parquet",
    "sensitive/harmonised/accounting.parquet",
    "sensitive/counts/combinations/length_2",
    "sensitive/synthetic/",
    "sensitive/quality/",
    "sensitive/candidates/",
    "/publication.json",
    "/releases/",
)


def content(table: Path) -> str:
    """A digest of what is in the table, however it is written."""
    return hashlib.sha256(str(read_parquet(table).to_pydict()).encode()).hexdigest()


def results(zones: Zones, *, digest: Callable[[Path], str] = sha256) -> dict[str, str]:
    """The tables and the last release by their digests; its files that name the version aside."""
    tables = [path for path in zones.private_files() if path.suffix == ".parquet" and "deliveries" not in path.parts]
    release = sorted(zones.releases.iterdir())[-1]
    digests = {str(path.relative_to(zones.sensitive)): digest(path) for path in tables}
    return digests | {path.name: sha256(path) for path in release.iterdir() if path.suffix in DATA}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Zones:
    """A home in which sample deliveries landed."""
    zones = Zones(tmp_path_factory.mktemp("samples") / "home").prepare()
    land_sample(zones, victims=VICTIMS, seed=3)
    secrets.generate(zones)
    return zones


@pytest.fixture
def landed(samples: Zones, tmp_path: Path) -> Zones:
    """A copy of it."""
    shutil.copytree(samples.root, tmp_path / "home")
    return Zones(tmp_path / "home")


@pytest.fixture(scope="module")
def undisturbed(samples: Zones, tmp_path_factory: pytest.TempPathFactory) -> Zones:
    """The home after a run that nothing disturbed."""
    home = Zones(tmp_path_factory.mktemp("undisturbed") / "home")
    shutil.copytree(samples.root, home.root)
    done = driver.run(home)
    assert done.returncode == 0, done.stderr[-3000:]
    return home


def test_a_run_killed_at_every_stage_is_recovered_by_running_again(landed: Zones, undisturbed: Zones) -> None:
    """Half-written tables that look whole, a lock that stays, scratch full of cases, or a delivery that is taken in twice."""
    done = driver.run(landed, kill_at=STAGES)
    assert done.returncode == 0, done.stderr[-3000:]

    assert results(landed) == results(undisturbed)
    assert not list(landed.tmp.iterdir())
    assert not [path for path in landed.root.rglob("*") if path.name.endswith(".part")]
    assert len(list(landed.releases.iterdir())) == 1


def test_two_runs_at_once_give_what_one_gives(landed: Zones, undisturbed: Zones) -> None:
    """Tables of which half is one run's and half the other's, a delivery that is kept twice, a release over another."""
    with ThreadPoolExecutor(2) as both:
        done = list(both.map(driver.run, [landed, landed]))
    assert [one.returncode for one in done] == [0, 0], [one.stderr[-3000:] for one in done]
    assert results(landed) == results(undisturbed)
    assert len(list(landed.releases.iterdir())) == 2


def test_an_encrypted_zone_holds_nothing_in_clear(landed: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stolen disk or backup tells who was trafficked."""
    plant_sentinels(landed.landing)
    temp = landed.root / "temp"
    temp.mkdir()
    monkeypatch.setenv(encryption.KEY, KEY)
    reseal(landed)
    done = driver.run(landed, environment={**os.environ, "TMPDIR": str(temp)})
    assert done.returncode == 0, done.stderr[-3000:]
    assert unsealed(landed) == 0
    for path in (*landed.private_files(), *(landed.root / "dagster").rglob("*"), *temp.rglob("*")):
        if path.is_file():
            held = path.read_bytes()
            assert MARK.encode() not in held.lower(), path
            assert encryption.PLAIN_TABLE not in (held[:4], held[-4:]), path
    assert not list(landed.tmp.iterdir())
    assert leaks(landed.landing), "what landed, in clear, has the marks"


def test_a_lost_home_is_restored_and_rebuilt_under_another_key(
    undisturbed: Zones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup from which the same tables do not come again is none; nor may a rotation change what the next refresh reads."""
    backup(undisturbed, tmp_path / "backup.tar")
    home = Zones(tmp_path / "home")
    restore(home, tmp_path / "backup.tar")
    assert not list(home.landing.iterdir()), "what is rebuilt comes from the store"
    for keys in (KEY, f"{NEW_KEY},{KEY}"):
        monkeypatch.setenv(encryption.KEY, keys)
        reseal(home)
    monkeypatch.setenv(encryption.KEY, NEW_KEY)
    assert unsealed(home) == 0
    rebuilt = driver.run(home, environment=os.environ)
    assert rebuilt.returncode == 0, rebuilt.stderr[-3000:]
    assert results(home, digest=content) == results(undisturbed, digest=content)
    assert len(list(home.releases.iterdir())) == 2, "the first release was restored, the second made"

    monkeypatch.setenv(encryption.KEY, KEY)
    wrong = driver.run(home, environment=os.environ)
    monkeypatch.delenv(encryption.KEY)
    missing = driver.run(home, environment=os.environ)
    for failed, told in (
        (wrong, "cannot be decrypted with any key"),
        (missing, "CTDC_SENSITIVE_KEY is not set"),
    ):
        assert failed.returncode == 1
        assert told in failed.stderr
        assert not any(key in failed.stderr for key in (KEY, NEW_KEY))
