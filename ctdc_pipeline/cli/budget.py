"""Commands for the privacy budget: what was spent, and who decides on it."""

from __future__ import annotations

import sys

import click

from ctdc_pipeline.cli.console import grid, home_zones, tell


@click.group(invoke_without_command=True)
@click.pass_context
def budget(context: click.Context) -> None:
    """Show how much of the privacy budget measurements spent, and what is left. Decide on its limit.

    \b
    Examples:
      ctdc budget
      ctdc budget set --epsilon 8 --delta 1e-6 --approver "A. Official" --reason "Five releases of epsilon 3"
    """
    if context.invoked_subcommand is None:
        context.invoke(show_budget)


@budget.command("show")
def show_budget() -> None:
    """List every draw and what it cost, the limit, what is left, and the head of the ledger."""
    from rich.console import Console

    from ctdc_pipeline.privacy.ledger import Ledger

    account = Ledger.of(home_zones(warn=False)).account()
    if account.limit is None:
        click.echo("No limit of the privacy budget is set, so nothing can be measured. See: ctdc budget set --help")
        return
    rows = [
        (
            entry.number,
            entry.content["release"],
            account.state(entry),
            f"{entry.content['epsilon']:g}",
            f"{entry.content['delta']:g}",
        )
        for entry in account.charges
    ]
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    console.print(grid("Draws", ("entry", "for", "state", "epsilon", "delta"), rows))
    total = "no finite epsilon" if account.epsilon is None else f"epsilon {account.epsilon:.4f}"
    click.echo(f"spent: {total}, at delta {account.delta:g}; of the limit {float(account.spent / account.limit):.1%}")
    if account.uncontrolled:
        measured = account.epsilon_of(account.spent)
        click.echo(f"without a finite epsilon: {', '.join(account.uncontrolled)}; measurements alone: epsilon {measured:.4f}")
    click.echo(f"limit: epsilon {account.epsilon_of(account.limit):.4f}; left: mu squared {float(account.remaining):.6f}")
    click.echo(f"head: {account.head}")


@budget.command("set")
@click.option("--epsilon", type=float, required=True, metavar="E", help="The most that all measurements together may come to.")
@click.option("--delta", type=float, default=1e-6, show_default=True, metavar="D", help="For epsilon: far below 1 / persons.")
@click.option("--approver", required=True, help="Who decides; kept in the ledger.")
@click.option("--reason", required=True, help="Why; kept in the ledger.")
def set_budget(epsilon: float, delta: float, approver: str, reason: str) -> None:
    """Set the limit of the privacy budget. What was spent before counts, and the decision can only be followed by another."""
    from ctdc_pipeline.privacy.ledger import Ledger

    zones = home_zones()
    with zones.alone():
        account = Ledger.of(zones).set_limit(epsilon=epsilon, delta=delta, approver=approver, reason=reason)
    tell(f"The limit is epsilon {epsilon:g} at delta {delta:g}. Keep the head of the ledger elsewhere: {account.head}")


@budget.command("accept")
@click.argument("head")
@click.option("--approver", required=True, help="Who knows; kept in the ledger.")
@click.option("--reason", required=True, help="From where HEAD is known; kept in the ledger.")
def accept_ledger(head: str, approver: str, reason: str) -> None:
    """Go on with a restored ledger that ends with HEAD, because HEAD is known from elsewhere to be the last.

    The last release tells its head in its manifest. If anything was measured since, restore a newer ledger instead.
    """
    from ctdc_pipeline.privacy.ledger import Ledger

    zones = home_zones()
    with zones.alone():
        account = Ledger.of(zones).accept(head, approver=approver, reason=reason)
    tell(f"The ledger goes on. Keep its head elsewhere: {account.head}")
