"""The resource that knows the home: a run has the zone for itself, and nothing else waits for it."""

from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from assets.reporting import table_result
from ctdc_pipeline.storage import encryption
from ctdc_pipeline.storage.files import write_parquet
from ctdc_pipeline.storage.zones import LOCK, Zones
from resources.settings import DataHome
from tests.unit.storage.test_zones import process


@dg.asset
def table(home: DataHome) -> None:
    """Somebody else wants the zone while this is made."""
    other = process(home.zones().root, "    pass\n")
    assert other.stderr
    assert "waiting" in other.stderr.readline()
    other.kill()
    other.communicate()


@dg.sensor(job_name="any")
def looking(home: DataHome) -> dg.SkipReason:
    return dg.SkipReason(str(home.zones().root))


def test_a_run_has_the_zone_for_itself(tmp_path: Path) -> None:
    """Two runs that write the same tables, started in two ways that do not know of each other."""
    assert dg.materialize([table], resources={"home": DataHome(root=str(tmp_path))}).success


def test_a_sensor_does_not_wait_for_a_run(tmp_path: Path) -> None:
    """A daemon that stands still while a refresh runs, so that nothing is noticed and no alert is sent."""
    home = {"home": DataHome(root=str(tmp_path))}
    with Zones(tmp_path).prepare().alone(), dg.build_sensor_context(resources=home) as context:
        assert str(tmp_path) in str(looking(context))
    assert (tmp_path / "sensitive" / LOCK).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("key", "told"), [("", "NOT encrypted"), ("0a" * 32, "encrypted at rest")])
def test_every_table_says_whether_it_is_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, told: str) -> None:
    """A zone that everybody who looks at the UI takes to be encrypted, and is not."""
    monkeypatch.setenv(encryption.KEY, key)
    write_parquet(pa.table({"gender": ["Man"]}), tmp_path / "harmonised" / "victims.parquet")
    assert str((table_result(tmp_path / "harmonised" / "victims.parquet").metadata or {})["encryption"]).startswith(told)
