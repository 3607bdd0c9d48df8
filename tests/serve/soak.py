"""Half of a server's load for minutes, and its memory all the while: ``python -m tests.serve.soak``."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.support.serving import Client, Server, rows, sensor_model


async def _pace(clients: list[Client], seconds: float) -> float:
    """Return steps a second that all of them take without a pause."""
    before, end = sum(len(client.answers) for client in clients), time.monotonic() + seconds
    await asyncio.gather(*(client.drive(going=lambda: time.monotonic() < end) for client in clients))
    return (sum(len(client.answers) for client in clients) - before) / seconds


async def _watch(server: Server, driving: asyncio.Future[object], every: float) -> list[int]:
    """Return the server's memory, looked at again and again."""
    found = []
    while not driving.done():
        await asyncio.sleep(every)
        found.append(server.memory)
    return found


def _growth(memory: list[int]) -> float:
    """Return by what share memory grew, from the median of the first quarter to that of the last.

    A leak raises the median; what a garbage collection or a checkpoint of the store takes for a moment does not.
    """
    quarter = max(len(memory) // 4, 1)
    return statistics.median(memory[-quarter:]) / statistics.median(memory[:quarter]) - 1


def soak(
    folder: Path,
    *,
    seconds: float,
    clients: int,
    settle: float,
    hidden: int = 128,
    steps: int = 0,
    load: float = 0.5,
) -> tuple[str, float]:
    """Return a report, and by what share memory grew after it had settled.

    The load lasts for `seconds` and for at least `steps` answered steps, so that a busy machine shortens nothing.
    Memory has time to settle in its first `settle` seconds, or in the same share of a longer run. `load` is a
    share of the steps that the server could answer; 1 for all of them.
    """
    model = folder / "model.safetensors"
    sensor_model(hidden).save(model)
    with Server(model, folder, fresh=True) as server:
        driven = [Client(server.port, number, rows(number, 400)) for number in range(clients)]

        async def work() -> tuple[float, float, list[int]]:
            full, every = 0.0, 0.0
            if load < 1:
                full = await _pace(driven, min(5.0, seconds / 4))
                every = clients / (full * load)
            for client in driven:
                client.seconds.clear()
            started = time.monotonic()

            def going() -> bool:
                return (
                    time.monotonic() < started + seconds or sum(len(client.seconds) for client in driven) < steps
                )

            driving = asyncio.gather(*(client.drive(going=going, every=every) for client in driven))
            memory = await _watch(server, driving, seconds / 120)
            await driving
            took = time.monotonic() - started
            await asyncio.gather(*(client.close() for client in driven))
            return full, sum(len(client.seconds) for client in driven) / took, memory

        full, pace, memory = asyncio.run(work())
        assert server.stop() == 0
    after = memory[int(len(memory) * settle / seconds) :]
    growth = _growth(after)
    p50, p99 = np.quantile([wait for client in driven for wait in client.seconds], [0.5, 0.99]) * 1e3
    told = (
        f"{seconds:.0f} s at {pace:.0f} steps/s (all it could: {full or pace:.0f}) from {clients} clients; memory "
        f"{after[0] / 1e6:.1f} MB after it settled, then at most {max(after) / 1e6:.1f}, "
        f"{after[-1] / 1e6:.1f} at the end: {growth:+.1%}; a step's answer p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    )
    return told, growth


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        text, grew = soak(Path(directory), seconds=given.seconds, clients=given.clients, settle=given.seconds / 10)
    print(text)
    if grew > 0.05:
        raise SystemExit("memory grew by more than 5%")
