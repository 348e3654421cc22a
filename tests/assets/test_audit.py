"""The audit on the graph: asked for by a person, in the sensitive zone, sealed where there is a key, and no value in the log."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from ctdc_pipeline.audit.page import FIGURES, PAGE
from ctdc_pipeline.definitions import build_defs
from ctdc_pipeline.storage.encryption import KEY
from ctdc_pipeline.storage.files import read_bytes
from ctdc_pipeline.storage.zones import Zones
from resources.settings import DataHome, Engine
from tests.support.releases import K, fill

SMALL = {"ops": {"quality__attack_audit": {"config": {"targets": 60, "runs": 2, "repeats": 400}}}}


def test_the_audit_is_made_when_somebody_asks_for_it_alone() -> None:
    """Guards against minutes of attacks in every refresh, and against an audit made until it looks good."""
    defs = build_defs()
    key = dg.AssetKey(["quality", "attack_audit"])
    jobs = defs.get_repository_def().get_all_jobs()
    made_by = {job.name for job in jobs if key in job.asset_layer.executable_asset_keys and not job.name.startswith("__")}
    assert made_by == {"audit"}
    assert {spec.key: spec for spec in defs.resolve_all_asset_specs()}[key].automation_condition is None


def test_the_audit_of_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a page in clear beside encrypted records, one that others may read, and a gate that it does not pass."""
    monkeypatch.setenv(KEY, "5" * 64)
    zones = fill(Zones(tmp_path / "home").prepare())
    overrides = {"home": DataHome(root=str(zones.root)), "engine": Engine(k=K)}
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs(resource_overrides=overrides).resolve_job_def("audit")
        done = job.execute_in_process(instance=instance, run_config=SMALL)
    checks = {one.check_name: one.passed for one in done.get_asset_check_evaluations()}
    assert checks == {"schema": True, "promises_hold": True}
    folder = zones.folder("quality", "attack_audit")
    assert {path.name for path in folder.iterdir()} == {PAGE, FIGURES}
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0
        assert b"Never" not in path.read_bytes()
        assert b"Never" in read_bytes(path)
    assert not list(zones.tmp.iterdir())
