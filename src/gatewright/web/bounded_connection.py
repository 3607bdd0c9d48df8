"""Bounds of a connection: what a client sends, leaves unread or never finishes costs little, and ends."""

from __future__ import annotations

import asyncio
from typing import Any

from gatewright.web.connection_limit import ConnectionLimit

#: Seconds in which a request's head comes, and the handshake of a WebSocket.
HEAD_TIMEOUT = 10.0
#: Seconds in which a body comes, or all parts of a message.
BODY_TIMEOUT = 35.0
#: Seconds in which a client reads something of what waits for it.
READ_TIMEOUT = 30.0
#: Seconds in which a connection that is closed gets rid of its last bytes.
CLOSE_TIMEOUT = 10.0
#: Bytes that count as something.
_PROGRESS = 16_384
#: Seconds that a connection is worked for before others are.
_TURN = 0.005


class _Transport:
    """A transport that is read from only while both its protocol and the bounds allow it."""

    def __init__(self, transport: Any, changed: Any) -> None:
        self._transport, self._changed = transport, changed
        self.write = transport.write
        self.paused = False  # as uvicorn wants it
        self.closed: float | None = None  # since when

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    @property
    def inner(self) -> Any:
        """The transport itself."""
        return self._transport

    def pause_reading(self) -> None:
        self.paused = True
        self._changed()

    def resume_reading(self) -> None:
        self.paused = False
        self._changed()

    def close(self) -> None:
        if self.closed is None:
            self.closed = asyncio.get_running_loop().time()
        self._transport.close()


class BoundedConnection(asyncio.Protocol):
    """What both protocols have in common; stands before uvicorn's class.

    What comes is held back and given to uvicorn in small pieces: as long as it wants some, as long as what was
    answered is read, and for a short turn at a time.
    """

    def __init__(self, *arguments: Any, limit: ConnectionLimit, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limit = limit
        self._buffer = bytearray()
        self._feeding = False
        self._unread: tuple[float, int] | None = None  # since when, with how many bytes that are not read
        self._deadline: float | None = None  # when its time is over
        self._wire: Any = None

    def connection_made(self, transport: Any) -> None:
        self._wire = _Transport(getattr(transport, "inner", transport), self._resume)
        self._deadline = self._now() + HEAD_TIMEOUT
        super().connection_made(self._wire)
        self._limit.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._buffer.clear()
        self._limit.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._feed()

    def pause_writing(self) -> None:
        self._unread = (self._now(), self._wire.get_write_buffer_size())
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread = None
        super().resume_writing()
        self._resume()

    def check(self, now: float) -> None:
        """End it if its time is over."""
        if self._unread is not None:
            since, size = self._unread
            left = self._wire.get_write_buffer_size()
            if left <= size - _PROGRESS:
                self._unread = (now, left)
            elif now - since > READ_TIMEOUT:
                self.abort()
        closed = self._wire.closed
        if (closed is not None and now - closed > CLOSE_TIMEOUT) or (
            self._deadline is not None and now > self._deadline
        ):
            self.abort()

    def abort(self) -> None:
        """End it now."""
        self._wire.abort()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _can_receive(self) -> bool:
        """Whether uvicorn is to be given more."""
        return not self._wire.paused and not self._wire.is_closing()

    def _chunk_size(self) -> int:
        """How many bytes to give it at once."""
        raise NotImplementedError

    def _deliver(self, piece: bytes) -> None:
        super().data_received(piece)

    def _feed(self) -> None:
        if self._feeding:  # uvicorn calls back while it is given something
            return
        self._feeding = True
        try:
            until = self._now() + _TURN
            while self._buffer and self._can_receive():
                size = self._chunk_size()
                piece = bytes(self._buffer[:size])
                del self._buffer[:size]
                self._deliver(piece)
                if self._buffer and self._now() > until:
                    asyncio.get_running_loop().call_soon(self._resume)
                    break
        finally:
            self._feeding = False
        if self._wire.is_closing():
            self._buffer.clear()
        elif self._buffer or self._wire.paused:
            self._wire.inner.pause_reading()
        else:
            self._wire.inner.resume_reading()

    def _resume(self) -> None:
        """Go on with what is held back, if it may."""
        if not self._feeding:
            self._feed()
