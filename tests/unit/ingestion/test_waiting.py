"""Test deliveries that wait for a decision: their cases do not count, but their opt-outs and refusals do."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from ctdc_pipeline.errors import ContestedError
from ctdc_pipeline.ingestion.delivery_store import Store
from tests.support.deliveries import Rows, deliver, harmonise_all, home, left_out, outcome, receive

SNAPSHOT = 'kind = "snapshot"'
CASE = {"polaris": "Case_ID", "liberty_shared": "Client ID"}


def contest(tmp_path: Path, *variants: Rows, source: str = "polaris", refresh: str = "2020-H2") -> None:
    """Deliver one refresh once for each of ``variants``, which are lists, each with another case."""
    for number, listed in enumerate(variants):
        shutil.rmtree(home(tmp_path).landing / source / refresh, ignore_errors=True)
        with suppress(ContestedError):  # kept, and a person is told
            deliver(tmp_path, source, {CASE[source]: f"10{number}"}, refresh=refresh, listed=listed)


def opt_out(*cases: str) -> Rows:
    return [{"Case_ID": case} for case in cases]


def excluded(tmp_path: Path, partner: str = "polaris") -> dict[int, str]:
    """By row of the only delivery that counts, the rule that left it out."""
    rows = outcome(tmp_path, f"{partner}_exclusions")
    return {int(str(row["source_row"])): str(row["rule"]) for row in rows}


def test_the_opt_outs_of_every_contested_delivery_hold(tmp_path: Path) -> None:
    """Guards against people who asked to be left out and stay in the data for as long as two deliveries are in dispute."""
    deliver(tmp_path, "polaris", *({"Case_ID": f"C{number}"} for number in range(1, 5)), refresh="2020-H1")
    harmonise_all(tmp_path, "polaris")
    contest(tmp_path, opt_out("C1"), opt_out("C3"))
    summary = harmonise_all(tmp_path, "polaris")
    assert excluded(tmp_path) == {1: "opted-out", 3: "opted-out"}
    assert {row["refresh"] for row in outcome(tmp_path, "polaris")} == {"2020-H1"}, "the new cases wait"
    assert any("last good state" in warning for warning in summary.warnings)


def test_the_opt_outs_of_a_rejected_delivery_do_not_hold(tmp_path: Path) -> None:
    """Guards against opt-outs of a rejected delivery that still apply after a person has decided."""
    deliver(tmp_path, "polaris", *({"Case_ID": f"C{number}"} for number in range(1, 5)), refresh="2020-H1")
    harmonise_all(tmp_path, "polaris")
    contest(tmp_path, opt_out("C1"), opt_out("C3"))
    harmonise_all(tmp_path, "polaris")
    store = Store(home(tmp_path).deliveries)
    (variants,) = [several for several in store.variants("polaris").values() if len(several) > 1]
    store.choose("polaris", "2020-H2", variants[1].short)
    receive(tmp_path, "polaris", refresh="2020-H2")
    harmonise_all(tmp_path, "polaris")
    assert len([1 for rule in left_out(tmp_path, "polaris").values() if rule == "opted-out"]) == 1


@pytest.mark.parametrize("written", ["C\u200b1", "\ufeffC1", "\uff231", "C1\u200f", " C1\u00a0"])
def test_a_held_opt_out_holds_however_its_number_is_written(tmp_path: Path, written: str) -> None:
    """Guards against a look-alike number that is matched in a delivery that counts, and missed in one that waits."""
    deliver(tmp_path, "polaris", {}, {"Case_ID": "C2"}, {"Case_ID": "C3"}, refresh="2020-H1")
    harmonise_all(tmp_path, "polaris")
    contest(tmp_path, opt_out(written), opt_out("C3"))
    harmonise_all(tmp_path, "polaris")
    assert excluded(tmp_path) == {1: "opted-out", 3: "opted-out"}


def test_a_held_opt_out_of_a_whole_group_holds(tmp_path: Path) -> None:
    """Guards against reading an opt-out without a person's number differently in a delivery that waits."""
    deliver(tmp_path, "polaris", {}, {"Victim_ID": "V2"}, {"Case_ID": "C2"}, refresh="2020-H1")
    harmonise_all(tmp_path, "polaris")
    contest(tmp_path, [{"Victim_ID": ""}], [])
    harmonise_all(tmp_path, "polaris")
    assert excluded(tmp_path) == {1: "opted-out", 2: "opted-out"}


def test_a_snapshot_that_is_held_back_leaves_out_whom_it_lists(tmp_path: Path) -> None:
    """Guards against a broken export, rightly held back, that takes its opt-outs with it."""
    deliver(tmp_path, "polaris", *({"Case_ID": f"C{number}"} for number in range(1, 7)), refresh="2020-H1")
    harmonise_all(tmp_path, "polaris")
    deliver(tmp_path, "polaris", {"Case_ID": "C5"}, refresh="2020-H2", listed=({"Case_ID": "C2"},), terms=SNAPSHOT)
    harmonise_all(tmp_path, "polaris")
    assert excluded(tmp_path) == {2: "opted-out"}
    assert len(outcome(tmp_path, "polaris")) == 5


def test_a_held_refusal_of_consent_holds_and_a_held_consent_does_not(tmp_path: Path) -> None:
    """Guards against a withdrawn consent that waits, and against one that admits somebody before a person has decided."""
    whole, refused = {"Client ID": ""}, {"Consent to CTDC": "No"}
    cases = [{"Client ID": str(number)} for number in range(7, 10)]
    listed = (whole, {"Client ID": "7"}, {"Client ID": "8"}, {"Client ID": "9", **refused})
    deliver(tmp_path, "liberty_shared", *cases, refresh="2020", listed=listed)
    harmonise_all(tmp_path, "liberty_shared")
    held = [whole, {"Client ID": "7", **refused}, {"Client ID": "8"}, {"Client ID": "9"}]
    contest(tmp_path, held, held, source="liberty_shared", refresh="2021")
    harmonise_all(tmp_path, "liberty_shared")
    without = "individual-without-consent"
    assert excluded(tmp_path, "liberty_shared") == {1: without, 3: without}


def test_a_blank_entry_that_waits_leaves_nobody_out_and_stops_nothing(tmp_path: Path) -> None:
    """Guards against a faulty line of a delivery in dispute that stops the partner, or matches every case without a number."""
    deliver(tmp_path, "polaris", {}, {"Case_ID": "C2"}, refresh="2020-H1")
    harmonise_all(tmp_path, "polaris")
    contest(tmp_path, opt_out(""), opt_out("C2"))
    harmonise_all(tmp_path, "polaris")
    assert excluded(tmp_path) == {2: "opted-out"}
