"""Commands that read and write the formats of others, and sample exports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ctdc_pipeline.cli.console import PATH, grid, require_other, tell

if TYPE_CHECKING:
    from ctdc_pipeline.interchange.published import Imported


@click.command()
@click.argument("folder", metavar="DIR", type=PATH)
@click.option("--victims", type=int, default=20_000, show_default=True, metavar="N", help="How many victims to invent.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="S", help="The same seed gives the same bytes.")
@click.option("--refreshes", type=int, default=1, show_default=True, metavar="N", help="Over how many half-years to deliver.")
def sample(folder: Path, victims: int, seed: int, refreshes: int) -> None:
    """Write sample partner exports, of invented victims, to DIR/<source>/<refresh>/.

    \b
    Examples:
      ctdc sample exports --victims 20000 --seed 1
      ctdc sample exports --refreshes 8
    """
    from ctdc_pipeline.samples.generate import generate
    from ctdc_pipeline.storage.tables import unwritable

    with unwritable(folder):
        made = generate(folder, victims=victims, seed=seed, refreshes=refreshes)
    tell(f"Wrote {len(made.files)} files of {made.victims:,} invented victims to {folder}.")


@click.command("import")
@click.argument("source", metavar="FILE", type=PATH)
@click.argument("output", type=PATH)
def import_(source: Path, output: Path) -> None:
    """Read a FILE that CTDC published and write it as a table in the codebook's names and values.

    Says which publication it is, and what was renamed, merged or left out. The 2020 and 2021 files become the 37 variables, those
    from 2024 on their 27. OUTPUT is a .csv, .tsv or .parquet file.

    \b
    Examples:
      ctdc import CTDC_synthetic_20210825.tsv published.parquet
      ctdc import CTDC_global_synthetic_data_v2025.csv published.csv
    """
    from ctdc_pipeline.interchange.published import imported
    from ctdc_pipeline.storage.tables import require_writable, write_table

    require_writable(output)
    require_other(output, source)
    result = imported(source)
    write_table(result.table, output)
    _print_import(result)
    tell(f"Wrote {len(result.table):,} rows to {output}.")


@click.command()
@click.argument("source", metavar="TABLE", type=PATH)
@click.argument("output", type=PATH)
@click.option("--format", "form", type=click.Choice(["htcds"]), required=True, help="htcds: the case-data standard, 2.0.")
def export(source: Path, output: Path, form: str) -> None:
    """Write a TABLE of codebook variables in the form of a standard.

    HTCDS is written as its workbook (.xlsx) or as .csv. Variables it cannot hold are named, and are not in OUTPUT.

    \b
    Example:
      ctdc export --format htcds published.parquet cases.xlsx
    """
    from ctdc_pipeline.interchange.htcds_export import CARRIED, write_htcds
    from ctdc_pipeline.storage.tables import read_table

    require_other(output, source)
    table = read_table(source)
    write_htcds(table, output)
    lost = [name for name in table.column_names if name not in CARRIED and table[name].null_count < len(table)]
    if lost:
        click.echo(f"ctdc: {form} cannot hold, or not in full: {', '.join(lost)}", err=True)
    tell(f"Wrote {len(table):,} rows to {output}.")


def _print_import(result: Imported) -> None:
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(f"{result.format.title}: {len(result.table):,} rows, {len(result.format.variables)} variables")
    if result.mapped:
        console.print(grid("Renamed or merged", ("column", "variable"), [*result.mapped]))
    for title, names in (("Left out", result.dropped), ("Not in the file", result.absent)):
        if names:
            console.print(f"{title}: {', '.join(names)}")
