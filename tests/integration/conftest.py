"""A landed set of small sample exports, and the graph run over a copy of it."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.reporting import acknowledgeable
from ctdc_pipeline.definitions import build_defs
from ctdc_pipeline.ingestion.landing import Landing
from ctdc_pipeline.release.open_warnings import open_warnings
from ctdc_pipeline.storage import secrets
from ctdc_pipeline.storage.zones import Zones
from resources.settings import DataHome, Engine
from tests.support.deliveries import land_sample

VICTIMS = 600
SETTINGS: Mapping[str, Any] = {"reporting_length": 2}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
APPROVER = "test"


@dataclass(frozen=True)
class Graph:
    """The code location over one data home."""

    zones: Zones

    def run(
        self,
        job: str,
        *,
        engine: type[Engine] = Engine,
        partition: str | None = None,
        config: Mapping[str, Any] = QUIET,
        **settings: Any,
    ) -> dg.ExecuteInProcessResult:
        """Run a job on an ephemeral instance; failures are in the result."""
        overrides = {"home": DataHome(root=str(self.zones.root)), "engine": engine(**{**SETTINGS, **settings})}
        definitions = build_defs(resource_overrides=overrides)
        with dg.DagsterInstance.ephemeral() as instance:
            if partition:
                instance.add_dynamic_partitions(f"{job.removeprefix('ingest_')}_refreshes", [partition])
            return definitions.resolve_job_def(job).execute_in_process(
                instance=instance,
                partition_key=partition,
                run_config=dict(config),
                raise_on_error=False,
            )

    def release(self, *, approver: str = APPROVER, reason: str = "test", **settings: Any) -> dg.ExecuteInProcessResult:
        """Make a candidate and publish it; the run that fails, or the last."""
        made = self.run("release_candidate", **settings)
        if not made.success:
            return made
        (candidate,) = made.asset_materializations_for_node("release__candidate")
        warnings = acknowledgeable(candidate)
        decision = {"approver": approver, "reason": reason, "acknowledged": warnings}
        return self.publish(str(candidate.metadata["hash"].value), **decision, **settings)

    def publish(
        self,
        candidate: str,
        *,
        approver: str = APPROVER,
        reason: str = "test",
        acknowledged: Sequence[str] | None = None,
        **settings: Any,
    ) -> dg.ExecuteInProcessResult:
        """Approve a candidate by its hash, with all open warnings acknowledged unless some are named."""
        if acknowledged is None:
            acknowledged = [warning.name for warning in open_warnings(self.zones, k=settings.get("k", 10))]
        config = {"candidate": candidate, "approver": approver, "reason": reason, "acknowledged": [*acknowledged]}
        return self.run("publish", config=config, **settings)

    def receive(self) -> list[dg.ExecuteInProcessResult]:
        """Take in what landed of refreshes that were not taken in before, one run each."""
        landed = Landing(self.zones.landing).landed()
        new = [one for one in landed if not (self.zones.ingested(one.source) / one.refresh).exists()]
        return [self.run(f"ingest_{one.source}", partition=one.refresh) for one in new]

    def refresh(self, **settings: Any) -> dg.ExecuteInProcessResult:
        """Take in what is new and make everything from all; the first run that fails, or the last."""
        failed = (result for result in self.receive() if not result.success)
        return next(failed, None) or self.run("full_refresh", **settings)

    def land_again(self, source: str, *, refresh: str) -> Path:
        """Land what ``source`` sent last as another delivery; its folder, to be changed before it is taken in."""
        folders = sorted(folder for folder in (self.zones.landing / source).iterdir())
        return Path(shutil.copytree(folders[-1], folders[-1].parent / refresh))

    def released(self) -> list[Path]:
        """What is in the public zone."""
        return sorted(self.zones.releases.iterdir())


def told(result: dg.ExecuteInProcessResult) -> str:
    """Everything that a run's events say of failures and failed checks."""
    words: list[str] = []
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            words += [str(failure.error), str(failure.user_failure_data)]
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            words += [] if check.passed else [f"{'/'.join(check.asset_key.path)}:{check.check_name}", str(check.description)]
    return "\n".join(words)


@pytest.fixture(scope="session")
def _landed(tmp_path_factory: pytest.TempPathFactory) -> Zones:
    zones = Zones(tmp_path_factory.mktemp("landed")).prepare()
    land_sample(zones, victims=VICTIMS, seed=3)
    secrets.generate(zones)
    return zones


@pytest.fixture(scope="session")
def _refreshed(_landed: Zones, tmp_path_factory: pytest.TempPathFactory) -> Zones:
    zones = Zones(tmp_path_factory.mktemp("refreshed") / "home")
    shutil.copytree(_landed.root, zones.root)
    result = Graph(zones).refresh()
    assert result.success, told(result)
    return zones


@pytest.fixture
def landed(_landed: Zones, tmp_path: Path) -> Graph:
    """Sample exports have landed; nothing has been run."""
    shutil.copytree(_landed.root, tmp_path / "home")
    return Graph(Zones(tmp_path / "home"))


@pytest.fixture
def refreshed(_refreshed: Zones, tmp_path: Path) -> Graph:
    """A full refresh has succeeded; nothing has been released."""
    shutil.copytree(_refreshed.root, tmp_path / "home")
    return Graph(Zones(tmp_path / "home"))


@pytest.fixture
def rewrite(refreshed: Graph) -> Callable[..., None]:
    """Change one table of the refreshed home through a function from data frame to data frame."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    def change(stage: str, name: str, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        path = refreshed.zones.table(stage, name)
        schema = pq.read_schema(path)
        pq.write_table(pa.Table.from_pandas(edit(pq.read_table(path).to_pandas()), preserve_index=False).cast(schema), path)

    return change
