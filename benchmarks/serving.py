"""`gatewright serve` under clients: steps a second, and how long an answer takes.

The clients are in this process, on the same cores as the server, one WebSocket and one session each.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tests.support.serving import Client, Server, rows, sensor_model

from benchmarks import bars
from benchmarks.bars import Judged
from benchmarks.settings import Part, Settings, cores

CLIENTS = 200
#: Steps a second that clients ask for where they do not ask for all they can get.
PACE = 3000


def run(settings: Settings) -> Part:
    """Measure and print all of it."""
    seconds = 3.0 if settings.quick else 20.0
    figures: list[dict[str, Any]] = []
    print(f"\ngatewright serve, {CLIENTS} WebSocket sessions, H=128, the clients beside it on {cores()} cores")
    print(f"{'durability':>10}{'asked for':>14}{'steps/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'batch':>7}")
    for durability in ("batch", "memory", "step"):
        for pace in (None, PACE):
            found = measure(durability, pace, seconds)
            asked = f"{pace} steps/s" if pace else "all"
            print(
                f"{durability:>10}{asked:>14}{found['rate']:10.0f}{found['p50']:9.1f}{found['p99']:9.1f}"
                f"{found['batch']:7.1f}",
                flush=True,
            )
            figures.append({"durability": durability, "pace": pace, **found})
    best = figures[0]
    return Part(
        figures,
        [Judged(bars.SERVE, cores(), best["rate"]), Judged(bars.SERVE_P99, cores(), best["p99"])],
    )


def measure(durability: str, pace: int | None, seconds: float) -> dict[str, float]:
    """Return steps a second, median and 99th percentile of milliseconds to an answer, and requests in a batch."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        model = folder / "model.safetensors"
        sensor_model(128).save(model)
        with Server(model, folder, "--durability", durability) as server:
            clients = [Client(server.port, number, rows(number, 500)) for number in range(CLIENTS)]
            taken, took = asyncio.run(_drive(clients, pace, seconds))
            batch = server.metric("gatewright_batch_size_sum") / server.metric("gatewright_batch_size_count")
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1e3
    return {"rate": taken / seconds, "p50": float(p50), "p99": float(p99), "batch": batch}


async def _drive(clients: list[Client], pace: int | None, seconds: float) -> tuple[int, list[float]]:
    """Let all take steps, after a second to warm up; return how many they took, and how long each waited."""
    every = len(clients) / pace if pace else 0.0
    gc.collect()
    gc.freeze()  # torch is in this process, and a look through all it has would be taken for a slow answer
    begin = time.monotonic() + 1.0
    await asyncio.gather(
        *(client.drive(going=lambda: time.monotonic() < begin, every=every) for client in clients)
    )
    for client in clients:
        client.seconds.clear()
    end = time.monotonic() + seconds
    await asyncio.gather(*(client.drive(going=lambda: time.monotonic() < end, every=every) for client in clients))
    took = [wait for client in clients for wait in client.seconds]
    await asyncio.gather(*(client.close() for client in clients))
    return len(took), took
