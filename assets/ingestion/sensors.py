"""The sensor that sees deliveries land and takes in those that are complete."""

import json
import os
import time
from collections.abc import Iterable

import dagster as dg

from assets.ingestion.exports import REFRESHES
from assets.ingestion.jobs import INGESTIONS
from assets.reporting import guarded
from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.ingestion.completeness import Observations
from ctdc_pipeline.ingestion.delivery_store import Store
from ctdc_pipeline.ingestion.intake import arrivals, misplaced
from ctdc_pipeline.ingestion.landed import Landed
from ctdc_pipeline.partners.registry import SOURCES
from resources.settings import DataHome

QUIET_MINUTES = "CTDC_QUIET_MINUTES"


def requested(landed: Iterable[Landed], *, home: DataHome, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """A run for each new delivery of ``landed``, whose refresh becomes a partition; the key keeps it from running twice."""
    requests: list[dg.RunRequest] = []
    for one in arrivals(landed, landing=home.landing(), store=home.store(), sources=SOURCES):
        instance.add_dynamic_partitions(REFRESHES[one.source].name or "", [one.refresh])
        tags = {"ctdc/content": one.content[:12]}
        requests.append(dg.RunRequest(one.key, job_name=f"ingest_{one.source}", partition_key=one.refresh, tags=tags))
    return requests


def recognise(store: Store, instance: dg.DagsterInstance) -> None:
    """Make a partition of every stored refresh that Dagster does not know, as after restoring without its history."""
    for source in store.sources():
        if source in REFRESHES:
            kept = {str(delivery.refresh) for delivery in store.deliveries(source)}
            name = REFRESHES[source].name or ""
            if unknown := sorted(kept - {*instance.get_dynamic_partitions(name)}):
                instance.add_dynamic_partitions(name, unknown)


def quiet_minutes() -> float:
    """After how many minutes without a change a folder without checksums is complete. Raises ParameterError."""
    try:
        return float(os.environ.get(QUIET_MINUTES) or 15)
    except ValueError:
        raise ParameterError(f"{QUIET_MINUTES} is not a number", remedy="Set it to minutes, such as 15.") from None


@dg.sensor(
    jobs=list(INGESTIONS.values()),
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Takes in each delivery once it is complete: as its checksums say, or unchanged for CTDC_QUIET_MINUTES (15).",
)
def landed_deliveries(context: dg.SensorEvaluationContext, home: DataHome) -> dg.SensorResult | dg.SkipReason:
    """Look at the landing root. The cursor keeps what was seen, and which state of which folder has been dealt with."""
    with guarded():
        recognise(home.store(), context.instance)
        landing, kept = home.landing(), json.loads(context.cursor or "{}")
        landed, dealt = landing.landed(), kept.get("dealt", {})
        seen = Observations.parse(kept.get("seen")).look(
            landed, now=time.time(), quiet_minutes=quiet_minutes(), matches=landing.matches
        )
        new = [one for one in landed if seen.complete(one) and dealt.get(one.key) != one.fingerprint]
        requests = requested(new, home=home, instance=context.instance)
        dealt = {one.key: one.fingerprint for one in landed if one in new or dealt.get(one.key) == one.fingerprint}
        wrong = misplaced(landed, sources=SOURCES)
        for problem in wrong:
            context.log.warning(problem)
        waiting = [one.key for one in landed if one.refresh and not seen.complete(one)]
        context.update_cursor(json.dumps({"seen": seen.dump(), "dealt": dealt}))
        if not requests:
            told = [*(f"{len(waiting)} not complete yet" for _ in waiting[:1]), *wrong]
            return dg.SkipReason("; ".join(told) or "nothing new landed")
        return dg.SensorResult(run_requests=requests)
