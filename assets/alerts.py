"""The sensors that alert when a run fails or a check newly warns. What they tell is free of values; the library sends it."""

import json

import dagster as dg

from assets.reporting import guarded
from ctdc_pipeline.operations.alerts import Alert, NewWarning, StepFailure, WarningAlert, send


@dg.run_failure_sensor(
    name="run_failure_alert",
    default_status=dg.DefaultSensorStatus.RUNNING,
    monitor_all_code_locations=True,  # or runs that `dagster job execute` starts, which are of no location, are passed over
    description="Posts a failed run to the webhook CTDC_ALERT_URL, or logs it: job, run, steps and their messages.",
)
def run_failure_alert(context: dg.RunFailureSensorContext) -> None:
    """Alert about one failed run."""
    run = context.dagster_run
    failures = [StepFailure(event.step_key or "", _message(event)) for event in context.get_step_failure_events()]
    if not failures:
        reason = context.failure_event.job_failure_data.failure_reason
        failures = [StepFailure("run", f"{reason.value if reason else 'unknown reason'}; no step tells why.")]
    send(Alert(_job(run), run.run_id, run.tags.get("dagster/partition", ""), failures))


@dg.sensor(
    name="new_warning_alert",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Posts each check that newly warns to the webhook CTDC_ALERT_URL, or logs it. What is not taken is posted again.",
)
def new_warning_alert(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Alert about checks that fail without stopping a run; the cursor keeps what was told of each."""
    with guarded():
        told: dict[str, str] = json.loads(context.cursor or "{}")
        definitions = context.repository_def
        keys = definitions.asset_graph.asset_check_keys if definitions else set[dg.AssetCheckKey]()
        records = context.instance.event_log_storage.get_latest_asset_check_execution_by_key([*keys])
        warnings: dict[str, str] = {}
        for key, record in sorted(records.items()):
            name = f"{key.asset_key.to_user_string()}:{key.name}"
            event = record.event.dagster_event if record.event else None
            if event is None or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                warnings |= {name: told[name]} if name in told else {}  # it is being looked at
                continue
            check = event.asset_check_evaluation_data
            if not check.passed and not check.blocking:
                warnings[name] = check.description or ""
        new = [NewWarning(name, message) for name, message in warnings.items() if told.get(name) != message]
        if new:
            send(WarningAlert(new))
        context.update_cursor(json.dumps(warnings))
        return dg.SkipReason(f"{len(new)} new warnings, {len(warnings)} open")


def _job(run: dg.DagsterRun) -> str:
    """What people call the run: its job, or else the sensor that asked for it; without a job Dagster says ``__ASSET_JOB``."""
    unnamed = run.job_name.startswith("__")
    return run.tags.get("dagster/sensor_name", "chosen assets") if unnamed else run.job_name


def _message(event: dg.DagsterEvent) -> str:
    """Why a step failed: the text of a failure that was raised as such, otherwise only the type of the error."""
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    kind = data.error.cls_name if data.error else None
    if kind == "DagsterAssetCheckFailedError":
        return "A blocking check failed; its description says what to do."
    return f"{kind or 'An error'}; its message is withheld."
