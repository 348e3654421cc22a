"""What is left of a run that was killed, of a home that was lost and of a zone that is encrypted, over the whole graph."""

import os
import shutil
from pathlib import Path

import pytest

from ctdc_pipeline import encryption, secrets
from ctdc_pipeline.custody import backup, reseal, restore, unsealed
from ctdc_pipeline.files import parquet_sha256, read_parquet, sha256
from ctdc_pipeline.samples.generate import generate
from ctdc_pipeline.zones import Zones
from tests import driver
from tests.integration.conftest import VICTIMS
from tests.sentinels import MARK, leaks, plant_sentinels

KEY, NEW_KEY = "0a" * 32, "1b" * 32
STAGES = (
    "sensitive/deliveries/",
    "sensitive/ingestion/",
    "sensitive/harmonised/polaris.parquet",
    "sensitive/harmonised/accounting.parquet",
    "sensitive/counts/combinations/length_2",
    "sensitive/synthetic/",
    "sensitive/quality/",
    "/releases/",
)


def results(zones: Zones) -> dict[str, str]:
    """The tables and the last release by their digests; the manifest, which names the release, aside."""
    tables = [path for path in zones.private_files() if path.suffix == ".parquet" and "deliveries" not in path.parts]
    release = sorted(zones.releases.iterdir())[-1]
    digests = {str(path.relative_to(zones.sensitive)): parquet_sha256(path) for path in tables}
    return digests | {path.name: sha256(path) for path in release.iterdir() if path.name != "manifest.json"}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Zones:
    """A home in which sample deliveries landed."""
    zones = Zones(tmp_path_factory.mktemp("samples") / "home").prepare()
    generate(zones.landing, victims=VICTIMS, seed=3)
    for path in [path for path in zones.landing.glob("*/*") if path.is_file()]:  # until samples come with a refresh
        (path.parent / "2021").mkdir(exist_ok=True)
        path.rename(path.parent / "2021" / path.name)
    secrets.generate(zones)
    return zones


@pytest.fixture
def landed(samples: Zones, tmp_path: Path) -> Zones:
    """A copy of it."""
    shutil.copytree(samples.root, tmp_path / "home")
    return Zones(tmp_path / "home")


@pytest.fixture(scope="module")
def undisturbed(samples: Zones, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run over the landed deliveries comes to."""
    home = Zones(tmp_path_factory.mktemp("undisturbed") / "home")
    shutil.copytree(samples.root, home.root)
    done = driver.run(home)
    assert done.returncode == 0, done.stderr[-3000:]
    return results(home)


def test_a_run_killed_at_any_stage_is_recovered_by_running_again(landed: Zones, undisturbed: dict[str, str]) -> None:
    """Half-written tables that look whole, a lock that stays, scratch full of cases, or a delivery that is taken in twice."""
    for stage in STAGES:
        killed = driver.run(landed, kill_at=stage)
        assert killed.returncode == driver.KILLED, f"{stage}: {killed.stderr[-3000:]}"
        assert not list(landed.releases.iterdir())
    done = driver.run(landed)
    assert done.returncode == 0, done.stderr[-3000:]

    assert results(landed) == undisturbed
    assert not list(landed.tmp.iterdir())
    assert not [path for path in landed.root.rglob("*") if path.name.endswith(".part")]
    assert len(list(landed.releases.iterdir())) == 1


def test_a_lost_home_is_restored_and_rebuilt(landed: Zones, undisturbed: dict[str, str], tmp_path: Path) -> None:
    """A backup from which the same tables do not come again is none."""
    done = driver.run(landed)
    assert done.returncode == 0, done.stderr[-3000:]
    backup(landed, tmp_path / "backup.tar")
    shutil.rmtree(landed.root)
    restore(landed, tmp_path / "backup.tar")
    assert not list(landed.landing.iterdir()), "what is rebuilt comes from the store"
    rebuilt = driver.run(landed)
    assert rebuilt.returncode == 0, rebuilt.stderr[-3000:]

    assert results(landed) == undisturbed
    assert len(list(landed.releases.iterdir())) == 2, "the first release was restored, the second made"


def test_an_encrypted_zone_holds_nothing_in_clear(landed: Zones) -> None:
    """A stolen disk or backup tells who was trafficked."""
    plant_sentinels(landed.landing)
    temp = landed.root / "temp"
    temp.mkdir()
    environment = {**os.environ, encryption.KEY: KEY, "TMPDIR": str(temp)}
    reference = Zones(landed.root.with_name("reference"))
    shutil.copytree(landed.root, reference.root)
    done, plain = driver.run(landed, environment=environment), driver.run(reference)
    assert (done.returncode, plain.returncode) == (0, 0), done.stderr[-3000:]
    for path in (*landed.private_files(), *(landed.root / "dagster").rglob("*"), *temp.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            assert MARK.encode() not in content.lower(), path
            assert encryption.PLAIN_TABLE not in (content[:4], content[-4:]), path
            assert "dagster" in path.parts or content.startswith((encryption.TABLE, encryption.TOKEN)), path
    assert not list(landed.tmp.iterdir())
    assert leaks(reference.sensitive / "ingestion"), "without a key the marks are found"


def test_another_key_gives_the_same_tables(landed: Zones, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation after which the next refresh reads nothing, or something else."""
    monkeypatch.setenv(encryption.KEY, KEY)
    reseal(landed)
    done = driver.run(landed, environment=os.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    assert results(landed) == undisturbed

    monkeypatch.setenv(encryption.KEY, f"{NEW_KEY},{KEY}")
    reseal(landed)
    monkeypatch.setenv(encryption.KEY, NEW_KEY)
    assert unsealed(landed) == 0
    done = driver.run(landed, environment=os.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    assert results(landed) == undisturbed
    assert len(read_parquet(landed.table("harmonised", "victims"))) > 0
