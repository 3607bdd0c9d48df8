"""Python commands as forks of a process that has done the imports: `subprocess` without the cost of a start.

A command is a real process, with a pid, memory, signals and an exit status of its own. A fork does not show the
start of the interpreter; some tests use `subprocess` for that.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
#: What the server needs; the command line reads its environment at import, so that each fork imports it by itself.
SERVING = (
    "gatewright.serve.server", "gatewright.serve.sessions.valkey", "cyclopts", "rich.progress", "pydantic.v1",
    "uvicorn.lifespan.on",
)  # fmt: skip
#: What most other commands need, and nothing of Gatewright.
TRAINING = (
    "torch", "torch.utils.tensorboard", "polars", "accelerate", "matplotlib.pyplot", "cyclopts", "rich.progress",
)  # fmt: skip
#: Seconds after which a command counts as hung.
_HUNG = 300.0


class Forked:
    """A command that runs, with the methods of `subprocess.Popen`.

    Attributes:
        pid: of the process.
        returncode: exit status, or minus the number of the signal that ended it; None while it runs.
    """

    def __init__(self, pid: int, status: IO[bytes]) -> None:
        self.pid, self.returncode = pid, None
        self._status, self._lock = status, threading.Lock()

    returncode: int | None

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        with self._lock:
            if self.returncode is None and select.select([self._status], [], [], 0)[0]:
                self.returncode = int(self._status.read())
                self._status.close()
            return self.returncode

    def wait(self, timeout: float = _HUNG) -> int:
        """Return the exit status when there is one.

        Raises:
            TimeoutError: if it still runs after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if (left := deadline - time.monotonic()) <= 0:
                raise TimeoutError(f"process {self.pid} still runs after {timeout:g} s")
            with contextlib.suppress(ValueError, OSError):  # another thread has read the status and closed it
                select.select([self._status], [], [], left)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """A process with some modules imported, which forks a child for each command.

    Args:
        modules: names of the modules.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", __name__, str(other.fileno()), *modules]
        self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[other.fileno()], stdin=subprocess.DEVNULL)
        other.close()
        self._lock = threading.Lock()
        atexit.register(self.close)

    def start(
        self,
        arguments: Sequence[str],
        *,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] = subprocess.DEVNULL,
        stderr: int | IO[Any] = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Forked:
        """Start ``python *arguments``, where the first argument is ``-m`` or ``-c``.

        Args:
            arguments: those of Python.
            stdin: file or descriptor of the input.
            stdout: file or descriptor of the output.
            stderr: file or descriptor of the errors.
            env: the environment; None for that of this process.
            cwd: the directory; None for that of this process.
        """
        request = {
            "arguments": [*map(str, arguments)],
            "environment": dict(os.environ if env is None else env),
            "directory": str(cwd or Path.cwd()),
        }
        ours, theirs = os.pipe()
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, theirs)
            files = []
            for file in (stdin, stdout, stderr):
                if file == subprocess.DEVNULL:
                    files.append(os.open(os.devnull, os.O_RDWR))
                    stack.callback(os.close, files[-1])
                else:
                    files.append(file if isinstance(file, int) else file.fileno())
            with self._lock:
                socket.send_fds(self._channel, [json.dumps(request).encode()], [*files, theirs])
                pid = int(self._channel.recv(100) or b"0")
        if not pid:
            raise RuntimeError("the fork server has ended")
        return Forked(pid, os.fdopen(ours, "rb", buffering=0))

    def run(self, arguments: Sequence[str], **more: Any) -> subprocess.CompletedProcess[str]:
        """Run ``python *arguments`` to its end; return its status, output and errors."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            code = self.start(arguments, stdout=out, stderr=err, **more).wait()
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(list(arguments), code, out.read(), err.read())

    def close(self) -> None:
        """End the server."""
        self._channel.close()
        self._process.wait()


@functools.cache
def fork_server(*modules: str) -> ForkServer:
    """Return the server of this process that has these modules, which starts when it is first asked for."""
    return ForkServer(modules)


# --- the server


def _serve(channel: socket.socket, modules: Sequence[str]) -> None:
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that collections in the forks copy no memory
    wake, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking)
    running: dict[int, int] = {}  # the end of a pipe for the status of each child
    sources: list[Any] = [channel, wake]
    while True:
        ready = select.select(sources, [], [])[0]
        if wake in ready:
            os.read(wake, 1000)
            _reap(running)
        if channel not in ready:
            continue
        message, files, _, _ = socket.recv_fds(channel, 1 << 20, 4)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for number in range(3):
                os.dup2(files[number], number)
            for each in (channel.detach(), wake, waking, *running.values(), *files):
                os.close(each)
            os._exit(_command(json.loads(message)))
        for each in files[:3]:
            os.close(each)
        running[pid] = files[3]
        channel.send(str(pid).encode())


def _reap(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        pipe = running.pop(pid)
        os.write(pipe, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(pipe)


def _command(request: dict[str, Any]) -> int:
    """Do as Python does with its arguments; return the exit status."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    how, what, *more = request["arguments"]
    code: Any = 0
    try:
        sys.argv = [how, *more]
        if how == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for file in (sys.stdout, sys.stderr):
        file.flush()
    return code or 0


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
