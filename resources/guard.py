"""Keep other websites away from Dagster's webserver, which by itself answers any page that the operator's browser has open.

Dagster runs a mutation that is sent by GET, reads neither `Origin` nor `Host`, and has no accounts. A page of somebody else could
therefore start runs, `publish` included. This middleware lets through only what the webserver's own pages send:

- `Host` must be one of the addresses at which the pages are served, so that a foreign name that resolves to this machine
  (DNS rebinding) gets nothing;
- only GET, HEAD and POST; nothing under `/graphql` by GET, mutation or not;
- a POST must be JSON and its `Origin` the address it is sent to; browsers always send `Origin` with a POST;
- a websocket needs the same `Origin`, and may only subscribe;
- other websites may link to a page, but not embed it, nor load anything from here.
"""

import json
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ctdc_pipeline.errors import ParameterError

POLICY_VIOLATION = 1008
"""The code with which a websocket is closed that asks for something forbidden."""
OWN_REQUESTS = frozenset({"same-origin", "none"})
"""Values of `Sec-Fetch-Site` for requests by our own pages and by the person at the browser."""
HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Added to every response: no other page may frame it, hold a handle to its window or embed its content."""


def origin(address: str) -> str:
    """Return the origin of ``address`` as browsers send it: scheme, host, and the port unless it is the scheme's own.

    Raises ParameterError for anything that is more or less than an http or https origin.
    """
    try:
        parts = urlsplit(address.strip().lower())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    bare = parts.scheme in ("http", "https") and parts.hostname and not parts.username and not parts.query and not parts.fragment
    if not bare or parts.path not in ("", "/") or "*" in parts.netloc:
        raise ParameterError(
            f"{address!r} is no origin", remedy="Give scheme, host and port as the browser shows them: https://ctdc.example.org."
        )
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    standard = port in (None, {"http": 80, "https": 443}[parts.scheme])
    return f"{parts.scheme}://{host}" if standard else f"{parts.scheme}://{host}:{port}"


class Guard:
    """ASGI middleware that refuses every request which the pages served at ``origins`` would not send."""

    def __init__(self, app: ASGIApp, *, origins: Iterable[str]) -> None:
        """Wrap ``app``. ``origins`` are the addresses at which people reach it. Raises ParameterError."""
        self._app = app
        self._origins = frozenset(map(origin, origins))
        self._hosts = frozenset(urlsplit(allowed).netloc for allowed in self._origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is allowed; answer anything else with 403 and the reason."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            if self._foreign_host(scope) or self._foreign_origin(scope):
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})  # before it is accepted: the browser sees 403
            else:
                await self._app(scope, _only_subscriptions(receive), send)
        elif reason := self._refusal(scope):
            await PlainTextResponse(f"Refused: {reason}.\n", status_code=403)(scope, receive, _with_headers(send))
        else:
            await self._app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> str:
        """Say why a request is refused; empty if it is not."""
        if self._foreign_host(scope):
            return "this is not an address at which these pages are served (see CTDC_UI_ORIGINS)"
        if _from_another_site(scope):
            return "another website asked for it"
        if scope["method"] in ("GET", "HEAD"):
            return "GraphQL is answered by POST only" if "graphql" in scope["path"].lower() else ""
        if scope["method"] != "POST":
            return "only GET, HEAD and POST are answered"
        if self._foreign_origin(scope):
            return "a POST must carry the Origin of these pages"
        if [kind.split(";")[0].strip().lower() for kind in _values(scope, b"content-type")] != ["application/json"]:
            return "a POST must be application/json"
        return ""

    def _foreign_host(self, scope: Scope) -> bool:
        hosts = _values(scope, b"host")
        return len(hosts) != 1 or _without_standard_port(hosts[0].lower(), scope) not in self._hosts

    def _foreign_origin(self, scope: Scope) -> bool:
        """Whether the request comes from another origin than the one it is sent to, or does not say from where."""
        origins, (host,) = _values(scope, b"origin"), _values(scope, b"host")
        own = [allowed for allowed in self._origins if urlsplit(allowed).netloc == _without_standard_port(host.lower(), scope)]
        return len(origins) != 1 or origins[0] not in own


def _values(scope: Scope, name: bytes) -> Sequence[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _without_standard_port(host: str, scope: Scope) -> str:
    return host.removesuffix(":443" if scope["scheme"] in ("https", "wss") else ":80")


def _from_another_site(scope: Scope) -> bool:
    """Whether a browser says that another site's page asked, other than by a link to a page of ours."""
    said = {name: _values(scope, f"sec-fetch-{name}".encode()) for name in ("site", "mode", "dest")}
    if not said["site"] or set(said["site"]) <= OWN_REQUESTS:
        return False
    return scope["method"] != "GET" or said["mode"] != ["navigate"] or said["dest"] != ["document"]


def _only_subscriptions(receive: Receive) -> Receive:
    """Read messages of a websocket, and end it at one that starts anything but a subscription."""

    async def checked() -> Message:
        message = await receive()
        if message["type"] == "websocket.receive" and not _harmless(message):
            return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}
        return message

    return checked


def _harmless(message: Message) -> bool:
    """Whether a message starts nothing, or only subscriptions. What cannot be read counts as harm."""
    try:
        said = json.loads(message["text"])
        if said["type"] != "start":
            return True
        definitions = parse(said["payload"]["query"]).definitions
    except (KeyError, TypeError, ValueError, RecursionError, GraphQLError):
        return False
    operations = [part.operation for part in definitions if isinstance(part, OperationDefinitionNode)]
    return set(operations) == {OperationType.SUBSCRIPTION}


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *HEADERS]
        await send(message)

    return sending
