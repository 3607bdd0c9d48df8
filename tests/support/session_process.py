"""A process that owns sessions of a stream, for tests that kill it or let two race.

It imports no torch.
"""

from __future__ import annotations

import random
import sys

import numpy as np

from gatewright import Stream
from gatewright.errors import BusyError, StepError
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.requests import Advance, Answer
from gatewright.serve.sessions.sqlite import SqliteStore
from gatewright.serve.sessions.valkey import ValkeyStore


def answer_lines(path: str, weights: str, seed: str) -> None:
    """Take the steps that lines ask for, ``SESSION,FIRST`` each; answer ``STEPS,REPEATED,OUTPUT`` each."""
    x = np.random.default_rng(int(seed)).normal(size=(10_000, 3)).astype(np.float32)
    with SqliteStore(path) as store:
        sessions = Sessions(Stream.from_weights(np.load(weights), sessions=4), store)
        print("ready", flush=True)
        for line in sys.stdin:
            requests = []
            for word in line.split():
                name, _, first = word.partition(",")
                requests.append(Advance(name, x[int(first) : int(first) + 1], first=int(first)))
            answers = [answer for answer in sessions.advance(requests) if isinstance(answer, Answer)]
            print(*(f"{a.steps},{int(a.repeated)},{a.y.tobytes().hex()}" for a in answers), flush=True)


def race(url: str, weights: str, inputs: str, name: str, seed: str) -> None:
    """Take the steps of a session that another process takes too; print how many were taken here first."""
    x, draw, step, fresh = np.load(inputs), random.Random(int(seed)), 0, 0
    with ValkeyStore(url) as store:
        sessions = Sessions(Stream.from_weights(np.load(weights)), store)
        while step < len(x):
            upto = min(len(x), step + 1 + (draw.random() < 0.1))
            [answer] = sessions.advance([Advance(name, x[step:upto], step)])
            if isinstance(answer, Answer):
                fresh += 0 if answer.repeated else len(answer.y)
            else:
                assert isinstance(answer, StepError | BusyError), answer
            step, _ = sessions.read(name)
    print(fresh)


if __name__ == "__main__":
    {"answer_lines": answer_lines, "race": race}[sys.argv[1]](*sys.argv[2:])
