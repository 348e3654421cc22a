"""A page of somebody else, in the browser of an operator who has Dagster's pages open."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest
from playwright.sync_api import Browser, Page

MUTATION = """mutation { addDynamicPartition(repositorySelector: {repositoryName: "__repository__",
    repositoryLocationName: "ctdc_pipeline"}, partitionsDefName: "polaris_refreshes", partitionKey: "%s") { __typename } }"""

# Each way by which a page can send something to another site. `await` ends when it was answered or refused.
ATTACKS = """async ([base, mutation]) => {
  const query = name => mutation.replace("%s", name);
  const address = name => base + "/graphql?query=" + encodeURIComponent(query(name));
  const body = name => JSON.stringify({query: query(name)});
  const quietly = promise => promise.catch(() => null);
  const loaded = (tag, name, set) => new Promise(resolve => {
    const element = document.createElement(tag);
    element.onload = element.onerror = resolve;
    set(element, address(name));
    document.body.append(element);
    setTimeout(resolve, 3000);
  });
  await loaded("img", "image", (element, url) => element.src = url);
  await loaded("script", "script", (element, url) => element.src = url);
  await loaded("iframe", "frame", (element, url) => element.src = url);
  await quietly(fetch(address("get"), {mode: "no-cors", credentials: "include"}));
  await quietly(fetch(address("head"), {mode: "no-cors", method: "HEAD"}));
  await quietly(fetch(address("post-query"), {mode: "no-cors", method: "POST"}));
  await quietly(fetch(base + "/graphql", {mode: "no-cors", method: "POST", body: body("text")}));
  await quietly(fetch(base + "/graphql", {method: "POST", headers: {"Content-Type": "application/json"}, body: body("json")}));
  navigator.sendBeacon(base + "/graphql", body("beacon"));
  await loaded("iframe", "form", (element, url) => {
    element.name = "form";
    const form = document.createElement("form");
    [form.action, form.method, form.target, form.enctype] = [url, "post", "form", "text/plain"];
    document.body.append(form);
    setTimeout(() => form.submit(), 100);
  });
  await new Promise(resolve => {
    const socket = new WebSocket(base.replace("http", "ws") + "/graphql", "graphql-ws");
    socket.onopen = () => {
      socket.send(JSON.stringify({type: "connection_init"}));
      socket.send(JSON.stringify({type: "start", id: "1", payload: {query: query("socket")}}));
      setTimeout(() => resolve(window.socketOpened = true), 1000);
    };
    socket.onerror = resolve;
  });
  return window.socketOpened ?? false;
}"""
OWN = """async mutation => (await fetch("/graphql", {method: "POST", headers: {"Content-Type": "application/json"},
    body: JSON.stringify({query: mutation})})).json()"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def address(home: Path) -> Generator[str]:
    """Where `ctdc ui` serves; it must end cleanly at SIGTERM, with nothing left running."""
    command = [sys.executable, "-c", "from ctdc_pipeline.cli.main import main; main()", "ui", "--port", "0"]
    environment = {**os.environ, "CTDC_HOME": str(home)}
    served = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert served.stdout
    line = served.stdout.readline()
    found = re.search(r"http://localhost:\d+", line)
    assert found, line
    yield found[0]
    served.send_signal(signal.SIGTERM)
    assert served.wait(30) == 0
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"ctdc-ui-\w+/(code.sock|workspace.yaml)", left)


@pytest.fixture
def foreign(tmp_path: Path) -> Generator[int]:
    """The port of another web server on this machine."""
    (tmp_path / "index.html").write_text("<!doctype html><title>foreign</title><body>")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def tab(browser: Browser) -> Generator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def changed(home: Path) -> list[str]:
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        return sorted(instance.get_dynamic_partitions("polaris_refreshes"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "evil.localhost"])
def test_a_foreign_page_changes_nothing(address: str, home: Path, foreign: int, tab: Page, host: str) -> None:
    """Guards against a page, of the web or of this machine, that starts runs while the operator reads it."""
    tab.goto(f"http://{host}:{foreign}/index.html")
    assert tab.evaluate(ATTACKS, [address, MUTATION]) is False, "the websocket opened"
    assert not {*changed(home)} - {"own"}


def test_a_name_that_resolves_to_this_machine_reaches_nothing(address: str, tab: Page) -> None:
    """Guards against DNS rebinding: the foreign page's own name leads here, so to the browser it is one site."""
    answer = tab.goto(address.replace("localhost", "rebound.localhost"))
    assert answer
    assert answer.status == 403
    assert "Refused" in tab.content()


def test_our_own_page_works(address: str, home: Path, tab: Page) -> None:
    """Guards against a guard that is in the way, and shows that the mutation of the attacks is one that works."""
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    sockets: list[str] = []
    tab.on("websocket", lambda socket: sockets.append(socket.url))
    refused: list[str] = []
    tab.on("response", lambda response: refused.append(response.url) if response.status == 403 else None)
    tab.goto(f"{address}/jobs")
    tab.wait_for_selector("text=full_refresh")
    assert tab.evaluate(OWN, MUTATION % "own")["data"]["addDynamicPartition"]["__typename"] == "AddDynamicPartitionSuccess"
    assert changed(home) == ["own"]
    tab.goto(f"{address}/runs")
    tab.wait_for_timeout(1500)
    assert (errors, refused) == ([], [])
    assert sockets


def test_a_port_in_use_is_an_error_of_one_line(address: str, home: Path) -> None:
    """Guards against a second start that leaves a daemon behind."""
    command = [sys.executable, "-m", "resources.ui", "--port", address.rpartition(":")[2]]
    done = subprocess.run(command, env={**os.environ, "CTDC_HOME": str(home)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("ctdc: 127.0.0.1, port")
    assert done.stderr.count("\n") == 1
