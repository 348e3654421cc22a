"""Test the commands of differential privacy: measure, records, and synthesize in one step; what they refuse and report."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from ctdc_pipeline.cli.main import cli
from ctdc_pipeline.errors import CtdcError

SCHEMA = """
[[variables]]
name = "a"
values = ["x0", "x1"]
[[variables]]
name = "b"
values = ["1", "2", "3"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of 600 rows and three columns, of which the schema knows two and not every value."""
    rows = [f"x{number % 3},{number % 4},c" for number in range(600)]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,c", *rows, ""]))
    (tmp_path / "schema.toml").write_text(SCHEMA)
    return tmp_path


def ctdc(folder: Path, *arguments: str) -> Result:
    names = {"table.csv", "schema.toml", "m.parquet", "out.csv", "m.csv", "none.toml"}
    return CliRunner().invoke(cli, [str(folder / text) if text in names else text for text in arguments])


def test_measure_then_records(folder: Path) -> None:
    """Guards against cells outside the schema that are used, or that are reported by value instead of name and number."""
    done = ctdc(folder, "measure", "table.csv", "--epsilon", "4", "--domain", "schema.toml", "--output", "m.parquet")
    assert done.exit_code == 0, done.output
    assert "column c is not in the schema" in done.output
    assert "column a: 200 cells hold what the schema does not list" in done.output
    assert "x2" not in done.output
    assert (folder / "m.parquet").stat().st_mode & 0o077 == 0
    done = ctdc(folder, "records", "m.parquet", "--output", "out.csv", "--seed", "1")
    assert done.exit_code == 0, done.output
    lines = (folder / "out.csv").read_text().splitlines()
    assert lines[0] == "a,b"
    assert abs(len(lines) - 601) < 150
    assert not any("x2" in line for line in lines)


def test_synthesize_in_one_go(folder: Path) -> None:
    """Guards against the one-step command doing something else than the two steps."""
    arguments = ("--method", "dp", "--epsilon", "4", "--output", "out.csv", "--support", "strict")
    done = ctdc(folder, "synthesize", "table.csv", *arguments, "--domain", "schema.toml")
    assert done.exit_code == 0, done.output
    assert "at epsilon 4" in done.output
    done = ctdc(folder, "synthesize", "table.csv", *arguments, "--domain-from-data")
    assert done.exit_code == 0, done.output
    assert "not private" in done.output


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("measure", "table.csv", "--domain", "schema.toml", "--output", "m.parquet"), "no epsilon"),
        (
            ("measure", "table.csv", "--epsilon", "0", "--domain", "schema.toml", "--output", "m.parquet"),
            "epsilon is not a budget",
        ),
        (
            ("measure", "table.csv", "--epsilon", "1e9", "--domain", "schema.toml", "--output", "m.parquet"),
            "epsilon is not a budget",
        ),
        (("measure", "table.csv", "--epsilon", "4", "--output", "m.parquet"), "domain is not clear"),
        (("measure", "table.csv", "--epsilon", "4", "--domain", "none.toml", "--output", "m.parquet"), "no such schema"),
        (("measure", "table.csv", "--epsilon", "4", "--domain", "schema.toml", "--output", "m.csv"), "no Parquet file"),
        (
            ("measure", "table.csv", "--epsilon", "4", "--delta", "0.009", "--domain", "schema.toml", "--output", "m.parquet"),
            "delta is not below",
        ),
        (("synthesize", "table.csv", "--epsilon", "4", "--output", "out.csv"), "for --method dp only"),
        (("synthesize", "table.csv", "--method", "dp", "--epsilon", "4", "--output", "out.csv"), "domain is not clear"),
        (("records", "table.csv", "--output", "out.csv"), "contains no measurements"),
        (("records", "none.toml", "--output", "out.csv"), "no such file"),
    ],
)
def test_what_cannot_be_done_is_refused_and_writes_nothing(folder: Path, arguments: tuple[str, ...], problem: str) -> None:
    """Guards against a refusal without a remedy, and against a file that looks like a result."""
    done = ctdc(folder, *arguments)
    assert isinstance(done.exception, CtdcError)
    assert problem in str(done.exception)
    assert not (folder / "m.parquet").exists()
    assert not (folder / "out.csv").exists()


def test_two_measurements_never_have_the_same_noise(folder: Path) -> None:
    """Guards against a seed in the noise."""
    seen = []
    for _ in range(2):
        ctdc(folder, "measure", "table.csv", "--epsilon", "4", "--domain", "schema.toml", "--output", "m.parquet")
        seen.append(pq.read_table(folder / "m.parquet")["count"].to_pylist())
    assert sum(a == b for a, b in zip(*seen, strict=True)) < 3
