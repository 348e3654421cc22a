"""Commands that look after an installation."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from ctdc_pipeline.cli.console import PATH, home_zones, tell


@click.command(name="compile")
def compile_() -> None:
    """Compile the synthesis, so that its first run does not have to.

    Run this once after installing, as a user who may write to the installation.
    """
    from ctdc_pipeline.synthesis import differentially_private as private
    from ctdc_pipeline.synthesis.k_synthetic import compile_now

    compile_now()
    private.compile_now()
    tell("The synthesis is compiled.")


@click.command()
@click.option("--port", type=int, default=3000, show_default=True, metavar="N", help="The port to listen on.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="The address to listen on. There are no accounts: keep it local."
)
def ui(port: int, host: str) -> None:
    """Serve Dagster's pages and run its daemon until Ctrl-C.

    Other websites cannot use the pages through your browser. Behind a reverse proxy, set CTDC_UI_ORIGINS to the address that
    people open, such as https://ctdc.example.org.

    \b
    Example:
      ctdc ui --port 3001
    """
    home_zones()
    _become("resources.ui", "--host", host, "--port", str(port))


@click.command()
def instance() -> None:
    """Write Dagster's settings for this home, and say how to start Dagster's own commands with them.

    With these settings Dagster reports nothing to anybody, makes one run at a time and keeps its history in the home.

    \b
    Example, in any folder:
      eval "$(ctdc instance)" && dagster dev -w "$DAGSTER_HOME/workspace.yaml"
    """
    home_zones()
    _become("resources.instance")


def _become(module: str, *arguments: str) -> None:
    """Run a module of the code location in place of this process, so that signals reach it. The domain does not know Dagster."""
    from ctdc_pipeline.operations.installation import code_location

    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(code_location()), os.environ.get("PYTHONPATH"))))
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606


@click.command()
def status() -> None:
    """Show where the data is, whether it is encrypted at rest, and which files landed where nothing is expected."""
    from ctdc_pipeline.ingestion.intake import misplaced
    from ctdc_pipeline.ingestion.landing import Landing
    from ctdc_pipeline.operations.backup import unsealed
    from ctdc_pipeline.partners.registry import SOURCES
    from ctdc_pipeline.storage.encryption import notice

    zones = home_zones(warn=False)
    click.echo(f"home: {zones.root}")
    click.echo(f"sensitive zone: {notice()}; {unsealed(zones):,} of {len(zones.private_files()):,} files are in clear")
    landing = Landing.from_environment(zones.landing)
    click.echo(f"landing root: {landing}")
    for problem in misplaced(landing.landed(), sources=SOURCES):
        click.echo(f"ctdc: {problem}", err=True)


@click.command()
def reseal() -> None:
    """Write every file of the sensitive zone anew under the first key of CTDC_SENSITIVE_KEY, also those in clear.

    To change the key: set it to NEW,OLD; run this; set it to NEW.
    """
    from ctdc_pipeline.operations.backup import reseal as run

    tell(f"Encrypted {run(home_zones()):,} files with the first key.")


@click.command()
@click.argument("file", type=PATH)
@click.option("--history", is_flag=True, help="Also Dagster's runs and events. Stop the webserver and the daemon before.")
def backup(file: Path, history: bool) -> None:
    """Write the deliveries, the decisions on them, the secrets and the releases of the home to FILE, a tar file.

    Tables are not in it: they are made from the deliveries. Neither are keys and seeds that the environment holds: keep them
    elsewhere. A home that is encrypted gives a backup that is.

    \b
    Example:
      ctdc backup /backups/2026-11-21.tar
    """
    from ctdc_pipeline.operations.backup import backup as run

    tell(f"Wrote {run(home_zones(), file, history=history):,} files to {file}.")


@click.command()
@click.argument("file", type=PATH)
def restore(file: Path) -> None:
    """Put the backup FILE into CTDC_HOME, which must be empty. All of it is restored, or nothing. Then run a full refresh."""
    from ctdc_pipeline.operations.backup import restore as run
    from ctdc_pipeline.storage.zones import Zones

    zones = Zones.from_environment()
    tell(f"Restored {run(zones, file):,} files to {zones.root}. Now run a full refresh.")
