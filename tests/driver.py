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
from typing import Any

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
        for job, partition in (*ingestion, ("full_refresh", None)):
            if not execute(definitions, job, instance, partition=partition).success:
                return 1
        # Another process may have published in between, after which only a new candidate can be.
        return 0 if any(release(definitions, instance) for _ in range(3)) else 1


def release(definitions: dg.Definitions, instance: dg.DagsterInstance) -> bool:
    """Make a candidate and approve it; whether both succeeded."""
    made = execute(definitions, "release_candidate", instance)
    if not made.success:
        return False
    (candidate,) = made.asset_materializations_for_node("release__candidate")
    named = {what: candidate.metadata[said].value for what, said in (("candidate", "hash"), ("version", "version"))}
    config = {"ops": {"release__global_synthetic_dataset": {"config": {**named, "reason": "test"}}}}
    return execute(definitions, "publish", instance, config=config).success


def execute(
    definitions: dg.Definitions,
    job: str,
    instance: dg.DagsterInstance,
    *,
    partition: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> dg.ExecuteInProcessResult:
    """Run one job in this process."""
    return definitions.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=partition, tags={"ctdc/approver": "test"}, run_config=config, raise_on_error=False
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
