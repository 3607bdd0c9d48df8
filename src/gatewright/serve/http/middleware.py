"""Middleware: Host and Origin checks, authentication, maximum body size."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gatewright.serve.http.auth import Tokens
from gatewright.serve.service import Shared
from gatewright.web.hosts import duplicate_header, is_allowed_host, is_allowed_origin

#: Paths without secrets, open to load balancers under any host name.
_PUBLIC_PATHS = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
#: Header of an answer that names the replica.
REPLICA_HEADER = b"gatewright-replica"
#: Messages with headers.
_BEGINNINGS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
#: Timeout for a whole request body, in seconds.
_BODY_TIMEOUT = 30


class AccessMiddleware:
    """Passes authorized requests on, with the owner of their token in ``scope["owner"]``.

    Args:
        app: the application.
        tokens: valid tokens.
        hosts: names of this server, in addition to its addresses.
        origins: allowed origins of web pages.
        max_body: maximum size of a body, in bytes.
    """

    def __init__(
        self, app: ASGIApp, *, tokens: Tokens, hosts: Collection[str], origins: Collection[str], max_body: int
    ) -> None:
        self._app, self._tokens, self._max_body = app, tokens, max_body
        self._hosts, self._origins = {host.lower() for host in hosts}, set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, or refuse the request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if (name := duplicate_header(headers)) is not None:
            refusal = error_response(400, name, "one", "several")
        elif scope["path"] in _PUBLIC_PATHS:
            await self._app(scope, receive, send)
            return
        elif not is_allowed_host(host, self._hosts):
            refusal = error_response(421, "Host", "a name of this server (--allow-host)", "a different name")
        elif not is_allowed_origin(headers.get("origin"), host, self._origins):
            refusal = error_response(403, "Origin", "an allowed origin (--allow-origin)", "another origin")
        elif (owner := self._tokens.owner(_token(scope, headers))) is None:
            refusal = error_response(401, "Authorization", "a valid bearer token", "none")
            refusal.headers["WWW-Authenticate"] = "Bearer"
        else:
            scope["owner"] = owner
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
                return
            body = await self._body(headers, receive)
            if isinstance(body, bytes):
                await self._app(scope, _replay(body, receive), send)
                return
            refusal = body
        if scope["type"] == "websocket":
            await _deny(refusal, receive, send)
        else:
            await refusal(scope, receive, send)

    async def _body(self, headers: Headers, receive: Receive) -> bytes | Response:
        """Return a request's body, or the response that refuses it."""
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 18 or int(length) > self._max_body:
            return error_response(413, "body", f"at most {self._max_body} bytes", "more")
        try:
            return await asyncio.wait_for(self._parts(receive), _BODY_TIMEOUT)  # of all parts together
        except asyncio.TimeoutError:
            return error_response(408, "body", f"all of it in {_BODY_TIMEOUT} s", "a part")

    async def _parts(self, receive: Receive) -> bytes | Response:
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return error_response(400, "body", "all of it", "a part")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._max_body:
                return error_response(413, "body", f"at most {self._max_body} bytes", "more")
            if not message.get("more_body", False):
                return b"".join(parts)


class ReplicaMiddleware:
    """Names the replica in each answer; while it drains, asks clients of HTTP to connect again.

    Args:
        app: the application.
        shared: has the name of the replica, and whether it drains.
    """

    def __init__(self, app: ASGIApp, *, shared: Shared) -> None:
        self._app, self._shared = app, shared
        self._replica = [(REPLICA_HEADER, shared.replica.encode())] if shared.replica else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with a `send` that adds headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] in _BEGINNINGS:
                message["headers"] = [*message.get("headers", ()), *self._replica]
                if self._shared.draining and message["type"] == "http.response.start":
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _token(scope: Scope, headers: Headers) -> str | None:
    """Return the request's token; a browser can send it only as a subprotocol of a WebSocket."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if scope["type"] == "websocket":
        for protocol in scope.get("subprotocols", ()):
            if protocol.startswith("token."):
                return str(protocol.removeprefix("token."))
    return None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a receive function that replays a body, then continues with the original one."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


def error_response(status: int, argument: str, expected: str, got: str) -> Response:
    """Return an error in the API's format."""
    body: dict[str, Any] = {"error": {"argument": argument, "expected": expected, "got": got}}
    return Response(json.dumps(body), status, media_type="application/json")


async def _deny(refusal: Response, receive: Receive, send: Send) -> None:
    """Refuse a WebSocket's handshake with an error."""
    await receive()
    headers = refusal.raw_headers
    await send({"type": "websocket.http.response.start", "status": refusal.status_code, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": refusal.body})
