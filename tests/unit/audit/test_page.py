"""The audit from a command: what it writes, whole and private, what it says, and what it must not hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ctdc_pipeline.audit.audit import Audit, audit, schema, table_of
from ctdc_pipeline.audit.mechanisms import FLIP, Proved
from ctdc_pipeline.audit.page import FIGURES, PAGE, files, write
from ctdc_pipeline.audit.statistics import Bounds
from ctdc_pipeline.cli.main import cli
from ctdc_pipeline.codebook.validation import failures
from ctdc_pipeline.errors import CtdcError
from ctdc_pipeline.privacy.domain import domain_of_table
from ctdc_pipeline.storage.tables import write_table
from tests.support.audits import SETTINGS, table


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    sensitive = table(600)
    return audit(sensitive, domain=domain_of_table(sensitive), settings=SETTINGS, parent=tmp_path_factory.mktemp("audit"))


def ctdc(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        cli, ["audit", *(str(folder / text) if text in {"table.csv", "out"} else text for text in arguments)]
    )


def test_page_and_figures_are_internal_and_hold_no_value(done: Audit) -> None:
    """Guards against a case value on the page, and against a page that somebody takes for a product."""
    made = files(done)
    page = made[PAGE].decode()
    assert "Never publish it, and never use it to choose among runs" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert "<script" not in page
    for content in made.values():
        assert b"cell-" not in content
    told = json.loads(made[FIGURES])
    assert "Never to be published" in told["internal"]
    assert {one["game"].partition(",")[0] for one in told["figures"]} == {
        "membership",
        "two releases",
        "singling out",
        "inference",
        "linkage",
        "reconstruction",
        "small groups proved",
    }
    assert all(one["low"] <= one["value"] <= (one["high"] or 99) for one in told["figures"])


def test_the_audit_holds_of_sound_mechanisms(done: Audit) -> None:
    """Guards against false alarms, and against a control that is not caught."""
    assert not done.broken
    assert not done.blind


def test_a_fault_is_told(done: Audit) -> None:
    """Guards against a broken mechanism that only a column of the page knows of."""
    broken = Proved("ours", 1.0, 1e-6, Bounds(2.0, 0.0, 100), gaussian=False)
    blind = Proved(FLIP, 1.0, 1e-6, Bounds(0.0, 0.0, 100), gaussian=False)
    faulty = Audit(done.settings, done.rows, done.columns, done.targets, done.figures, (broken, blind))
    assert faulty.broken == ["ours"]
    assert faulty.blind
    page = files(faulty)[PAGE].decode()
    assert "BROKEN" in page
    assert "missed: trust nothing here" in page


def test_the_table_conforms(done: Audit) -> None:
    """Guards against an asset that its own gate refuses."""
    assert not failures(table_of(done).to_pandas(), schema=schema())


def test_a_folder_is_written_whole_and_replaced(done: Audit, tmp_path: Path) -> None:
    """Guards against a page of one audit beside the figures of another."""
    folder = tmp_path / "out"
    for _ in range(2):
        write(done, folder, parent=tmp_path, sealed=False)
        (folder / "old").touch()
    write(done, folder, parent=tmp_path, sealed=False)
    assert {path.name for path in folder.iterdir()} == {PAGE, FIGURES}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in (folder, *folder.iterdir()))


def test_the_command(tmp_path: Path) -> None:
    """Guards against an audit that overwrites another, or that a user cannot find."""
    write_table(table(400), tmp_path / "table.csv")
    arguments = ("table.csv", "--output", "out", "--targets", "40", "--runs", "2", "--repeats", "400")
    made = ctdc(tmp_path, *arguments)
    assert made.exit_code == 0, made.output
    assert "the known fault of the published engine: caught" in made.output
    assert "cell-" not in made.output
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", "out"}
    again = ctdc(tmp_path, *arguments)
    assert isinstance(again.exception, CtdcError)
    assert "out is there already" in str(again.exception)


@pytest.mark.parametrize(
    ("option", "number", "message"),
    [
        ("--k", "1", "k is 1"),
        ("--targets", "2", "targets is 2"),
        ("--runs", "1", "runs is 1"),
        ("--repeats", "9", "repeats is 9"),
        ("--epsilon", "0", "epsilon is not a budget"),
        ("--delta", "1", "delta is not a budget"),
        ("--seed", "-1", "seed is out of range"),
    ],
)
def test_senseless_parameters_are_refused(tmp_path: Path, option: str, number: str, message: str) -> None:
    """Guards against minutes of attacks that prove nothing, and against what is left of them."""
    write_table(table(250), tmp_path / "table.csv")
    refused = ctdc(tmp_path, "table.csv", "--output", "out", option, number)
    assert isinstance(refused.exception, CtdcError)
    assert message in str(refused.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
