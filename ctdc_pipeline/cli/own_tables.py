"""Commands for a table of one's own: count, synthesize and evaluate."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ctdc_pipeline.cli.console import PATH, engine_options, figure, grid, progress_bar, read_input, require_k, table_options, tell
from ctdc_pipeline.cli.measuring import budget_options, draw, measured
from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.operations.interrupts import ends_soon
from ctdc_pipeline.operations.limits import Limits

if TYPE_CHECKING:
    from ctdc_pipeline.quality.evaluation import Evaluation


@click.command()
@click.argument("source", metavar="INPUT", type=PATH)
@click.option("--output", required=True, type=PATH, metavar="FILE.parquet", help="Where to write the counts.")
@click.option("--length", type=int, default=4, show_default=True, metavar="L", help="Count combinations of 1 to L attributes.")
@click.option("--k", type=int, metavar="K", help="Only combinations in at least K rows. Default: all.")
@table_options
@engine_options
def count(
    source: Path,
    output: Path,
    length: int,
    k: int | None,
    missing: tuple[str, ...],
    sensitive_zeros: tuple[str, ...],
    limits: Limits,
) -> None:
    """Count exactly how many rows of INPUT contain each combination of attributes.

    One Parquet file: variable_1, value_1 ... variable_L, value_L and count; shorter combinations first, with nulls in the
    places they lack. What memory does not hold is spilled to a private folder beside the output, removed afterwards.

    \b
    Examples:
      ctdc count victims.csv --output counts.parquet --length 3
      ctdc count victims.tsv --output common.parquet --k 10 --memory-limit 1GB
    """
    from ctdc_pipeline.counting.combinations import count_to_file

    require_k(k)
    if output.suffix.lower() != ".parquet":
        raise ParameterError(f"{output.name} is no Parquet file", remedy="Name an output that ends in .parquet.")
    table = read_input(source, missing=missing, sensitive_zeros=sensitive_zeros, output=output)
    with ends_soon(), progress_bar() as progress:
        summary = count_to_file(table, output, length=length, minimum=k or 1, limits=limits, progress=progress)
    tell(f"There are {sum(summary.distinct.values()):,} combinations in {output}.")


@click.command()
@click.argument("source", metavar="INPUT", type=PATH)
@click.option("--output", required=True, type=PATH, metavar="FILE", help="A .csv, .tsv or .parquet file to write.")
@click.option("--k", type=int, default=10, show_default=True, metavar="K", help="Resolution: nothing rarer than K rows remains.")
@click.option("--seed", type=int, metavar="S", help="The same seed gives the same bytes; keep it secret. Default: random.")
@click.option(
    "--method",
    type=click.Choice(["faithful", "uniform", "dp"]),
    default="faithful",
    show_default=True,
    help="faithful keeps what preserves most; uniform chooses as the published method does; dp is differentially private.",
)
@click.option(
    "--core", multiple=True, metavar="COLUMN", help="A column whose pairs with other core columns matter most. May be repeated."
)
@budget_options
@click.option("--domain-from-data", is_flag=True, help="Take the values from INPUT. Not private: who has a rare one shows.")
@click.option(
    "--support",
    type=click.Choice(["open", "strict"]),
    help="dp: strict has only pairs of values that the noisy counts show. Default: as SCHEMA says.",
)
@table_options
@engine_options
def synthesize(
    source: Path,
    output: Path,
    k: int,
    seed: int | None,
    method: str,
    core: tuple[str, ...],
    epsilon: float | None,
    delta: float,
    domain: Path | None,
    domain_from_data: bool,
    support: str | None,
    missing: tuple[str, ...],
    sensitive_zeros: tuple[str, ...],
    limits: Limits,
) -> None:
    """Make k-synthetic data from INPUT: every combination in it is found in at least K rows of INPUT.

    With --method dp, make differentially private data instead, in which one row more or less of INPUT hardly shows.

    \b
    Examples:
      ctdc synthesize victims.csv --output synthetic.csv --k 10 --seed 7
      ctdc synthesize survey.tsv --output synthetic.parquet --missing unknown --sensitive-zeros children
      ctdc synthesize victims.csv --output synthetic.csv --method dp --epsilon 4 --domain schema.toml
    """
    require_k(k)
    if method != "dp" and (epsilon is not None or domain or domain_from_data or support):
        raise ParameterError("an option is for --method dp only", remedy="Add --method dp, or leave the option out.")
    if method == "dp":
        if core:
            raise ParameterError("--core is not for --method dp", remedy="Leave it out.")
        measurements = measured(
            source,
            output,
            epsilon=epsilon,
            delta=delta,
            domain=domain,
            from_data=domain_from_data,
            missing=missing,
            sensitive_zeros=sensitive_zeros,
            limits=limits,
        )
        draw(measurements, output, k=k, seed=seed, support=support, limits=limits)
        return
    table = read_input(source, missing=missing, sensitive_zeros=sensitive_zeros, output=output)
    from ctdc_pipeline.operations.memory_limit import bounded
    from ctdc_pipeline.operations.startup import load_compiler
    from ctdc_pipeline.storage.tables import write_table

    load_compiler()
    from ctdc_pipeline.synthesis.k_synthetic import is_compiled
    from ctdc_pipeline.synthesis.k_synthetic import synthesize as run

    if not is_compiled():
        click.echo("ctdc: compiling first, about 15 seconds; `ctdc compile` does that once and for all", err=True)

    with bounded(limits.memory):
        with ends_soon(), progress_bar() as progress:
            made = run(
                table,
                k=k,
                seed=secrets.randbits(63) if seed is None else seed,
                method=method,
                core=core,
                limits=limits,
                progress=progress,
            )
        write_table(made, output)
    if not len(made):
        click.echo(f"ctdc: no value is found in {k} rows or more of {source.name}: the result has no rows", err=True)
    tell(f"Wrote {len(made):,} synthetic rows for {len(table):,} to {output}.")


@click.command()
@click.argument("sensitive", type=PATH)
@click.argument("synthetic", type=PATH)
@click.option("--k", type=int, default=10, show_default=True, metavar="K", help="Resolution that was asked for.")
@click.option("--length", type=int, default=3, show_default=True, metavar="L", help="Compare combinations of 1 to L attributes.")
@click.option("--core", multiple=True, metavar="COLUMN", help="A column to judge the pairs of by themselves. May be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--threads", type=int, metavar="N", help="Default: all processors.")
@table_options
def evaluate(
    sensitive: Path,
    synthetic: Path,
    k: int,
    length: int,
    core: tuple[str, ...],
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
    from ctdc_pipeline.quality.evaluation import evaluate as run

    tables = [
        read_input(path, missing=missing, sensitive_zeros=sensitive_zeros, may_be_empty=path is synthetic)
        for path in (sensitive, synthetic)
    ]
    with ends_soon(), progress_bar() as progress:
        evaluation = run(tables[0], tables[1], k=k, length=length, core=core, limits=Limits(threads=threads), progress=progress)
    if as_json:
        click.echo(json.dumps(evaluation.to_dict(), indent=1))
    else:
        _print(evaluation)


def _print(result: Evaluation) -> None:
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    verdict = "holds" if result.private else "DOES NOT HOLD"
    console.print(f"Privacy (k = {result.k}): {verdict}")
    console.print(
        f"  rows: {result.synthetic_rows:,} for {result.sensitive_rows:,} ({result.row_ratio:.3f}); empty: {result.empty_rows:,}"
    )
    console.print(f"  smallest support of a synthetic record: {figure(result.smallest_support)}")
    console.print(
        f"  attribute counts that are not the sensitive count rounded down: {result.inexact_counts:,} of {result.attributes:,}"
    )
    rows = [(part.length, part.records, part.rows, part.rare_records, part.rare_rows) for part in result.leakage]
    console.print(grid("Synthetic records by length", ("length", "distinct", "rows", "rare distinct", "rare rows"), rows))
    rows = [
        (part.length, part.distinct, part.rare, part.unique, part.synthetic, part.leaked, part.fabricated)
        for part in result.combinations
    ]
    names = ("length", "sensitive", "rare", "unique", "synthetic", "leaked", "fabricated")
    console.print(grid("Combinations", names, rows))
    kept = ("common", "lost", "mean preservation", "relative error", "mean absolute error")
    rows = [(part.length, *vars(part.fidelity).values()) for part in result.combinations]
    console.print(grid("Fidelity to common combinations", ("length", *kept), rows))
    if result.core:
        console.print(grid("Of pairs of core columns", kept, [tuple(vars(result.core).values())]))
    rows = [
        (part.length, f"{part.least:,}-{figure(part.most)}" if part.most else f"{part.least:,}+", *vars(part.fidelity).values())
        for part in result.buckets
    ]
    console.print(grid("The same by sensitive count", ("length", "count", *kept), rows))
