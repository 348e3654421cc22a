"""What the alert of a real failed run tells, over real HTTP."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.alerts import new_warning_alert, run_failure_alert
from assets.reporting import guarded
from ctdc_pipeline.definitions import build_defs
from resources.settings import DataHome
from tests.unit.operations.test_alerts import Hook, hook

__all__ = ["hook"]
SENTINEL = "zqsentinel"


@dg.asset
@guarded()
def unforeseen() -> None:
    """Fails as no one foresaw, with a text that quotes a case."""
    raise ValueError(SENTINEL)


@dg.asset
def unguarded() -> None:
    """Fails where nothing takes the text away."""
    raise ValueError(SENTINEL)


@dg.asset_check(asset=dg.AssetKey("checked"), blocking=True)
def gate() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description=SENTINEL)


@dg.asset
def checked() -> None: ...


@dg.asset(deps=[checked])
def after() -> None: ...


DECISION = {"candidate": "0" * 64, "approver": " ", "reason": "test"}


def alert(definitions: dg.Definitions, job: str, hook: Hook, **config: str) -> Any:
    """Run ``job`` on an instance, hand its failure to the sensor, and return what arrived at the webhook."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def(job).execute_in_process(instance=instance, run_config=config, raise_on_error=False)
        assert not result.success
        (event,) = [event for event in result.all_events if event.is_run_failure]
        context = dg.build_run_status_sensor_context(
            sensor_name="run_failure_alert", dagster_event=event, dagster_instance=instance, dagster_run=result.dagster_run
        ).for_run_failure()
        run_failure_alert(context)
        (received,) = hook.received
        assert received["run_id"] == result.run_id
    assert SENTINEL not in str(received)
    return received


def test_a_failed_release_is_told_with_its_remedy(hook: Hook, tmp_path: Path) -> None:
    """Whoever is woken must learn what to do without opening the UI."""
    received = alert(build_defs(resource_overrides={"home": DataHome(root=str(tmp_path))}), "publish", hook, **DECISION)
    assert received["job"] == "publish"
    assert received["failures"][0]["step"] == "release__global_synthetic_dataset"
    assert "the approver is missing" in received["text"]


@pytest.mark.parametrize(
    ("assets", "told"),
    [([unforeseen], "ValueError in test_alerts.py"), ([unguarded], "withheld"), ([checked, after], "check")],
    ids=["guarded", "unguarded", "failed check"],
)
def test_no_value_is_told(hook: Hook, assets: list[dg.AssetsDefinition], told: str) -> None:
    """A chat room is read by more people than the sensitive zone."""
    definitions = dg.Definitions(assets=assets, asset_checks=[gate], jobs=[dg.define_asset_job("failing")])
    assert told in alert(definitions, "failing", hook)["text"]


def test_a_run_of_no_job_is_called_by_its_sensor(hook: Hook) -> None:
    """`__ASSET_JOB` tells nobody what failed; it is what Dagster calls each run of the automation and of a backfill."""
    definitions = dg.Definitions(assets=[unguarded])
    assert alert(definitions, "__ASSET_JOB", hook)["job"] == "chosen assets"


def test_a_run_that_the_command_line_starts_is_seen(hook: Hook) -> None:
    """A nightly `dagster job execute` that fails unheard, for Dagster counts it to no code location."""
    definitions = dg.Definitions(assets=[unguarded], jobs=[dg.define_asset_job("failing")], sensors=[run_failure_alert])
    with dg.DagsterInstance.ephemeral() as instance:

        def tick(cursor: str | None) -> str | None:
            with dg.build_sensor_context(instance, cursor, repository_name="ours", definitions=definitions) as context:
                return run_failure_alert.evaluate_tick(context).cursor

        started = tick(None)
        run = definitions.resolve_job_def("failing").execute_in_process(instance=instance, raise_on_error=False)
        tick(started)
        assert [one["run_id"] for one in hook.received] == [run.run_id]


def test_a_new_warning_is_told_once(hook: Hook) -> None:
    """Half of a partner's cases can be lost by a green run, and nobody opens the page of a green run."""
    outcome = [False, "36 rows, where there were 218"]

    @dg.asset_check(asset=checked)
    def rows() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=bool(outcome[0]), severity=dg.AssetCheckSeverity.WARN, description=str(outcome[1]))

    definitions = dg.Definitions(assets=[checked], asset_checks=[rows], jobs=[dg.define_asset_job("all")])
    with dg.DagsterInstance.ephemeral() as instance:
        cursor: str | None = None

        def tick() -> list[str]:
            nonlocal cursor
            hook.received.clear()
            with dg.build_sensor_context(instance, cursor, repository_name="ours", definitions=definitions) as context:
                new_warning_alert(context)
                cursor = context.cursor
            return [one["text"] for one in hook.received]

        assert tick() == []
        for passed, message, heard in (
            (False, "36 rows", ["1 new warnings. checked:rows: 36 rows"]),
            (False, "36 rows", []),
            (False, "35 rows", ["1 new warnings. checked:rows: 35 rows"]),
            (True, "fine", []),
            (False, "35 rows", ["1 new warnings. checked:rows: 35 rows"]),
        ):
            outcome[:] = [passed, message]
            assert definitions.resolve_job_def("all").execute_in_process(instance=instance).success
            assert tick() == heard


def test_the_sensor_is_on() -> None:
    """An alert that somebody has to switch on first is off on the day it is needed."""
    (sensor,) = [one for one in build_defs().sensors or [] if one.name == "run_failure_alert"]
    assert isinstance(sensor, dg.SensorDefinition)
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
