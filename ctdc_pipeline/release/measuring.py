"""Measuring the victims for a differentially private release: the pipeline's one draw of noise, and what it is charged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from ctdc_pipeline.errors import BudgetError, TableError
from ctdc_pipeline.operations import installation
from ctdc_pipeline.privacy.contribution import Contribution
from ctdc_pipeline.privacy.domain import Domain, codebook_domain
from ctdc_pipeline.privacy.ledger import Account, Charge, Ledger
from ctdc_pipeline.privacy.measurements import (
    cost,
    measure,
    queries_sha256,
    require_randomness,
    sigmas,
    squared_sensitivity,
    write_measurements,
)
from ctdc_pipeline.privacy.suppressed_countries import SuppressedCountries
from ctdc_pipeline.release.register import Published, history, is_private
from ctdc_pipeline.storage.files import parquet_sha256, read_parquet, sha256, staged
from ctdc_pipeline.storage.tables import unwritable
from ctdc_pipeline.storage.zones import MEASURED, Zones

SERIES = ("k-synthetic", "dp")
"""What an installation publishes; one of them, for the other's releases of the same persons have no epsilon together."""


@dataclass(frozen=True)
class Purpose:
    """What a draw is for, and what it may cost: a person's decision."""

    release: str
    epsilon: float
    delta: float
    approver: str
    reason: str
    mixing: str = ""
    """Why it is accepted that releases without a finite epsilon exist of the same persons; empty: it is not."""


def measure_victims(zones: Zones, purpose: Purpose, *, last_year: int, suppressed: SuppressedCountries) -> dict[str, int]:
    """Charge a draw, measure the victims, and keep the noisy counts in the stage ``MEASURED``.

    Returns how many cells of each column are no value of the codebook, and so counted as blank. Raises BudgetError, before
    anything is drawn, if the budget does not allow it, ParameterError, ReleaseError, ResourceError and TableError.
    """
    path = zones.table(MEASURED, "measurements")
    domain = codebook_domain(last_year, suppressed=suppressed.codes)
    charge = _charge(zones, purpose, domain=domain)
    require_randomness()
    releases = history(zones)
    others = without_epsilon(releases)
    if others and not purpose.mixing.strip():
        raise BudgetError(
            f"{len(others)} releases of the same persons are k-synthetic, so that no epsilon holds for them together",
            remedy="Stay k-synthetic, or say in `mixing` why it is accepted; the ledger and the release tell it for good.",
        )
    people = read_parquet(zones.table("harmonised", "victims"), columns=list(domain.columns))
    suppressed.require(people)
    table = pa.table([column.dictionary_encode() for column in people.columns], names=people.column_names)
    with Ledger.of(zones).charged(charge, uncontrolled=others, heads=heads(releases)) as done:
        measurements, outside = measure(table, domain=domain, epsilon=purpose.epsilon, delta=purpose.delta)
        # Charged as measured before it gets its name, so that no file is there that the ledger does not know.
        with unwritable(path), staged(path, private=False) as part:
            write_measurements(measurements, part)
            done(sha256(part))
    return outside


def without_epsilon(releases: Sequence[Published]) -> list[str]:
    """The versions that are not differentially private, withdrawn ones too, for others may have copies."""
    return [release.version for release in releases if not is_private(release.manifest)]


def heads(releases: Sequence[Published]) -> list[str]:
    """The heads of the ledger that ``releases`` name."""
    return [release.manifest["epsilon"]["ledger"] for release in releases if is_private(release.manifest)]


def require_charged(zones: Zones) -> Account:
    """The account, if all that was spent is within the limit and the stored measurements were charged. Raises BudgetError."""
    path = zones.table(MEASURED, "measurements")
    account = Ledger.of(zones).account()
    if account.limit is None or account.spent > account.limit:
        raise BudgetError("more was spent than the limit of the privacy budget", remedy="See: ctdc budget.")
    if not path.is_file() or sha256(path) not in account.measured:
        raise BudgetError(
            "the stored measurements are none that the ledger knows",
            remedy="Restore the file that was measured, or measure again, which costs again.",
        )
    return account


def require_unmixed(zones: Zones, version: str, *, mixing: str) -> None:
    """Refuse k-synthetic release ``version`` of measured persons, unless it was accepted or ``mixing`` says why.

    Raises BudgetError.
    """
    account = Ledger.of(zones).account()
    if account.charges and version not in account.uncontrolled and not mixing.strip():
        raise BudgetError(
            "these persons were measured for a differentially private release, and a k-synthetic one ends that promise",
            remedy="Publish the series `dp`, or say in `mixing` why it is accepted; the ledger tells it for good.",
        )


def accept_mixture(zones: Zones, version: str, *, mixing: str) -> None:
    """Write down why k-synthetic release ``version`` of measured persons is accepted; nothing if none was measured."""
    ledger = Ledger.of(zones)
    if ledger.account().charges:
        ledger.mix(version, reason=mixing)


def _charge(zones: Zones, purpose: Purpose, *, domain: Domain) -> Charge:
    deliveries = zones.table("harmonised", "deliveries")
    if not deliveries.is_file():
        raise TableError("there is no table harmonised/deliveries to measure", remedy="Run the full refresh first.")
    contribution = Contribution(domain.cap, len(domain.columns))
    sigma = sigmas(contribution, epsilon=purpose.epsilon, delta=purpose.delta)
    return Charge(
        release=purpose.release,
        purpose=purpose.reason,
        approver=purpose.approver,
        mechanism="discrete Gaussian noise on counts of records, lengths, values and pairs of values",
        queries=queries_sha256(domain),
        domain=domain.sha256,
        cap=domain.cap,
        squared=squared_sensitivity(contribution),
        sigma=sigma,
        mu_squared=cost(contribution, sigma),
        epsilon=purpose.epsilon,
        delta=purpose.delta,
        deliveries=parquet_sha256(deliveries),
        software=installation.version(),
    )
