"""The guard before Dagster's webserver: what a foreign page can send is refused, what the pages themselves send is not."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from ctdc_pipeline.errors import ParameterError
from resources.guard import Guard, origin

HOME = "http://localhost:3000"
PROXY = "https://ctdc.example.org"
OWN = {"Origin": HOME, "Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"reached {request.url.path}")


async def echo(websocket: WebSocket) -> None:
    """Answer each message, as Dagster's endpoint reads them."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_json(await websocket.receive_json())
    except WebSocketDisconnect as ended:
        websocket.app.state.ended = ended.code


@pytest.fixture
def app() -> Starlette:
    methods = ["GET", "HEAD", "POST", "PUT", "OPTIONS"]
    return Starlette(routes=[WebSocketRoute("/graphql", echo), Route("/{path:path}", answer, methods=methods)])


@pytest.fixture
def client(app: Starlette) -> TestClient:
    return TestClient(Guard(app, origins=[HOME, PROXY]), base_url=HOME)


def test_our_own_pages_work(client: TestClient) -> None:
    """A guard that is in the way gets switched off."""
    assert client.get("/runs").status_code == 200
    assert client.get("/runs", headers={"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert client.post("/graphql", json={}, headers=OWN).status_code == 200
    assert client.post("/graphql", json={}, headers={**OWN, "Content-Type": "application/json; charset=utf-8"}).status_code == 200
    through_proxy = {**OWN, "Host": "ctdc.example.org", "Origin": PROXY}
    assert client.post("/graphql", json={}, headers=through_proxy).status_code == 200


def test_a_link_from_an_alert_opens_a_page(client: TestClient) -> None:
    """Alerts and chats link to runs; only frames, images, scripts and forms of other sites are refused."""
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/runs/1", headers=link).status_code == 200
    for dest, mode in (
        ("iframe", "navigate"),
        ("image", "no-cors"),
        ("script", "no-cors"),
        ("empty", "cors"),
        ("object", "navigate"),
    ):
        embedded = {**link, "Sec-Fetch-Dest": dest, "Sec-Fetch-Mode": mode}
        assert client.get("/runs/1", headers=embedded).status_code == 403, dest
    assert client.get("/runs/1").headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/GraphQL", "/%67raphql", "/x/../graphql"])
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_nothing_runs_by_get(client: TestClient, path: str, accept: str) -> None:
    """Dagster runs a mutation that an image's address holds."""
    query = {"query": "mutation { launchRun(executionParams: {}) { __typename } }"}
    assert client.get(path, params=query, headers={"Accept": accept}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:8000"},
        {"Origin": "https://localhost:3000"},
        {"Origin": "http://localhost:3000.evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": PROXY},  # allowed, but not the address that it is sent to
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain; application/json"},
        {"Content-Type": "application/graphql"},
        {"Host": "evil.example"},
        {"Host": "evil.example:3000"},
        {"Host": "localhost"},
        {"Host": "localhost:3000.evil.example"},
        {"Host": ""},
    ],
)
def test_a_post_that_a_foreign_page_can_send_is_refused(client: TestClient, headers: dict[str, str]) -> None:
    """A form, a fetch or a rebound name from elsewhere starts runs in the operator's name."""
    for path in ("/graphql", "/report_asset_materialization/release"):
        assert client.post(path, content=b"{}", headers={**OWN, **headers}).status_code == 403


def test_a_post_that_does_not_say_where_it_comes_from_is_refused(client: TestClient) -> None:
    """Browsers always say; who does not is no page of ours."""
    for missing in ("Origin", "Content-Type"):
        headers = {name: value for name, value in OWN.items() if name != missing}
        assert client.post("/graphql", content=b"{}", headers=headers).status_code == 403


def test_a_header_that_is_sent_twice_is_refused(client: TestClient) -> None:
    """Two parsers that each believe another one of two headers let a request through."""
    for name, value in (("Origin", "http://evil.example"), ("Content-Type", "text/plain"), ("Host", "evil.example")):
        headers = [*{"Host": "localhost:3000", **OWN}.items(), (name, value)]
        assert client.post("/graphql", content=b"{}", headers=headers).status_code == 403


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "DELETE", "PATCH"])
def test_other_methods_are_refused(client: TestClient, method: str) -> None:
    """OPTIONS asks whether another website may send more than a form."""
    assert client.request(method, "/graphql", headers=OWN).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {}, {"Host": "evil.example", "Origin": HOME}],
)
def test_a_websocket_of_a_foreign_page_is_refused(client: TestClient, headers: dict[str, str]) -> None:
    """Browsers ask nobody before they open a websocket to another site."""
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/graphql", headers={"Host": "localhost:3000", **headers}):
        pass


def start(query: object) -> dict[str, object]:
    return {"type": "start", "id": "1", "payload": {"query": query}}


def test_our_own_websocket_subscribes(client: TestClient) -> None:
    """Pages follow runs by it."""
    messages = [{"type": "connection_init"}, start("subscription { x }"), start("fragment F on T { x } subscription S { ...F }")]
    with client.websocket_connect("/graphql", headers={"Host": "localhost:3000", "Origin": HOME}) as websocket:
        for message in messages:
            websocket.send_json(message)
            assert websocket.receive_json() == message


@pytest.mark.parametrize(
    "message",
    [
        start("mutation { x }"),
        start("subscription S { x } mutation M { x }"),
        start("fragment F on T { x }"),
        start("{ x }"),
        start("not a document {"),
        start(None),
        {"type": "start"},
        {"payload": {}},
        ["start"],
        "start",
    ],
)
def test_a_websocket_that_asks_for_more_is_ended(app: Starlette, client: TestClient, message: object) -> None:
    """A mutation is refused before Dagster sees it; what cannot be read counts as one."""
    with client.websocket_connect("/graphql", headers={"Host": "localhost:3000", "Origin": HOME}) as websocket:
        websocket.send_json(message)
    assert app.state.ended == 1008


@pytest.mark.parametrize(
    ("address", "browser_sends"),
    [
        ("https://CTDC.example.org/", "https://ctdc.example.org"),
        ("https://ctdc.example.org:443", "https://ctdc.example.org"),
        ("http://ctdc.example.org:80", "http://ctdc.example.org"),
        (" http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_an_origin_is_what_browsers_send(address: str, browser_sends: str) -> None:
    """An origin that is never equal to what is sent locks everybody out."""
    assert origin(address) == browser_sends


@pytest.mark.parametrize(
    "address", ["", "ctdc.example.org", "ftp://x", "https://", "*", "https://*.org", "https://x/y", "https://u@x", "https://x:y"]
)
def test_what_is_no_origin_is_an_error(address: str) -> None:
    """A wildcard or a host alone would be read as something by somebody."""
    with pytest.raises(ParameterError, match="is no origin"):
        origin(address)
