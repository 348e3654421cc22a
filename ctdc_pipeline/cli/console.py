"""What commands share: options, reading a table, progress and tables on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.operations.limits import Limits

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

    from ctdc_pipeline.counting.attributes import Progress
    from ctdc_pipeline.storage.zones import Zones

Command = TypeVar("Command", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)


def table_options(command: Command) -> Command:
    """How cells become attributes; the same for every command that reads a table."""
    for option in (
        click.option("--sensitive-zeros", multiple=True, metavar="COLUMN", help="A column where 0 is a value. May be repeated."),
        click.option(
            "--missing", multiple=True, metavar="VALUE", help="A text that means missing, as empty does. May be repeated."
        ),
    ):
        command = option(command)
    return command


def engine_options(command: Command) -> Command:
    """How much of the machine a command may use: its parameter ``limits``."""

    @wraps(command)
    def limited(*, threads: int | None, memory_limit: str | None, **others: Any) -> None:
        command(limits=Limits(threads, memory_limit), **others)

    options = limited
    for option in (
        click.option("--memory-limit", metavar="SIZE", help="Such as 500MB or 4GB. Default: what the machine has."),
        click.option("--threads", type=int, metavar="N", help="Default: all processors."),
    ):
        options = option(options)
    return cast("Command", options)


def home_zones(*, warn: bool = True) -> Zones:
    """The home, with a warning if it is not encrypted."""
    from ctdc_pipeline.storage.encryption import enabled, notice
    from ctdc_pipeline.storage.tables import unwritable
    from ctdc_pipeline.storage.zones import Zones

    if warn and not enabled():
        click.echo(f"ctdc: the sensitive zone is {notice()}", err=True)
    zones = Zones.from_environment()
    with unwritable(zones.root):
        return zones.prepare()


def require_k(k: int | None) -> None:
    """Raise ParameterError where ``k`` is given and is no resolution."""
    from ctdc_pipeline.parameters import require_whole

    if k is not None:
        require_whole("k", k, minimum=2)


def require_other(output: Path, source: Path) -> None:
    """Raise ParameterError where the output would overwrite the input."""
    if output.exists() and source.exists() and output.samefile(source):
        raise ParameterError(f"{output.name} is the input", remedy="Name another output.")


def read_input(
    path: Path,
    *,
    missing: tuple[str, ...],
    sensitive_zeros: tuple[str, ...],
    output: Path | None = None,
    may_be_empty: bool = False,
) -> pa.Table:
    """The table at ``path``, read once ``output`` is known to be writable and rid of what a killed command left there."""
    from ctdc_pipeline.operations.startup import load_arrow

    load_arrow()
    from ctdc_pipeline.storage.files import remove_abandoned
    from ctdc_pipeline.storage.tables import read_table, require_writable, unwritable

    if output is not None:
        require_writable(output)
        require_other(output, path)
        if output.parent.is_dir():
            with unwritable(output):
                remove_abandoned(output.parent)
    return read_table(path, missing=missing, sensitive_zeros=sensitive_zeros, may_be_empty=may_be_empty)


@contextmanager
def progress_bar() -> Generator[Progress | None]:
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


def tell(line: str) -> None:
    """Say what was done: on stderr, so that stdout holds nothing but results."""
    click.echo(line, err=True)


def grid(title: str, names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Table:
    """A table on the terminal."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(figure(cell) for cell in row))
    return table


def figure(cell: float | str | None) -> str:
    """A cell of a table on the terminal: whole numbers with commas, others with four digits, nothing as a dash."""
    if cell is None:
        return "-"
    return cell if isinstance(cell, str) else f"{cell:,}" if isinstance(cell, int) else f"{cell:.4f}"
