"""Junk: fuzzed frames and snapshots get an error that says so; nothing falls over, and no state changes.

Set GATEWRIGHT_LONG to try 10,000 of each.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from gatewright import Stream
from gatewright.errors import StateError
from gatewright.runtime.state import State
from gatewright.serve.settings import Limits
from tests.support.local_server import Local, local
from tests.support.stream_models import series_model, text_model

LONG = bool(os.environ.get("GATEWRIGHT_LONG"))
COUNT = 10_000 if LONG else 250


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Local]:
    limits = Limits(max_body=500_000, max_steps=60)
    with local(text_model().stream(sessions=4), tmp_path, limits=limits) as running:
        yield running


def deep(depth: int, last: Any) -> Any:
    for _ in range(depth):
        last = [last]
    return last


#: What JSON and msgpack both have.
NASTY: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0.5, -0.0, 1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf"), "", "a", "\0", "ä\u2028\U0001f600", "a" * 61, "a" * 50_000),
    *([], [[]], [None], [[None]], [1, [2]], [[1.0, None]], [True], {}, {"a": {}}, {"": None}, "now", "read"),
    *(deep(100, 1), deep(400, None), [1e999] * 3, list(range(61)), [[]] * 1000, {str(n): n for n in range(300)}),
]
ONLY_JSON: list[Any] = ["\ud800", "\udfff\ud800", {"\ud800": 1}, 10**400, -(10**4000), deep(600, 1)]
ONLY_PACKED: list[Any] = [
    *(
        b"",
        b"\xff",
        b"read",
        {1: 2},
        {b"op": b"read"},
        {None: 1},
        msgpack.ExtType(5, b"x"),
    ),
    *(
        msgpack.Timestamp(2**34, 5),
        {"op": msgpack.Timestamp(0)},
        msgpack.ExtType(127, b"\xff" * 12),
        deep(500, b""),
    ),
]
FIELDS = (
    "op",
    "session",
    "x",
    "first",
    "times",
    "outputs",
    "length",
    "prompt",
    "temperature",
    "seed",
    "id",
    "after",
)


class Frames:
    """Frames, most of them wrong."""

    def __init__(self, protocol: str, names: list[str]) -> None:
        self._packed = protocol == "gatewright.msgpack"
        self._names, self._draw = names, random.Random(protocol)
        self._nasty = NASTY + (ONLY_PACKED if self._packed else ONLY_JSON)

    def next(self) -> str | bytes:
        draw = self._draw
        kind = draw.choice(["junk", "bytes", "value", "value", "value", "values", "twice", "deep", "frame"])
        if kind == "junk":
            return draw.randbytes(draw.choice([0, 1, 2, 10, 100]))
        if kind == "deep":
            return self._deep()
        frame: Any = self._frame()
        if kind == "twice":
            return self._twice(frame)
        for _ in range({"value": 1, "values": 4}.get(kind, 0)):
            frame[draw.choice(FIELDS)] = copy.copy(draw.choice(self._nasty))
        if kind == "value" and draw.random() < 0.1:
            frame = draw.choice(self._nasty)
        data = self._coded(frame)
        return self._mutated(data) if kind == "bytes" else data

    def _frame(self) -> dict[str, Any]:
        draw, session = self._draw, self._draw.choice([*self._names, "A" * 32])
        frame = draw.choice(
            [
                {"op": "model"},
                {"op": "create"},
                {"op": "list", "after": "", "most": 3},
                {"op": draw.choice(["read", "reset", "fork", "delete"]), "session": session},
                {"op": "advance", "session": session, "x": "abc", "first": draw.choice([None, 0, 3])},
                {"op": "advance", "session": session, "x": [1, 2], "outputs": "last"},
                {"op": "generate", "session": session, "length": 20, "prompt": "a", "temperature": 0.5, "seed": 1},
            ]
        )
        return {"id": draw.choice([None, 5, "name"]), **frame}

    def _coded(self, frame: Any) -> str | bytes:
        if self._packed:
            return bytes(msgpack.packb(frame))
        return json.dumps(frame)

    def _twice(self, frame: dict[str, Any]) -> str | bytes:
        """One name with two values."""
        other = self._frame()
        if not self._packed:
            return self._coded(frame)[:-1] + ", " + self._coded(other)[1:]  # type: ignore[operator,return-value]
        pairs = [*frame.items(), *other.items()]
        parts = [msgpack.packb(each) for pair in pairs for each in pair]
        return b"\xdf" + len(pairs).to_bytes(4, "big") + b"".join(parts)

    def _deep(self) -> str | bytes:
        depth = self._draw.choice([50, 300, 1000, 5000, 40_000])
        if self._packed:
            part = self._draw.choice([b"\x91", b"\x81\xa1a", b"\xdd\x7f\xff\xff\xff", b"\xdc\x00\x01"])
            return (part * depth)[:90_000] + b"\xc0"
        return (self._draw.choice(["[", '{"x":', '[{"":[', "9", '{"id":9']) * depth)[:90_000]

    def _mutated(self, data: str | bytes) -> str | bytes:
        draw, found = self._draw, bytearray(data if isinstance(data, bytes) else data.encode())
        for _ in range(draw.choice([1, 1, 2, 5])):
            at = draw.randrange(len(found) + 1)
            change = draw.choice(["flip", "put", "drop", "cut", "copy"])
            if change == "flip" and at < len(found):
                found[at] ^= 1 << draw.randrange(8)
            elif change == "put":
                found[at:at] = draw.randbytes(draw.choice([1, 4]))
            elif change == "drop":
                del found[at : at + draw.choice([1, 8])]
            elif change == "cut":
                del found[at:]
            else:
                found[at:at] = found[at : at + 20]
        if self._packed:
            return bytes(found)
        return found.decode("utf-8", "replace") if draw.random() < 0.9 else bytes(found)


def answered(connection: ClientConnection) -> dict[str, Any]:
    """Return the last answer to a frame: text has pieces before it."""
    while True:
        data = connection.recv(30)
        answer = msgpack.unpackb(data) if isinstance(data, bytes) else json.loads(data)
        assert isinstance(answer, dict)
        if "text" not in answer:
            return answer


@pytest.mark.parametrize("protocol", ["gatewright.json", "gatewright.msgpack"])
def test_frames_of_junk(server: Local, protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    watched = server.create()
    server.advance(watched, "abcd", first=0)
    before = server.store.load(watched)
    names = [server.create() for _ in range(3)]
    frames, statuses = Frames(protocol, names), Counter[int]()
    connection = server.socket(protocol)
    with caplog.at_level(logging.WARNING), connection:
        for _ in range(COUNT):
            for place, name in enumerate(names):
                if server.store.load(name) is None:  # a frame that was well-formed after all
                    names[place] = server.create()
            kept = [server.store.load(name) for name in names]
            data = frames.next()
            connection.send(data)
            answer = answered(connection)
            status = answer.get("status", 200)
            assert status in (200, 404, 409, 422, 429), (data, answer)
            if status != 200:
                assert set(answer["error"]) == {"argument", "expected", "got"}, data
                assert len(str(answer["error"])) < 1000
                assert [server.store.load(name) for name in names] == kept, data
            statuses[status] += 1
        connection.send(b'{"op": "list"}' if protocol == "gatewright.json" else msgpack.packb({"op": "list"}))
        assert watched in answered(connection)["sessions"] or len(answered_names(server)) > 1000
    assert not caplog.records
    assert server.store.load(watched) == before
    stream = text_model().stream()
    stream.run("abcd")
    assert server.state(watched) == stream.state()
    assert all(statuses[status] > COUNT / 100 for status in (200, 422)), statuses
    if LONG:
        print(f"\n{protocol}: {sum(statuses.values())} frames, answers by status {dict(sorted(statuses.items()))}")


def answered_names(server: Local) -> list[str]:
    return server.sessions.names()


def test_frames_that_are_no_websocket(server: Local) -> None:
    """Bytes below the frames: the connection ends, and nobody else minds."""
    draw = random.Random(0)
    watched = server.create()
    for _ in range(COUNT // 10):
        with server.socket(close_timeout=0.05) as connection:
            connection.socket.sendall(draw.randbytes(draw.choice([2, 10, 200])))
        with server.socket() as connection:
            connection.send(draw.randbytes(20) + b"\xff", text=True)
            with pytest.raises(ConnectionClosed):
                connection.recv(20)
            assert connection.close_code == 1007
    assert server.state(watched) == text_model().stream().state()
    assert server.http.get("/readyz").status_code == 200


def signed(body: bytes) -> bytes:
    """A snapshot whose digest fits, whatever is in it."""
    return body + hashlib.blake2b(body, digest_size=16).digest()


class Snapshots:
    """Snapshots, most of them damaged."""

    def __init__(self, stream: Stream, draw: random.Random) -> None:
        self._draw, self._stream = draw, stream
        rng = np.random.default_rng(0)
        zero = stream.state()
        self._good = [stream.snapshot()]
        for _ in range(4):
            hidden, cell = (rng.normal(size=zero.hidden.shape).astype(np.float32) for _ in range(2))
            stream.set_state(State(hidden, cell, rng.normal(size=zero.last.shape), int(rng.integers(2**40))))
            self._good.append(stream.snapshot())

    def next(self) -> bytes:
        draw, data = self._draw, self._draw.choice(self._good)
        kind = draw.choice(["good", "cut", "flip", "flip", "put", "mixed", "junk", "signed", "signed", "numbers"])
        at = draw.randrange(len(data))
        if kind == "cut":
            data = data[:at]
        elif kind == "flip":
            data = data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]
        elif kind == "put":
            data = data[:at] + draw.randbytes(draw.choice([1, 100])) + data[at:]
        elif kind == "mixed":
            data = data[:at] + draw.choice(self._good)[at:]
        elif kind == "junk":
            data = draw.randbytes(draw.choice([0, 1, len(data), 5000]))
        elif kind == "signed":  # as one who knows how they are made
            body = bytearray(data[:-16])
            for _ in range(draw.choice([1, 8])):
                body[draw.randrange(len(body))] = draw.choice([0, 0x7F, 0x80, 0xFF, draw.randrange(256)])
            data = signed(bytes(body[: draw.choice([len(body), len(body), draw.randrange(len(body))])]))
        elif kind == "numbers":
            body = bytearray(data[:-16])
            at = draw.randrange(len(body) // 4) * 4
            value = draw.choice([np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, 0.0])
            body[at : at + 4] = np.float32(value).tobytes()
            data = signed(bytes(body))
        return data


@pytest.mark.parametrize("kind", ["text", "series"])
def test_snapshots_of_junk(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = text_model() if kind == "text" else series_model()
    judge = model.stream()
    snapshots = Snapshots(model.stream(), random.Random(kind))
    statuses: Counter[int] = Counter()
    row = "a" if kind == "text" else [[1.0] * len(judge.columns)]
    times = {} if kind == "text" else {"times": ["2024-05-01T13:00"]}
    with local(model.stream(sessions=3), tmp_path) as server, caplog.at_level(logging.WARNING):
        session, watched = server.create(), server.create()
        server.advance(watched, row, first=0, **times)
        before = server.store.load(watched)
        for turn in range(COUNT):
            kept, data = server.store.load(session), snapshots.next()
            try:
                judge.restore(data)
                expected = 200
            except StateError:
                expected = 422
            answer = server.restore(session, data)
            statuses[answer.status_code] += 1
            assert answer.status_code == expected, answer.text
            if expected == 422:
                assert answer.json()["error"]["argument"].partition(".")[0] in ("snapshot", "state")
                assert server.store.load(session) == kept
                continue
            assert server.snapshot(session) == data
            found, expected_state = server.state(session), judge.state()
            assert found.steps == expected_state.steps
            for name in ("hidden", "cell", "last"):
                assert np.array_equal(getattr(found, name), getattr(expected_state, name), equal_nan=True)
            if turn % 4 == 0:  # it goes on from there, as a stream would
                server.advance(session, row, **times)
                judge.run(row, **times)
                assert server.snapshot(session) == judge.snapshot()
        assert server.store.load(watched) == before
    assert not caplog.records
    assert all(statuses[status] > COUNT / 20 for status in (200, 422)), statuses
    if LONG:
        print(f"\n{kind}: {sum(statuses.values())} snapshots, answers by status {dict(statuses)}")
