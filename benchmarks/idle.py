"""A server with many idle sessions: milliseconds until one of them, read from the store, has taken a step."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import msgpack
from tests.serve.test_idle import KINDS, RESIDENT, fill
from tests.support.serving import Server, rows, sensor_model
from websockets.sync.client import connect

from benchmarks.settings import Part, Settings


def run(settings: Settings) -> Part:
    """Measure over HTTP and over a WebSocket, and print medians and maxima."""
    calls = 40 if settings.quick else 200
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        sensor_model(H=128).save(folder / "model.safetensors")
        names = fill(folder)
        chosen = random.Random(1).sample(range(len(names)), 2 * calls)
        with Server(folder / "model.safetensors", folder, "--max-resident", str(RESIDENT)) as server:
            steps = [(names[number], rows(number % KINDS, 3)[2:].tolist()) for number in chosen]
            seconds = {
                "HTTP": _over_http(server.port, steps[:calls]),
                "WebSocket": _over_socket(server.port, steps[calls:]),
            }
    print(f"\none of {len(names):,} idle sessions takes a step (milliseconds)")
    figures = []
    for way, values in seconds.items():
        median, longest = statistics.median(values) * 1e3, max(values) * 1e3
        print(f"{way:>12}  median {median:.2f}  maximum {longest:.2f}", flush=True)
        figures.append({"way": way, "median_ms": median, "maximum_ms": longest, "sessions": len(names)})
    return Part(figures, [])


def _over_http(port: int, steps: list[tuple[str, list[list[float]]]]) -> list[float]:
    seconds = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        client.get("/healthz").raise_for_status()
        for name, x in steps:
            began = time.perf_counter()
            answer = client.post(f"/v1/sessions/{name}/advance", json={"x": x, "first": 2})
            seconds.append(time.perf_counter() - began)
            answer.raise_for_status()
    return seconds


def _over_socket(port: int, steps: list[tuple[str, list[list[float]]]]) -> list[float]:
    seconds = []
    url, protocols = f"ws://127.0.0.1:{port}/v1/ws", ["gatewright.msgpack"]
    with connect(url, subprotocols=protocols, compression=None) as connection:  # type: ignore[arg-type]
        for name, x in steps:
            began = time.perf_counter()
            connection.send(msgpack.packb({"op": "advance", "session": name, "x": x, "first": 2}))
            answer = msgpack.unpackb(connection.recv())
            seconds.append(time.perf_counter() - began)
            if answer["steps"] != 3:
                raise RuntimeError(f"expected the answer to step 3, got {answer}")
    return seconds
