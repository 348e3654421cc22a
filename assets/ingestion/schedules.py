"""The days on which partners are expected to send."""

import dagster as dg

from assets.ingestion.jobs import INGESTIONS
from assets.ingestion.sensors import requested
from assets.reporting import guarded
from ctdc_pipeline.partners.registry import SOURCES
from resources.settings import DataHome

CARRIED = "nothing landed; the last delivery is carried forward"


def expected(source: str, every: int) -> dg.ScheduleDefinition:
    """A look for a delivery of ``source`` each ``every`` months from January on; takes in what its checksums call complete."""

    @dg.schedule(
        name=f"expected_{source}",
        job=INGESTIONS[source],
        cron_schedule=f"0 6 5 {','.join(map(str, range(1, 13, every))) if every > 1 else '*'} *",
        description=f"When {SOURCES[source].title} is expected to have sent. Without a delivery the last one is carried forward.",
    )
    def due(context: dg.ScheduleEvaluationContext, home: DataHome) -> list[dg.RunRequest] | dg.SkipReason:
        with guarded():
            landing = home.landing()
            whole = [one for one in landing.landed() if one.source == source and landing.matches(one)]
            return requested(whole, home=home, instance=context.instance) or dg.SkipReason(CARRIED)

    return due


schedules = [expected(source.name, source.every) for source in SOURCES.values() if source.every]
