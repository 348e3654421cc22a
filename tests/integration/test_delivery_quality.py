"""Warnings about deliveries and partners, and countries never to be named, through the graph."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ctdc_pipeline.definitions import build_defs
from ctdc_pipeline.harmonisation.quarantine_export import TO_CORRECT, export_quarantine
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES
from ctdc_pipeline.storage.files import read_parquet
from resources.settings import DataHome, Engine
from tests.integration.conftest import QUIET, Graph, told

WAYS = ("accepted", "quarantined", "excluded", "superseded")
DENIED = {"citizenship": ["UKR", "USA"], "CountryOfExploitation": ["RUS"]}


def checks(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    """Evaluations of a run by asset and check."""
    return {("/".join(one.asset_key.path), one.check_name): one for one in result.get_asset_check_evaluations()}


def rewrite_csv(folder: Path, pattern: str, edit: Callable[[dict[str, str]], dict[str, str]]) -> None:
    (path,) = folder.glob(pattern)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(edit, rows))


def test_a_delivery_unlike_the_last_one_warns_and_blocks_nothing(refreshed: Graph) -> None:
    """Nobody would see that half of the ages are gone until the release lacks them; but a warning must not hold it up."""
    folder = refreshed.land_again("polaris", refresh="2022-H1")
    (folder / "delivery.toml").unlink(missing_ok=True)
    numbered = iter(range(1_000_000))

    def without_ages(row: dict[str, str]) -> dict[str, str]:
        return {**row, "Victim_ID": f"N{next(numbered)}", "Victim_Age_At_Report": ""}

    rewrite_csv(folder, "polaris_cases*.csv", without_ages)
    result = refreshed.run("ingest_polaris", partition="2022-H1")
    assert result.success, told(result)
    found = checks(result)
    warning = found["ingestion/polaris", "missingness"]
    assert (warning.passed, warning.severity, warning.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    assert "Victim_Age_At_Report" in (warning.description or "")
    assert {"plot", "figures", "compared"} <= warning.metadata.keys()
    assert found["ingestion/polaris", "row_counts"].passed

    result = refreshed.run("full_refresh", last_year=2022)
    assert result.success, told(result)
    assert not checks(result)["harmonised/polaris", "missingness"].passed


def test_one_warning_is_looked_at_alone(refreshed: Graph) -> None:
    """A warning that comes only with seven others is not looked at again after a correction; Dagster refused to run one."""
    one = dg.AssetCheckKey(dg.AssetKey(["harmonised", "polaris"]), "codes")
    definitions = build_defs(resource_overrides={"home": DataHome(root=str(refreshed.zones.root))})
    job = definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection=set(), asset_check_selection={one})
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, run_config=QUIET)
    assert [*checks(result)] == [("harmonised/polaris", "codes")]


def test_the_first_state_has_nothing_to_be_compared_with(landed: Graph) -> None:
    """A check without a verdict would look like a check that does not run."""
    runs = [*landed.receive(), landed.run("full_refresh")]
    assert all(run.success for run in runs), "\n".join(map(told, runs))
    found: dict[tuple[str, str], dg.AssetCheckEvaluation] = {}
    for run in runs:
        found |= checks(run)
    for source in SOURCES:
        assert found[f"ingestion/{source}", "distributions"].passed
    for partner in PARTNERS:
        assert found[f"harmonised/{partner}", "coverage"].passed
    assert found["quality/possible_duplicates", "no_more_than_chance"].passed


@pytest.fixture(scope="module")
def everywhere() -> Callable[[Graph], list[Path]]:
    """All tables from harmonised on that hold a denied country in the column it is denied in, or a list of combinations."""

    def tables(graph: Graph) -> list[Path]:
        found: list[Path] = []
        for path in sorted(graph.zones.sensitive.rglob("*.parquet")):
            if path.relative_to(graph.zones.sensitive).parts[0] in ("ingestion", "deliveries"):
                continue
            for row in read_parquet(path).to_pylist():
                said = {**row, **{row[f"variable_{n}"]: row[f"value_{n}"] for n in range(1, 5) if row.get(f"variable_{n}")}}
                said |= {row["variable"]: row["value"]} if {"variable", "value"} <= row.keys() else {}
                if any(said.get(name) in codes for name, codes in DENIED.items()):
                    found.append(path)
                    break
        return found

    return tables


def test_countries_that_must_not_be_named_are_nowhere_after_ingestion(
    refreshed: Graph, everywhere: Callable[[Graph], list[Path]]
) -> None:
    """One table that was forgotten is enough to harm somebody."""
    assert everywhere(refreshed), "the sample has such countries, or this test proves nothing"
    result = refreshed.run("full_refresh", suppressed_countries=DENIED)
    assert result.success, told(result)
    assert everywhere(refreshed) == []

    result = refreshed.release(suppressed_countries=DENIED)
    assert result.success, told(result)
    (folder,) = refreshed.released()
    said = json.loads((folder / "manifest.json").read_text())["suppressed_values"]
    assert said["citizenship"] > 0
    assert all(values % 10 == 0 for values in said.values())
    exact = sum(row["values"] for row in read_parquet(refreshed.zones.table("harmonised", "suppressed")).to_pylist())
    assert exact - 20 < sum(said.values()) <= exact


@pytest.mark.parametrize(("job", "what"), [("release", "suppressed countries in"), ("check", "suppressed countries in")])
def test_a_longer_list_needs_another_refresh(refreshed: Graph, job: str, what: str) -> None:
    """A list that is only read when partners are harmonised would let yesterday's tables out."""
    settings: dict[str, Any] = {"suppressed_countries": DENIED}
    if job == "release":
        result = refreshed.release(**settings)
        assert not result.success
        assert refreshed.released() == []
        assert what in told(result)
        return
    from assets.harmonised.victims import no_suppressed_country

    checked = no_suppressed_country(DataHome(root=str(refreshed.zones.root)), Engine(**settings))
    assert isinstance(checked, dg.AssetCheckResult)
    assert not checked.passed
    assert what in (checked.description or "")


def test_a_misspelt_country_fails_the_run(refreshed: Graph) -> None:
    """A list with a typing error suppresses nothing."""
    result = refreshed.run("full_refresh", suppressed_countries={"citizenship": ["UK"]})
    assert not result.success
    assert "'UK'" in told(result)


def test_what_a_partner_corrects_is_accepted_and_accounted_for(refreshed: Graph) -> None:
    """Rows that were held back stay out for ever unless there is a way back that nobody has to invent."""
    zones = refreshed.zones

    def outcomes() -> dict[str, int]:
        rows = read_parquet(zones.table("harmonised", "accounting")).to_pylist()
        ours = [row for row in rows if row["source"] == "polaris"]
        return {what: sum(row["rows"] for row in ours if what in (row["outcome"], row["rule"])) for what in WAYS}

    before = outcomes()
    (done,) = export_quarantine("polaris", zones.outbox / "one", zones=zones)
    assert done.rows == before["quarantined"] > 0
    corrected = 0

    def correct(row: dict[str, str]) -> dict[str, str]:
        nonlocal corrected
        field, _, rule = row[TO_CORRECT].partition(": ")
        if rule not in ("unknown-code", "unknown-country", "not-a-whole-number", "age-out-of-range"):
            return row
        corrected += 1
        return {**row, field: ""}

    for path in done.folder.glob("polaris_cases*.csv"):
        rewrite_csv(done.folder, path.name, correct)
    assert corrected
    shutil.copytree(done.folder, zones.landing / "polaris" / "2021-12-01")
    received = refreshed.run("ingest_polaris", partition="2021-12-01")
    assert received.success, told(received)
    result = refreshed.run("full_refresh")
    assert result.success, told(result)
    assert checks(result)["harmonised/accounting", "every_row_accounted_for"].passed
    after = outcomes()
    assert sum(after[what] for what in WAYS[:3]) == sum(before[what] for what in WAYS[:3]) + done.rows
    assert after["quarantined"] < before["quarantined"]
    assert after["accepted"] > before["accepted"]
    assert after["superseded"] > before["superseded"]
