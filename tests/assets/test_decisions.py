"""Decisions from the pages: a launchpad asks for what a person must say and for nothing else; the jobs do what `ctdc` does."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._config import ConfigType, Shape

from ctdc_pipeline.definitions import build_defs
from ctdc_pipeline.errors import ContestedError
from ctdc_pipeline.ingestion.delivery_store import Store
from ctdc_pipeline.release.candidate import make_candidate
from ctdc_pipeline.storage.files import sha256
from ctdc_pipeline.storage.zones import Zones
from resources.settings import DataHome, Engine
from tests.support.deliveries import deliver, home
from tests.support.releases import LAST_YEAR, LENGTH, K, fill


def launch(zones: Zones, job: str, config: dict[str, Any]) -> dg.ExecuteInProcessResult:
    """Run a job with what a person typed into its launchpad."""
    overrides = {"home": DataHome(root=str(zones.root)), "engine": Engine(k=K)}
    with dg.DagsterInstance.ephemeral() as instance:
        definition = build_defs(resource_overrides=overrides).resolve_job_def(job)
        return definition.execute_in_process(instance=instance, run_config=config, raise_on_error=False)


def told(result: dg.ExecuteInProcessResult) -> str:
    """What the failed step says."""
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    return str(failure.user_failure_data.description if failure.user_failure_data else failure.error)


@pytest.mark.parametrize(
    ("job", "required", "optional"),
    [
        ("publish", {"candidate", "approver", "reason"}, {"acknowledged", "version"}),
        ("choose", {"source", "refresh", "delivery"}, set[str]()),
        ("withdraw", {"version", "reason"}, set[str]()),
    ],
)
def test_the_launchpad_asks_for_the_decision_alone(job: str, required: set[str], optional: set[str]) -> None:
    """Guards against a decision among resources and loggers that nobody understands, and against one that is left out."""
    schema = build_defs().resolve_job_def(job).run_config_schema.config_type
    assert isinstance(schema, Shape)
    fields = schema.fields
    assert {name for name, field in fields.items() if field.is_required} == required
    assert {name for name, field in fields.items() if not field.is_required} == optional
    assert all(field.description for field in fields.values()), "every field says what to write"
    assert all(isinstance(field.config_type, ConfigType) for field in fields.values())


@pytest.mark.parametrize("missing", ["candidate", "approver", "reason"])
def test_a_decision_that_lacks_a_part_is_not_launched(tmp_path: Path, missing: str) -> None:
    """Nothing runs, so nothing can be published by nobody or for no reason."""
    said = {"candidate": "0" * 64, "approver": "test", "reason": "test"}
    with pytest.raises(dg.DagsterInvalidConfigError, match=missing):
        launch(home(tmp_path), "publish", {name: text for name, text in said.items() if name != missing})


def test_a_delivery_is_chosen(tmp_path: Path) -> None:
    """As `ctdc deliveries choose` does, and a wrong number is refused with what to do."""
    zones = home(tmp_path)
    for case in ("C1", "C2"):
        shutil.rmtree(zones.landing, ignore_errors=True)
        with suppress(ContestedError):
            deliver(tmp_path, "polaris", {"Case_ID": case}, refresh="2020-H1")
    (variants,) = Store(zones.deliveries).variants("polaris").values()
    assert len(variants) == 2
    refused = launch(zones, "choose", {"source": "polaris", "refresh": "2020-H1", "delivery": "nothing"})
    assert not refused.success
    for one in variants:
        assert launch(zones, "choose", {"source": "polaris", "refresh": "2020-H1", "delivery": one.short}).success
        assert Store(zones.deliveries).require("polaris", "2020-H1").short == one.short


def test_a_release_is_published_and_withdrawn_from_the_pages(tmp_path: Path) -> None:
    """The whole life of a release without a terminal; a withdrawal without a reason, or of nothing, is refused."""
    zones = fill(home(tmp_path))
    made = make_candidate(zones, version="1", k=K, length=LENGTH, last_year=LAST_YEAR)
    digest = sha256(made.folder / "manifest.json")
    published = launch(zones, "publish", {"candidate": digest, "approver": "head of data", "reason": "yearly"})
    assert published.success, told(published)
    assert not launch(zones, "withdraw", {"version": "1", "reason": " "}).success
    assert "there is no release 2" in told(launch(zones, "withdraw", {"version": "2", "reason": "test"}))
    assert launch(zones, "withdraw", {"version": "1", "reason": "test"}).success
    assert [path.name for path in (zones.releases / "1").iterdir()] == ["WITHDRAWN.json"]
