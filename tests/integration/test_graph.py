"""The whole graph, from landed exports to a release, on real files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.operations.backup import backup, restore
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.privacy.k_synthetic_proof import prove_k_synthetic
from ctdc_pipeline.storage.files import sha256
from ctdc_pipeline.storage.zones import Zones
from tests.integration.conftest import Graph, told


def tables(home: Path) -> dict[str, str]:
    return {str(path.relative_to(home)): sha256(path) for path in sorted(home.rglob("*.parquet"))}


def test_exports_become_a_verified_release(landed: Graph) -> None:
    """The main job: if this breaks, nothing else matters."""
    refresh = landed.refresh()
    assert refresh.success, told(refresh)
    assert landed.released() == [], "a refresh publishes nothing"
    release = landed.release()
    assert release.success, told(release)

    (folder,) = landed.released()
    manifest = json.loads((folder / "manifest.json").read_text())
    records = pd.read_csv(folder / "global_synthetic_dataset.csv", dtype=str)
    assert tuple(records.columns) == codebook().names
    assert len(records) == manifest["rows"]["global_synthetic_dataset"] > 0
    assert prove_k_synthetic(
        landed.zones.table("harmonised", "victims"),
        folder / "global_synthetic_dataset.csv",
        folder / "reportable_aggregates.csv",
        variables=codebook().names,
        k=10,
    ).holds


def test_every_row_that_came_in_is_accounted_for(refreshed: Graph) -> None:
    """A row that is lost in silence is a person who is not counted."""
    account = pq.read_table(refreshed.zones.table("harmonised", "accounting")).to_pandas()
    for (source, refresh), rows in account.groupby(["source", "refresh"])["rows"].sum().items():
        assert rows == pq.read_metadata(refreshed.zones.ingested(source) / refresh / f"{source}.parquet").num_rows
    accepted = account.loc[account["outcome"] == "accepted", "rows"].sum()
    assert accepted == pq.read_metadata(refreshed.zones.table("harmonised", "victims")).num_rows


def test_a_second_refresh_gives_the_same_bytes(refreshed: Graph) -> None:
    """Whoever audits a release must be able to make it again."""
    before = tables(refreshed.zones.sensitive)
    shutil.rmtree(refreshed.zones.sensitive / "ingestion")
    assert refreshed.refresh().success
    assert tables(refreshed.zones.sensitive) == before


def test_two_releases_stand_beside_each_other(refreshed: Graph) -> None:
    """A release that replaces the last one takes away what was cited."""
    assert refreshed.release().success
    (first,) = refreshed.released()
    before = {path.name: sha256(path) for path in first.iterdir()}
    assert refreshed.release().success

    assert len(refreshed.released()) == 2
    assert {path.name: sha256(path) for path in first.iterdir()} == before


def test_invented_people_stay_marked_in_whatever_is_made_of_them(refreshed: Graph, tmp_path: Path) -> None:
    """Guards against a mark that gets lost on the way through a backup, another refresh or a second release."""
    assert refreshed.release().success
    backup(refreshed.zones, tmp_path / "backup.tar")
    restored = Graph(Zones(tmp_path / "restored"))
    restore(restored.zones, tmp_path / "backup.tar")
    for source in SOURCES:
        for folder in refreshed.zones.ingested(source).iterdir():
            assert restored.run(f"ingest_{source}", partition=folder.name).success
    done = restored.run("full_refresh")
    assert done.success, told(done)
    assert restored.release().success
    assert restored.release().success

    for folder in restored.released():
        assert json.loads((folder / "manifest.json").read_text())["invented"] is True
        assert "INVENTED DATA" in (folder / "showcase.html").read_text()
    assert len(restored.released()) == 3, "the restored one, and two new"


@pytest.mark.parametrize("approver", ["", " "])
def test_a_release_needs_an_approver(refreshed: Graph, approver: str) -> None:
    """Publishing is a person's decision, and the run says whose."""
    result = refreshed.release(approver=approver)
    assert not result.success
    assert "the approver is missing" in told(result)
    assert refreshed.released() == []


def test_a_release_before_any_refresh_says_what_to_do(landed: Graph) -> None:
    """An operator's first mistake must not end in a traceback alone."""
    result = landed.release()
    assert not result.success
    assert "full refresh" in told(result)


def test_a_release_with_another_k_is_refused(refreshed: Graph) -> None:
    """The records were made for k = 10; publishing them as k = 20 would promise what does not hold."""
    result = refreshed.release(k=20)
    assert not result.success
    assert refreshed.released() == []


def test_the_proxies_of_the_graph_reach_the_rules(refreshed: Graph) -> None:
    """An order of proxies that is configured and then ignored would change no country, and nobody would notice."""
    result = refreshed.refresh(proxies={"iom_mimosa": ["NO_SUCH_FIELD"]})
    assert not result.success
    assert "NO_SUCH_FIELD" in told(result)


def test_the_statuses_that_the_graph_admits_reach_the_rules(refreshed: Graph) -> None:
    """A status that is set aside and then still leaves people out, or one that must not be, would go unnoticed."""
    result = refreshed.refresh(admits={"iom_mimosa": ["individual-without-consent"]})
    assert not result.success
    assert "no setting lets these rows in" in told(result)


@pytest.mark.parametrize("setting", [{"k": 1}, {"reporting_length": 0}])
def test_parameters_out_of_range_fail_the_run(refreshed: Graph, setting: dict[str, Any]) -> None:
    """k = 1 would publish single people."""
    result = refreshed.refresh(**setting)
    assert not result.success
    assert "Choose a" in told(result)


def test_only_the_owner_can_look_into_the_sensitive_zone(refreshed: Graph) -> None:
    """Other accounts of the machine have no business there."""
    for path in (refreshed.zones.sensitive, *refreshed.zones.sensitive.rglob("*")):
        if refreshed.zones.landing in path.parents:
            continue
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert not list(refreshed.zones.tmp.iterdir()), "nothing sensitive is left in the temp folder"
