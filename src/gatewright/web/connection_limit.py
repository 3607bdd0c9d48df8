"""How many connections there may be at once, and which of them goes when another one comes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
import time
from pathlib import Path
from typing import Any, Protocol

#: Files that stay free for the store, the model and the log.
_RESERVED_FILES = 32
#: Seconds between two looks for connections whose time is over.
_CHECK_INTERVAL = 1.0
#: Seconds in which who has just come may not have asked yet.
_FRESH = 1.0
#: What `accept` fails with where the system has no more to give.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n"
    b"content-type: application/json\r\ncontent-length: 80\r\n\r\n"
    b'{"error":{"argument":"connection","expected":"fewer at once","got":"one more"}}\n'
)


class LimitedConnection(Protocol):
    """A connection in a room."""

    def check(self, now: float) -> None:
        """End it if its time is over."""

    def abort(self) -> None:
        """End it now."""


class ConnectionLimit:
    """The connections of a server.

    When there are as many as there may be, the next one takes the place of one that has nothing to do: of one that
    has not asked for anything for a while, else of one between two requests, else of a WebSocket; and of those, of
    the one that has been idle for longest.

    Args:
        most: at most so many; fewer if the process may not open so many files.
    """

    #: Ranks of idle connections: those of the first one go first.
    NEW, KEEP_ALIVE, WEBSOCKET = range(3)

    def __init__(self, most: int) -> None:
        self.maximum = min(most, _file_limit())
        self.count = 0
        self._connections: dict[LimitedConnection, None] = {}
        self._idle: tuple[dict[LimitedConnection, float], ...] = ({}, {}, {})  # since when, in that order
        self._sweep: asyncio.TimerHandle | None = None

    def add(self, connection: LimitedConnection) -> None:
        """Let a connection in, and end it when its time is over."""
        self._connections[connection] = None
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_CHECK_INTERVAL, self._check)

    def remove(self, connection: LimitedConnection) -> None:
        """Forget a connection that has ended."""
        self._connections.pop(connection, None)
        self.mark_busy(connection)

    def mark_idle(self, connection: LimitedConnection, rank: int) -> None:
        """Take note that a connection has nothing to do, as of now."""
        self.mark_busy(connection)
        self._idle[rank][connection] = time.monotonic()

    def mark_busy(self, connection: LimitedConnection) -> None:
        """Take note that a connection is worked for."""
        for connections in self._idle:
            connections.pop(connection, None)

    def evict_idle(self) -> bool:
        """End the connection that can best be spared; return whether there was one."""
        new, between, sockets = self._idle
        fresh = new and time.monotonic() - next(iter(new.values())) < _FRESH
        for connections in (between, new, sockets) if fresh else (new, between, sockets):
            if connections:
                connection = next(iter(connections))
                self.remove(connection)
                connection.abort()
                return True
        return False

    def _check(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        for connection in list(self._connections):
            connection.check(loop.time())
        if self._connections:
            self._sweep = loop.call_later(_CHECK_INTERVAL, self._check)


class LimitedSocket(socket.socket):
    """A listening socket that accepts no more connections than there is room for.

    Attributes:
        limit: for them; None for any number.
    """

    limit: ConnectionLimit | None = None
    _again = 0.0

    def accept(self) -> tuple[socket.socket, Any]:
        """Return a connection and its address, for an event loop.

        Raises:
            BlockingIOError: if there is none now; the loop comes again as soon as there is.
            OSError: if the system has no more to give; the loop then waits for a second.
        """
        limit = self.limit
        if limit is None:
            return super().accept()
        if limit.count > limit.maximum:
            raise BlockingIOError  # what has been let go is closed first
        try:
            connection, address = super().accept()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            limit.evict_idle()
            # asyncio goes on accepting after this error, and logs each: it is given one a second.
            if time.monotonic() < self._again:
                raise BlockingIOError from None
            self._again = time.monotonic() + _CHECK_INTERVAL / 2
            raise
        if limit.count >= limit.maximum and not limit.evict_idle():
            with connection, contextlib.suppress(OSError):
                connection.setblocking(False)
                connection.send(_FULL)
            raise BlockingIOError
        return _CountedConnection(connection, limit), address


class _CountedConnection(socket.socket):
    """A connection that has its place until it is closed."""

    def __init__(self, connection: socket.socket, limit: ConnectionLimit) -> None:
        super().__init__(connection.family, connection.type, connection.proto, fileno=connection.detach())
        self._limit: ConnectionLimit | None = limit
        limit.count += 1

    def close(self) -> None:
        """Close it, and give its place to another."""
        super().close()
        if self._limit is not None:
            self._limit.count -= 1
            self._limit = None


def _file_limit() -> int:
    """Return how many connections the process can open files for."""
    try:
        import resource
    except ImportError:  # a system that does not count them so
        return sys.maxsize
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return sys.maxsize
    try:
        used = len(list(Path("/proc/self/fd").iterdir()))
    except OSError:
        used = _RESERVED_FILES
    return max(8, most - used - _RESERVED_FILES)
