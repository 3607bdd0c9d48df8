"""WebSocket connection with limits."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gatewright.web.bounded_connection import BODY_TIMEOUT, BoundedConnection
from gatewright.web.connection_limit import ConnectionLimit

#: Code of a connection that the server closes because it stops.
GOING_AWAY = 1001
#: Maximum number of parts of a message.
MAX_PARTS = 1024


class WebSocketConnection(BoundedConnection, WebSocketsSansIOProtocol):
    """A WebSocket connection; it reads no input while the client leaves output unread."""

    def __init__(self, *arguments: Any, limit: ConnectionLimit, **options: Any) -> None:
        super().__init__(*arguments, limit=limit, **options)
        self._parts = 0  # of the unfinished message

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._limit.mark_idle(self, ConnectionLimit.WEBSOCKET)

    def _can_receive(self) -> bool:
        return super()._can_receive() and self._unread is None

    def _chunk_size(self) -> int:
        return 4096

    def _deliver(self, piece: bytes) -> None:
        super()._deliver(piece)
        failed = not self.handshake_complete and getattr(self.conn, "handshake_exc", None) is not None
        if failed and not self._wire.is_closing():  # uvicorn would wait for more of an invalid handshake
            self._wire.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self._wire.close()

    def check(self, now: float) -> None:
        if self.handshake_complete and not self._parts:
            self._deadline = None
        super().check(now)

    def shutdown(self) -> None:
        """Let the application answer the messages that it has read, and close."""
        if self.handshake_complete and not self.close_sent:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY, "reason": ""})
        else:
            super().shutdown()

    def handle_text(self, event: Any) -> None:
        self._begin(event)
        super().handle_text(event)

    def handle_bytes(self, event: Any) -> None:
        self._begin(event)
        super().handle_bytes(event)

    def handle_cont(self, event: Any) -> None:
        self._parts = 0 if event.fin else self._parts + 1
        if self._parts <= MAX_PARTS:
            super().handle_cont(event)
        elif self._parts == MAX_PARTS + 1:
            self.conn.fail(1009, f"more than {MAX_PARTS} parts")
            self.handle_parser_exception()

    def _begin(self, event: Any) -> None:
        self._limit.mark_idle(self, ConnectionLimit.WEBSOCKET)  # now the most recently active one
        if not event.fin:
            self._parts, self._deadline = 1, self._now() + BODY_TIMEOUT
