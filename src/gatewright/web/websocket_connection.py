"""A connection that speaks WebSocket, within bounds."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gatewright.web.bounded_connection import BODY_PATIENCE, Bounded
from gatewright.web.connection_limit import Room

#: Parts of one message.
MAX_PARTS = 1024


class SocketConnection(Bounded, WebSocketsSansIOProtocol):
    """A connection that speaks WebSocket; it is not read from while what was answered is not read."""

    def __init__(self, *arguments: Any, room: Room, **named: Any) -> None:
        super().__init__(*arguments, room=room, **named)
        self._parts = 0  # of the message that is not at its end

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._room.idle(self, Room.SOCKET)

    def _takes(self) -> bool:
        return super()._takes() and self._stuck is None

    def _piece(self) -> int:
        return 4096

    def _give(self, piece: bytes) -> None:
        super()._give(piece)
        failed = not self.handshake_complete and getattr(self.conn, "handshake_exc", None) is not None
        if failed and not self._wire.is_closing():  # what is no handshake at all, and uvicorn waits for more of
            self._wire.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self._wire.close()

    def check(self, now: float) -> None:
        if self.handshake_complete and not self._parts:
            self._due = None
        super().check(now)

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
        self._room.idle(self, Room.SOCKET)  # the last of them now
        if not event.fin:
            self._parts, self._due = 1, self._now() + BODY_PATIENCE
