"""Commands for releases: verify, approve and withdraw."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ctdc_pipeline.cli.console import PATH, home_zones, tell

if TYPE_CHECKING:
    from ctdc_pipeline.verification.checks import Report


@click.command()
@click.argument("release", type=PATH)
@click.option("--sensitive", type=PATH, metavar="TABLE", help="The records it was made from, to prove k at any length.")
@click.option("--public-key", type=PATH, metavar="FILE", help="The publisher's Ed25519 key (PEM), to check the signature.")
@click.option("--approvers", type=PATH, metavar="DIR", help="The approvers' public keys, to check who approved.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def verify(release: Path, sensitive: Path | None, public_key: Path | None, approvers: Path | None, as_json: bool) -> None:
    """Check the folder RELEASE: that its files are whole, agree with each other and keep to the rules. Exit status 1 if not.

    \b
    Examples:
      ctdc verify releases/2026.11.21-1 --public-key ctdc.pem
      ctdc verify releases/2026.11.21-1 --sensitive sensitive/harmonised/victims.parquet
    """
    from ctdc_pipeline.verification.release_folder import verify as run

    report = run(release, sensitive=sensitive, public_key=public_key, approvers=approvers)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=1))
    else:
        _print_report(report)
    if not report.holds:
        sys.exit(1)


@click.command()
@click.argument("candidate")
@click.option("--key", type=PATH, required=True, metavar="FILE", help="Your Ed25519 private key (PEM).")
def approve(candidate: str, key: Path) -> None:
    """Sign CANDIDATE, the version or the hash of one that waits, after you have looked at it.

    Your public key must be in the folder that CTDC_APPROVERS names. The signature is published with the release.

    \b
    Example:
      ctdc approve 2026.11.21-1 --key /secure/place/approver.pem
    """
    from ctdc_pipeline.release.publication import sign_candidate

    zones = home_zones()
    with zones.alone():
        folder, name = sign_candidate(zones, candidate, key=key)
    tell(f"{name} approved candidate {folder.name}.")


@click.command()
@click.argument("version")
@click.option("--reason", required=True, help="Why; it is published.")
def withdraw(version: str, reason: str) -> None:
    """Take release VERSION out of the public zone and leave a tombstone with the reason.

    Its files are kept in the sensitive zone, because later releases are still compared with them. A version is never used again.

    \b
    Example:
      ctdc withdraw 2026.11.21-1 --reason "A delivery was read as another partner's."
    """
    from ctdc_pipeline.release.publication import withdraw as run

    zones = home_zones()
    with zones.alone():
        tell(f"Release {version} is withdrawn; {run(zones, version, reason=reason)} says why.")


def _print_report(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    table = Table(
        title=Text(f"Release {report.version or report.folder}"),
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
    )
    for name in ("check", "result", "what holds, or what was found", "remedy"):
        table.add_column(name, overflow="fold")
    for check in report.checks:
        failing = check.result == "FAILS"
        said = "; ".join(check.found) if failing else f"{check.meaning}{''.join(f' ({note})' for note in check.found)}"
        # As text, for names of files may hold what rich takes for markup.
        table.add_row(check.name, Text(check.result, style="bold red" if failing else ""), Text(said), check.remedy)
    if report.invented:
        console.print("INVENTED DATA: this release was made from samples and tells of no real people.")
    console.print(table)
    for said in report.unread:
        console.print(Text(f"not covered: {said}"))
    console.print("Everything that was checked holds." if report.holds else f"DOES NOT HOLD: {', '.join(report.failed)}")
