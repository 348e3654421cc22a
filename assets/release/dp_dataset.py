"""The differentially private release in the public zone."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg

from assets.release.dp_candidate import dp_candidate
from assets.release.global_synthetic_dataset import PublicationConfig
from assets.reporting import PRIVATE_PROOFS, guarded, proof_specs, proved, release_result
from ctdc_pipeline.release import publication
from ctdc_pipeline.storage import approval
from resources.settings import DataHome, Engine


@dg.asset(
    key=["release", "dp_dataset"],
    kinds={"csv", "parquet"},
    check_specs=proof_specs(["release", "dp_dataset"], PRIVATE_PROOFS),
    deps=[dp_candidate],
)
def dp_dataset(config: PublicationConfig, home: DataHome, engine: Engine) -> Iterator[Any]:
    """The Global Synthetic Dataset of the series `dp`, with its measurements: the candidate that was approved.

    Public. Materialised by the job `dp_publish` only.
    """
    with guarded():
        engine.require_series("dp")
        decision = {"approver": config.approver, "candidate": config.candidate, "reason": config.reason}
        given = {**decision, "version": config.version or "", "acknowledged": config.acknowledged}
        publish = partial(publication.publish, home.zones(), **given, k=engine.k, suppressed=engine.suppressed)
        yield from proved(publish, lambda done: release_result(done, **decision, approval=approval.notice()))


@dg.config_mapping
def dp_decision(val: PublicationConfig) -> dict[str, object]:
    """Let the launchpad of `dp_publish` ask for the decision alone, not for resources."""
    return {"ops": {"release__dp_dataset": {"config": val.model_dump()}}}
