"""A differentially private release through the graph: all of it follows from the measurements, and nothing else is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from ctdc_pipeline.privacy.contribution import UNIT
from ctdc_pipeline.privacy.ledger import Ledger
from ctdc_pipeline.privacy.measurements import exact_counts, read_measurements
from ctdc_pipeline.privacy.suppressed_countries import NO_COUNTRIES
from ctdc_pipeline.release import private_candidate
from ctdc_pipeline.release.measuring import Purpose, measure_victims
from ctdc_pipeline.release.open_warnings import open_warnings
from ctdc_pipeline.storage.files import sha256
from ctdc_pipeline.storage.tables import as_text
from ctdc_pipeline.synthesis.differentially_private import records_from
from tests.integration.conftest import Graph, told

DECISION = {"release": "2026-1", "epsilon": 4.0, "approver": "A. Official", "reason": "the yearly release"}


@pytest.fixture
def measured(refreshed: Graph) -> Graph:
    """A home whose victims were measured once, for half of the budget."""
    Ledger.of(refreshed.zones).set_limit(epsilon=8, delta=1e-6, approver="A. Official", reason="two releases")
    result = refreshed.run("measure", config=DECISION, series="dp")
    assert result.success, told(result)
    return refreshed


def candidate(graph: Graph) -> Path:
    result = graph.run("dp_candidate", series="dp")
    assert result.success, told(result)
    (folder,) = graph.zones.candidates.iterdir()
    return folder


def published(graph: Graph, folder: Path) -> dg.ExecuteInProcessResult:
    acknowledged = [warning.name for warning in open_warnings(graph.zones, k=10)]
    decision = {"candidate": sha256(folder / "manifest.json"), "approver": "test", "reason": "test", "acknowledged": acknowledged}
    return graph.run("dp_publish", config=decision, series="dp")


def test_a_release_of_measurements_is_published(measured: Graph) -> None:
    """The main job: from the measurements to the public zone, at no cost, and every figure follows from what is published."""
    before = Ledger.of(measured.zones).account()
    result = published(measured, candidate(measured))
    assert result.success, told(result)
    assert Ledger.of(measured.zones).account() == before
    (folder,) = measured.released()

    assert {path.name for path in folder.iterdir()} == {*private_candidate.FILES, "manifest.json", "publication.json"}
    manifest = json.loads((folder / "manifest.json").read_text())
    found = read_measurements(folder / "measurements.parquet")
    again = as_text(records_from(found, seed=manifest["seed"], k=manifest["support"]["k"]))
    assert pq.read_table(folder / "global_synthetic_dataset.parquet").cast(again.schema).equals(again)
    assert manifest["epsilon"]["ledger"] == before.head
    assert manifest["epsilon"]["total"]["epsilon"] == pytest.approx(4, abs=1e-3)


def test_nothing_that_depends_on_a_record_without_noise_is_published(measured: Graph) -> None:
    """A hash of a delivery lets whoever knows all records but one try records until it fits; a warning tells of a count."""
    assert published(measured, candidate(measured)).success
    (folder,) = measured.released()
    texts = "".join(path.read_text(encoding="utf-8") for path in folder.iterdir() if path.suffix in (".json", ".md", ".csv"))
    deliveries = pq.read_table(measured.zones.table("harmonised", "deliveries"))["content"].to_pylist()
    assert deliveries
    assert not [content for content in deliveries if content in texts]
    for stage in measured.zones.sensitive.iterdir():
        for table in stage.glob("*.parquet"):
            assert sha256(table) not in texts, table
    assert open_warnings(measured.zones, k=10)
    assert "acknowledged_warnings" not in texts


def test_counts_come_with_the_interval_of_their_noise(measured: Graph) -> None:
    """An interval that is too narrow is believed. Of about 740 values 95 in 100 are covered, at five standard errors."""
    folder = candidate(measured)
    found = read_measurements(folder / "measurements.parquet")
    rows = pa_csv.read_csv(folder / "noisy_counts.csv").to_pylist()
    assert [row["length"] for row in rows].count(1) == found.domain.attributes
    victims = pq.read_table(measured.zones.table("harmonised", "victims"), columns=list(found.domain.columns))
    table = pa.table([column.dictionary_encode() for column in victims.columns], names=victims.column_names)
    # A record of more values than the cap counts for less than one, which no interval covers.
    exact = exact_counts(found.domain.codes(table)[0], domain=found.domain)["values"] / UNIT
    values = [row for row in rows if row["length"] == 1]
    covered = [row["count_from"] <= count <= row["count_to"] for row, count in zip(values, exact, strict=True)]
    assert sum(covered) / len(covered) > 0.95 - 5 * (0.05 * 0.95 / len(covered)) ** 0.5
    assert abs(rows[0]["count"] - len(victims)) < 6 * found.sigma["records"] / UNIT


def _records(folder: Path) -> None:
    for suffix in ("csv", "tsv"):
        path = folder / f"global_synthetic_dataset.{suffix}"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join([lines[0], *reversed(lines[1:])]))


def _counts(folder: Path) -> None:
    path = folder / "noisy_counts.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))


def _cheaper(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"draws": 1', '"draws": 0'))


@pytest.mark.parametrize("attack", [_records, _counts, _cheaper], ids=["records", "counts", "budget"])
def test_a_candidate_that_does_not_follow_from_its_measurements_is_not_published(measured: Graph, attack: Any) -> None:
    """Files exchanged between the proof and the approval, with the manifest mended to fit."""
    folder = candidate(measured)
    attack(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {name: sha256(folder / name) for name in manifest["files"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    result = published(measured, folder)
    assert not result.success
    assert "Nothing was published" in told(result)
    assert measured.released() == []


def test_a_candidate_of_an_older_account_is_not_published(measured: Graph) -> None:
    """A release that tells less than was spent since it was made."""
    folder = candidate(measured)
    measure_victims(measured.zones, Purpose("2026-2", 1.0, 1e-6, "A", "again"), last_year=2021, suppressed=NO_COUNTRIES)
    result = published(measured, folder)
    assert not result.success
    assert "budget was spent otherwise" in told(result)


def test_a_candidate_needs_records_of_these_measurements(measured: Graph) -> None:
    """Records of earlier measurements beside later counts."""
    measure_victims(measured.zones, Purpose("2026-2", 1.0, 1e-6, "A", "again"), last_year=2021, suppressed=NO_COUNTRIES)
    result = measured.run("dp_candidate", series="dp")
    assert not result.success
    assert "no records of these measurements" in told(result)


def test_the_other_series_is_refused(measured: Graph) -> None:
    """A setting that is forgotten publishes what has no epsilon."""
    assert "this belongs to dp" in told(measured.run("dp_candidate"))
    assert "this belongs to k-synthetic" in told(measured.run("release_candidate", series="dp"))


def test_a_k_synthetic_candidate_from_before_the_measurements_is_not_published(refreshed: Graph) -> None:
    """Made first, measured then, published last: neither job alone sees the mixture."""
    assert refreshed.run("release_candidate").success
    (folder,) = refreshed.zones.candidates.iterdir()
    Ledger.of(refreshed.zones).set_limit(epsilon=8, delta=1e-6, approver="A. Official", reason="two releases")
    assert refreshed.run("measure", config=DECISION, series="dp").success
    result = refreshed.publish(sha256(folder / "manifest.json"))
    assert not result.success
    assert "ends that promise" in told(result)


def test_a_second_release_adds_up_and_names_the_first(measured: Graph) -> None:
    """A series: the second release must tell the cost of both, and the first's head must be in its ledger."""
    assert published(measured, candidate(measured)).success
    second = measured.run("measure", config={**DECISION, "release": "2027-1", "epsilon": 3.0}, series="dp")
    assert second.success, told(second)
    assert published(measured, candidate(measured)).success
    first, last = (json.loads((folder / "manifest.json").read_text()) for folder in measured.released())
    assert last["previous"] == first["version"]
    assert last["epsilon"]["total"]["draws"] == 2
    assert last["epsilon"]["total"]["epsilon"] > 4.9
