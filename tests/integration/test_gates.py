"""Every gate, with a table that violates it: the check fails, says what to do, and stops what comes after."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from ctdc_pipeline.definitions import build_defs
from resources.settings import DataHome, Engine
from tests.deliveries import REFRESH
from tests.integration.conftest import QUIET, SETTINGS, Graph, told

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
