"""The release: the one asset that writes to the public zone."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from assets.release.candidate import candidate
from assets.reporting import grid, guarded, proof_specs, proved, release_result
from ctdc_pipeline.release import publication
from ctdc_pipeline.release.register import last_published, withdrawn
from ctdc_pipeline.storage import approval
from resources.settings import DataHome, Engine


class PublicationConfig(dg.Config):
    """What the person who approves decides: all that the launchpad of `publish` asks for."""

    candidate: str = Field(description="The hash in the events of release/candidate: the SHA-256 of its manifest.")
    approver: str = Field(description="Who approves. Public. With configured keys: somebody who signed (`ctdc approve`).")
    reason: str = Field(description="Why it is published. Public.")
    acknowledged: list[str] = Field(
        default_factory=list[str],
        description="The names of the open warnings that the candidate lists, such as `harmonised/polaris:row_counts`. Public.",
    )
    version: str | None = Field(default=None, description="Only if a newer candidate waits: the version of the one to publish.")


@dg.asset(
    key=["release", "global_synthetic_dataset"],
    kinds={"csv", "parquet"},
    check_specs=proof_specs(["release", "global_synthetic_dataset"]),
    deps=[candidate],
)
def global_synthetic_dataset(config: PublicationConfig, home: DataHome, engine: Engine) -> Iterator[Any]:
    """The Global Synthetic Dataset with its products and manifest: the candidate that was approved, in the public zone.

    Public. Materialised by the job `publish` only.
    """
    with guarded():
        decision = {"approver": config.approver, "candidate": config.candidate, "reason": config.reason}
        given = {
            **decision,
            "version": config.version or "",
            "acknowledged": config.acknowledged,
            "k": engine.k,
            "suppressed": engine.suppressed,
        }
        publish = partial(publication.publish, home.zones(), **given)
        yield from proved(publish, lambda done: release_result(done, **decision, approval=approval.notice()))


@dg.config_mapping
def decision(val: PublicationConfig) -> dict[str, object]:
    """Let the launchpad of `publish` ask for the decision alone, not for resources."""
    return {"ops": {"release__global_synthetic_dataset": {"config": val.model_dump()}}}


@dg.asset_check(
    asset=global_synthetic_dataset,
    name="not_withdrawn",
    description="No release was withdrawn since the last one was published. If one was, publish another, or tell those who use"
    " the data to go back to the release before.",
)
@guarded()
def not_withdrawn(home: DataHome) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(severity=dg.AssetCheckSeverity.WARN, **_withdrawals(home))


def _withdrawals(home: DataHome) -> dict[str, Any]:
    """What the check tells: it lists every release that was withdrawn, and fails while none was published since the last."""
    gone, last = withdrawn(home.zones()), last_published(home.zones())
    open_ones = [one.version for one in gone if one.day >= last]
    text = f"Withdrawn since the last publication: {', '.join(open_ones)}. The tombstone in each folder says why."
    listed = grid([asdict(one) for one in gone])
    metadata = {"withdrawn": len(gone), **({"releases": listed} if gone else {})}
    return {"passed": not open_ones, "description": text if open_ones else None, "metadata": metadata}


@dg.sensor(
    name="withdrawals",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Shows each withdrawn release on the graph: an observation of the release, and a check that fails.",
)
def withdrawals(context: dg.SensorEvaluationContext, home: DataHome) -> dg.SensorResult | dg.SkipReason:
    """Observe each withdrawal once; the cursor keeps which were seen."""
    with guarded():
        seen = json.loads(context.cursor or "[]")
        gone = withdrawn(home.zones())
        new = [one for one in gone if one.version not in seen]
        if not new:
            return dg.SkipReason("nothing was withdrawn")
        key = global_synthetic_dataset.key
        observed = [
            dg.AssetObservation(
                key,
                description=f"Release {one.version} was withdrawn.",
                metadata={"withdrawn": one.version, "day": one.day, "reason": one.reason},
            )
            for one in new
        ]
        check = dg.AssetCheckEvaluation(
            asset_key=key, check_name="not_withdrawn", severity=dg.AssetCheckSeverity.WARN, **_withdrawals(home)
        )
        return dg.SensorResult(asset_events=[*observed, check], cursor=json.dumps([one.version for one in gone]))
