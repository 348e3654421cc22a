"""The command ``ctdc``: reads options, calls the library, prints. What a command does is the library's matter.

Heavy modules are imported by the commands that need them, so that ``--help`` is immediate and counting does not load the
compiler that synthesis uses.
"""

from __future__ import annotations

import re
import sys

import click

from ctdc_pipeline.cli.audits import audit
from ctdc_pipeline.cli.budget import budget
from ctdc_pipeline.cli.deliveries import deliveries, quarantine
from ctdc_pipeline.cli.exchange import export, import_, sample
from ctdc_pipeline.cli.home import backup, compile_, instance, reseal, restore, status, ui
from ctdc_pipeline.cli.layouts import layout
from ctdc_pipeline.cli.measuring import measure, records
from ctdc_pipeline.cli.own_tables import count, evaluate, synthesize
from ctdc_pipeline.cli.releases import approve, verify, withdraw
from ctdc_pipeline.errors import CtdcError, type_and_place
from ctdc_pipeline.operations.interrupts import INTERRUPTED, NOTHING_WRITTEN, listen, was_heard

AUDIENCES = {
    "For anybody with a table": ("count", "synthesize", "evaluate", "measure", "records"),
    "For readers of what CTDC publishes": ("verify", "import", "export"),
    "For those who decide on a release": ("audit", "approve", "withdraw", "budget"),
    "For those who run the pipeline": ("ui", "status", "deliveries", "quarantine", "layout", "backup", "restore", "reseal"),
    "To set up and to try out": ("instance", "compile", "sample"),
}
"""The commands in ``--help``, by who needs them."""

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
    listen()
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo(NOTHING_WRITTEN, err=True)
        sys.exit(INTERRUPTED)
    except CtdcError as error:
        click.echo(f"ctdc: {error}", err=True)
        sys.exit(1)
    except MemoryError:
        click.echo("ctdc: the memory does not suffice. Free some, or give fewer rows or a shorter length.", err=True)
        sys.exit(1)
    except Exception as error:
        if was_heard():  # an extension that is interrupted while it is imported raises ImportError instead
            click.echo(NOTHING_WRITTEN, err=True)
            sys.exit(INTERRUPTED)
        click.echo(
            f"ctdc: unforeseen {type_and_place(error)}. Its message is withheld, for it could quote a case."
            " Please report this line.",
            err=True,
        )
        sys.exit(1)
    if was_heard():
        click.echo("ctdc: interrupted when the work was done; what the lines above say was written", err=True)
        sys.exit(INTERRUPTED)


class _ByAudience(click.Group):
    """A group whose help lists its commands by who needs them, each with its first sentence in full."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        listed = dict.fromkeys(name for names in AUDIENCES.values() for name in names)
        others = tuple(name for name in self.list_commands(ctx) if name not in listed)
        for title, names in {**AUDIENCES, "Others": others}.items():
            commands = [(name, command) for name in names if (command := self.get_command(ctx, name))]
            if commands:
                with formatter.section(title):
                    formatter.write_dl([(name, _first_sentence(command)) for name, command in commands])


def _first_sentence(command: click.Command) -> str:
    paragraph = " ".join((command.help or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.) ", paragraph)[0]


@click.group(cls=_ByAudience, epilog=EPILOG)
@click.version_option(package_name="ctdc-pipeline")
def cli() -> None:
    """Turn case records into a release that identifies nobody, check such a release, and do the same steps with any table.

    Tables are CSV, TSV or Parquet files. An empty cell is missing, and so is 0, except in columns named by --sensitive-zeros.
    """


for command in (
    *(count, synthesize, evaluate, measure, records, compile_),
    *(verify, import_, export, sample, audit, approve, withdraw, budget),
    *(ui, instance, status, deliveries, quarantine, layout, backup, restore, reseal),
):
    cli.add_command(command)
