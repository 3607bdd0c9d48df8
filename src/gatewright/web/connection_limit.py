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
_SPARE = 32
#: Seconds between two looks for connections whose time is over.
_LOOK = 1.0
#: Seconds in which who has just come may not have asked yet.
_FRESH = 1.0
#: What `accept` fails with where the system has no more to give.
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n"
    b"content-type: application/json\r\ncontent-length: 80\r\n\r\n"
    b'{"error":{"argument":"connection","expected":"fewer at once","got":"one more"}}\n'
)


class Member(Protocol):
    """A connection in a room."""

    def check(self, now: float) -> None:
        """End it if its time is over."""

    def leave(self) -> None:
        """End it now."""


class Room:
    """The connections of a server.

    When there are as many as there may be, the next one takes the place of one that has nothing to do: of one that
    has not asked for anything for a while, else of one between two requests, else of a WebSocket; and of those, of
    the one that has been idle for longest.

    Args:
        most: at most so many; fewer if the process may not open so many files.
    """

    #: Ranks of idle connections: those of the first one go first.
    NEW, BETWEEN, SOCKET = range(3)

    def __init__(self, most: int) -> None:
        self.most = min(most, _files())
        self.count = 0
        self._members: dict[Member, None] = {}
        self._idle: tuple[dict[Member, float], ...] = ({}, {}, {})  # since when, in that order
        self._sweep: asyncio.TimerHandle | None = None

    def add(self, member: Member) -> None:
        """Let a connection in, and end it when its time is over."""
        self._members[member] = None
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_LOOK, self._check)

    def remove(self, member: Member) -> None:
        """Forget a connection that has ended."""
        self._members.pop(member, None)
        self.busy(member)

    def idle(self, member: Member, rank: int) -> None:
        """Take note that a connection has nothing to do, as of now."""
        self.busy(member)
        self._idle[rank][member] = time.monotonic()

    def busy(self, member: Member) -> None:
        """Take note that a connection is worked for."""
        for members in self._idle:
            members.pop(member, None)

    def make(self) -> bool:
        """End the connection that can best be spared; return whether there was one."""
        new, between, sockets = self._idle
        fresh = new and time.monotonic() - next(iter(new.values())) < _FRESH
        for members in (between, new, sockets) if fresh else (new, between, sockets):
            if members:
                member = next(iter(members))
                self.remove(member)
                member.leave()
                return True
        return False

    def _check(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        for member in list(self._members):
            member.check(loop.time())
        if self._members:
            self._sweep = loop.call_later(_LOOK, self._check)


class Listening(socket.socket):
    """A listening socket that accepts no more connections than there is room for.

    Attributes:
        room: for them; None for any number.
    """

    room: Room | None = None
    _again = 0.0

    def accept(self) -> tuple[socket.socket, Any]:
        """Return a connection and its address, for an event loop.

        Raises:
            BlockingIOError: if there is none now; the loop comes again as soon as there is.
            OSError: if the system has no more to give; the loop then waits for a second.
        """
        room = self.room
        if room is None:
            return super().accept()
        if room.count > room.most:
            raise BlockingIOError  # what has been let go is closed first
        try:
            connection, address = super().accept()
        except OSError as error:
            if error.errno not in _SCARCE:
                raise
            room.make()
            # asyncio goes on accepting after this error, and logs each: it is given one a second.
            if time.monotonic() < self._again:
                raise BlockingIOError from None
            self._again = time.monotonic() + _LOOK / 2
            raise
        if room.count >= room.most and not room.make():
            with connection, contextlib.suppress(OSError):
                connection.setblocking(False)
                connection.send(_FULL)
            raise BlockingIOError
        return _Counted(connection, room), address


class _Counted(socket.socket):
    """A connection that has its place until it is closed."""

    def __init__(self, connection: socket.socket, room: Room) -> None:
        super().__init__(connection.family, connection.type, connection.proto, fileno=connection.detach())
        self._room: Room | None = room
        room.count += 1

    def close(self) -> None:
        """Close it, and give its place to another."""
        super().close()
        if self._room is not None:
            self._room.count -= 1
            self._room = None


def _files() -> int:
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
        used = _SPARE
    return max(8, most - used - _SPARE)
