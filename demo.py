"""What `make demo` runs: sample exports in, a verified release out, through the Dagster graph, with a summary at the end.

Demonstration only: it makes the pseudonym key and the seed, and approves its own release. CTDC_DEMO_SIZE is the number of
invented victims.
"""

import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console
from rich.table import Table

from assets.ingestion.arrivals import requested
from ctdc_pipeline import encryption, secrets
from ctdc_pipeline.definitions import build_defs
from ctdc_pipeline.files import read_parquet
from ctdc_pipeline.samples.generate import generate
from ctdc_pipeline.zones import Zones
from resources.instance import configure
from resources.settings import DataHome

console = Console(highlight=False, soft_wrap=True)


class Progress(logging.Handler):
    """One line for each asset that is written, each check that warns or fails and each step that fails."""

    def __init__(self) -> None:
        super().__init__()
        self._last = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the line that the Dagster event of ``record`` deserves, if any."""
        event: dg.DagsterEvent | None = getattr(record, "dagster_meta", {}).get("dagster_event")
        if event is None:
            return
        now = time.monotonic()
        if event.is_step_materialization and event.asset_key:
            metadata = event.step_materialization_data.materialization.metadata
            rows = metadata.get("dagster/row_count")
            told = f"{rows.value:>9,} rows" if rows else ""
            name = "/".join([*event.asset_key.path, *([event.partition] if event.partition else [])])
            console.print(f"  [green]done[/]  {name:36} {now - self._last:5.1f} s {told}")
            self._last = now
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                label = "[red]gate[/]" if check.severity == dg.AssetCheckSeverity.ERROR else "[yellow]warn[/]"
                console.print(f"  {label}  {'/'.join(check.asset_key.path)}: {check.check_name}. {check.description}")
        elif event.is_step_failure and (failure := event.step_failure_data.user_failure_data):
            console.print(f"  [red]fail[/]  {event.step_key}: {failure.description}")


def main() -> int:
    """Run the demonstration; the exit status is 0 only if a verified release was published."""
    started = time.monotonic()
    zones = Zones.from_environment().prepare()
    os.environ["DAGSTER_HOME"] = str(configure(zones))

    size = int(os.environ.get("CTDC_DEMO_SIZE") or 20_000)
    if any(zones.deliveries.iterdir()) and not (zones.sensitive / "secrets").exists():
        console.print(
            f"[red]{zones.root} holds deliveries that are not this demonstration's.[/] Set CTDC_HOME to another folder."
        )
        return 1
    console.print(f"[bold]Sample deliveries[/] of {size:,} invented victims, in {zones.landing}")
    for folder in (zones.landing, zones.deliveries, zones.sensitive / "ingestion", zones.sensitive / "harmonised"):
        shutil.rmtree(folder)  # a demonstration of another size would contest what the last one delivered
    generate(zones.prepare().landing, victims=size, seed=1)
    secrets.generate(zones)

    with dg.DagsterInstance.get() as instance:
        made = receive(instance) and run("full_refresh", instance) and run("release_candidate", instance)
        released = made and publish(made, instance)
    if not released:
        return 1
    (materialization,) = released.asset_materializations_for_node("release__global_synthetic_dataset")
    summarise(zones, Path(str(materialization.metadata["folder"].value)))
    console.print(f"Sensitive zone: {encryption.notice()}")
    console.print(f"\nTook {time.monotonic() - started:.0f} s. `make ui` shows the graph.")
    return 0


def publish(made: dg.ExecuteInProcessResult, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult | None:
    """Approve the candidate that the run ``made``, as a person would by its hash."""
    (candidate,) = made.asset_materializations_for_node("release__candidate")
    decision = {"candidate": candidate.metadata["hash"].value, "reason": "demonstration"}
    config = {"ops": {"release__global_synthetic_dataset": {"config": decision}}}
    return run("publish", instance, tags={"ctdc/approver": "demonstration"}, config=config)


def receive(instance: dg.DagsterInstance) -> bool:
    """Take in what landed, as the sensor asks for it; whether all of it was."""
    console.print("\n[bold]Jobs ingest_<source>[/]")
    home = DataHome()
    requests = requested(home.landing().landed(), home=home, instance=instance)
    return all(run(str(request.job_name), instance, partition=request.partition_key) for request in requests)


def run(
    job: str,
    instance: dg.DagsterInstance,
    *,
    partition: str | None = None,
    tags: dict[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dg.ExecuteInProcessResult | None:
    """Run one job in this process; its result if it succeeded."""
    if partition is None:
        console.print(f"\n[bold]Job {job}[/]")
    progress = dg.Definitions(loggers={"progress": dg.LoggerDefinition(lambda _: progress_logger())})
    definitions = dg.Definitions.merge(build_defs(), progress)
    result = definitions.resolve_job_def(job).execute_in_process(
        instance=instance,
        run_config={"loggers": {"progress": {}}, **(config or {})},
        partition_key=partition,
        tags=tags,
        raise_on_error=False,
    )
    return result if result.success else None


def progress_logger() -> logging.Logger:
    """A logger that prints nothing but progress."""
    logger = logging.Logger("progress", logging.DEBUG)
    logger.addHandler(Progress())
    return logger


def summarise(zones: Zones, release: Path) -> None:
    """The figures a reader asks for first."""
    account = read_parquet(zones.table("harmonised", "accounting")).to_pandas()
    rarity = read_parquet(zones.table("counts", "rarity_by_length")).to_pandas()
    manifest = json.loads((release / "manifest.json").read_text(encoding="utf-8"))
    proof, k = manifest["proof"], manifest["k"]

    table = Table(box=None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("rows in", f"{account['rows'].sum():,}")
    for outcome, part in account.groupby("outcome"):
        table.add_row(f"  {outcome}", f"{part['rows'].sum():,}")
        for rule, rows in part[part["rule"] != ""].groupby("rule")["rows"].sum().items():
            table.add_row(f"    {rule}", f"{rows:,}")
    table.add_row(f"combinations of up to {len(rarity)} attributes", f"{rarity['distinct'].sum():,}")
    table.add_row(f"  rare (in fewer than {k} records)", f"{rarity['rare'].sum():,}")
    table.add_row("synthetic rows", f"{proof['synthetic_records']:,}")
    table.add_row("  leaked rare combinations", f"{proof['rare_records']:,}")
    table.add_row("  attribute counts not exact", f"{proof['inexact_counts']:,}")
    console.print("\n[bold]Summary[/]")
    console.print(table)
    console.print(f"\n[bold]Release[/] {release}")


if __name__ == "__main__":
    sys.exit(main())
