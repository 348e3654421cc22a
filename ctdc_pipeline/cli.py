"""The command ``ctdc``: reads options, calls the library, prints. What a command does is the library's matter.

Heavy modules are imported by the commands that need them, so that ``--help`` is immediate and counting does not load the
compiler that synthesis uses.
"""

from __future__ import annotations

import json
import secrets
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ctdc_pipeline.errors import CtdcError, ParameterError, type_and_place

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

    from ctdc_pipeline.attributes import Progress
    from ctdc_pipeline.evaluation import Evaluation
    from ctdc_pipeline.interchange.published import Imported
    from ctdc_pipeline.verification import Report
    from ctdc_pipeline.zones import Zones

INTERRUPTED = 130

Command = TypeVar("Command", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)

EPILOG = """
\b
Examples:
  ctdc sample exports --victims 20000 --seed 1
  ctdc count victims.csv --output counts.parquet --length 3 --k 10
  ctdc synthesize victims.csv --output synthetic.csv --k 10 --seed 7
  ctdc evaluate victims.csv synthetic.csv --k 10 --length 3
  ctdc import CTDC_synthetic_20210825.tsv published.parquet
  ctdc verify releases/2026.11.21-1
"""


def main() -> None:
    """Run ``ctdc``. Errors become one line on stderr that quotes no cell, and exit status 1; an interrupt becomes 130."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop cleans up as Ctrl-C does
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("ctdc: interrupted; nothing was written", err=True)
        sys.exit(INTERRUPTED)
    except CtdcError as error:
        click.echo(f"ctdc: {error}", err=True)
        sys.exit(1)
    except Exception as error:
        click.echo(
            f"ctdc: unforeseen {type_and_place(error)}. Its message is withheld, for it could quote a case."
            " Please report this line.",
            err=True,
        )
        sys.exit(1)


def _table_options(command: Command) -> Command:
    """How cells become attributes; the same for every command that reads a table."""
    for option in (
        click.option("--sensitive-zeros", multiple=True, metavar="COLUMN", help="A column where 0 is a value. May be repeated."),
        click.option(
            "--missing", multiple=True, metavar="VALUE", help="A text that means missing, as empty does. May be repeated."
        ),
    ):
        command = option(command)
    return command


def _engine_options(command: Command) -> Command:
    for option in (
        click.option("--memory-limit", metavar="SIZE", help="Such as 500MB or 4GB. Default: what the machine has."),
        click.option("--threads", type=int, metavar="N", help="Default: all processors."),
    ):
        command = option(command)
    return command


@click.group(epilog=EPILOG)
@click.version_option(package_name="ctdc-pipeline")
def cli() -> None:
    """Count, synthesise and evaluate categorical tables, read published ones, and make sample partner exports.

    Tables are CSV, TSV or Parquet files. An empty cell is missing, and so is 0, except in columns named by --sensitive-zeros.
    """


@cli.command()
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
    from ctdc_pipeline.tables import unwritable

    with unwritable(folder):
        made = generate(folder, victims=victims, seed=seed, refreshes=refreshes)
    _tell(f"{len(made.files)} files of {made.victims:,} victims in {folder}")


@cli.command()
@click.argument("source", metavar="INPUT", type=PATH)
@click.option("--output", required=True, type=PATH, metavar="FILE.parquet", help="Where to write the counts.")
@click.option("--length", type=int, default=4, show_default=True, metavar="L", help="Count combinations of 1 to L attributes.")
@click.option("--k", type=int, metavar="K", help="Only combinations in at least K rows. Default: all.")
@_table_options
@_engine_options
def count(
    source: Path,
    output: Path,
    length: int,
    k: int | None,
    missing: tuple[str, ...],
    sensitive_zeros: tuple[str, ...],
    threads: int | None,
    memory_limit: str | None,
) -> None:
    """Count exactly how many rows of INPUT hold each combination of attributes.

    One Parquet file: variable_1, value_1 ... variable_L, value_L and count; shorter combinations first, with nulls in the
    places they lack. What memory does not hold is spilled to a private folder beside the output, removed afterwards.

    \b
    Examples:
      ctdc count victims.csv --output counts.parquet --length 3
      ctdc count victims.tsv --output common.parquet --k 10 --memory-limit 1GB
    """
    from ctdc_pipeline.counting import count_to_file

    _require_k(k)
    if output.suffix.lower() != ".parquet":
        raise ParameterError(f"{output.name} is no Parquet file", remedy="Name an output that ends in .parquet.")
    table = _read(source, missing=missing, sensitive_zeros=sensitive_zeros, output=output)
    with _progress() as progress:
        summary = count_to_file(
            table, output, length=length, minimum=k or 1, threads=threads, memory_limit=memory_limit, progress=progress
        )
    _tell(f"{sum(summary.distinct.values()):,} combinations in {output}")


@cli.command()
@click.argument("source", metavar="INPUT", type=PATH)
@click.option("--output", required=True, type=PATH, metavar="FILE", help="A .csv, .tsv or .parquet file to write.")
@click.option("--k", type=int, default=10, show_default=True, metavar="K", help="Resolution: nothing rarer than K rows remains.")
@click.option("--seed", type=int, metavar="S", help="The same seed gives the same bytes; keep it secret. Default: random.")
@click.option(
    "--method",
    type=click.Choice(["faithful", "uniform"]),
    default="faithful",
    show_default=True,
    help="faithful keeps what preserves most; uniform chooses as the published method does.",
)
@_table_options
@_engine_options
def synthesize(
    source: Path,
    output: Path,
    k: int,
    seed: int | None,
    method: str,
    missing: tuple[str, ...],
    sensitive_zeros: tuple[str, ...],
    threads: int | None,
    memory_limit: str | None,
) -> None:
    """Make k-synthetic data from INPUT: every combination in it is found in at least K rows of INPUT.

    \b
    Examples:
      ctdc synthesize victims.csv --output synthetic.csv --k 10 --seed 7
      ctdc synthesize survey.tsv --output synthetic.parquet --missing unknown --sensitive-zeros children
    """
    _require_k(k)
    table = _read(source, missing=missing, sensitive_zeros=sensitive_zeros, output=output)
    from ctdc_pipeline.memory import bounded
    from ctdc_pipeline.synthesis import synthesize as run
    from ctdc_pipeline.tables import write_table

    with bounded(memory_limit), _progress() as progress:
        made = run(
            table, k=k, seed=secrets.randbits(63) if seed is None else seed, method=method, threads=threads, progress=progress
        )
        write_table(made, output)
    if not len(made):
        click.echo(f"ctdc: no value is found in {k} rows or more of {source.name}: the result has no rows", err=True)
    _tell(f"{len(made):,} synthetic rows for {len(table):,} in {output}")


@cli.command()
@click.argument("sensitive", type=PATH)
@click.argument("synthetic", type=PATH)
@click.option("--k", type=int, default=10, show_default=True, metavar="K", help="Resolution that was asked for.")
@click.option("--length", type=int, default=3, show_default=True, metavar="L", help="Compare combinations of 1 to L attributes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--threads", type=int, metavar="N", help="Default: all processors.")
@_table_options
def evaluate(
    sensitive: Path,
    synthetic: Path,
    k: int,
    length: int,
    as_json: bool,
    threads: int | None,
    missing: tuple[str, ...],
    sensitive_zeros: tuple[str, ...],
) -> None:
    """Measure what SYNTHETIC discloses of SENSITIVE, at any length, and how faithful it is, up to length L.

    \b
    Examples:
      ctdc evaluate victims.csv synthetic.csv --k 10 --length 3
      ctdc evaluate victims.csv synthetic.csv --json > evaluation.json
    """
    from ctdc_pipeline.evaluation import evaluate as run

    tables = [
        _read(path, missing=missing, sensitive_zeros=sensitive_zeros, may_be_empty=path is synthetic)
        for path in (sensitive, synthetic)
    ]
    with _progress() as progress:
        found = run(tables[0], tables[1], k=k, length=length, threads=threads, progress=progress)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1))
    else:
        _print(found)


@cli.command()
@click.argument("release", type=PATH)
@click.option("--sensitive", type=PATH, metavar="TABLE", help="The records it was made from, to prove k at any length.")
@click.option("--public-key", type=PATH, metavar="FILE", help="The publisher's Ed25519 key (PEM), to check the signature.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def verify(release: Path, sensitive: Path | None, public_key: Path | None, as_json: bool) -> None:
    """Check the folder RELEASE: that its files are whole, agree with each other and keep to the rules. Exit status 1 if not.

    \b
    Examples:
      ctdc verify releases/2026.11.21-1 --public-key ctdc.pem
      ctdc verify releases/2026.11.21-1 --sensitive sensitive/harmonised/victims.parquet
    """
    from ctdc_pipeline.verify import verify as run

    found = run(release, sensitive=sensitive, public_key=public_key)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1))
    else:
        _print_report(found)
    if not found.holds:
        sys.exit(1)


@cli.command()
def status() -> None:
    """Say where the data is, whether it is encrypted at rest, and what landed where no delivery is looked for."""
    from ctdc_pipeline.custody import unsealed
    from ctdc_pipeline.encryption import notice
    from ctdc_pipeline.intake import misplaced
    from ctdc_pipeline.landing import Landing
    from ctdc_pipeline.partners.registry import SOURCES

    zones = _zones(warn=False)
    click.echo(f"home: {zones.root}")
    click.echo(f"sensitive zone: {notice()}; {unsealed(zones):,} of {len(zones.private_files()):,} files are in clear")
    landing = Landing.from_environment(zones.landing)
    click.echo(f"landing root: {landing}")
    for problem in misplaced(landing.landed(), sources=SOURCES):
        click.echo(f"ctdc: {problem}", err=True)


@cli.command()
def reseal() -> None:
    """Write every file of the sensitive zone anew under the first key of CTDC_SENSITIVE_KEY, also those in clear.

    To change the key: set it to NEW,OLD; run this; set it to NEW.
    """
    from ctdc_pipeline.custody import reseal as run

    _tell(f"{run(_zones()):,} files are encrypted with the first key")


@cli.command()
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
    from ctdc_pipeline.custody import backup as run

    _tell(f"{run(_zones(), file, history=history):,} files in {file}")


@cli.command()
@click.argument("file", type=PATH)
def restore(file: Path) -> None:
    """Put the backup FILE into CTDC_HOME, which must hold nothing: whole, or not at all. Then run a full refresh."""
    from ctdc_pipeline.custody import restore as run
    from ctdc_pipeline.zones import Zones

    zones = Zones.from_environment()
    _tell(f"{run(zones, file):,} files in {zones.root}")


@cli.command()
@click.argument("version")
@click.option("--reason", required=True, help="Why; it is published.")
def withdraw(version: str, reason: str) -> None:
    """Take release VERSION out of the public zone and leave a tombstone with the reason.

    Its files are kept in the sensitive zone, because later releases are still compared with them. A version is never used again.

    \b
    Example:
      ctdc withdraw 2026.11.21-1 --reason "A delivery was read as another partner's."
    """
    from ctdc_pipeline.publication import withdraw as run

    zones = _zones()
    with zones.alone():
        _tell(f"{run(zones, version, reason=reason)}")


@cli.command("import")
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
    from ctdc_pipeline.tables import write_table

    _require_other(output, source)
    found = imported(source)
    write_table(found.table, output)
    _print_import(found)
    _tell(f"{len(found.table):,} rows in {output}")


@cli.command()
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
    from ctdc_pipeline.tables import read_table

    _require_other(output, source)
    table = read_table(source)
    write_htcds(table, output)
    lost = [name for name in table.column_names if name not in CARRIED and table[name].null_count < len(table)]
    if lost:
        click.echo(f"ctdc: {form} cannot hold, or not in full: {', '.join(lost)}", err=True)
    _tell(f"{len(table):,} rows in {output}")


@cli.command()
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
    from ctdc_pipeline.corrections import export_quarantine
    from ctdc_pipeline.tables import unwritable

    zones = _zones()
    with unwritable(folder):
        done = export_quarantine(name, folder, zones=zones, outside=outside)
    for one in done:
        click.echo(f"{one.rows:,} rows of {one.source} in {one.folder}; land them corrected as a refresh after {one.since}")
    if not done:
        click.echo(f"nothing of {name} is in quarantine")


@cli.group(invoke_without_command=True)
@click.pass_context
def deliveries(context: click.Context) -> None:
    """Say what partners delivered, and decide what of it counts.

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

    from ctdc_pipeline.intake import misplaced, overview
    from ctdc_pipeline.landing import Landing
    from ctdc_pipeline.partners.registry import SOURCES
    from ctdc_pipeline.store import Store

    zones = _zones()
    landing = Landing.from_environment(zones.landing)
    landed = landing.landed()
    rows = overview(landed, landing=landing, store=Store(zones.deliveries), sources=SOURCES)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(_grid("Deliveries", ("source", "refresh", "delivery", "kind", "files", "state"), rows))
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
    from ctdc_pipeline.store import Store

    zones = _zones()
    with zones.alone():
        chosen = Store(zones.deliveries).choose(source, refresh, delivery)
    click.echo(f"{chosen.short} counts for {source} {refresh}. Ingest {source} for {refresh} again, then run the full refresh.")


@deliveries.command()
@click.argument("source")
@click.argument("refresh")
def close(source: str, refresh: str) -> None:
    """Accept no new delivery of SOURCE for REFRESH or an earlier one any more."""
    from ctdc_pipeline.partners.registry import SOURCES
    from ctdc_pipeline.store import Store

    if source not in SOURCES:
        raise ParameterError(f"there is no source {source!r}", remedy=f"Choose among {', '.join(SOURCES)}.")
    zones = _zones()
    with zones.alone():
        Store(zones.deliveries).close(source, refresh)
    click.echo(f"{source} is closed up to {refresh}.")


def _zones(*, warn: bool = True) -> Zones:
    """The home, with a warning if it is not encrypted."""
    from ctdc_pipeline.encryption import enabled, notice
    from ctdc_pipeline.tables import unwritable
    from ctdc_pipeline.zones import Zones

    if warn and not enabled():
        click.echo(f"ctdc: the sensitive zone is {notice()}", err=True)
    zones = Zones.from_environment()
    with unwritable(zones.root):
        return zones.prepare()


def _require_k(k: int | None) -> None:
    if k is not None and k < 2:
        raise ParameterError(f"k is {k}", remedy="Choose a k of at least 2.")


def _require_other(output: Path, source: Path) -> None:
    if output.exists() and source.exists() and output.samefile(source):
        raise ParameterError(f"{output.name} is the input", remedy="Name another output.")


def _read(
    path: Path,
    *,
    missing: tuple[str, ...],
    sensitive_zeros: tuple[str, ...],
    output: Path | None = None,
    may_be_empty: bool = False,
) -> pa.Table:
    from ctdc_pipeline.tables import read_table, require_writable

    if output is not None:
        require_writable(output)
        _require_other(output, path)
    return read_table(path, missing=missing, sensitive_zeros=sensitive_zeros, may_be_empty=may_be_empty)


@contextmanager
def _progress() -> Generator[Progress | None]:
    """A progress bar on a terminal's stderr, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(name: str, fraction: float) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=1.0)
            bars.update(tasks[name], completed=fraction)

        yield report


def _tell(line: str) -> None:
    """Say what was done to somebody who sits there."""
    if sys.stderr.isatty():
        click.echo(line, err=True)


def _print(found: Evaluation) -> None:
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    verdict = "holds" if found.private else "DOES NOT HOLD"
    console.print(f"Privacy (k = {found.k}): {verdict}")
    console.print(
        f"  rows: {found.synthetic_rows:,} for {found.sensitive_rows:,} ({found.row_ratio:.3f}); empty: {found.empty_rows:,}"
    )
    console.print(f"  smallest support of a synthetic record: {_figure(found.smallest_support)}")
    console.print(
        f"  attribute counts that are not the sensitive count rounded down: {found.inexact_counts:,} of {found.attributes:,}"
    )
    rows = [(part.length, part.records, part.rows, part.rare_records, part.rare_rows) for part in found.leakage]
    console.print(_grid("Synthetic records by length", ("length", "distinct", "rows", "rare distinct", "rare rows"), rows))
    rows = [
        (part.length, part.distinct, part.rare, part.unique, part.synthetic, part.leaked, part.fabricated)
        for part in found.combinations
    ]
    names = ("length", "sensitive", "rare", "unique", "synthetic", "leaked", "fabricated")
    console.print(_grid("Combinations", names, rows))
    kept = ("common", "lost", "mean preservation", "relative error", "mean absolute error")
    rows = [(part.length, *vars(part.fidelity).values()) for part in found.combinations]
    console.print(_grid("Fidelity to common combinations", ("length", *kept), rows))
    rows = [
        (part.length, f"{part.least:,}-{_figure(part.most)}" if part.most else f"{part.least:,}+", *vars(part.fidelity).values())
        for part in found.buckets
    ]
    console.print(_grid("The same by sensitive count", ("length", "count", *kept), rows))


def _print_report(found: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    table = Table(
        title=Text(f"Release {found.version or found.folder}"), title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for name in ("check", "result", "what holds, or what was found", "remedy"):
        table.add_column(name, overflow="fold")
    for check in found.checks:
        failing = check.result == "FAILS"
        said = "; ".join(check.found) if failing else f"{check.meaning}{''.join(f' ({note})' for note in check.found)}"
        # As text, for names of files may hold what rich takes for markup.
        table.add_row(check.name, Text(check.result, style="bold red" if failing else ""), Text(said), check.remedy)
    console.print(table)
    console.print("Everything that was checked holds." if found.holds else f"DOES NOT HOLD: {', '.join(found.failed)}")


def _print_import(found: Imported) -> None:
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(f"{found.format.title}: {len(found.table):,} rows, {len(found.format.variables)} variables")
    if found.mapped:
        console.print(_grid("Renamed or merged", ("column", "variable"), [*found.mapped]))
    for title, names in (("Left out", found.dropped), ("Not in the file", found.absent)):
        if names:
            console.print(f"{title}: {', '.join(names)}")


def _grid(title: str, names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(_figure(cell) for cell in row))
    return table


def _figure(cell: float | str | None) -> str:
    if cell is None:
        return "-"
    return cell if isinstance(cell, str) else f"{cell:,}" if isinstance(cell, int) else f"{cell:.4f}"
