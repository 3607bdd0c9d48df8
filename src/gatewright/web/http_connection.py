"""HTTP connection with limits."""

from __future__ import annotations

import functools
import json
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gatewright.web.bounded_connection import BODY_TIMEOUT, HEAD_TIMEOUT, BoundedConnection
from gatewright.web.connection_limit import ConnectionLimit

#: Maximum size of a request's line and headers, of its trailers, and of a chunk's metadata, in bytes.
MAX_HEAD = 16_384
#: Maximum size of the request line and of one header, in bytes.
MAX_LINE = 8000
#: Maximum number of headers, trailers included.
MAX_HEADERS = 100
#: Bytes that are parsed at once: of heads, and at most of a body.
_PIECE, _MAX_PIECE = 1024, 16_384
#: Seconds that a connection stays open between requests.
KEEP_ALIVE = 5


def server_config(app: Any, limit: ConnectionLimit, *, ws: Any = "none", **more: Any) -> uvicorn.Config:
    """Return uvicorn's configuration for an application with limited connections.

    Args:
        app: the application.
        limit: limit of its connections.
        ws: `WebSocketConnection` if the application has WebSockets.
        more: further options of `uvicorn.Config`.
    """
    http: Any = functools.partial(HttpConnection, limit=limit)
    sockets: Any = ws if ws == "none" else functools.partial(ws, limit=limit)
    return uvicorn.Config(
        app, http=http, ws=sockets, loop="asyncio", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, ws_per_message_deflate=False, timeout_keep_alive=KEEP_ALIVE, **more,
    )  # fmt: skip


class _TooLargeError(Exception):
    """A limit was exceeded."""


class HttpConnection(BoundedConnection, HttpToolsProtocol):
    """An HTTP connection; its requests run one at a time."""

    def __init__(self, *arguments: Any, limit: ConnectionLimit, **options: Any) -> None:
        super().__init__(*arguments, limit=limit, **options)
        self._started = self._answered = 0
        self._whole = True  # whether the last request is complete
        self._head_done = False
        self._since = 0  # bytes since the last complete element
        self._size = self._count = 0  # size and number of the headers
        self._body_left = 0  # of the announced size
        self._refusal = (400, "HTTP/1.1", "something else")

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._limit.mark_idle(self, ConnectionLimit.NEW)

    def _can_receive(self) -> bool:
        # The body of the request in progress; the next request, or the rest of it, only after all answers: uvicorn
        # resumes reading at each answer and each `receive`, and each chunk may hold many requests.
        waiting = self._started - self._answered
        return super()._can_receive() and self.parser is not None and waiting <= self._in_body()

    def _chunk_size(self) -> int:
        # Bytes after the end of a body belong to further requests, of which there may be many.
        return min(_MAX_PIECE, max(_PIECE, self._body_left)) if self._in_body() else _PIECE

    def _in_body(self) -> bool:
        """Return whether the last request has its head, and not yet its whole body."""
        return self._head_done and not self._whole

    def _deliver(self, piece: bytes) -> None:
        if self._whole and self._deadline is None:
            self._deadline = self._now() + HEAD_TIMEOUT
        self._since += len(piece)
        super()._deliver(piece)
        if self._since > MAX_HEAD and not self._wire.is_closing():
            part = "the headers" if not self._head_done else "the trailers and metadata of chunks"
            self._refusal = (431, f"{part} in at most {MAX_HEAD} bytes", "more")
            self.send_400_response("")

    def check(self, now: float) -> None:
        if self._deadline is not None and self._started - self._answered > self._in_body():
            # The rest of a request waits for the answers before it.
            self._deadline = now + (BODY_TIMEOUT if self._in_body() else HEAD_TIMEOUT)
        super().check(now)

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._whole = self._head_done = False
        self._deadline = self._now() + HEAD_TIMEOUT
        self._size = self._count = self._body_left = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_LINE:
            self._refuse(414, f"a path and query of at most {MAX_LINE} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name) + len(value) + 4
        self._size, self._count = self._size + size, self._count + 1
        if size > MAX_LINE or self._size > MAX_HEAD or self._count > MAX_HEADERS:
            most = f"at most {MAX_HEADERS} headers, of {MAX_LINE} bytes each and {MAX_HEAD} in all"
            self._refuse(431, most)
        if not self._head_done:  # trailers are ignored
            super().on_header(name, value)
            if name.lower() == b"content-length":
                self._body_left = int(value)  # the parser accepts nothing but digits

    def on_headers_complete(self) -> None:
        before = self.cycle
        super().on_headers_complete()
        self._started += self.cycle is not before
        self._since, self._head_done = 0, True
        self._deadline = self._now() + BODY_TIMEOUT

    def on_body(self, body: bytes) -> None:
        self._since = 0
        self._body_left -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._since, self._whole, self._deadline = 0, True, None
        super().on_message_complete()
        if self._started > self._answered:
            self._limit.mark_busy(self)

    # Overrides of uvicorn's methods.

    def on_response_complete(self) -> None:
        self._answered += 1
        super().on_response_complete()
        if self._started == self._answered:
            self.cycle.body = bytearray()  # the application did not read it
            self._limit.mark_idle(self, ConnectionLimit.KEEP_ALIVE)
        self._resume()

    def handle_websocket_upgrade(self) -> None:
        if self._started > self._answered:  # a request is in progress
            self._wire.close()
            return
        self._limit.remove(self)
        self._buffer.clear()
        super().handle_websocket_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        """Ignore the upgrade and close after the answer: the parser cannot read on."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def _refuse(self, status: int, expected: str) -> None:
        self._refusal = (status, expected, "more")
        raise _TooLargeError

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Send the error unless another answer is in progress, and close."""
        status, expected, got = self._refusal
        waiting = self._started - self._answered
        if waiting == 0 or (waiting == 1 and not self.cycle.response_started):
            error = {"argument": "request", "expected": expected, "got": got}
            body = json.dumps({"error": error}).encode()
            head = (
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self._wire.write(head.encode() + body)
        if self.cycle is not None:
            self.cycle.disconnected = True  # no further answer after the error
            self.cycle.message_event.set()
        self._wire.close()
