"""Commands that describe the files of a new partner."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ctdc_pipeline.cli.console import PATH, grid, home_zones
from ctdc_pipeline.errors import ParameterError

if TYPE_CHECKING:
    from ctdc_pipeline.harmonisation.rehearsal import Rehearsal


@click.group()
def layout() -> None:
    """Describe the files of a new partner: a first draft from a real file, and what a layout would make of files.

    \b
    Examples:
      ctdc layout new harbour_2021.csv --output var/sensitive/outbox/harbour.toml
      ctdc layout check var/sensitive/outbox/harbour.toml harbour_2021.csv
    """


@layout.command("new")
@click.argument("file", type=PATH)
@click.option("--output", type=PATH, metavar="NAME.toml", help="Where to write it, in the sensitive zone. Default: the terminal.")
@click.option("--outside", is_flag=True, help="Allow an output outside the sensitive zone. Keep it as safe: it holds values.")
def new_layout(file: Path, output: Path | None, outside: bool) -> None:
    """Draft a layout from the headings and the distinct values of FILE, a .csv, .tsv, .txt or .xlsx file of the partner.

    Every line of it is a guess to be corrected. It holds values of FILE, so it stays on the terminal or in the sensitive zone.
    """
    from ctdc_pipeline.partners.drafting import draft
    from ctdc_pipeline.storage.files import staged
    from ctdc_pipeline.storage.tables import unwritable

    if output is None:
        click.echo(draft(file), nl=False)
        return
    zones = home_zones(warn=False)
    if not outside and not output.resolve().is_relative_to(zones.sensitive):
        remedy = f"Name one below {zones.sensitive}, or allow it with --outside and keep it as safe."
        raise ParameterError("the output is outside the sensitive zone, and the draft holds values of the file", remedy=remedy)
    if output.exists():
        raise ParameterError(f"{output.name} is there already", remedy="Name another output.")
    text = draft(file)
    with unwritable(output):
        output.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with staged(output) as part:
            part.write_text(text, encoding="utf-8")
    click.echo(f"a draft is in {output}; correct it, then: ctdc layout check {output} {file}")


@layout.command("check")
@click.argument("layout", metavar="LAYOUT", type=PATH)
@click.argument("files", metavar="FILE...", nargs=-1, type=PATH)
@click.option("--last-year", type=int, metavar="YEAR", help="The last year that the release covers. Default: as in the graph.")
@click.option("--values", is_flag=True, help="Show the cells that break a rule, on this terminal. They may identify somebody.")
def check_layout(layout: Path, files: tuple[Path, ...], last_year: int | None, values: bool) -> None:
    """Say what is wrong with LAYOUT, a .toml file or the name of a source, and what would become of each row of FILE.

    Nothing is written. Exit status 1 if the layout is wrong or a file would be refused.
    """
    from datetime import date

    from ctdc_pipeline.errors import LayoutError
    from ctdc_pipeline.harmonisation.derivation import LAST_YEAR
    from ctdc_pipeline.partners.loading import load, require_free
    from ctdc_pipeline.partners.registry import BUILT_IN, SOURCES

    try:
        if layout.suffix.lower() == ".toml":
            source = load(layout)
            others = {name: other for name, other in SOURCES.items() if name in BUILT_IN or name != source.name}
            require_free(layout, source, others)
        elif layout.name in SOURCES:
            source = SOURCES[layout.name]
        else:
            raise ParameterError(f"{layout.name} is no .toml file and no source", remedy=f"Sources are {', '.join(SOURCES)}.")
    except LayoutError as error:
        for problem in error.problems:
            click.echo(f"{error.file}: {problem}")
        click.echo(f"ctdc: {len(error.problems)} problem{'s' * (len(error.problems) > 1)} in {error.file}", err=True)
        sys.exit(1)
    click.echo(f"The layout of {source.name} is sound: {len(source.cases.fields)} columns of cases.")
    if files:
        from ctdc_pipeline.harmonisation.rehearsal import rehearse

        _print_rehearsal(rehearse(source, files, as_of=date(last_year or LAST_YEAR, 12, 31)), values=values)


def _print_rehearsal(rehearsal: Rehearsal, *, values: bool) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    outcomes = [("accepted", rehearsal.accepted), ("quarantined", rehearsal.quarantined), *sorted(rehearsal.excluded.items())]
    console.print(grid(f"Of {rehearsal.rows:,} rows", ("outcome", "rows"), outcomes))
    if rehearsal.reasons:
        rows = [
            (
                reason.field,
                reason.rule,
                reason.rows,
                ", ".join(str(row) for _, row in reason.places),
                *([", ".join(reason.values)] if values else []),
            )
            for reason in rehearsal.reasons
        ]
        names = ("field", "rule", "rows", "first rows", *(["cells"] if values else []))
        console.print(grid("Why rows are quarantined", names, rows))
    filled = [(name, rows) for name, rows in rehearsal.filled.items() if rows]
    console.print(grid("What the accepted rows say", ("variable", "rows"), filled))
    if silent := [name for name, rows in rehearsal.filled.items() if not rows]:
        console.print(f"Never said: {', '.join(silent)}")
    if rehearsal.kept_out:
        console.print(f"Columns that the layout does not name, kept out: {', '.join(column for _, column in rehearsal.kept_out)}")
    for warning in rehearsal.warnings:
        click.echo(f"ctdc: {warning}", err=True)
