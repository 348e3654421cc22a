"""The sensor that alerts when a run fails. What it tells is free of values; how it is sent is the library's."""

import dagster as dg

from ctdc_pipeline.alerts import Alert, StepFailure, send


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
