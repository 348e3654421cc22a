"""Telling people that a run failed: one JSON document by HTTP POST to ``CTDC_ALERT_URL``, or a line in the log.

What is told is chosen where the run is known; it carries no value of a case. The address may hold a token and is never told.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPException
from typing import Any
from urllib.request import Request, urlopen

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from ctdc_pipeline.errors import ParameterError, ResourceError

TARGET = "CTDC_ALERT_URL"
ATTEMPTS = 4
PAUSE = 2.0
"""Seconds before the second attempt, doubled for each later one."""
TIMEOUT = 10


@dataclass(frozen=True)
class StepFailure:
    """A step of a run that failed, and its message, which is free of values."""

    step: str
    message: str


@dataclass(frozen=True)
class Alert:
    """What there is to say about a failed run. ``partition`` is empty for a run of none."""

    job: str
    run_id: str
    partition: str
    failures: Sequence[StepFailure]

    @property
    def text(self) -> str:
        """All of it in one line, for people."""
        what = f"{self.job} {self.partition}".strip()
        return " ".join([f"Run {self.run_id} of {what} failed.", *(f"{one.step}: {one.message}" for one in self.failures)])

    def to_dict(self) -> dict[str, Any]:
        """The document that is posted; ``text`` is what chat systems show of it."""
        return {"text": self.text, **asdict(self)}


def send(alert: Alert) -> None:
    """Post ``alert``, trying several times, or log it if there is no address or nobody answers there.

    Raises ParameterError and, after it was logged, ResourceError.
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
    try:
        attempts(_post, address, json.dumps(alert.to_dict()).encode())
    except (RetryError, ValueError):
        log.error(alert.text)
        raise ResourceError(f"nobody took the alert at {TARGET}", remedy="Check the address and what answers there.") from None


def _post(address: str, document: bytes) -> None:
    request = Request(address, document, {"Content-Type": "application/json"})  # noqa: S310 the caller has checked the scheme
    with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
        answer.read()
