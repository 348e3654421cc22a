"""When a partner is overdue."""

from datetime import timedelta

import dagster as dg

from ctdc_pipeline.partners.layout import Source

MONTH = timedelta(days=31)
GRACE = timedelta(days=31)
"""How long after the day on which a delivery is due the warning becomes a failure."""


def overdue(source: Source) -> dg.FreshnessPolicy | None:
    """When a partner is late: a warning once a delivery is due, a failure a month later. Not for who stopped or has no day.

    Dagster looks at the last materialisation, so reading an old refresh again counts as news too.
    """
    if source.every is None or source.stopped:
        return None
    return dg.FreshnessPolicy.time_window(warn_window=source.every * MONTH, fail_window=source.every * MONTH + GRACE)
