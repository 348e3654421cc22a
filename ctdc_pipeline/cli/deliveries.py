"""Commands for what partners delivered."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ctdc_pipeline.cli.console import PATH, grid, home_zones
from ctdc_pipeline.errors import ParameterError


@click.command()
@click.argument("name", metavar="PARTNER_OR_SOURCE")
@click.argument("folder", type=PATH)
@click.option("--outside", is_flag=True, help="Allow a FOLDER outside the sensitive zone. Keep it as safe: it will hold cases.")
def quarantine(name: str, folder: Path, outside: bool) -> None:
    """Write the rows in quarantine to FOLDER, in the layout they came in and with what to correct, to be sent to the partner.

    Two columns before the others say where each row was and which rules it breaks; they are ignored when the file comes back.
    Corrected, each folder lands as a refresh of its own after the one that is told, and replaces the rows by case. Not encrypted.

    \b
    Example:
      ctdc quarantine polaris var/sensitive/outbox/2021-07
    """
    from ctdc_pipeline.harmonisation.quarantine_export import export_quarantine
    from ctdc_pipeline.storage.tables import unwritable

    zones = home_zones()
    with unwritable(folder):
        done = export_quarantine(name, folder, zones=zones, outside=outside)
    for export in done:
        click.echo(
            f"{export.rows:,} rows of {export.source} in {export.folder}; land them corrected as a refresh after {export.since}"
        )
    if not done:
        click.echo(f"nothing of {name} is in quarantine")


@click.group(invoke_without_command=True)
@click.pass_context
def deliveries(context: click.Context) -> None:
    """Show what partners delivered, and decide which of it counts.

    \b
    Examples:
      ctdc deliveries
      ctdc deliveries choose polaris 2021-H1 3f9a0c12be47
      ctdc deliveries close polaris 2021-H1
    """
    if context.invoked_subcommand is None:
        context.invoke(list_deliveries)


@deliveries.command("list")
def list_deliveries() -> None:
    """Say what is in the store, which of it counts, what is closed, and what landed and was not taken in yet."""
    from rich.console import Console

    from ctdc_pipeline.ingestion.delivery_store import Store
    from ctdc_pipeline.ingestion.intake import misplaced, overview
    from ctdc_pipeline.ingestion.landing import Landing
    from ctdc_pipeline.partners.registry import SOURCES

    zones = home_zones()
    landing = Landing.from_environment(zones.landing)
    landed = landing.landed()
    rows = overview(landed, landing=landing, store=Store(zones.deliveries), sources=SOURCES)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(grid("Deliveries", ("source", "refresh", "delivery", "kind", "files", "state"), rows))
    for problem in misplaced(landed, sources=SOURCES):
        click.echo(f"ctdc: {problem}", err=True)


@deliveries.command()
@click.argument("source")
@click.argument("refresh")
@click.argument("delivery")
def choose(source: str, refresh: str, delivery: str) -> None:
    """Let DELIVERY (the first digits that `list` shows) count for REFRESH of SOURCE, whose deliveries differ.

    Then ingest that refresh again.
    """
    from ctdc_pipeline.ingestion.delivery_store import Store

    zones = home_zones()
    with zones.alone():
        chosen = Store(zones.deliveries).choose(source, refresh, delivery)
    click.echo(f"{chosen.short} counts for {source} {refresh}. Ingest {source} for {refresh} again, then run the full refresh.")


@deliveries.command()
@click.argument("source")
@click.argument("refresh")
def close(source: str, refresh: str) -> None:
    """Accept no new delivery of SOURCE for REFRESH or an earlier one any more."""
    from ctdc_pipeline.ingestion.delivery_store import Store
    from ctdc_pipeline.partners.registry import SOURCES

    if source not in SOURCES:
        raise ParameterError(f"there is no source {source!r}", remedy=f"Choose among {', '.join(SOURCES)}.")
    zones = home_zones()
    with zones.alone():
        Store(zones.deliveries).close(source, refresh)
    click.echo(f"{source} is closed up to {refresh}.")
