"""Test the ledger of the privacy budget: what must be charged, and what must never pass as the newest chain."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ctdc_pipeline.cli.main import cli
from ctdc_pipeline.errors import BudgetError, ParameterError
from ctdc_pipeline.operations.backup import backup, reseal, restore
from ctdc_pipeline.privacy import ledger as module
from ctdc_pipeline.privacy.accounting import epsilon_of, mu_of
from ctdc_pipeline.privacy.ledger import Charge, Ledger
from ctdc_pipeline.storage.zones import Zones

LIMIT = Fraction(mu_of(epsilon=4, delta=1e-6)) ** 2
SET = ("budget", "set", "--epsilon", "4", "--approver", "A. Official", "--reason", "one release")
DRAW = """
import sys, time
from fractions import Fraction
from pathlib import Path
from tests.unit.privacy.test_ledger import charge
from ctdc_pipeline.privacy.ledger import Ledger
from ctdc_pipeline.storage.zones import Zones
with Ledger.of(Zones(Path(sys.argv[1]))).charged(charge(Fraction(sys.argv[2]))) as done:
    print("drawing", flush=True)
    time.sleep(float(sys.argv[3]))
    done("a" * 64)
"""


def charge(cost: Fraction, **said: Any) -> Charge:
    values: dict[str, Any] = {
        "release": "2026-1",
        "purpose": "a release",
        "approver": "A. Official",
        "mechanism": "discrete Gaussian",
        "queries": "0a",
        "domain": "0b",
        "cap": 14,
        "squared": {"pairs": 91},
        "sigma": {"pairs": 1000},
        "mu_squared": cost,
        "epsilon": 1.0,
        "delta": 1e-6,
        "deliveries": "0c",
        "software": "1",
    }
    return Charge(**{**values, **said})


@pytest.fixture
def zones(tmp_path: Path) -> Zones:
    """A home whose budget is epsilon 4."""
    zones = Zones(tmp_path / "home").prepare()
    Ledger.of(zones).set_limit(epsilon=4, delta=1e-6, approver="A. Official", reason="one release")
    return zones


def draw(zones: Zones, cost: Fraction, **given: Any) -> None:
    with Ledger.of(zones).charged(charge(cost), **given) as done:
        done("a" * 64)


def spent(zones: Zones) -> Fraction:
    return Ledger.of(zones).account().spent


def process(zones: Zones, cost: Fraction, *, seconds: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DRAW, str(zones.root), str(cost), str(seconds)]
    root = Path(__file__).parents[3]
    return subprocess.Popen(command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_the_limit_is_exact(zones: Zones) -> None:
    """Guards against a total in floats, which lets one unit too much through, or refuses the last remaining one."""
    least = Fraction(1, 10**30)
    draw(zones, LIMIT / 3)
    with pytest.raises(BudgetError, match="more than is left"):
        draw(zones, LIMIT * 2 / 3 + least)
    assert spent(zones) == LIMIT / 3
    draw(zones, LIMIT * 2 / 3)
    assert Ledger.of(zones).account().remaining == 0
    with pytest.raises(BudgetError, match="more than is left"):
        draw(zones, least)


def test_a_thousand_small_charges_add_exactly(zones: Zones) -> None:
    """Guards against a total that loses a little with each charge."""
    for _ in range(30):
        draw(zones, LIMIT / 31)
    assert spent(zones) == LIMIT * 30 / 31
    assert Ledger.of(zones).account().epsilon == pytest.approx(epsilon_of(mu=float(LIMIT * 30 / 31) ** 0.5, delta=1e-6), abs=1e-9)


def test_the_charge_is_written_before_anything_is_drawn(zones: Zones) -> None:
    """Guards against charging a draw afterwards, which makes it free if the process dies in between."""
    with Ledger.of(zones).charged(charge(LIMIT / 2)) as done:
        assert Ledger.of(zones).account().spent == LIMIT / 2
        assert Ledger.of(zones).account().unfinished
        done("a" * 64)
    assert Ledger.of(zones).account().measured == {"a" * 64}


def test_a_draw_that_fails_is_aborted_and_not_given_back(zones: Zones) -> None:
    """Guards against refunds, with which somebody could draw until the noise suits them."""
    with pytest.raises(RuntimeError), Ledger.of(zones).charged(charge(LIMIT / 2)):
        raise RuntimeError
    account = Ledger.of(zones).account()
    assert [account.state(entry) for entry in account.charges] == ["aborted"]
    assert account.spent == LIMIT / 2
    assert not account.measured


def test_a_crash_between_reservation_and_measurement_is_paid_and_told(zones: Zones) -> None:
    """Guards against forgetting a draw after a crash, when nobody knows whether its noise was seen."""
    running = process(zones, LIMIT / 2, seconds=60)
    assert running.stdout
    assert running.stdout.readline() == "drawing\n"
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    account = Ledger.of(zones).account()
    assert [account.state(entry) for entry in account.charges] == ["reserved"]
    draw(zones, LIMIT / 4)
    account = Ledger.of(zones).account()
    assert [account.state(entry) for entry in account.charges] == ["aborted", "measured"]
    assert account.spent == LIMIT * 3 / 4


def test_two_processes_cannot_both_have_the_last_budget(zones: Zones) -> None:
    """Guards against two processes that read the same remainder, and both find it enough."""
    both = [process(zones, LIMIT * 2 / 3, seconds=0.2) for _ in range(2)]
    told = [running.communicate()[1] for running in both]
    assert sorted(running.returncode for running in both) == [0, 1]
    assert sum("BudgetError: the measurement costs more than is left" in text for text in told) == 1
    account = Ledger.of(zones).account()
    assert account.spent == LIMIT * 2 / 3
    assert [account.state(entry) for entry in account.charges] == ["measured"]


def test_nothing_is_drawn_without_a_limit(tmp_path: Path) -> None:
    """Guards against a budget on which nobody decided."""
    with pytest.raises(BudgetError, match="no limit"):
        draw(Zones(tmp_path / "home").prepare(), Fraction(1, 1000))


def test_a_limit_below_what_was_spent_leaves_nothing(zones: Zones) -> None:
    """Guards against a negative remainder to which later limits are added."""
    draw(zones, LIMIT / 2)
    account = Ledger.of(zones).set_limit(epsilon=0.5, delta=1e-6, approver="A", reason="less")
    assert account.remaining == 0
    with pytest.raises(BudgetError, match="more than is left"):
        draw(zones, Fraction(1, 10**9))


@pytest.mark.parametrize(("epsilon", "delta"), [(0, 1e-6), (-1, 1e-6), (1e9, 1e-6), (float("nan"), 1e-6), (1, 0.5), (1, 0)])
def test_a_limit_that_is_no_budget_is_refused(zones: Zones, epsilon: float, delta: float) -> None:
    """Guards against an unlimited budget."""
    with pytest.raises(ParameterError):
        Ledger.of(zones).set_limit(epsilon=epsilon, delta=delta, approver="A", reason="more")


@pytest.mark.parametrize("said", [{"approver": " "}, {"reason": ""}])
def test_a_limit_needs_who_and_why(zones: Zones, said: dict[str, str]) -> None:
    """Guards against a decision for which nobody is responsible."""
    with pytest.raises(ParameterError):
        Ledger.of(zones).set_limit(**{"epsilon": 1.0, "delta": 1e-6, "approver": "A", "reason": "more", **said})  # pyright: ignore[reportArgumentType]


def _cheaper(folder: Path) -> None:
    path = folder / "000002.json"
    path.write_text(path.read_text().replace('"mu_squared": "', '"mu_squared": "1/1000000'))


def _forged(folder: Path) -> None:
    """Altered, with the hash of what follows mended: a chain that is sound in itself."""
    _cheaper(folder)
    digest = module.hashlib.sha256((folder / "000002.json").read_bytes()).hexdigest()
    said = json.loads((folder / "000003.json").read_text())
    (folder / "000003.json").write_bytes(module.entry_bytes({**said, "previous": digest}))


@pytest.mark.parametrize(
    "attack",
    [
        _cheaper,
        _forged,
        lambda folder: (folder / "000002.json").unlink(),
        lambda folder: (folder / "000001.json").write_bytes(b""),
        lambda folder: [(folder / f"00000{number}.json").unlink() for number in (3, 2)],
        lambda folder: (folder / "000003.json").rename(folder / "000004.json"),
        shutil.rmtree,
    ],
    ids=["altered", "forged", "gap", "empty", "cut", "renamed", "gone"],
)
def test_a_chain_that_is_not_the_newest_is_refused(zones: Zones, attack: Any) -> None:
    """Guards against winning back budget by changing an entry, cutting off the end, or starting again."""
    draw(zones, LIMIT / 2)
    attack(zones.ledger)
    with pytest.raises(BudgetError):
        Ledger.of(zones).account()
    with pytest.raises(BudgetError):
        draw(zones, LIMIT / 2)


def test_a_rolled_back_ledger_is_refused(zones: Zones, tmp_path: Path) -> None:
    """Guards against an older copy of the sensitive zone: a sound chain that lacks what was spent since."""
    shutil.copytree(zones.ledger, tmp_path / "older")
    draw(zones, LIMIT)
    shutil.rmtree(zones.ledger)
    shutil.copytree(tmp_path / "older", zones.ledger)
    with pytest.raises(BudgetError, match="older than its head"):
        draw(zones, LIMIT)


def test_a_restored_backup_goes_on_only_when_somebody_knows_its_head(zones: Zones, tmp_path: Path) -> None:
    """Guards against a backup of yesterday that looks complete although today's draw is missing."""
    draw(zones, LIMIT / 2)
    backup(zones, tmp_path / "yesterday.tar")
    old = Ledger.of(zones).account().head
    draw(zones, LIMIT / 2)
    new = Ledger.of(zones).account().head
    other = Zones(tmp_path / "other")
    restore(other, tmp_path / "yesterday.tar")

    with pytest.raises(BudgetError, match="noted nowhere"):
        draw(other, LIMIT / 2)
    with pytest.raises(BudgetError, match="does not end with this head"):
        Ledger.of(other).accept(new, approver="A", reason="the manifest says so")
    assert Ledger.of(other).accept(old, approver="A", reason="the manifest says so").spent == LIMIT / 2
    with pytest.raises(BudgetError, match="nothing to accept"):
        Ledger.of(other).accept(old, approver="A", reason="again")


def test_a_head_that_a_release_names_must_be_in_the_chain(zones: Zones) -> None:
    """Guards against a home whose note of the head was rolled back too; published heads cannot be rolled back."""
    draw(zones, LIMIT / 4)
    head = Ledger.of(zones).account().head
    draw(zones, LIMIT / 4, heads=[head])
    with pytest.raises(BudgetError, match="a release names a head"):
        draw(zones, LIMIT / 4, heads=["f" * 64])
    assert spent(zones) == LIMIT / 2


def test_a_crash_before_the_head_is_noted_is_no_fault(zones: Zones) -> None:
    """Guards against a ledger that refuses for ever after a power cut."""
    noted = (zones.root / "budget.head").read_text()
    draw(zones, LIMIT / 4)
    (zones.root / "budget.head").write_text(noted)
    assert spent(zones) == LIMIT / 4


def test_the_head_can_be_noted_elsewhere(zones: Zones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a snapshot of the whole home, which also takes back the note in it."""
    elsewhere = tmp_path / "other-disk" / "head"
    elsewhere.parent.mkdir()
    (zones.root / "budget.head").rename(elsewhere)
    monkeypatch.setenv(module.HEAD, str(elsewhere))
    shutil.copytree(zones.root, tmp_path / "snapshot")
    draw(zones, LIMIT / 2)
    with pytest.raises(BudgetError, match="older than its head"):
        draw(Zones(tmp_path / "snapshot"), LIMIT / 2)


def test_a_clock_set_back_changes_nothing(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a total or an order by time, which would give an earlier day a budget of its own."""
    draw(zones, LIMIT / 2)

    class Earlier(datetime):
        """The clock, set to 1999."""

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(1999, 1, 1, tzinfo=tz or UTC)

    monkeypatch.setattr(module, "datetime", Earlier)
    draw(zones, LIMIT / 4)
    account = Ledger.of(zones).account()
    assert [entry.content["written"][:4] for entry in account.charges][1] == "1999"
    assert account.spent == LIMIT * 3 / 4
    with pytest.raises(BudgetError, match="more than is left"):
        draw(zones, LIMIT / 2)


def test_what_has_no_finite_epsilon_stays_in_the_ledger(zones: Zones) -> None:
    """Guards against a total that includes only what has a finite epsilon."""
    draw(zones, LIMIT / 4)
    assert Ledger.of(zones).account().epsilon is not None
    draw(zones, LIMIT / 4, uncontrolled=["2021-1"])
    account = Ledger.of(zones).mix("2022-1", reason="asked for by the steering group")
    assert account.uncontrolled == ("2021-1", "2022-1")
    draw(zones, LIMIT / 4)
    assert Ledger.of(zones).account().epsilon is None
    with pytest.raises(BudgetError, match="more than is left"):
        draw(zones, LIMIT / 2)


def test_the_ledger_is_private_encrypted_and_resealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a readable record of who approved what, and against a chain that breaks when the key changes."""
    monkeypatch.setenv("CTDC_SENSITIVE_KEY", "0a" * 32)
    zones = Zones(tmp_path / "home").prepare()
    Ledger.of(zones).set_limit(epsilon=4, delta=1e-6, approver="A. Official", reason="one release")
    draw(zones, LIMIT / 2)
    head = Ledger.of(zones).account().head
    for path in zones.ledger.iterdir():
        assert b"Official" not in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
    assert zones.ledger.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("CTDC_SENSITIVE_KEY", f"{'1b' * 32},{'0a' * 32}")
    reseal(zones)
    monkeypatch.setenv("CTDC_SENSITIVE_KEY", "1b" * 32)
    assert Ledger.of(zones).account().head == head
    draw(zones, LIMIT / 2)


def test_the_command_shows_and_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a command that hides a draw, the total, the remainder or the head from the person who decides."""
    monkeypatch.setenv("CTDC_HOME", str(tmp_path / "home"))
    assert "No limit" in CliRunner().invoke(cli, ["budget"]).output
    assert CliRunner().invoke(cli, [*SET]).exit_code == 0
    zones = Zones(tmp_path / "home")
    draw(zones, LIMIT / 4)
    shown = CliRunner().invoke(cli, ["budget"]).output
    for text in ("2026-1", "measured", "of the limit 25.0%", Ledger.of(zones).account().head):
        assert text in shown
    draw(zones, LIMIT / 4, uncontrolled=["2021-1"])
    assert "no finite epsilon" in CliRunner().invoke(cli, ["budget", "show"]).output
    head = Ledger.of(zones).account().head
    (zones.root / "budget.head").unlink()
    assert isinstance(CliRunner().invoke(cli, ["budget"]).exception, BudgetError)
    accepted = ["budget", "accept", head, "--approver", "A", "--reason", "the manifest of 2026-1"]
    assert CliRunner().invoke(cli, accepted).exit_code == 0
    assert CliRunner().invoke(cli, ["budget"]).exit_code == 0
