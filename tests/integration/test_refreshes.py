"""Deliveries over time, through the graph on a real instance: sensor, partitions, backfill, automation and the release's word."""

import csv
import json
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import assets.ingestion.sensors
from assets.ingestion.schedules import CARRIED
from assets.ingestion.sensors import landed_deliveries, quiet_minutes
from ctdc_pipeline.definitions import build_defs
from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.release.open_warnings import open_warnings
from ctdc_pipeline.storage.files import parquet_rows, read_parquet, sha256
from resources.settings import DataHome, Engine
from tests.integration.conftest import QUIET, SETTINGS, Graph, told
from tests.support.deliveries import REFRESH

NEXT = "2022-H1"


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Generator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def definitions(graph: Graph) -> dg.Definitions:
    return build_defs(resource_overrides={"home": DataHome(root=str(graph.zones.root)), "engine": Engine(**SETTINGS)})


def tick(graph: Graph, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    """One tick of the sensor; what it asks for and the cursor it leaves."""
    resources = {"home": DataHome(root=str(graph.zones.root))}
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources) as context:
        result = landed_deliveries(context)
        requests = result.run_requests if isinstance(result, dg.SensorResult) else []
        reason = result.skip_message if isinstance(result, dg.SkipReason) else None
        return dg.SensorResult(run_requests=requests, skip_reason=reason, cursor=context.cursor)


def ingest(graph: Graph, instance: dg.DagsterInstance, requests: Any) -> None:
    """Do what a tick asks for."""
    for request in requests:
        job = definitions(graph).resolve_job_def(request.job_name)
        result = job.execute_in_process(
            instance=instance, partition_key=request.partition_key, run_config=QUIET, raise_on_error=False
        )
        assert result.success, told(result)


def checksums(folder: Path) -> None:
    lines = [f"{sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(lines))


def file(folder: Path, table: str = "polaris") -> Path:
    (found,) = folder.glob(SOURCES["polaris"].layouts[table].file_pattern)
    return found


def corrected(graph: Graph) -> Path:
    """An increment of Polaris: its first case again with another gender, its second case opted out, and nothing else."""
    folder = graph.land_again("polaris", refresh=NEXT)
    cases, opt_outs = file(folder), file(folder, "polaris_opt_outs")
    with cases.open(encoding="utf-8-sig", newline="") as opened:
        rows = list(csv.reader(opened))
    names = rows[0]
    accepted = read_parquet(graph.zones.table("harmonised", "polaris")).to_pandas()
    first, second = (rows[number] for number in accepted["source_row"].to_list()[:2])
    first[names.index("Victim_Gender")] = "Gender Minority"
    with cases.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([names, first])
    with opt_outs.open(encoding="utf-8-sig", newline="") as opened:
        heading = next(csv.reader(opened))
    entry = dict(zip(names, second, strict=True))
    with opt_outs.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([heading, [entry[name] if name in ("Case_ID", "Victim_ID") else "" for name in heading]])
    return folder


def test_an_increment_corrects_and_withdraws(refreshed: Graph) -> None:
    """The point of keeping deliveries: what a partner sends later holds for what it sent before."""
    before = read_parquet(refreshed.zones.table("harmonised", "polaris")).to_pandas()
    first, second = before["case_key"].to_list()[:2]
    corrected(refreshed)
    result = refreshed.refresh()

    assert result.success, told(result)
    after = read_parquet(refreshed.zones.table("harmonised", "polaris")).to_pandas().set_index("case_key")
    assert after.loc[first, ["refresh", "gender"]].to_list() == [NEXT, "Transgender/NonConforming"]
    assert second not in after.index
    assert len(after) == len(before) - 1
    left_out = read_parquet(refreshed.zones.table("harmonised", "polaris_exclusions")).to_pandas()
    assert (left_out["rule"] == "superseded").sum() == 1


def test_the_release_says_what_is_new(refreshed: Graph) -> None:
    """A reader must be able to tell a partner who sent nothing from one whose figures did not change."""
    assert refreshed.release().success
    corrected(refreshed)
    made = refreshed.refresh()
    assert made.success
    (candidate,) = refreshed.run("release_candidate").asset_materializations_for_node("release__candidate")
    assert f"| polaris | polaris | new | {REFRESH} | {NEXT} |" in str(candidate.metadata["changes"].value)
    assert refreshed.publish(str(candidate.metadata["hash"].value)).success
    one, two = (json.loads((folder / "manifest.json").read_text()) for folder in refreshed.released())
    assert {source: said["state"] for source, said in one["deliveries"].items() if said["state"] != "missing"} == dict.fromkeys(
        (source for source, said in one["deliveries"].items() if said["latest_refresh"]), "new"
    )
    assert two["previous"] == one["version"]
    states = {source: (said["state"], said["latest_refresh"]) for source, said in two["deliveries"].items()}
    assert states["polaris"] == ("new", NEXT)
    assert states["iom_mimosa"][0] == "carried forward"
    assert two["deliveries"]["liberty_shared"]["stopped"] == "2024-01-01"
    assert set(two["deliveries"]["polaris"]["content"]) == {REFRESH, NEXT}
    shown = {
        event.asset_key.path[1]: event.metadata for event in made.asset_materializations_for_node("united") if event.asset_key
    }
    rows = [record.data for record in shown["deliveries"]["deliveries"].value.records]  # type: ignore[union-attr]
    assert {row["released"] for row in rows if row["refresh"] != NEXT} == {one["version"]}
    assert {row["released"] for row in rows if row["refresh"] == NEXT} == {"not yet"}
    counted = [record.data for record in shown["accounting"]["counts"].value.records]  # type: ignore[union-attr]
    assert sum(row["rows"] for row in counted) == shown["accounting"]["rows_in"].value


def test_the_sensor_takes_in_what_its_checksums_call_complete(refreshed: Graph, instance: dg.DagsterInstance) -> None:
    """Half a file is never taken in, and the same bytes never run twice: not for another tick, nor a lost cursor."""
    checksums(corrected(refreshed))
    first = tick(refreshed, instance)
    (request,) = first.run_requests or []
    assert (request.job_name, request.partition_key) == ("ingest_polaris", NEXT)
    assert instance.get_dynamic_partitions("polaris_refreshes") == [REFRESH, NEXT]
    assert not tick(refreshed, instance, first.cursor).run_requests
    (again,) = tick(refreshed, instance).run_requests or []
    assert again.run_key == request.run_key, "two who look at once ask for the same run"
    ingest(refreshed, instance, [request])
    assert not tick(refreshed, instance).run_requests, "it is in the store"


def test_the_sensor_waits_until_a_folder_is_quiet(
    refreshed: Graph, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without checksums only time tells that an upload has ended; our own, in looks that agree."""
    now = time.time()
    folder = corrected(refreshed)
    cursor, asked = None, []
    for minutes in (0, 10, 20, 30, 40):
        monkeypatch.setattr(assets.ingestion.sensors.time, "time", lambda minutes=minutes: now + 60 * minutes)
        if minutes == 10:
            (folder / "polaris_cases_2.csv").write_bytes(file(folder).read_bytes())
        done = tick(refreshed, instance, cursor)
        cursor = done.cursor
        asked.append([request.partition_key for request in done.run_requests or []])
    assert asked == [[], [], [], [NEXT], []]


def test_what_is_no_delivery_is_told_and_holds_nothing_up(refreshed: Graph, instance: dg.DagsterInstance) -> None:
    """A slip in a folder's name must neither be swallowed nor stop the other partners."""
    folder = corrected(refreshed)
    (refreshed.zones.landing / "polaris" / "H1-2021").mkdir()
    (refreshed.zones.landing / "nobody" / "2021").mkdir(parents=True)
    (refreshed.zones.landing / "polaris" / "late.csv").touch()
    said = tick(refreshed, instance).skip_reason
    assert said is not None
    assert "refresh label is not understood" in str(said)
    assert "no known source" in str(said)
    assert "1 files in polaris are in no folder of a refresh" in str(said)
    checksums(folder)
    assert len(tick(refreshed, instance).run_requests or []) == 1


def test_a_restored_store_is_known_again(refreshed: Graph, instance: dg.DagsterInstance) -> None:
    """After a restore without Dagster's history no stored refresh could be read again, for want of its partition."""
    landed = {path.parent.name: [path.name] for path in refreshed.zones.landing.glob("*/*")}
    assert set(landed) == set(SOURCES)
    tick(refreshed, instance)
    assert {name: instance.get_dynamic_partitions(f"{name}_refreshes") for name in SOURCES} == landed


def test_a_quiet_time_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sensor that fails at every tick without saying which setting is wrong."""
    monkeypatch.setenv("CTDC_QUIET_MINUTES", "soon")
    with pytest.raises(ParameterError, match="CTDC_QUIET_MINUTES"):
        quiet_minutes()


def test_a_schedule_carries_the_last_delivery_forward(refreshed: Graph, tmp_path: Path) -> None:
    """A partner who sends nothing must not stop the others, and the tick says what happens instead."""
    repository = definitions(refreshed).get_repository_def()
    schedule = repository.get_schedule_def("expected_polaris")
    resources = {"home": DataHome(root=str(refreshed.zones.root))}
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        with dg.build_schedule_context(instance=instance, resources=resources, repository_def=repository) as context:
            assert schedule.evaluate_tick(context).skip_message == CARRIED
        checksums(corrected(refreshed))
        with dg.build_schedule_context(instance=instance, resources=resources, repository_def=repository) as context:
            (request,) = schedule.evaluate_tick(context).run_requests or []
        assert request.partition_key == NEXT


def test_who_is_expected_to_send_can_be_overdue() -> None:
    """A partner who is late and looks as well as the others; or one who stopped, and is red for ever."""
    found = {spec.key.path[1]: spec.freshness_policy for spec in build_defs().resolve_all_asset_specs() if spec.freshness_policy}
    expected = {"iom_mimosa": (31, 62), "polaris": (186, 217)}
    assert found == {
        name: dg.FreshnessPolicy.time_window(warn_window=timedelta(days=warn), fail_window=timedelta(days=fail))
        for name, (warn, fail) in expected.items()
    }


def test_an_old_refresh_is_backfilled_to_the_same_bytes(refreshed: Graph) -> None:
    """Whoever audits a release must be able to make it again, also when the landing folder is long empty."""
    corrected(refreshed)
    assert refreshed.refresh().success
    before = {path: sha256(path) for path in sorted(refreshed.zones.sensitive.rglob("*.parquet"))}
    shutil.rmtree(refreshed.zones.landing)
    result = refreshed.run("ingest_polaris", partition=REFRESH)
    assert result.success, told(result)
    assert refreshed.run("full_refresh").success
    assert {path: sha256(path) for path in before} == before


def test_a_contested_refresh_stops_at_the_harmonisation_until_somebody_chooses(refreshed: Graph) -> None:
    """Which of two deliveries counts is nobody's but a person's decision; until then nothing changes."""
    victims = sha256(refreshed.zones.table("harmonised", "victims"))
    cases = file(refreshed.zones.landing / "polaris" / REFRESH)
    cases.write_bytes(b"".join(cases.read_bytes().splitlines(keepends=True)[:-1]))
    result = refreshed.run("ingest_polaris", partition=REFRESH)
    assert "ctdc deliveries choose polaris" in told(result)
    assert "delivered more than once" in told(refreshed.run("full_refresh"))
    assert sha256(refreshed.zones.table("harmonised", "victims")) == victims
    store = DataHome(root=str(refreshed.zones.root)).store()
    shorter = min(store.deliveries("polaris"), key=lambda one: sum(file.size for file in one.files))
    store.choose("polaris", REFRESH, shorter.short)
    assert "is not the one that was ingested" in told(refreshed.run("full_refresh"))
    assert refreshed.run("ingest_polaris", partition=REFRESH).success
    assert refreshed.run("full_refresh").success


def test_automation_makes_derived_tables_and_never_releases(landed: Graph, instance: dg.DagsterInstance) -> None:
    """Derived tables follow deliveries by themselves; a failed gate stops that, and publishing stays a person's decision."""
    defs = definitions(landed)
    start = dg.evaluate_automation_conditions(defs=defs, instance=instance)
    assert start.total_requested == 0
    ingest(landed, instance, requests(register(landed, instance)))
    first = dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=start.cursor)
    asked = {key.to_user_string() for key in defs.resolve_all_asset_keys() if first.get_num_requested(key)}
    assert {"harmonised/polaris", "harmonised/victims", "synthetic/records"} <= asked
    assert not {key for key in asked if key.startswith(("release/", "ingestion/"))}
    quiet = dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=first.cursor)
    assert quiet.total_requested == 0

    landed.zones.ingested("polaris").joinpath(REFRESH, "files.parquet").unlink()
    job = defs.resolve_job_def("ingest_iom_legacy")
    assert job.execute_in_process(instance=instance, partition_key=REFRESH, run_config=QUIET).success
    check = dg.Definitions.merge(
        defs,
        dg.Definitions(
            jobs=[
                dg.define_asset_job(
                    "gate", selection=dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(["ingestion", "polaris"]), "schema"))
                )
            ]
        ),
    )
    check.resolve_job_def("gate").execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False)
    second = dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=quiet.cursor)
    assert second.get_num_requested(dg.AssetKey(["harmonised", "iom"])) == 1
    assert second.get_num_requested(dg.AssetKey(["harmonised", "polaris"])) == 0


def automation(defs: dg.Definitions, instance: dg.DagsterInstance) -> Callable[[], set[str]]:
    """A call that says which assets automation asks for since the call before."""
    cursor = dg.evaluate_automation_conditions(defs=defs, instance=instance).cursor

    def asked() -> set[str]:
        nonlocal cursor
        result = dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=cursor)
        cursor = result.cursor
        return {key.to_user_string() for key in defs.resolve_all_asset_keys() if result.get_num_requested(key)}

    return asked


def test_automation_waits_for_every_partner_and_for_what_is_queued(landed: Graph, instance: dg.DagsterInstance) -> None:
    """Partners arrive one by one: a union without the others fails and alerts, and one for each does the work six times."""
    defs, refreshes = definitions(landed), register(landed, instance)
    first, second, *_ = refreshes
    arrived = requests({first: refreshes[first]})
    asked = automation(defs, instance)

    ingest(landed, instance, arrived)
    assert asked() == {f"harmonised/{first}"}
    made = defs.resolve_job_def("full_refresh").execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False)
    assert made.success, told(made)
    asked()

    queued = instance.create_run_for_job(
        defs.resolve_job_def(f"ingest_{second}"),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": refreshes[second]},
        asset_selection=frozenset({dg.AssetKey(["ingestion", second])}),
    )
    ingest(landed, instance, arrived)
    assert asked() == {f"harmonised/{first}"}
    instance.delete_run(queued.run_id)
    assert {"harmonised/victims", "synthetic/records"} <= asked()


def test_after_a_failure_the_rest_is_made_in_one_run(
    landed: Graph, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checks that the failed run left without a verdict held back all that follows them: one more run for each table."""
    defs, refreshes = definitions(landed), register(landed, instance)
    asked = automation(defs, instance)

    def refreshed() -> bool:
        job = defs.resolve_job_def("full_refresh")
        return job.execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False).success

    ingest(landed, instance, requests(refreshes))
    asked()
    monkeypatch.setenv("CTDC_SEED", "not a seed")
    behind = set[str]()
    for _ in range(2):  # the first that automation asked for, and one that a person started
        assert not refreshed()
        behind = asked()
    assert {"synthetic/records", "quality/leakage_by_length", "quality/suppression"} <= behind
    monkeypatch.delenv("CTDC_SEED")
    assert refreshed()
    assert not asked()


def register(graph: Graph, instance: dg.DagsterInstance) -> dict[str, str]:
    """Make the landed refreshes partitions; by source."""
    refreshes = {folder.parent.name: folder.name for folder in sorted(graph.zones.landing.glob("*/*"))}
    for source, refresh in refreshes.items():
        instance.add_dynamic_partitions(f"{source}_refreshes", [refresh])
    return refreshes


def requests(refreshes: Mapping[str, str]) -> list[dg.RunRequest]:
    """What takes in each refresh of a source."""
    return [dg.RunRequest(job_name=f"ingest_{source}", partition_key=refresh) for source, refresh in refreshes.items()]


def halve(graph: Graph, source: str, *, refresh: str, share: int = 3) -> None:
    """Land a snapshot that holds one in ``share`` of the cases of the last delivery."""
    folder = graph.land_again(source, refresh=refresh)
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    (folder / "delivery.toml").write_text('kind = "snapshot"\n')
    cases = file(folder)
    with cases.open(newline="") as opened:
        lines = [*csv.reader(opened)]
    with cases.open("w", newline="") as opened:
        csv.writer(opened).writerows([lines[0], *lines[1::share]])


def test_a_snapshot_that_loses_more_than_half_waits_for_a_person(refreshed: Graph) -> None:
    """Guards against a broken export that takes most of a partner out of the data while everything is green."""
    zones, table = refreshed.zones, refreshed.zones.table("harmonised", "polaris")
    before = parquet_rows(table)
    halve(refreshed, "polaris", refresh="2022-H1")
    result = refreshed.run("ingest_polaris", partition="2022-H1")
    assert result.success, told(result)
    result = refreshed.run("full_refresh")
    assert result.success, told(result)
    assert "does not count" in told(result)
    assert parquet_rows(table) == before
    assert "harmonised/polaris:all_deliveries_count" in [one.name for one in open_warnings(zones, k=10)]
    refused = refreshed.run("release_candidate")
    (candidate,) = refused.asset_materializations_for_node("release__candidate")
    result = refreshed.publish(str(candidate.metadata["hash"].value), acknowledged=[])
    assert not result.success
    assert "nobody acknowledged" in told(result)
    assert refreshed.released() == []
    store = DataHome(root=str(zones.root)).store()
    store.choose("polaris", "2022-H1", store.require("polaris", "2022-H1").short)
    result = refreshed.run("full_refresh")
    assert result.success, told(result)
    assert parquet_rows(table) < before / 2
