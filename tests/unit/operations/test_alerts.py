"""Alerts over real HTTP: what arrives, how often it is tried, and what is never told."""

import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from ctdc_pipeline.errors import ParameterError, ResourceError
from ctdc_pipeline.operations import alerts
from ctdc_pipeline.operations.alerts import Alert, StepFailure, send

ALERT = Alert("full_refresh", "0a1b", "2021-H1", [StepFailure("harmonised__polaris", "The file is missing. Land it.")])


class Hook(HTTPServer):
    """A local webhook that answers with ``answers`` in turn, and with 200 when they are used up."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[Any] = []
        self.answers: list[int] = []


class Handler(BaseHTTPRequestHandler):
    server: Hook  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status:
            self.send_response(status)
            self.end_headers()
        # 0: the connection is dropped without an answer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    with Hook() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(alerts.TARGET, f"http://127.0.0.1:{server.server_port}/secret-token")
        monkeypatch.setattr(alerts, "PAUSE", 0)
        yield server
        server.shutdown()


def test_an_alert_arrives(hook: Hook) -> None:
    """A failed refresh that nobody hears of until the next one is due."""
    send(ALERT)
    (received,) = hook.received
    assert received["text"] == "Run 0a1b of full_refresh 2021-H1 failed. harmonised__polaris: The file is missing. Land it."
    assert received["failures"] == [{"step": "harmonised__polaris", "message": "The file is missing. Land it."}]
    assert (received["job"], received["run_id"], received["partition"]) == ("full_refresh", "0a1b", "2021-H1")


def test_an_alert_is_tried_again(hook: Hook) -> None:
    """One dropped connection would silence a failure."""
    hook.answers = [503, 0]
    send(ALERT)
    assert len(hook.received) == 3


def test_an_alert_that_nobody_takes_is_logged_and_fails(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    """An alert that is lost without a trace, or an address with its token in a log."""
    hook.answers = [500] * 10
    with pytest.raises(ResourceError, match=alerts.TARGET) as caught:
        send(ALERT)
    assert len(hook.received) == alerts.ATTEMPTS
    assert ALERT.text in caplog.text
    assert "secret-token" not in caplog.text + str(caught.value)


@pytest.mark.parametrize("address", ["file:///etc/secret-token", "secret-token", "http://[secret-token"])
def test_an_address_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    """Alerts written into a file, or lost, because of a typing error."""
    monkeypatch.setenv(alerts.TARGET, address)
    with pytest.raises((ParameterError, ResourceError), match=alerts.TARGET) as caught:
        send(ALERT)
    assert ALERT.text in caplog.text
    assert "secret-token" not in str(caught.value)


def test_without_an_address_an_alert_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever sets nothing still finds failures in the log."""
    monkeypatch.delenv(alerts.TARGET, raising=False)
    with caplog.at_level(logging.ERROR):
        send(ALERT)
    assert ALERT.text in caplog.text
