"""Everything from landing to release in a process of its own, as an operator runs it, and killed where a test wants it.

``CTDC_HOME`` is the home, ``DAGSTER_HOME`` the instance. Given a piece of a path, the process kills itself with SIGKILL when a
file or folder there is complete but not yet in place, which is the worst moment there is.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from ctdc_pipeline.definitions import build_defs
from ctdc_pipeline.zones import Zones
from resources.instance import configure
from resources.settings import DataHome, Engine

ROOT = Path(__file__).parents[1]
KILLED = -signal.SIGKILL


def run(zones: Zones, *, kill_at: str = "", environment: Mapping[str, str] = os.environ) -> subprocess.CompletedProcess[str]:
    """Run this module over ``zones``, everything captured."""
    places = {"CTDC_HOME": str(zones.root), "DAGSTER_HOME": str(configure(zones))}
    command = [sys.executable, "-m", "tests.driver", kill_at]
    return subprocess.run(command, cwd=ROOT, env={**environment, **places}, capture_output=True, text=True, check=False)


def main(kill_at: str) -> int:
    """The exit status is 0 if everything, the release included, succeeded."""
    rename = Path.rename

    def killing(path: Path, target: Path) -> Path:
        if kill_at in str(target):
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(path, target)

    if kill_at:
        Path.rename = killing  # type: ignore[method-assign, assignment]
    definitions = build_defs(resource_overrides={"engine": Engine(reporting_length=2)})
    with dg.DagsterInstance.get() as instance:
        stored = {(folder.parent.name, folder.name) for folder in DataHome().zones().deliveries.glob("*/*") if folder.is_dir()}
        deliveries = sorted(stored | {(one.source, one.refresh) for one in DataHome().landing().landed()})
        for source, refresh in deliveries:
            instance.add_dynamic_partitions(f"{source}_refreshes", [refresh])
        ingestion = [(f"ingest_{source}", refresh) for source, refresh in deliveries]
        for job, partition in (*ingestion, ("full_refresh", None), ("release", None)):
            result = definitions.resolve_job_def(job).execute_in_process(
                instance=instance, partition_key=partition, tags={"ctdc/approver": "test"}, raise_on_error=False
            )
            if not result.success:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
