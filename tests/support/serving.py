"""A server as a process of its own, and many clients that drive it and lose no step."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import msgpack
import numpy as np
import torch
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from gatewright import Model
from gatewright.runtime.state import State
from gatewright.spec import ModelSpec, QuantileHead, Scaler, SeriesEncoder, StackSpec
from tests.support.forks import SERVING, Forked, fork_server

#: What a client does when the server has gone: it comes again.
GONE = (ConnectionClosed, InvalidHandshake, OSError, EOFError, TimeoutError)


def sensor_model(H: int = 128, inputs: int = 4) -> Model:
    """A forecaster of one value, from itself and some inputs, without a calendar."""
    torch.manual_seed(0)
    encoder = SeriesEncoder(targets=("y",), past=tuple(f"x{n}" for n in range(inputs)), context=32, reads="both")
    columns, rng = encoder.columns, np.random.default_rng(1)
    mean, scale = rng.normal(size=len(columns)), rng.uniform(0.5, 2, len(columns))
    scaler = Scaler(columns, tuple(mean), tuple(scale), (1.0,))
    spec = ModelSpec(encoder, StackSpec(H), QuantileHead(horizon=1, quantiles=(0.1, 0.5, 0.9)))
    model = Model(spec, scaler=scaler).eval()
    torch.nn.init.normal_(model.head.weight)
    return model


def rows(session: int, T: int, columns: int = 5) -> np.ndarray[Any, Any]:
    """What a session reads."""
    return np.random.default_rng(session).normal(size=(T, columns))


def never_reads(port: int) -> socket.socket:
    """A WebSocket with the least of buffers, so that a server soon cannot send any more to who does not read."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    raw.connect(("127.0.0.1", port))
    raw.sendall(
        b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert raw.recv(1000).startswith(b"HTTP/1.1 101")
    return raw


class Server:
    """`gatewright serve` in a process of its own, at an address that stays when it is started again.

    Args:
        model: model file.
        folder: where its sessions and its log are.
        arguments: more of the command line.
        environment: more of it.
        fresh: whether Python itself starts anew, too; otherwise, it is forked with its imports done.
    """

    def __init__(
        self,
        model: Path,
        folder: Path,
        *arguments: str,
        environment: dict[str, str] | None = None,
        fresh: bool = False,
    ) -> None:
        self._command, self._fresh = ["-m", "gatewright", "serve", str(model), *arguments], fresh
        if "--store" not in arguments:
            self._command += ["--store", str(folder / "sessions.db")]
        self._environment = {**os.environ, **(environment or {})}
        self.log = folder / "server.log"
        self.port = 0

    def start(self) -> None:
        """Start, and wait until requests are taken."""
        before = len(self.events("ready"))
        command = [*self._command, "--port", str(self.port)]
        self.process: subprocess.Popen[bytes] | Forked
        with self.log.open("ab") as log:
            if self._fresh:
                command = [sys.executable, *command]
                self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)
            else:
                server = fork_server(*SERVING)
                self.process = server.start(command, stdout=log, stderr=log, env=self._environment)
        deadline = time.monotonic() + 60
        while len(self.events("ready")) == before:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError(f"no server:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.005)
        self.port = int(self.events("ready")[-1]["address"].rpartition(":")[2])

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it logged of a kind."""
        text = self.log.read_text() if self.log.exists() else ""
        lines = [
            json.loads(line) for line in text.splitlines(keepends=True) if line[0] == "{" and line[-1] == "\n"
        ]
        return [line for line in lines if line["event"] == name]

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    @property
    def memory(self) -> int:
        """Bytes of its resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def metric(self, name: str) -> float:
        """A number that it shows to Prometheus."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()


@dataclass
class Client:
    """A session, driven over a WebSocket of its own: it sends each step until it is answered.

    Attributes:
        port: of the server.
        number: says what it reads.
        name: of its session.
        answers: what came, one for each step.
        seconds: from sending a step to its answer.
        repeats: answers of steps that had been taken before.
    """

    port: int
    number: int
    x: np.ndarray[Any, Any]
    name: str = ""
    answers: list[Any] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    repeats: int = 0
    _socket: ClientConnection | None = None

    async def ask(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Send a frame until it is answered."""
        while True:
            try:
                if self._socket is None:
                    url = f"ws://127.0.0.1:{self.port}/v1/ws"
                    self._socket = await connect(url, subprotocols=["gatewright.msgpack"], compression=None)  # type: ignore[list-item]
                await self._socket.send(msgpack.packb(frame))
                answer: dict[str, Any] = msgpack.unpackb(await self._socket.recv())
                if answer.get("status") not in (429, 503):
                    return answer
                await asyncio.sleep(answer["retry_after"])
            except GONE:
                await self.close()
                await asyncio.sleep(0.02)

    async def drive(
        self, steps: float = math.inf, *, going: Callable[[], bool] = lambda: True, every: float = 0.0
    ) -> None:
        """Take steps, each when the one before was answered, and one ``every`` so many seconds at most."""
        if not self.name:
            self.name = (await self.ask({"op": "create"}))["session"]
        x = self.x.tolist()
        due = time.perf_counter() + every * random.random()  # else all would come at once, for ever
        while len(self.answers) < steps and going():
            at = len(self.answers)
            if every:
                await asyncio.sleep(due - time.perf_counter())
            began = time.perf_counter()
            answer = await self.ask({"op": "advance", "session": self.name, "x": [x[at % len(x)]], "first": at})
            self.seconds.append(time.perf_counter() - began)
            if answer.get("steps") != at + 1:
                raise AssertionError(f"step {at} of client {self.number}: {answer}")
            self.repeats += answer["repeated"]
            self.answers.append(answer["y"][0])
            due = max(due + every, time.perf_counter())

    async def state(self) -> State:
        """Read its state."""
        found = await self.ask({"op": "read", "session": self.name})
        hidden, cell = (np.array(found[name], np.float32) for name in ("hidden", "cell"))
        last = np.array([np.nan if value is None else value for value in found["last"]])
        return State(hidden, cell, last, found["state_steps"])

    async def close(self) -> None:
        """Go."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
