"""The command that attacks releases of a table, to measure what they tell of its people."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ctdc_pipeline.cli.console import PATH, engine_options, progress_bar, read_input, table_options, tell
from ctdc_pipeline.cli.measuring import budget_options
from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.operations.interrupts import ends_soon
from ctdc_pipeline.operations.limits import Limits

USUAL_EPSILON = 4.0


@click.command()
@click.argument("source", metavar="INPUT", type=PATH)
@click.option("--output", required=True, type=PATH, metavar="FOLDER", help="A folder to make, as sensitive as INPUT.")
@click.option("--k", type=int, default=10, show_default=True, metavar="K", help="Resolution of the synthetic data and counts.")
@budget_options
@click.option("--seed", type=int, default=1, show_default=True, metavar="S", help="Same seed, same figures, but for DP noise.")
@click.option(
    "--targets", type=int, default=1000, show_default=True, metavar="N", help="People to attack; half the most isolated."
)
@click.option("--runs", type=int, default=8, show_default=True, metavar="N", help="Releases of each kind to attack.")
@click.option("--repeats", type=int, default=1000, show_default=True, metavar="N", help="Of DP, with one person and without.")
@click.option("--core", multiple=True, metavar="COLUMN", help="As for `ctdc synthesize`. May be repeated.")
@table_options
@engine_options
def audit(
    source: Path,
    output: Path,
    k: int,
    epsilon: float | None,
    delta: float,
    domain: Path | None,
    seed: int,
    targets: int,
    runs: int,
    repeats: int,
    core: tuple[str, ...],
    missing: tuple[str, ...],
    sensitive_zeros: tuple[str, ...],
    limits: Limits,
) -> None:
    """Attack releases of INPUT, k-synthetic, DP, k-anonymised and a random sample, and measure what it tells an attacker.

    FOLDER gets a page and the same figures as JSON. Both are internal: never publish them, and never choose among runs by them.
    Exit status 1 if DP is proved to be broken. Two minutes for 20,000 rows on two cores; of a longer table as many are drawn.

    \b
    Examples:
      ctdc audit victims.csv --output audit --k 10 --epsilon 4 --seed 1
      ctdc audit victims.csv --output audit --domain schema.toml --targets 500
    """
    from ctdc_pipeline.audit.audit import audit as run
    from ctdc_pipeline.audit.page import headlines, write
    from ctdc_pipeline.audit.releases import Settings
    from ctdc_pipeline.operations.memory_limit import bounded
    from ctdc_pipeline.privacy.domain import domain_of_table, read_domain
    from ctdc_pipeline.storage.files import remove_abandoned
    from ctdc_pipeline.storage.tables import unwritable

    if output.exists():
        raise ParameterError(f"{output.name} is there already", remedy="Name another output.")
    with unwritable(output):
        output.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        remove_abandoned(output.parent)
    table = read_input(source, missing=missing, sensitive_zeros=sensitive_zeros)
    settings = Settings(
        k=k,
        epsilon=USUAL_EPSILON if epsilon is None else epsilon,
        delta=delta,
        runs=runs,
        targets=targets,
        repeats=repeats,
        seed=seed,
        core=core,
        limits=limits,
    )
    public = domain_of_table(table) if domain is None else read_domain(domain)
    with bounded(limits.memory), ends_soon(), progress_bar() as progress:
        done = run(table, domain=public, settings=settings, parent=output.parent, progress=progress)
    write(done, output, parent=output.parent, sealed=False)
    for what, figure in headlines(done):
        click.echo(f"{what}: {figure}")
    tell(f"The audit is in {output}. It is internal: keep it as safe as {source.name}.")
    if done.broken or done.blind:
        tell("The audit found a fault; see the page." if done.broken else "The audit missed a known fault; trust nothing in it.")
        sys.exit(1)
