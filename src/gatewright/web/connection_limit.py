"""Maximum number of connections, and the choice of the one to close for a new one."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
import time
from pathlib import Path
from typing import Any, Protocol

#: Open files reserved for the store, the model and the log.
_RESERVED_FILES = 32
#: Seconds between two checks for timeouts.
_CHECK_INTERVAL = 1.0
#: Seconds for a TLS handshake.
_HANDSHAKE_TIMEOUT = 10.0
#: Seconds in which a new connection may not have sent a request yet.
_FRESH = 1.0
#: Errors of `accept` when system resources are exhausted.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n"
    b"content-type: application/json\r\ncontent-length: 80\r\n\r\n"
    b'{"error":{"argument":"connection","expected":"fewer at once","got":"one more"}}\n'
)


class LimitedConnection(Protocol):
    """A connection under a limit."""

    def check(self, now: float) -> None:
        """Abort the connection if a timeout has expired."""

    def abort(self) -> None:
        """Abort the connection."""


class ConnectionLimit:
    """The connections of a server.

    At the maximum, a new connection replaces an idle one: first one that has sent no request for a while, then one
    between two requests, then a WebSocket; among those, the one that has been idle for longest.

    Args:
        most: maximum number of connections; lowered to the process's limit of open files.
    """

    #: Ranks of idle connections, in order of eviction.
    NEW, KEEP_ALIVE, WEBSOCKET = range(3)

    def __init__(self, most: int) -> None:
        self.maximum = min(most, _file_limit())
        self.count = 0
        self._connections: dict[LimitedConnection, None] = {}
        self._idle: tuple[dict[LimitedConnection, float], ...] = ({}, {}, {})  # idle since, in that order
        self._handshakes: dict[int, _CountedConnection] = {}  # accepted, without a protocol yet; by file
        self._sweep: asyncio.TimerHandle | None = None

    def accept(self, connection: _CountedConnection) -> None:
        """Add a connection that may be at a TLS handshake, and check its timeout from now on."""
        self._handshakes[connection.fileno()] = connection
        self._begin_sweep()

    def forget(self, file: int) -> None:
        """Remove a connection whose handshake is done, or that is closed."""
        self._handshakes.pop(file, None)

    def add(self, connection: LimitedConnection, file: int = -1) -> None:
        """Add a connection, and check its timeouts from now on.

        Args:
            connection: the connection, after its TLS handshake.
            file: its socket's file.
        """
        self.forget(file)
        self._connections[connection] = None
        self._begin_sweep()

    def _begin_sweep(self) -> None:
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_CHECK_INTERVAL, self._check)

    def remove(self, connection: LimitedConnection) -> None:
        """Remove a closed connection."""
        self._connections.pop(connection, None)
        self.mark_busy(connection)

    def mark_idle(self, connection: LimitedConnection, rank: int) -> None:
        """Mark a connection as idle from now on."""
        self.mark_busy(connection)
        self._idle[rank][connection] = time.monotonic()

    def mark_busy(self, connection: LimitedConnection) -> None:
        """Mark a connection as busy."""
        for connections in self._idle:
            connections.pop(connection, None)

    def evict_idle(self) -> bool:
        """Abort the first idle connection; return whether there was one."""
        handshake = next(iter(self._handshakes.values()), None)
        if handshake is not None and time.monotonic() - handshake.since > _FRESH:
            handshake.abort()
            return True
        new, between, sockets = self._idle
        fresh = new and time.monotonic() - next(iter(new.values())) < _FRESH
        for connections in (between, new, sockets) if fresh else (new, between, sockets):
            if connections:
                connection = next(iter(connections))
                self.remove(connection)
                connection.abort()
                return True
        if handshake is not None:
            handshake.abort()
        return handshake is not None

    def _check(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        for connection in list(self._connections):
            connection.check(loop.time())
        for handshake in list(self._handshakes.values()):
            if time.monotonic() - handshake.since > _HANDSHAKE_TIMEOUT:
                handshake.abort()
        if self._connections or self._handshakes:
            self._sweep = loop.call_later(_CHECK_INTERVAL, self._check)


class LimitedSocket(socket.socket):
    """A listening socket that accepts connections up to a limit.

    Attributes:
        limit: the limit; None for any number.
    """

    limit: ConnectionLimit | None = None
    _again = 0.0

    def accept(self) -> tuple[socket.socket, Any]:
        """Return a connection and its address, for an event loop.

        Raises:
            BlockingIOError: if no connection is waiting; the event loop calls again when there is.
            OSError: if system resources are exhausted; the event loop then waits for a second.
        """
        limit = self.limit
        if limit is None:
            return super().accept()
        if limit.count > limit.maximum:
            raise BlockingIOError  # aborted connections are closed first
        try:
            connection, address = super().accept()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            limit.evict_idle()
            # asyncio logs this error and accepts again at once: raise it only once a second.
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
    """A connection that counts towards the limit until it is closed.

    Attributes:
        since: when it was accepted, as `time.monotonic` gives it.
    """

    def __init__(self, connection: socket.socket, limit: ConnectionLimit) -> None:
        super().__init__(connection.family, connection.type, connection.proto, fileno=connection.detach())
        self._limit: ConnectionLimit | None = limit
        self.since = time.monotonic()
        limit.count += 1
        limit.accept(self)

    def abort(self) -> None:
        """End a handshake; asyncio then closes the connection."""
        if self._limit is not None:
            self._limit.forget(self.fileno())
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket and decrement the count."""
        if self._limit is not None:
            self._limit.forget(self.fileno())
        super().close()
        if self._limit is not None:
            self._limit.count -= 1
            self._limit = None


def _file_limit() -> int:
    """Return the number of connections that the limit of open files allows."""
    try:
        import resource
    except ImportError:  # Windows
        return sys.maxsize
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return sys.maxsize
    try:
        used = len(list(Path("/proc/self/fd").iterdir()))
    except OSError:
        used = _RESERVED_FILES
    return max(8, most - used - _RESERVED_FILES)
