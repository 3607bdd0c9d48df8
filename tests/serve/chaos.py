"""Kill a server at random moments under load, and see that nothing is lost: ``python -m tests.serve.chaos``."""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from gatewright import Stream
from tests.support.serving import Client, Server, rows, sensor_model


def _answered(clients: list[Client]) -> int:
    return sum(len(client.answers) for client in clients)


async def _kill(server: Server, clients: list[Client], kills: int, seed: int) -> None:
    """Kill after a random number of answers, so that a busy machine makes none of them miss the load."""
    draw = random.Random(seed)
    for _ in range(kills):
        due = _answered(clients) + draw.randint(0, 10 * len(clients))
        while _answered(clients) < due:
            await asyncio.sleep(0.005)
        await asyncio.sleep(draw.uniform(0, 0.02))
        server.kill()
        await asyncio.to_thread(server.start)


def chaos(folder: Path, *, kills: int, clients: int, hidden: int = 128, seed: int = 0) -> str:
    """Return what came of it.

    Raises:
        AssertionError: if a step was lost, or taken twice, or a state is not what it would be undisturbed.
    """
    model = folder / "model.safetensors"
    sensor_model(hidden).save(model)
    with Server(model, folder) as server:
        driven = [Client(server.port, number, rows(number, 400)) for number in range(clients)]

        async def work() -> None:
            killing = asyncio.create_task(_kill(server, driven, kills, seed))

            def going(client: Client) -> bool:
                return not (client.answers and killing.done())

            await asyncio.gather(killing, *(client.drive(going=partial(going, client)) for client in driven))
            for client in driven:
                alone = Stream.load(model)
                xs = np.resize(client.x, (len(client.answers), client.x.shape[1]))
                expected = alone.run(xs)
                assert np.array_equal(np.array(client.answers), expected), f"answers of client {client.number}"
                assert await client.state() == alone.state(), f"state of client {client.number}"
                await client.close()

        began = time.monotonic()
        asyncio.run(work())
        seconds = time.monotonic() - began
        assert server.stop() == 0
    answered = _answered(driven)
    repeats = sum(client.repeats for client in driven)
    slowest = max(max(client.seconds) for client in driven)
    return (
        f"{kills} kills under {clients} clients: {answered} steps answered in {seconds:.0f} s, none lost, none "
        f"taken twice; all {clients} states bit-equal to an undisturbed run; {repeats} answers had been stored, "
        f"and were given again; longest wait {slowest:.1f} s"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        print(chaos(Path(directory), kills=given.kills, clients=given.clients, seed=given.seed))
