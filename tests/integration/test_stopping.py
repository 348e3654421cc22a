"""A run of the graph that is asked to stop while compiled code is at work."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.storage import secrets
from ctdc_pipeline.storage.files import write_parquet
from ctdc_pipeline.storage.zones import Zones
from resources.instance import configure
from tests.support.driver import CODE_LOCATION

ROWS = 300_000
"""So many records without a pattern take the synthesis many minutes."""
INTO_IT_SECONDS = 5
ENOUGH_SECONDS = 60


@pytest.fixture
def zones(tmp_path: Path) -> Zones:
    """A home whose victims keep the synthesis busy."""
    zones = Zones(tmp_path / "home").prepare()
    secrets.generate(zones)
    draw = np.random.Generator(np.random.PCG64(0))
    values = pa.array([f"value {number}" for number in range(12)])
    columns = {
        name: pa.DictionaryArray.from_arrays(pa.array(draw.integers(0, len(values), ROWS, np.int32)), values).cast(pa.string())
        for name in codebook().names
    }
    write_parquet(pa.table(columns), zones.table("harmonised", "victims"))
    return zones


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_step_that_is_stopped_ends_soon_and_leaves_nothing(zones: Zones, number: signal.Signals) -> None:
    """Guards against a run that nobody can stop, or that leaves files with cases behind."""
    places = {"CTDC_HOME": str(zones.root), "DAGSTER_HOME": str(configure(zones))}
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "--select", "synthetic/records"]
    command += CODE_LOCATION
    before = zones.private_files()
    with subprocess.Popen(command, env={**os.environ, **places}, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if "STEP_START" in line:
                break
        time.sleep(INTO_IT_SECONDS)
        process.send_signal(number)
        process.communicate(timeout=ENOUGH_SECONDS)
    with dg.DagsterInstance.from_config(places["DAGSTER_HOME"]) as instance:
        (run,) = instance.get_runs()
    assert run.status in {dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE}
    assert zones.private_files() == before
    assert not list(zones.tmp.iterdir())
