"""Decisions that are no table, as jobs, so that they can be taken from the pages as well as by `ctdc`."""

import dagster as dg
from pydantic import Field

from assets.reporting import guarded
from ctdc_pipeline.release import publication
from resources.settings import DataHome

NEVER_RETRIED = {"dagster/max_retries": "0"}


class Choice(dg.Config):
    """Which of several deliveries for one refresh counts."""

    source: str = Field(description="The source, such as polaris.")
    refresh: str = Field(description="The refresh that was delivered more than once, such as 2021-H1.")
    delivery: str = Field(description="The first digits of the delivery that is to count, as `ctdc deliveries` lists them.")


class Withdrawal(dg.Config):
    """Which release is withdrawn, and why."""

    version: str = Field(description="The version of the release, such as 2026.11.21-1. It is never used again.")
    reason: str = Field(description="Why it is withdrawn. Public.")


@dg.op
def choose_delivery(context: dg.OpExecutionContext, config: Choice, home: DataHome) -> None:
    """Let one delivery count."""
    with guarded():
        chosen = home.store().choose(config.source, config.refresh, config.delivery)
        context.log.info(
            f"{chosen.short} counts for {config.source} {config.refresh}. Now materialise ingestion/{config.source}."
        )


@dg.op
def withdraw_release(context: dg.OpExecutionContext, config: Withdrawal, home: DataHome) -> None:
    """Take a release out of the public zone."""
    with guarded():
        publication.withdraw(home.zones(), config.version, reason=config.reason)
        context.log.info(f"Release {config.version} is withdrawn; a tombstone says why.")


@dg.config_mapping
def _choice(val: Choice) -> dict[str, object]:
    return {"ops": {"choose_delivery": {"config": val.model_dump()}}}


@dg.config_mapping
def _withdrawal(val: Withdrawal) -> dict[str, object]:
    return {"ops": {"withdraw_release": {"config": val.model_dump()}}}


@dg.job(
    config=_choice,
    tags=NEVER_RETRIED,
    description="Say which of two deliveries for a refresh counts. Then materialise that refresh.",
)
def choose() -> None:
    """Run the choice."""
    choose_delivery()


@dg.job(
    config=_withdrawal, tags=NEVER_RETRIED, description="Take a release back. A tombstone with the reason stays; it is public."
)
def withdraw() -> None:
    """Run the withdrawal."""
    withdraw_release()
