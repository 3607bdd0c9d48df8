"""What stands before the application: hosts, origins, tokens, and the size of what is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gatewright.serve.http.auth import Tokens
from gatewright.web.hosts import host_fits, origin_fits, repeated

#: Paths that tell nobody anything, and that a load balancer asks for by whatever name it likes.
_OPEN = ("/healthz", "/readyz")
#: Seconds in which a body has to come.
_PATIENCE = 30


class Guard:
    """Lets through what may be asked, with the owner of its token in ``scope["owner"]``.

    Args:
        app: what is asked.
        tokens: that are known.
        hosts: names of this server, beside its addresses.
        origins: of pages that may ask.
        most: bytes that a body may have.
    """

    def __init__(
        self, app: ASGIApp, *, tokens: Tokens, hosts: Collection[str], origins: Collection[str], most: int
    ) -> None:
        self._app, self._tokens, self._most = app, tokens, most
        self._hosts, self._origins = {host.lower() for host in hosts}, set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the application, or refuse."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if (twice := repeated(headers)) is not None:
            refusal = refused(400, twice, "one", "several")
        elif scope["path"] in _OPEN:
            await self._app(scope, receive, send)
            return
        elif not host_fits(host, self._hosts):
            refusal = refused(421, "Host", "a name of this server (--allow-host)", "a different name")
        elif not origin_fits(headers.get("origin"), host, self._origins):
            refusal = refused(403, "Origin", "a page that may ask (--allow-origin)", "a page of another origin")
        elif (owner := self._tokens.owner(_token(scope, headers))) is None:
            refusal = refused(401, "Authorization", "Bearer and a token that this server knows", "none such")
            refusal.headers["WWW-Authenticate"] = "Bearer"
        else:
            scope["owner"] = owner
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
                return
            body = await self._body(headers, receive)
            if isinstance(body, bytes):
                await self._app(scope, _again(body, receive), send)
                return
            refusal = body
        if scope["type"] == "websocket":
            await _deny(refusal, receive, send)
        else:
            await refusal(scope, receive, send)

    async def _body(self, headers: Headers, receive: Receive) -> bytes | Response:
        """Return a request's body, or why it is not taken."""
        said = headers.get("content-length", "0")
        if not said.isdecimal() or len(said) > 18 or int(said) > self._most:
            return refused(413, "body", f"at most {self._most} bytes", "more")
        try:
            return await asyncio.wait_for(self._parts(receive), _PATIENCE)  # all of it: parts can come for hours
        except asyncio.TimeoutError:
            return refused(408, "body", f"all of it in {_PATIENCE} s", "a part")

    async def _parts(self, receive: Receive) -> bytes | Response:
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return refused(400, "body", "all of it", "a part")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._most:
                return refused(413, "body", f"at most {self._most} bytes", "more")
            if not message.get("more_body", False):
                return b"".join(parts)


def _token(scope: Scope, headers: Headers) -> str | None:
    """Return the token that came; a page in a browser can only put it among the subprotocols of a WebSocket."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if scope["type"] == "websocket":
        for protocol in scope.get("subprotocols", ()):
            if protocol.startswith("token."):
                return str(protocol.removeprefix("token."))
    return None


def _again(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read already, and then what comes after it."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return left.pop() if left else await receive()

    return next_message


def refused(status: int, argument: str, expected: str, got: str) -> Response:
    """Return an error as it goes to a client."""
    body: dict[str, Any] = {"error": {"argument": argument, "expected": expected, "got": got}}
    return Response(json.dumps(body), status, media_type="application/json")


async def _deny(refusal: Response, receive: Receive, send: Send) -> None:
    """Answer a WebSocket's handshake with an error."""
    await receive()
    headers = refusal.raw_headers
    await send({"type": "websocket.http.response.start", "status": refusal.status_code, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": refusal.body})
