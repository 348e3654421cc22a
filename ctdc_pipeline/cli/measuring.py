"""Commands that measure a table with noise, and make records of what was measured."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ctdc_pipeline.cli.console import PATH, Command, engine_options, progress_bar, read_input, require_k, table_options, tell
from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.operations.interrupts import ends_soon
from ctdc_pipeline.operations.limits import Limits

if TYPE_CHECKING:
    from ctdc_pipeline.privacy.measurements import Measurements


def budget_options(command: Command) -> Command:
    """What a differentially private release promises, and over which public values."""
    for option in (
        click.option("--domain", type=PATH, metavar="SCHEMA", help="A TOML file that lists the columns and their values."),
        click.option(
            "--delta", type=float, default=1e-6, show_default=True, metavar="D", help="For epsilon: far below 1 / rows."
        ),
        click.option("--epsilon", type=float, metavar="E", help="The privacy budget of each person, such as 4."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("source", metavar="INPUT", type=PATH)
@click.option("--output", required=True, type=PATH, metavar="FILE.parquet", help="Where to write the noisy counts.")
@budget_options
@table_options
@click.option("--memory-limit", metavar="SIZE", help="Such as 500MB or 4GB. Default: what the machine has.")
def measure(
    source: Path,
    output: Path,
    epsilon: float | None,
    delta: float,
    domain: Path | None,
    missing: tuple[str, ...],
    sensitive_zeros: tuple[str, ...],
    memory_limit: str | None,
) -> None:
    """Count INPUT with noise, so that the counts may be published: they are (epsilon, delta)-differentially private.

    One person must have one row. Every run spends E again; all that `ctdc records` makes of FILE spends nothing. No seed is
    offered for the noise, for it would be the secret.

    \b
    Example:
      ctdc measure victims.csv --epsilon 4 --domain schema.toml --output measurements.parquet
    """
    from ctdc_pipeline.privacy.measurements import write_measurements

    if output.suffix.lower() != ".parquet":
        raise ParameterError(f"{output.name} is no Parquet file", remedy="Name an output that ends in .parquet.")
    counts = measured(
        source,
        output,
        epsilon=epsilon,
        delta=delta,
        domain=domain,
        from_data=False,
        missing=missing,
        sensitive_zeros=sensitive_zeros,
        limits=Limits(memory=memory_limit),
    )
    write_measurements(counts, output)
    tell(f"Wrote {counts.domain.attributes + counts.domain.pairs:,} noisy counts of about {counts.rows:,} rows to {output}.")


@click.command()
@click.argument("measurements", type=PATH)
@click.option("--output", required=True, type=PATH, metavar="FILE", help="A .csv, .tsv or .parquet file to write.")
@click.option("--seed", type=int, metavar="S", help="The same seed gives the same bytes. Default: random.")
@click.option("--k", type=int, default=10, show_default=True, metavar="K", help="strict: no pair of a lower noisy count.")
@click.option(
    "--support",
    type=click.Choice(["open", "strict"]),
    help="strict has only pairs of values that the noisy counts show. Default: as the schema said.",
)
@engine_options
def records(
    measurements: Path,
    output: Path,
    seed: int | None,
    k: int,
    support: str | None,
    limits: Limits,
) -> None:
    """Make records from MEASUREMENTS, the file of `ctdc measure`, and nothing else. It spends no budget, however often.

    \b
    Example:
      ctdc records measurements.parquet --output synthetic.csv --seed 7
    """
    from ctdc_pipeline.privacy.measurements import read_measurements
    from ctdc_pipeline.storage.tables import require_writable

    require_k(k)
    require_writable(output)
    draw(read_measurements(measurements), output, k=k, seed=seed, support=support, limits=limits)


def measured(
    source: Path,
    output: Path,
    *,
    epsilon: float | None,
    delta: float,
    domain: Path | None,
    from_data: bool,
    missing: tuple[str, ...],
    sensitive_zeros: tuple[str, ...],
    limits: Limits,
) -> Measurements:
    """Noisy counts of the table at ``source``; what was left out of it is told on stderr."""
    from ctdc_pipeline.operations.memory_limit import bounded
    from ctdc_pipeline.privacy.accounting import require_budget
    from ctdc_pipeline.privacy.domain import domain_of_table, read_domain
    from ctdc_pipeline.privacy.measurements import measure as run

    if epsilon is None:
        raise ParameterError("no epsilon", remedy="Give --epsilon, such as 4.")
    require_budget(epsilon=epsilon, delta=delta)
    if (domain is None) != from_data:
        raise ParameterError("the domain is not clear", remedy="Give --domain SCHEMA or, to try out, --domain-from-data.")
    public = None if domain is None else read_domain(domain)
    table = read_input(source, missing=missing, sensitive_zeros=sensitive_zeros, output=output)
    if public is None:
        click.echo("ctdc: the domain is taken from the data: the result is not private, and not to be published", err=True)
        public = domain_of_table(table)
    for name in table.column_names:
        if name not in public.columns:
            click.echo(f"ctdc: column {name} is not in the schema and is left out", err=True)
    with bounded(limits.memory), ends_soon():
        measurements, outside = run(table, domain=public, epsilon=epsilon, delta=delta)
    for name, cells in outside.items():
        click.echo(f"ctdc: column {name}: {cells:,} cells hold what the schema does not list, and count as empty", err=True)
    return measurements


def draw(
    measurements: Measurements,
    output: Path,
    *,
    k: int,
    seed: int | None,
    support: str | None,
    limits: Limits,
) -> None:
    """Make records from ``measurements`` and write them."""
    from ctdc_pipeline.operations.memory_limit import bounded
    from ctdc_pipeline.storage.tables import write_table
    from ctdc_pipeline.synthesis.differentially_private import records_from

    _ = limits.workers  # refused before anything is done
    strict = {None: None, "open": (), "strict": measurements.domain.columns}[support]
    with bounded(limits.memory):
        with ends_soon(), progress_bar() as progress:
            made = records_from(
                measurements, seed=secrets.randbits(63) if seed is None else seed, strict=strict, k=k, progress=progress
            )
        write_table(made, output)
    tell(f"Wrote {len(made):,} synthetic rows at epsilon {measurements.epsilon:g} to {output}.")
