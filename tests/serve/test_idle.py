"""Many idle sessions: memory has a few of them, and any comes back with its state.

Set GATEWRIGHT_LONG for 100,000 of them; else there are 3,000.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import httpx
import msgpack
import numpy as np
from websockets.sync.client import connect

from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.requests import Advance, Answer
from gatewright.serve.sessions.sqlite import SqliteStore
from tests.support.local_server import metric
from tests.support.serving import Server, rows, sensor_model
from tests.support.waiting import HANG

LONG = bool(os.environ.get("GATEWRIGHT_LONG"))
COUNT = 100_000 if LONG else 3000
ASKED = 200 if LONG else 40
RESIDENT = 64
#: What a session reads: one of so many rows, three times.
KINDS = 50


def fill(folder: Path) -> list[str]:
    """Make sessions, each of which has taken two steps."""
    stream = sensor_model(H=128).stream(sessions=256)
    with SqliteStore(folder / "sessions.db") as store:
        sessions = Sessions(stream, store)
        fresh = sessions.create()
        saved = store.load(fresh)
        assert saved is not None
        store.delete(fresh, "")
        draw, names = random.Random(0), []
        for at in range(0, COUNT, 5000):
            some = [f"{draw.getrandbits(128):032x}" for _ in range(min(5000, COUNT - at))]
            store.save([saved._replace(id=name) for name in some])
            names += some
        for at in range(0, COUNT, 256):
            x = [rows(number % KINDS, 3)[:2] for number in range(at, min(at + 256, COUNT))]
            requests = [Advance(name, each, first=0) for name, each in zip(names[at : at + 256], x, strict=True)]
            assert all(isinstance(answer, Answer) for answer in sessions.advance(requests))
    return names


def test_any_of_many_idle_sessions_comes_back(tmp_path: Path) -> None:
    model = sensor_model(H=128)
    model.save(tmp_path / "model.safetensors")
    names = fill(tmp_path)
    expected = []
    for kind in range(KINDS):
        stream = model.stream()
        expected.append((stream.run(rows(kind, 3)), stream.state()))
    chosen = random.Random(1).sample(range(COUNT), 2 * ASKED)
    with Server(tmp_path / "model.safetensors", tmp_path, "--max-resident", str(RESIDENT)) as server:
        base = f"127.0.0.1:{server.port}"
        with (
            httpx.Client(base_url=f"http://{base}", timeout=HANG) as client,
            connect(f"ws://{base}/v1/ws", subprotocols=["gatewright.msgpack"], compression=None) as connection,  # type: ignore[list-item]
        ):
            client.get("/healthz")
            memory = server.memory
            for number in chosen[:ASKED]:
                body = {"x": rows(number % KINDS, 3)[2:].tolist(), "first": 2}
                answer = client.post(f"/v1/sessions/{names[number]}/advance", json=body)
                assert answer.json()["steps"] == 3
                assert np.array_equal(answer.json()["y"], expected[number % KINDS][0][2:])
            for number in chosen[ASKED:]:
                frame = {"op": "advance", "session": names[number], "x": rows(number % KINDS, 3)[2:].tolist()}
                connection.send(msgpack.packb({**frame, "first": 2}))
                found = msgpack.unpackb(connection.recv(HANG))
                assert found["steps"] == 3
                assert np.array_equal(found["y"], expected[number % KINDS][0][2:])
            told = client.get("/metrics").text
            assert metric(told, "sessions") == COUNT
            assert metric(told, "sessions_resident") == RESIDENT
            grown = server.memory - memory
            assert grown < 32 * 2**20
            pages, after = 0, ""
            while after is not None and pages < 3:
                page = client.get("/v1/sessions", params={"after": after}).json()
                assert page["sessions"] == sorted(names)[1000 * pages : 1000 * (pages + 1)]
                pages, after = pages + 1, page["next"]
        total = server.memory
    if LONG:
        size = (tmp_path / "sessions.db").stat().st_size
        print(f"\n{COUNT} sessions, {size / 2**20:.0f} MiB on disk, {RESIDENT} resident")
        print(f"memory {total / 2**20:.1f} MiB, {grown / 2**20:.1f} MiB more than before any was asked for")
