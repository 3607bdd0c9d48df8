"""A client that sends more than it may: the server reads it piece by piece, and holds little of it.

The connection is driven by hand, without sockets: each read has the size that the test gives it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from uvicorn.server import ServerState

from gatewright.web.bounded_connection import CLOSE_TIMEOUT
from gatewright.web.connection_limit import ConnectionLimit
from gatewright.web.http_connection import HttpConnection, server_config
from gatewright.web.websocket_connection import WebSocketConnection
from tests.serve.attacks import framed

#: Turns of the event loop after which nothing more can happen.
TURNS = 5000
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Wire:
    """A transport whose client reads everything, or the first `room` bytes."""

    def __init__(self, room: int = 1 << 40) -> None:
        self.output, self.room = bytearray(), room
        self.connection: Any = None
        self.reading, self.closing, self.aborted, self.full = True, False, False, False

    def write(self, data: bytes) -> None:
        self.output += data
        if not self.full and self.get_write_buffer_size() > 65_536:
            self.full = True
            self.connection.pause_writing()

    def get_write_buffer_size(self) -> int:
        return max(0, len(self.output) - self.room)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def set_protocol(self, protocol: Any) -> None:
        self.connection = protocol

    def get_extra_info(self, _: str) -> None:
        return None


def connect(app: Any, room: int = 1 << 40) -> Wire:
    """Return the client's end of a connection to an application."""
    limit, wire = ConnectionLimit(10), Wire(room)
    config = server_config(app, limit, ws=WebSocketConnection, lifespan="off")
    config.load()
    wire.connection = HttpConnection(config, ServerState(), {}, limit=limit)
    wire.connection.connection_made(wire)
    return wire


async def send(wire: Wire, data: bytes, read: int, done: Callable[[], bool] = lambda: False) -> int:
    """Send data while the server reads, and wait until `done`; return the number of bytes that it read."""
    sent = 0
    for _ in range(TURNS):
        if wire.reading and sent < len(data):
            wire.connection.data_received(data[sent : sent + read])
            sent += read
        if done():
            break
        await asyncio.sleep(0)
    return min(sent, len(data))


async def repeat(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request with its path and its body."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    text = scope["raw_path"] + b" " + body + b"\n"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})


async def never_receives(scope: Any, receive: Any, send: Any) -> None:
    """Accept a WebSocket, and take no message."""
    await receive()
    await send({"type": "websocket.accept"})
    await asyncio.Event().wait()


#: Requests of an even number of bytes, as a piece has.
REQUESTS = {
    "without a body": b"GET /a%03d HTTP/1.1\r\n\r\n",
    "with a body": b"POST /%03d HTTP/1.1\r\nContent-Length: 1\r\n\r\na",
    "with a chunked body": b"POST /a%03d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("read", [262_144, 1021, 33])
@pytest.mark.parametrize("kind", REQUESTS)
def test_few_pipelined_requests_are_held_wherever_pieces_end(kind: str, read: int) -> None:
    """The first request has an odd number of bytes, so that no piece of 1024 ends where a request does."""
    form, count = REQUESTS[kind], 400
    size = len(form % 0)
    data = (form % 0).replace(b" HTTP", b"? HTTP") + b"".join(form % number for number in range(1, count))
    assert size % 2 == 0
    held = [0]

    async def work() -> None:
        wire = connect(repeat)
        connection = wire.connection

        def done() -> bool:
            running = connection.cycle is not None and not connection.cycle.response_complete
            held.append(len(connection.pipeline) + running)
            return wire.output.count(b"HTTP/1.1 200") == count and not running

        assert await send(wire, data, read, done) == len(data)
        lines = [line.split() for line in bytes(wire.output).splitlines() if line[:1] == b"/"]
        assert [int(line[0].strip(b"/a?")) for line in lines] == list(range(count))
        assert all(line[1:] == [b"a"] * (b"POST" in form) for line in lines)

    asyncio.run(work())
    assert max(held) <= 1024 // size + 2


@pytest.mark.parametrize("read", [262_144, 1021])
def test_no_request_is_parsed_behind_answers_that_nobody_reads(read: int) -> None:
    form = REQUESTS["without a body"]
    data = b"G" + b"".join(form[1:] % 0 + b"G" for _ in range(20_000))

    async def work() -> None:
        wire = connect(repeat, room=1000)
        connection = wire.connection
        sent = await send(wire, data, read)
        answers = wire.output.count(b"HTTP/1.1 200")
        assert wire.get_write_buffer_size() < 65_536 + 200
        assert sent <= answers * len(form % 0) + read + 1024
        assert len(connection.pipeline) <= 1024 // len(form % 0) + 1

    asyncio.run(work())


@pytest.mark.parametrize("read", [262_144, 1021])
def test_a_websocket_holds_few_messages_that_the_application_does_not_take(read: int) -> None:
    frame = framed(b"", 1)

    async def work() -> None:
        wire = connect(never_receives)
        assert await send(wire, HANDSHAKE, read, lambda: b"101" in wire.output) == len(HANDSHAKE)
        assert await send(wire, frame * 100_000, read) <= read + 4096
        assert 0 < wire.connection.queue.qsize() <= 4096 // len(frame) + 1

    asyncio.run(work())


@pytest.mark.parametrize("read", [262_144, 1021])
def test_a_websocket_answers_few_pings_whose_pongs_nobody_reads(read: int) -> None:
    ping = framed(b"a" * 9, 9)

    async def work() -> None:
        wire = connect(never_receives, room=1000)
        assert await send(wire, HANDSHAKE, read, lambda: b"101" in wire.output) == len(HANDSHAKE)
        sent = await send(wire, ping * 50_000, read)
        pongs = wire.output.count(b"a" * 9)
        assert 65_536 < wire.get_write_buffer_size() < 65_536 + 4096
        assert sent <= pongs * len(ping) + read + 4096

    asyncio.run(work())


@pytest.mark.parametrize(("first", "app", "status"), [
    (REQUESTS["without a body"] % 0, repeat, b"200"), (HANDSHAKE, never_receives, b"101"),
])  # fmt: skip
def test_a_half_closed_connection_ends_though_nobody_reads(first: bytes, app: Any, status: bytes) -> None:
    async def work() -> None:
        wire = connect(app, room=0)
        await send(wire, first, 1000, lambda: wire.output.startswith(b"HTTP/1.1 " + status))
        now = asyncio.get_running_loop().time()
        wire.connection.check(now + 1)
        wire.connection.eof_received()
        wire.closing = True  # asyncio closes the transport, which still has output
        wire.connection.check(now + CLOSE_TIMEOUT - 1)
        assert not wire.aborted
        wire.connection.check(now + CLOSE_TIMEOUT + 60)
        assert wire.aborted

    asyncio.run(work())
