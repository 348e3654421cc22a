"""What `make demo` runs: sample exports in, a verified release out, through the Dagster graph, with a summary at the end.

Demonstration only: it makes the pseudonym key and the seed, and approves its own release. CTDC_DEMO_SIZE is the number of
invented victims.
"""

import io
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.remote_origin import RemoteRepositoryOrigin
from dagster._core.workspace.load_target import ModuleTarget
from rich.console import Console
from rich.table import Table

from assets.ingestion.sensors import requested
from assets.reporting import acknowledgeable
from ctdc_pipeline.definitions import build_defs
from ctdc_pipeline.samples.generate import generate
from ctdc_pipeline.storage import encryption, secrets
from ctdc_pipeline.storage.files import read_parquet
from ctdc_pipeline.storage.zones import Zones
from ctdc_pipeline.synthesis.k_synthetic import is_compiled
from resources.instance import configure
from resources.settings import DataHome

console = Console(highlight=False, soft_wrap=True)
MODULE, LOCATION = "ctdc_pipeline.definitions", "ctdc_pipeline"
PARTITION = "dagster/partition"
PAGE = "showcase.html"


class Progress:
    """One line for each asset that is written, and for each check or step that fails or warns."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._warnings: list[str] = []

    def show(self, event: dg.DagsterEvent) -> None:
        """Print the line that ``event`` deserves, if any."""
        now = time.monotonic()
        if event.is_step_materialization and event.asset_key:
            metadata = event.step_materialization_data.materialization.metadata
            rows = metadata.get("dagster/row_count")
            row_count = f"{rows.value:>9,} rows" if rows else ""
            name = "/".join([*event.asset_key.path, *([event.partition] if event.partition else [])])
            console.print(f"  [green]done[/]  {name:36} {now - self._last:5.1f} s {row_count}")
            self._last = now
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if check.passed:
                return
            if check.severity == dg.AssetCheckSeverity.ERROR:
                console.print(f"  [red]gate[/]  {'/'.join(check.asset_key.path)}: {check.check_name}. {check.description}")
            else:
                self._warnings.append(f"{'/'.join(check.asset_key.path)}: {check.check_name}. {check.description}")
        elif event.is_step_failure and (failure := event.step_failure_data.user_failure_data):
            console.print(f"  [red]fail[/]  {event.step_key}: {failure.description}")

    def close(self) -> None:
        """Say what the checks warned of: whoever publishes has to acknowledge each of them by its name, as this does."""
        for warning in self._warnings:
            console.print(f"  [yellow]warn[/]  {warning}")
        if self._warnings:
            console.print("        (The years are modelled on those that CTDC published, and 2016 stands out there, too.)")


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

    if not is_compiled():
        console.print("The synthesis is compiled on the way, once, which takes about 15 seconds.")
    with dg.DagsterInstance.get() as instance:
        made = receive(instance) and run("full_refresh", instance) and run("release_candidate", instance)
        released = publish(made, instance) if made else None
    if not released:
        return 1
    release = Path(str(released.metadata["folder"].value))
    summarise(zones, release)
    console.print(f"Sensitive zone: {encryption.notice()}")
    console.print(f"\nTook {time.monotonic() - started:.0f} s. What to do next:")
    console.print(f"  open    {release / PAGE}")
    console.print(f"  check   .venv/bin/ctdc verify {release}")
    console.print("  graph   make ui")
    return 0


def publish(made: dg.AssetMaterialization, instance: dg.DagsterInstance) -> dg.AssetMaterialization | None:
    """Approve the candidate whose materialisation is ``made``, as a person would by its hash."""
    decision = {"candidate": made.metadata["hash"].value, "approver": "demonstration", "reason": "demonstration"}
    return run("publish", instance, config={**decision, "acknowledged": acknowledgeable(made)})


def receive(instance: dg.DagsterInstance) -> bool:
    """Take in what landed, as the sensor asks for it; whether all of it was."""
    console.print("\n[bold]Jobs ingest_<source>[/]")
    home = DataHome()
    requests = requested(home.landing().landed(), home=home, instance=instance)
    return all(run(str(request.job_name), instance, partition=request.partition_key) is not None for request in requests)


def run(
    job: str, instance: dg.DagsterInstance, *, partition: str | None = None, config: Mapping[str, Any] | None = None
) -> dg.AssetMaterialization | None:
    """Run one job in this process; what it materialised last, or None if it failed.

    The run is recorded as one that the pages launch: without its origin they show it nowhere but at the assets.
    """
    if partition is None:
        console.print(f"\n[bold]Job {job}[/]")
    repository = build_defs().get_repository_def()
    definition, tags = repository.get_job(job), {PARTITION: partition} if partition else {}
    origin = RemoteRepositoryOrigin(ModuleTarget(MODULE, None, None, LOCATION).create_origins()[0], repository.name)
    created = instance.create_run_for_job(
        definition, run_config=config or {}, tags={**definition.run_tags, **tags}, remote_job_origin=origin.get_job_origin(job)
    )
    progress, made = Progress(), None
    with redirect_stderr(io.StringIO()):  # Dagster's console logger writes there, a line for each event
        for event in execute_run_iterator(InMemoryJob(definition), created, instance):
            progress.show(event)
            if event.is_step_materialization:
                made = event.step_materialization_data.materialization
    progress.close()
    finished = instance.get_run_by_id(created.run_id)
    return made if finished and finished.is_success else None


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
    console.print(
        "There are more synthetic rows than victims: what is rare about a victim is left out, so that several short rows are\n"
        "needed for every value to occur as often as among the victims, rounded down to a multiple of k. A row is no person."
    )
    console.print(f"\n[bold]Release[/] {release}")


if __name__ == "__main__":
    sys.exit(main())
