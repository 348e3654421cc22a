"""Report a failed run or a new warning: post one JSON document to ``CTDC_ALERT_URL``, or log it.

The caller chooses the content, which never contains a value of a case. The address may contain a token and is never shown.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPException
from urllib.request import Request, urlopen

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from ctdc_pipeline.errors import ParameterError, ResourceError

TARGET = "CTDC_ALERT_URL"
ATTEMPTS = 4
PAUSE = 2.0
"""Seconds before the second attempt; doubled before each later one."""
TIMEOUT = 10


@dataclass(frozen=True)
class StepFailure:
    """A failed step of a run and its message, which contains no values."""

    step: str
    message: str


@dataclass(frozen=True)
class Alert:
    """A failed run and its failed steps. `partition` is empty for a run without one."""

    job: str
    run_id: str
    partition: str
    failures: Sequence[StepFailure]

    @property
    def text(self) -> str:
        """The alert in one line, for people."""
        subject = f"{self.job} {self.partition}".strip()
        return " ".join(
            [f"Run {self.run_id} of {subject} failed.", *(f"{failure.step}: {failure.message}" for failure in self.failures)]
        )


@dataclass(frozen=True)
class NewWarning:
    """A check that warns now and did not before, or warns for another reason.

    `name` is the one to acknowledge the warning with in `publish`.
    """

    name: str
    message: str


@dataclass(frozen=True)
class WarningAlert:
    """New warnings, which stopped no run."""

    warnings: Sequence[NewWarning]

    @property
    def text(self) -> str:
        """The alert in one line, for people."""
        return " ".join(
            [f"{len(self.warnings)} new warnings.", *(f"{warning.name}: {warning.message}" for warning in self.warnings)]
        )


def send(alert: Alert | WarningAlert) -> None:
    """Post `alert` and retry if needed; log it if no address is set or nobody answers.

    Raises:
        ParameterError: the address is not an HTTP address.
        ResourceError: nobody answered; the alert has been logged.

    """
    address = os.environ.get(TARGET, "").strip()
    log = logging.getLogger(__name__)
    if not address:
        log.error(alert.text)
        return
    if not address.startswith(("http://", "https://")):
        log.error(alert.text)
        raise ParameterError(f"{TARGET} is not an address", remedy="Set it to one that begins with https:// or http://.")
    attempts = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=PAUSE),
        retry=retry_if_exception_type((OSError, HTTPException)),
    )
    document = {"text": alert.text, **asdict(alert)}  # chat systems show the text
    try:
        attempts(_post, address, json.dumps(document).encode())
    except (RetryError, ValueError):
        log.error(alert.text)
        raise ResourceError(
            f"nobody accepted the alert at {TARGET}", remedy="Check the address and the service behind it."
        ) from None


def _post(address: str, document: bytes) -> None:
    request = Request(address, document, {"Content-Type": "application/json"})  # noqa: S310 the caller has checked the scheme
    with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
        answer.read()
