"""A Valkey or Redis server of our own, that can be killed and frozen."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
import redis

PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


class Valkey:
    """Keeps what it has in a folder, each write before it is answered."""

    def __init__(self, folder: Path, *options: str, tls: bool = False) -> None:
        if PROGRAM is None:
            pytest.skip("neither valkey-server nor redis-server is installed")
        folder.mkdir(exist_ok=True)
        self.folder, self._options, self._tls = folder, options, tls
        self.port = free_port()
        atexit.register(self.kill)  # whatever becomes of a test
        self.start()

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self.port}"

    def start(self) -> None:
        port = ["--port", "0", "--tls-port", str(self.port)] if self._tls else ["--port", str(self.port)]
        keeping = ["--dir", str(self.folder), "--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        words = [str(PROGRAM), "--bind", "127.0.0.1", *keeping, *port, *self._options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text())
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as talking:
                talking.sendall(b"" if self._tls else b"PING\r\n")
                return self._tls or not talking.recv(100).startswith(b"-LOADING")
        except OSError:
            return False

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def copy(self, to: Path) -> None:
        """Keep what it has now, for `go_back`."""
        self.kill()
        shutil.copytree(self.folder, to)
        self.start()

    def go_back(self, to: Path) -> None:
        """Forget what came after a copy, as a failover to a replica that lags behind does."""
        self.kill()
        shutil.rmtree(self.folder)
        shutil.copytree(to, self.folder)
        self.start()


class Leaky:
    """Stands between a client and a server; where it is told to, an answer gets lost with its connection."""

    def __init__(self, port: int) -> None:
        self._server, self._lose = port, threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_one(self) -> None:
        self._lose.set()

    @property
    def will_lose(self) -> bool:
        return self._lose.is_set()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                talking, _ = self._listening.accept()
                threading.Thread(target=self._pass, args=(talking,), daemon=True).start()

    def _pass(self, talking: socket.socket) -> None:
        with talking, socket.create_connection(("127.0.0.1", self._server)) as server:
            while asked := talking.recv(1 << 20):
                server.sendall(asked)
                answer = server.recv(1 << 20)
                if self._lose.is_set():
                    self._lose.clear()
                    return
                talking.sendall(answer)
