"""One step of the graph in a process of its own, over the home in CTDC_HOME; benchmarks/run.py measures it.

usage: python benchmarks/graph.py prepare VICTIMS REFRESHES | load | rebuild | increment | derive | candidate

``prepare`` lands sample deliveries, all but the last of Polaris, which ``increment`` lands, takes in and follows as far as the
table of all victims. ``rebuild`` takes in what has landed and makes every table; ``derive`` makes them from what was taken in.
``candidate`` makes all products of a release from the tables, and proves them.
"""

from __future__ import annotations

import os
import shutil
import sys

import dagster as dg

from assets.harmonised.partners import CASES
from assets.harmonised.victims import united
from assets.ingestion.sensors import requested
from ctdc_pipeline.definitions import build_defs
from ctdc_pipeline.samples.generate import generate
from ctdc_pipeline.storage import secrets
from ctdc_pipeline.storage.zones import Zones
from resources.instance import configure
from resources.settings import DataHome

PARTNER = "polaris"


def prepare(zones: Zones, *, victims: int, refreshes: int) -> None:
    """Land everything but the last delivery of PARTNER, which waits beside."""
    generate(zones.landing, victims=victims, seed=1, refreshes=refreshes)
    secrets.generate(zones)
    last = max((zones.landing / PARTNER).iterdir())
    shutil.move(last, zones.root / "held_back" / last.name)


def take_in(instance: dg.DagsterInstance) -> None:
    """Ingest what has landed and is new."""
    home = DataHome()
    for request in requested(home.landing().landed(), home=home, instance=instance):
        execute(instance, str(request.job_name), partition=request.partition_key)


def execute(
    instance: dg.DagsterInstance, job: str, *, partition: str | None = None, only: list[dg.AssetKey] | None = None
) -> None:
    """Run a job in this process, or ``only`` these assets of it."""
    build_defs().resolve_job_def(job).execute_in_process(instance=instance, partition_key=partition, asset_selection=only)


def main(step: str, *arguments: str) -> None:
    """Do one step."""
    if step == "load":
        build_defs().resolve_job_def("full_refresh")
        return
    zones = Zones.from_environment().prepare()
    os.environ["DAGSTER_HOME"] = str(configure(zones))
    if step == "prepare":
        prepare(zones, victims=int(arguments[0]), refreshes=int(arguments[1]))
        return
    with dg.DagsterInstance.get() as instance:
        if step == "rebuild":
            take_in(instance)
        if step == "candidate":
            execute(instance, "release_candidate")
        elif step == "increment":
            (last,) = (zones.root / "held_back").iterdir()
            shutil.copytree(last, zones.landing / PARTNER / last.name)
            take_in(instance)
            execute(instance, "full_refresh", only=[*CASES[PARTNER].keys, *united.keys])
        else:
            execute(instance, "full_refresh")


if __name__ == "__main__":
    main(*sys.argv[1:])
