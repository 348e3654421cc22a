"""Dagster's storage in a real Postgres, switched on by one variable."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from ctdc_pipeline.storage.zones import Zones
from resources import instance
from resources.instance import POSTGRES, configure

ROOT = Path(__file__).parents[2]
RUN = """
import dagster as dg
@dg.asset
def table() -> None: ...
with dg.DagsterInstance.get() as instance:
    for _ in range(5):
        assert dg.materialize([table], instance=instance).success
"""


def _binary(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The address of a Postgres server of this test's own. It refuses to run as root, so root runs it as another user."""
    initdb, pg_ctl = _binary("initdb"), _binary("pg_ctl")
    if not initdb or not pg_ctl:
        pytest.skip("Postgres is not installed; `make test-services` installs it")
    user = "nobody" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="ctdc-postgres-") as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        if user:
            shutil.chown(folder, user)
        data = f"{folder}/data"
        quiet: dict[str, Any] = {"user": user, "cwd": folder, "check": True, "stdout": subprocess.DEVNULL}
        subprocess.run([initdb, "-D", data, "-U", "dagster", "-A", "trust", "-E", "UTF8", "--no-locale"], **quiet)
        listen = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c fsync=off"
        subprocess.run([pg_ctl, "-D", data, "-w", "-l", f"{folder}/log", "-o", listen, "start"], **quiet)
        try:
            yield f"postgresql+psycopg2://dagster@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([pg_ctl, "-D", data, "-w", "-m", "immediate", "stop"], **quiet)


def test_runs_of_several_processes_are_kept_in_postgres(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A switch that is accepted and then ignored, or storage that locks when two processes write to it."""
    monkeypatch.setenv(POSTGRES, postgres)
    home = configure(Zones(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    both = [subprocess.Popen([sys.executable, "-c", RUN], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told

    with dg.DagsterInstance.get() as instance:
        assert len(instance.get_runs()) == 10
        assert instance.get_latest_materialization_event(dg.AssetKey("table"))
    assert not list(home.rglob("*.db"))


def test_an_address_where_nobody_answers_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that are quietly kept somewhere else than where they are looked for."""
    monkeypatch.setenv(POSTGRES, "postgresql+psycopg2://dagster:secret-word@127.0.0.1:1/postgres")
    monkeypatch.setenv("CTDC_HOME", str(tmp_path))
    failed = subprocess.run([sys.executable, "-m", instance.__name__], cwd=ROOT, capture_output=True, text=True, check=False)
    assert failed.returncode != 0
    assert "Connection refused" in failed.stderr
    assert "secret-word" not in failed.stderr


def test_without_the_variable_storage_is_embedded(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make ui` must need no server, also after one was used."""
    monkeypatch.setenv(POSTGRES, postgres)
    configure(Zones(tmp_path))
    monkeypatch.delenv(POSTGRES)
    settings = yaml.safe_load((configure(Zones(tmp_path)) / "dagster.yaml").read_text())
    assert "storage" not in settings
    assert settings["concurrency"]["runs"]["max_concurrent_runs"] == 1
