"""The page over HTTP, to one person on this machine."""

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
from gatewright.inspector.catalog import Shelf
from gatewright.inspector.html import page
from gatewright.inspector.what_if import Asked
from gatewright.web.hosts import host_fits, origin_fits, repeated

#: Bytes that a question may have.
_MOST = 1 << 20
#: Seconds between two looks for something new.
_LOOK = 0.3

_HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def create_app(shelf: Shelf, token: str, title: Callable[[], str], stopping: Callable[[], bool]) -> ASGIApp:
    """Return the application.

    Args:
        shelf: what the page can show.
        token: what the path of every request begins with.
        title: of the page.
        stopping: whether the server is about to end, and nobody is to be kept waiting.
    """

    def document(_: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        answer = HTMLResponse(page(title(), base=f"/{token}/", nonce=nonce))
        answer.headers["content-security-policy"] = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return answer

    def recordings(_: Request) -> Response:
        return JSONResponse(shelf.entries())

    def meta(request: Request) -> Response:
        return JSONResponse(shelf.payload(request.path_params["name"]).meta())

    def diagnosis(request: Request) -> Response:
        return JSONResponse(shelf.diagnosis(request.path_params["name"]))

    def block(request: Request) -> Response:
        of = shelf.payload(request.path_params["name"])
        row = request.path_params["row"]
        if (
            not (row.isascii() and row.isdigit()) or len(row) > 9
        ):  # a number of any length is no row of any recording
            raise KeyError(row)
        return Response(of.block(int(row), request.path_params["block"]), media_type="application/octet-stream")

    async def what_if(request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > _MOST:
                return JSONResponse({"error": f"body: expected at most {_MOST} bytes, got more"}, 413)
        name, text = request.path_params["name"], body.decode("utf-8", "replace")
        made = await run_in_threadpool(lambda: shelf.what_if(name, Asked.from_json(text, "what if")))
        return JSONResponse({"id": made})

    async def events(_: Request) -> Response:
        async def changes() -> AsyncIterator[str]:
            told = -1  # the first one comes at once, for what was added before this was asked
            while not stopping():
                if shelf.version != told:
                    told = shelf.version
                    yield f"data: {told}\n\n"
                await asyncio.sleep(_LOOK)

        return StreamingResponse(changes(), media_type="text/event-stream")

    async def unfit(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 422)

    async def missing(_: Request, __: Exception) -> Response:
        return JSONResponse({"error": "There is no such recording any more: choose another one."}, 404)

    of = f"/{token}/recordings/{{name}}"
    routes = [
        Route(f"/{token}/", document),
        Route(f"/{token}/recordings", recordings),
        Route(f"{of}/meta", meta),
        Route(f"{of}/diagnosis", diagnosis),
        Route(f"{of}/rows/{{row}}/{{block:path}}", block),
        Route(f"{of}/whatif", what_if, methods=["POST"]),
        Route(f"/{token}/events", events),
    ]
    handlers = {GatewrightError: unfit, KeyError: missing}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), token)


class Guard:
    """Lets through what comes from the page itself: its host, its origin, its token.

    Args:
        app: what is asked.
        token: first part of every path.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the application, or refuse."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        given = scope["path"].removeprefix("/").partition("/")[0].encode("utf-8", "replace")
        fits = (
            host_fits(host, ())
            and origin_fits(headers.get("origin"), host, ())
            and headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        )
        if repeated(headers) is not None:
            await Response("several Host or Origin headers\n", 400, _HEADERS, "text/plain")(scope, receive, send)
            return
        if not fits or not hmac.compare_digest(given, self._token):
            await Response("not here\n", 404, _HEADERS, "text/plain")(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in _HEADERS.items()),
                ]
            await send(message)

        await self._app(scope, receive, with_headers)
