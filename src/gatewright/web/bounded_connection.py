"""Limits of a connection: buffered input, unread output and timeouts."""

from __future__ import annotations

import asyncio
from typing import Any

from gatewright.web.connection_limit import ConnectionLimit

#: Timeout for a request's head and for a WebSocket's handshake, in seconds.
HEAD_TIMEOUT = 10.0
#: Timeout for a body, or for all parts of a message, in seconds.
BODY_TIMEOUT = 35.0
#: Timeout for a client to read some of its waiting output, in seconds.
READ_TIMEOUT = 30.0
#: Timeout for a closed connection to send its last bytes, in seconds.
CLOSE_TIMEOUT = 10.0
#: Deciphered bytes that wait for a connection that does not read.
_DECIPHERED = 16_384
#: Bytes read by a client that count as progress.
_PROGRESS = 16_384
#: Seconds of work on one connection before others get a turn.
_TURN = 0.005


class _Transport:
    """A transport that reads only while both uvicorn and the limits allow it."""

    def __init__(self, transport: Any, changed: Any) -> None:
        self._transport, self._changed = transport, changed
        self.write = transport.write
        self.paused = False  # as uvicorn requested
        self.closed: float | None = None  # time of closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    @property
    def inner(self) -> Any:
        """The wrapped transport."""
        return self._transport

    def pause_reading(self) -> None:
        self.paused = True
        self._changed()

    def resume_reading(self) -> None:
        self.paused = False
        self._changed()

    def close(self) -> None:
        self.mark_closed()
        if not self._transport.is_closing():  # closed twice, a connection with TLS could not be aborted any more
            self._transport.close()

    def mark_closed(self) -> None:
        """Note the time of closing."""
        if self.closed is None:
            self.closed = asyncio.get_running_loop().time()


class BoundedConnection(asyncio.Protocol):
    """Mixin of both protocols; precedes uvicorn's class.

    Received data is buffered and passed to uvicorn in small chunks: while uvicorn accepts it, while the client
    reads its answers, and for a short turn at a time.
    """

    def __init__(self, *arguments: Any, limit: ConnectionLimit, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limit = limit
        self._buffer = bytearray()
        self._feeding = False
        self._unread: tuple[float, int] | None = None  # time, number of unread bytes
        self._deadline: float | None = None  # time of the timeout
        self._wire: Any = None

    def connection_made(self, transport: Any) -> None:
        self._wire = _Transport(getattr(transport, "inner", transport), self._resume)
        self._deadline = self._now() + HEAD_TIMEOUT
        if hasattr(self._wire, "set_read_buffer_limits"):  # TLS keeps 512 KiB of what was deciphered by default
            self._wire.set_read_buffer_limits(_DECIPHERED)
        super().connection_made(self._wire)
        own = self._wire.get_extra_info("socket")
        self._limit.add(self, -1 if own is None else own.fileno())

    def connection_lost(self, exc: Exception | None) -> None:
        self._buffer.clear()
        self._limit.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._feed()

    def eof_received(self) -> None:
        """Let asyncio close the connection, which waits for the client to read what is left."""
        self._wire.mark_closed()

    def pause_writing(self) -> None:
        self._unread = (self._now(), self._wire.get_write_buffer_size())
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread = None
        super().resume_writing()
        self._resume()

    def check(self, now: float) -> None:
        """Abort the connection if a timeout has expired."""
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
        """Abort the connection."""
        self._wire.abort()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _can_receive(self) -> bool:
        """Return whether uvicorn accepts more data."""
        return not self._wire.paused and not self._wire.is_closing()

    def _chunk_size(self) -> int:
        """Return the size of the next chunk, in bytes."""
        raise NotImplementedError

    def _deliver(self, piece: bytes) -> None:
        super().data_received(piece)

    def _feed(self) -> None:
        if self._feeding:  # uvicorn calls back during delivery
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
        """Continue with the buffered data, if allowed."""
        if not self._feeding:
            self._feed()
