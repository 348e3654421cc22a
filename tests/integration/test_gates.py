"""Every gate, with a table that violates it: the check fails, says what to do, and stops what comes after."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.release.global_synthetic_dataset import withdrawals
from assets.reporting import PROOFS
from ctdc_pipeline.definitions import build_defs
from ctdc_pipeline.products import k_anonymous
from ctdc_pipeline.release.candidate import AGGREGATES, RECORDS
from ctdc_pipeline.release.publication import withdraw
from ctdc_pipeline.release.register import MANIFEST, file_hashes
from ctdc_pipeline.storage.files import sha256
from resources.settings import DataHome, Engine
from tests.integration.conftest import QUIET, SETTINGS, Graph, told
from tests.support.deliveries import REFRESH

Edit = Callable[[pd.DataFrame], pd.DataFrame]


def check(graph: Graph, asset: str, name: str) -> dg.AssetCheckEvaluation:
    """Evaluate one check over the tables as they are."""
    key = dg.AssetCheckKey(dg.AssetKey(asset.split("/")), name)
    overrides = {"home": DataHome(root=str(graph.zones.root)), "engine": Engine(**SETTINGS)}
    definitions = build_defs(resource_overrides=overrides)
    job = dg.define_asset_job("one_check", selection=dg.AssetSelection.checks(key))
    merged = dg.Definitions.merge(definitions, dg.Definitions(jobs=[job]))
    result = merged.resolve_job_def("one_check").execute_in_process(run_config=QUIET, raise_on_error=False)
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def with_value(column: str, value: Any) -> Edit:
    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[0, column] = value
        return frame

    return edit


def one_partner(_: pd.DataFrame) -> pd.DataFrame:
    """A pair of cases of one partner, which are not possible duplicates by the rule."""
    sides = {"partner_a": "iom", "case_key_a": "0" * 64, "partner_b": "iom", "case_key_b": "1" * 64}
    return pd.DataFrame([{**sides, "score": 40.0, "shared": 5}])


def no_variable(_: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame([{"partner": "iom", "source": "iom_mimosa", "refresh": REFRESH, "variable": None, "values": 3}])


def one_less(column: str) -> Edit:
    return lambda frame: frame.assign(**{column: frame[column] - 1})


def doubled(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame])


def short(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[1:]


INGESTED = f"ingestion/polaris/{REFRESH}/polaris"
VIOLATIONS: Mapping[str, tuple[str, str, Edit]] = {
    "export row twice": (INGESTED, "schema", doubled),
    "export row without a place": (INGESTED, "schema", with_value("_row", 0)),
    "export row lost": (INGESTED, "schema", short),
    "unlisted gender": ("harmonised/polaris", "schema", with_value("gender", "SENTINEL")),
    "pseudonym is a name": ("harmonised/iom", "schema", with_value("case_key", "SENTINEL")),
    "year out of range": ("harmonised/victims", "schema", with_value("yearOfRegistration", "1999")),
    "victim lost": ("harmonised/accounting", "every_row_accounted_for", one_less("rows")),
    "single count below one": ("counts/single_counts", "schema", with_value("count", 0)),
    "aggregate not rounded": ("counts/reportable_aggregates", "schema", one_less("count")),
    "aggregate below k": ("counts/reportable_aggregates", "schema", with_value("count", 0)),
    "rarity does not add up": ("counts/rarity_by_length", "schema", one_less("rare")),
    "unlisted synthetic value": ("synthetic/records", "schema", with_value("gender", "SENTINEL")),
    "rare synthetic record": ("synthetic/records", "no_rare_combination", with_value("citizenship", "SENTINEL")),
    "synthetic record lost": ("synthetic/records", "single_counts_exact", short),
    "coverage below k": ("quality/partner_coverage", "schema", with_value("victims", 1)),
    "share over a hundred": ("quality/missingness", "schema", with_value("missing", 101)),
    "leak hidden from the schema": ("quality/leakage_by_length", "nothing_leaked", with_value("rare_records", 1)),
    "negative leakage": ("quality/leakage_by_length", "schema", with_value("records", -1)),
    "more kept than there was": ("quality/preservation_by_length", "schema", with_value("preservation", 1.1)),
    "bucket of too long combinations": ("quality/preservation_by_count", "schema", with_value("length", 9)),
    "negative error": ("quality/error_by_length", "schema", with_value("relative_error", -0.1)),
    "duplicate of one partner": ("quality/possible_duplicates", "schema", one_partner),
    "suppressed values without a variable": ("harmonised/suppressed", "schema", no_variable),
    "negative suppression": ("quality/suppression", "schema", with_value("lost", -1.0)),
}


@pytest.mark.parametrize(("asset", "name", "edit"), VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_a_gate_sees_its_violation(refreshed: Graph, rewrite: Callable[..., None], asset: str, name: str, edit: Edit) -> None:
    """A gate that never fails guards nothing, and one that quotes the failing cell leaks it."""
    target = "/".join(asset.split("/")[:2])  # a gate of ingestion looks at every refresh
    assert check(refreshed, target, name).passed
    rewrite(*asset.split("/", 1), edit)
    result = check(refreshed, target, name)

    assert not result.passed
    assert result.description, "a failing gate says what to do"
    assert "SENTINEL" not in str(result)


def test_counts_that_do_not_add_up_are_seen(refreshed: Graph) -> None:
    """Counting that was cut short would make rare combinations look absent."""
    path = refreshed.zones.folder("counts", "combinations") / "length_2.parquet"
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    assert not check(refreshed, "counts/combinations", "counts_add_up").passed


class Forgetful(Engine):
    """Takes in rows that its own gates refuse: what a defect in the harmonisation would look like."""

    @property
    def last_day(self) -> date:
        """Years after the last year of the release."""
        return date(2021, 12, 31)


def test_a_failing_gate_stops_what_comes_after(landed: Graph) -> None:
    """The run of a refresh must end at the gate, not after the synthetic records were made from a wrong table."""
    landed.receive()
    result = landed.run("full_refresh", engine=Forgetful, last_year=2016)
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}

    assert not result.success
    assert "harmonised/polaris:schema" in told(result)
    assert "harmonised/polaris" in made
    assert not made & {"harmonised/victims", "counts/combinations", "synthetic/records"}


PROOF_VIOLATIONS: Mapping[str, tuple[str, str, Edit]] = {
    "k_at_any_length": ("synthetic", "records", with_value("citizenship", "AND")),
    "exact_counts": ("synthetic", "records", short),
    "aggregates": ("counts", "reportable_aggregates", lambda frame: frame.assign(count=frame["count"] + 10)),
}


@pytest.mark.parametrize(("name", "violation"), PROOF_VIOLATIONS.items(), ids=PROOF_VIOLATIONS.keys())
def test_a_proof_that_fails_shows_as_a_failing_check(
    refreshed: Graph, rewrite: Callable[..., None], name: str, violation: tuple[str, str, Edit]
) -> None:
    """A run that only fails leaves the checks of the candidate as green as they were the last time."""
    rewrite(*violation)
    result = refreshed.run("release_candidate")

    assert not result.success
    failing = {check.check_name: check for check in result.get_asset_check_evaluations() if not check.passed}
    assert name in failing
    assert "Nothing was published" in str(failing[name].description)
    assert not result.asset_materializations_for_node("release__candidate")
    assert not list(refreshed.zones.candidates.glob("*"))


def test_a_candidate_with_another_file_shows_as_not_whole(refreshed: Graph) -> None:
    """What a person approved is not what would be published."""
    made = refreshed.run("release_candidate")
    (candidate,) = made.asset_materializations_for_node("release__candidate")
    folder = next(refreshed.zones.candidates.iterdir())
    with (folder / "codebook.html").open("a") as file:
        file.write("<!-- changed -->")
    result = refreshed.publish(str(candidate.metadata["hash"].value))

    assert not result.success
    assert {check.check_name for check in result.get_asset_check_evaluations() if not check.passed} == {"whole_files"}
    assert refreshed.released() == []


def test_a_withdrawal_shows_until_the_next_publication(refreshed: Graph) -> None:
    """A withdrawn release that looks like any other is used; a warning that never ends is overlooked."""
    assert refreshed.release().success
    (first,) = refreshed.released()
    key = dg.AssetKey(["release", "global_synthetic_dataset"])
    assert check(refreshed, key.to_user_string(), "not_withdrawn").passed
    withdraw(refreshed.zones, first.name, reason="a test")

    seen = observe_withdrawals(refreshed)
    assert isinstance(seen, dg.SensorResult)
    observation, evaluation = seen.asset_events
    assert isinstance(observation, dg.AssetObservation)
    assert (observation.metadata["withdrawn"].value, observation.metadata["reason"].value) == (first.name, "a test")
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    assert not evaluation.passed
    assert isinstance(observe_withdrawals(refreshed, cursor=seen.cursor), dg.SkipReason), "once is enough"
    shown = check(refreshed, key.to_user_string(), "not_withdrawn")
    assert not shown.passed
    assert first.name in str(shown.description)

    time.sleep(1.1)  # both times are told to the second
    assert refreshed.release().success
    shown = check(refreshed, key.to_user_string(), "not_withdrawn")
    assert shown.passed
    assert shown.metadata["withdrawn"].value == 1


def observe_withdrawals(graph: Graph, *, cursor: str | None = None) -> Any:
    """What one tick of the sensor tells."""
    home = DataHome(root=str(graph.zones.root))
    with dg.build_sensor_context(cursor=cursor, resources={"home": home}) as context:
        return withdrawals(context)


def failing_of(result: dg.ExecuteInProcessResult) -> set[str]:
    """The checks that a run saw fail."""
    return {check.check_name for check in result.get_asset_check_evaluations() if not check.passed}


def test_another_resolution_over_the_same_people_shows_as_a_failing_differencing(refreshed: Graph) -> None:
    """Guards against two releases that are harmless alone and say together who is in a small group."""
    assert refreshed.release().success
    assert refreshed.run("full_refresh", k=11).success
    result = refreshed.run("release_candidate", k=11)

    assert not result.success
    assert failing_of(result) == {"differencing"}
    assert not list(refreshed.zones.candidates.glob("*"))


def test_a_group_that_is_too_small_shows_as_failing_anonymity(refreshed: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a defect of the k-anonymisation: records of real people that fewer than k share."""
    honest = k_anonymous.anonymised
    monkeypatch.setattr(k_anonymous, "anonymised", lambda victims, *, k: honest(victims, k=k).slice(1))
    result = refreshed.run("release_candidate")

    assert not result.success
    assert failing_of(result) == {"anonymity"}
    assert not list(refreshed.zones.candidates.glob("*"))


def in_every_form(edit: Edit) -> Callable[[Path], None]:
    """Change the records of a candidate in each of the formats that are proved to be the same."""

    def change(folder: Path) -> None:
        frame = edit(pd.read_csv(folder / f"{RECORDS}.csv", dtype=str, keep_default_na=False, na_values=""))
        frame.to_csv(folder / f"{RECORDS}.csv", index=False)
        frame.to_csv(folder / f"{RECORDS}.tsv", index=False, sep="\t")
        schema = pq.read_schema(folder / f"{RECORDS}.parquet")
        pq.write_table(pa.Table.from_pandas(frame, schema, preserve_index=False), folder / f"{RECORDS}.parquet")

    return change


def in_csv(name: str, edit: Edit) -> Callable[[Path], None]:
    """Change one table of a candidate."""

    def change(folder: Path) -> None:
        path = folder / f"{name}.csv"
        edit(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)

    return change


def with_a_small_count(folder: Path) -> None:
    """Add a table that tells a group of three."""
    (folder / "extra.csv").write_text("gender,variable,value,count\nWoman,citizenship,UKR,3\n")


ALTERATIONS: Mapping[str, Callable[[Path], None]] = {
    "k_at_any_length": in_every_form(with_value("citizenship", "AND")),
    "exact_counts": in_every_form(short),
    "aggregates": in_csv(AGGREGATES, with_value("count", "990")),
    "anonymity": in_csv(k_anonymous.NAME, short),
    "differencing": with_a_small_count,
    "whole_files": in_csv(RECORDS, short),
}


def test_every_proof_is_violated() -> None:
    """Guards against a proof of a release that nothing here is seen to fail."""
    assert ALTERATIONS.keys() == PROOFS.keys()


@pytest.mark.parametrize(("name", "alter"), ALTERATIONS.items(), ids=ALTERATIONS.keys())
def test_an_altered_candidate_shows_the_proof_that_fails(refreshed: Graph, name: str, alter: Callable[[Path], None]) -> None:
    """Guards against a release that is published because somebody approved the hash of a manifest made to fit other files."""
    assert refreshed.run("release_candidate").success
    (folder,) = refreshed.zones.candidates.iterdir()
    alter(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"files": file_hashes(folder)}))
    result = refreshed.publish(sha256(folder / MANIFEST))

    assert not result.success
    assert name in failing_of(result)
    assert refreshed.released() == []
