"""The HTTP application of the page, for one user on this machine."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gatewright.errors import GatewrightError
from gatewright.inspector.catalog import Catalog
from gatewright.inspector.html import page
from gatewright.inspector.what_if import WhatIf
from gatewright.web.hosts import duplicate_header, is_allowed_host, is_allowed_origin

#: Maximum number of bytes of a request body.
_MAX_BODY = 1 << 20
#: Seconds between two checks for a change of the catalog.
_POLL = 0.3

_HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def create_app(catalog: Catalog, token: str, title: Callable[[], str], stopping: Callable[[], bool]) -> ASGIApp:
    """Return the application.

    Args:
        catalog: recordings that the page can show.
        token: first segment of the path of every request.
        title: returns the title of the page.
        stopping: returns whether the server is shutting down, so that open event streams must end.
    """
    endpoints = _Endpoints(catalog, f"/{token}/", title, stopping)
    recording = f"/{token}/recordings/{{name}}"
    routes = [
        Route(f"/{token}/", endpoints.document),
        Route(f"/{token}/recordings", endpoints.recordings),
        Route(f"{recording}/meta", endpoints.meta),
        Route(f"{recording}/diagnosis", endpoints.diagnosis),
        Route(f"{recording}/rows/{{row}}/{{block:path}}", endpoints.block),
        Route(f"{recording}/whatif", endpoints.what_if, methods=["POST"]),
        Route(f"/{token}/events", endpoints.events),
    ]
    handlers = {GatewrightError: _invalid, KeyError: _missing}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), token)


@dataclass(frozen=True)
class _Endpoints:
    """The endpoints of the page; ``base`` is the path of its document, the rest are arguments of `create_app`."""

    catalog: Catalog
    base: str
    title: Callable[[], str]
    stopping: Callable[[], bool]

    def document(self, _: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        response = HTMLResponse(page(self.title(), base=self.base, nonce=nonce))
        response.headers["content-security-policy"] = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return response

    def recordings(self, _: Request) -> Response:
        return JSONResponse(self.catalog.entries())

    def meta(self, request: Request) -> Response:
        return JSONResponse(self.catalog.payload(request.path_params["name"]).meta())

    def diagnosis(self, request: Request) -> Response:
        return JSONResponse(self.catalog.diagnosis(request.path_params["name"]))

    def block(self, request: Request) -> Response:
        payload = self.catalog.payload(request.path_params["name"])
        row = request.path_params["row"]
        # No recording has a row of ten digits, and int() refuses very long numbers with another error.
        if not (row.isascii() and row.isdigit()) or len(row) > 9:
            raise KeyError(row)
        numbers = payload.block(int(row), request.path_params["block"])
        return Response(numbers, media_type="application/octet-stream")

    async def what_if(self, request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > _MAX_BODY:
                return JSONResponse({"error": f"body: expected at most {_MAX_BODY} bytes, got more"}, 413)
        name, text = request.path_params["name"], body.decode("utf-8", "replace")
        new = await run_in_threadpool(lambda: self.catalog.what_if(name, WhatIf.from_json(text, "what if")))
        return JSONResponse({"id": new})

    async def events(self, _: Request) -> Response:
        return StreamingResponse(self._changes(), media_type="text/event-stream")

    async def _changes(self) -> AsyncIterator[str]:
        """Yield an event for each change of the catalog, and a first one for entries added before the request."""
        sent = -1
        while not self.stopping():
            if self.catalog.version != sent:
                sent = self.catalog.version
                yield f"data: {sent}\n\n"
            await asyncio.sleep(_POLL)


async def _invalid(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 422)


async def _missing(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "This recording no longer exists: choose another one."}, 404)


class Guard:
    """Middleware that passes requests of the page itself: its host, its origin, its token.

    Args:
        app: the application.
        token: first segment of every path.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        token = scope["path"].removeprefix("/").partition("/")[0].encode("utf-8", "replace")
        fits = (
            is_allowed_host(host, ())
            and is_allowed_origin(headers.get("origin"), host, ())
            and headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        )
        if duplicate_header(headers) is not None:
            await Response("several Host or Origin headers\n", 400, _HEADERS, "text/plain")(scope, receive, send)
            return
        if not fits or not hmac.compare_digest(token, self._token):
            await Response("not found\n", 404, _HEADERS, "text/plain")(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in _HEADERS.items()),
                ]
            await send(message)

        await self._app(scope, receive, with_headers)
