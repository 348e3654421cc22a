"""Everything from landing to release in a process of its own, as an operator runs it, and killed where a test wants it.

``CTDC_HOME`` is the home, ``DAGSTER_HOME`` the instance. Given pieces of paths, it runs each job in a child that kills itself by
SIGKILL when a file or folder at the next of these places is complete but not yet there, which is the worst moment there is; and
runs the job again, as an operator does.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from assets.reporting import acknowledgeable
from ctdc_pipeline.definitions import build_defs
from ctdc_pipeline.storage.zones import Zones
from resources.instance import configure
from resources.settings import DataHome, Engine

ROOT = Path(__file__).parents[2]
CODE_LOCATION = ["-d", str(ROOT), "-m", "ctdc_pipeline.definitions"]
"""What tells Dagster's own commands of the code location, wherever they run."""
KILLED = -signal.SIGKILL


def run(
    zones: Zones, *, kill_at: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """Run this module over ``zones``, everything captured."""
    places = {"CTDC_HOME": str(zones.root), "DAGSTER_HOME": str(configure(zones))}
    command = [sys.executable, "-m", "tests.support.driver", *kill_at]
    return subprocess.run(command, cwd=ROOT, env={**environment, **places}, capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Driver:
    """The code location, and the places where a run is still to be killed."""

    definitions: dg.Definitions
    kill_at: list[str]

    def everything(self) -> bool:
        """Whether everything, the release included, succeeded, after it was killed everywhere."""
        stored = {(folder.parent.name, folder.name) for folder in DataHome().zones().deliveries.glob("*/*") if folder.is_dir()}
        deliveries = sorted(stored | {(one.source, one.refresh) for one in DataHome().landing().landed()})
        with DataHome().zones().alone(), dg.DagsterInstance.get() as instance:  # two processes may not add the same one at once
            for source, refresh in deliveries:
                instance.add_dynamic_partitions(f"{source}_refreshes", [refresh])
        received = all(self.job(f"ingest_{source}", partition=refresh) for source, refresh in deliveries)
        # Another process may have published in between, after which only a new candidate can be.
        done = received and self.job("full_refresh") and any(self.release() for _ in range(3))
        return done and not self.kill_at

    def release(self) -> bool:
        """Make a candidate and approve it; whether both succeeded."""
        if not self.job("release_candidate"):
            return False
        with dg.DagsterInstance.get() as instance:
            made = instance.get_latest_materialization_event(dg.AssetKey(["release", "candidate"]))
        assert made is not None
        assert made.asset_materialization is not None
        metadata = made.asset_materialization.metadata
        named = {what: metadata[said].value for what, said in (("candidate", "hash"), ("version", "version"))}
        heard = acknowledgeable(made.asset_materialization)
        return self.job("publish", config={**named, "approver": "test", "reason": "test", "acknowledged": heard})

    def job(self, job: str, *, partition: str | None = None, config: Mapping[str, Any] | None = None) -> bool:
        """Run one job, and again each time that it was killed; whether it succeeded."""
        while self.kill_at:
            if (child := os.fork()) == 0:
                killing_at(self.kill_at[0])
                os._exit(not self.execute(job, partition=partition, config=config))
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status != KILLED:
                return status == 0
            self.kill_at.pop(0)
        return self.execute(job, partition=partition, config=config)

    def execute(self, job: str, *, partition: str | None, config: Mapping[str, Any] | None) -> bool:
        """Run one job in this process."""
        with dg.DagsterInstance.get() as instance:
            resolved = self.definitions.resolve_job_def(job)
            return resolved.execute_in_process(
                instance=instance,
                partition_key=partition,
                run_config=config,
                raise_on_error=False,
            ).success


def killing_at(place: str) -> None:
    """Let this process end where it would rename something to what has ``place`` in its path."""
    rename = Path.rename

    def killing(path: Path, target: Path) -> Path:
        if place in str(target):
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(path, target)

    Path.rename = killing  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    sys.exit(not Driver(build_defs(resource_overrides={"engine": Engine(reporting_length=2)}), sys.argv[1:]).everything())
