"""The HTTP application of the page, for one user on this machine."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import AsyncIterator, Callable

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
from gatewright.web.hosts import host_fits, origin_fits, repeated

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

    def document(_: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        response = HTMLResponse(page(title(), base=f"/{token}/", nonce=nonce))
        response.headers["content-security-policy"] = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return response

    def recordings(_: Request) -> Response:
        return JSONResponse(catalog.entries())

    def meta(request: Request) -> Response:
        return JSONResponse(catalog.payload(request.path_params["name"]).meta())

    def diagnosis(request: Request) -> Response:
        return JSONResponse(catalog.diagnosis(request.path_params["name"]))

    def block(request: Request) -> Response:
        payload = catalog.payload(request.path_params["name"])
        row = request.path_params["row"]
        # No recording has a row of ten digits, and int() refuses very long numbers with another error.
        if not (row.isascii() and row.isdigit()) or len(row) > 9:
            raise KeyError(row)
        numbers = payload.block(int(row), request.path_params["block"])
        return Response(numbers, media_type="application/octet-stream")

    async def what_if(request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > _MAX_BODY:
                return JSONResponse({"error": f"body: expected at most {_MAX_BODY} bytes, got more"}, 413)
        name, text = request.path_params["name"], body.decode("utf-8", "replace")
        new = await run_in_threadpool(lambda: catalog.what_if(name, WhatIf.from_json(text, "what if")))
        return JSONResponse({"id": new})

    async def events(_: Request) -> Response:
        async def changes() -> AsyncIterator[str]:
            sent = -1  # the first event comes at once, for entries added before the request
            while not stopping():
                if catalog.version != sent:
                    sent = catalog.version
                    yield f"data: {sent}\n\n"
                await asyncio.sleep(_POLL)

        return StreamingResponse(changes(), media_type="text/event-stream")

    async def invalid(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 422)

    async def missing(_: Request, __: Exception) -> Response:
        return JSONResponse({"error": "This recording no longer exists: choose another one."}, 404)

    recording = f"/{token}/recordings/{{name}}"
    routes = [
        Route(f"/{token}/", document),
        Route(f"/{token}/recordings", recordings),
        Route(f"{recording}/meta", meta),
        Route(f"{recording}/diagnosis", diagnosis),
        Route(f"{recording}/rows/{{row}}/{{block:path}}", block),
        Route(f"{recording}/whatif", what_if, methods=["POST"]),
        Route(f"/{token}/events", events),
    ]
    handlers = {GatewrightError: invalid, KeyError: missing}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), token)


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
            host_fits(host, ())
            and origin_fits(headers.get("origin"), host, ())
            and headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        )
        if repeated(headers) is not None:
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
