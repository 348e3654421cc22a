"""The noisy counts of a differentially private release, and the gate that holds the privacy budget."""

import dagster as dg
from pydantic import Field

from assets.gates import gate, verdict
from assets.harmonised.victims import victims
from assets.reporting import Materialized, grid, guarded, table_result
from ctdc_pipeline.errors import CtdcError
from ctdc_pipeline.operations.memory_limit import bounded
from ctdc_pipeline.privacy.ledger import Account, Ledger
from ctdc_pipeline.privacy.measurements import read_measurements
from ctdc_pipeline.release.measuring import Purpose, measure_victims, require_charged
from resources.settings import DataHome, Engine

IN_CLEAR = "in clear: noisy counts, charged as if published"
DESCRIBED = {
    "count": "The noisy count, in units of 1/1024 record.",
    "kind": "What is counted: records, lengths, values or pairs.",
}


class MeasurementConfig(dg.Config):
    """What the person decides who spends privacy budget: all that the launchpad of `measure` asks for."""

    release: str = Field(description="The release that it is for, such as 2026.1. Measuring for the same one costs again.")
    epsilon: float = Field(description="What this draw may cost each person, such as 2. See docs/differential-privacy.md.")
    delta: float = Field(default=1e-6, description="The chance that even epsilon does not hold: far below 1 / victims.")
    approver: str = Field(description="Who decides. Kept in the ledger.")
    reason: str = Field(description="Why. Kept in the ledger.")
    mixing: str = Field(default="", description="Only after k-synthetic releases of the same persons: why that is accepted.")


@dg.asset(key=["measured", "measurements"], deps=[victims])
@guarded()
def measurements(config: MeasurementConfig, home: DataHome, engine: Engine) -> Materialized:
    """Counts of the victims with noise: of records, values and pairs of values. Each draw is charged to the privacy budget.

    Protected: may be told, and is published with the release it goes into. Materialised by the job `measure` only.
    """
    zones = home.zones()
    engine.require_series("dp")
    with bounded(engine.limits.memory):
        outside = measure_victims(zones, Purpose(**config.model_dump()), last_year=engine.last_year, suppressed=engine.suppressed)
    told = {"cells_outside": grid([{"column": name, "cells": cells} for name, cells in outside.items()])} if outside else {}
    figures = {**budget(Ledger.of(zones).account()), **told, "encryption": IN_CLEAR}
    path = zones.table("measured", "measurements")
    return table_result(path, key=measurements.key.path, described=DESCRIBED, **figures)


@dg.config_mapping
def spending(val: MeasurementConfig) -> dict[str, object]:
    """Let the launchpad of `measure` ask for the decision alone."""
    return {"ops": {"measured__measurements": {"config": val.model_dump()}}}


@gate(measurements)
def within_budget(home: DataHome) -> dg.AssetCheckResult:
    """All that was ever measured is within the limit of the privacy budget, and the stored measurements were charged."""
    zones = home.zones()
    try:
        account = require_charged(zones)
        read_measurements(zones.table("measured", "measurements"))
    except CtdcError as error:
        return verdict(False, str(error))
    return verdict(True, "", **budget(account))


def budget(account: Account) -> dict[str, dg.MetadataValue | float | str]:
    """What was spent and what is left, for the catalogue."""
    limit = account.limit or 0
    spent = "no finite epsilon" if account.epsilon is None else account.epsilon
    share = float(100 * account.remaining / limit) if limit else 0.0
    whole = {"epsilon_limit": account.epsilon_of(limit)} if limit else {}
    return {
        "epsilon_spent": spent,
        **whole,
        "percent_of_budget_left": share,
        "draws": len(account.charges),
        "ledger": account.head,
    }
