"""Contenders in processes of their own, seen from the process that measures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import Case
from benchmarks.contenders import Contender
from benchmarks.messages import Message, receive, send

ROOT = Path(__file__).parents[1]


class EndedError(RuntimeError):
    """A contender's process ended before it had answered."""


class Prepared(NamedTuple):
    """What came of the first call of a pass.

    Attributes:
        results: as the pass returns them.
        seconds: how long it took.
        implementation: which code ran, as the engine says.
    """

    results: Sequence[NDArray[np.float32]]
    seconds: float
    implementation: str


class Process:
    """A contender, somewhere else.

    Args:
        contender: which.
        outgoing: where its messages go.
        incoming: where its answers come from.
        end: called once by `close`, when no more messages will come.
    """

    def __init__(
        self, contender: Contender, outgoing: IO[bytes], incoming: IO[bytes], end: Callable[[], object]
    ) -> None:
        self.contender = contender
        #: Whether every one of its threads was at rest after each turn.
        self.settled = True
        #: Of each turn, the share that threads waited for a core.
        self.waited: list[float] = []
        self._outgoing, self._incoming, self._end = outgoing, incoming, end

    def prepare(self, case: Case, passed: str, arrays: Sequence[NDArray[np.float32]]) -> Prepared:
        """Let it prepare a pass and run it once.

        Args:
            case: the sizes.
            passed: `FORWARD` or `TRAINING`.
            arrays: x, dy, W_ih, W_hh, b_ih, b_hh.
        """
        answer = self.ask(Message({"do": "prepare", "case": vars(case), "pass": passed}, arrays))
        return Prepared(answer.arrays, answer.fields["seconds"], answer.fields["implementation"])

    def turn(self, seconds: float, short: bool) -> float:
        """Return the mean seconds of a call, over one turn."""
        answer = self.ask(Message({"do": "turn", "seconds": seconds, "short": short})).fields
        self.waited.append(answer["waited"])
        return float(answer["seconds"])

    def drop(self) -> None:
        """Let it free the pass."""
        self.ask(Message({"do": "drop"}))

    def close(self) -> None:
        """End it."""
        for stream in (self._outgoing, self._incoming):
            with suppress(BrokenPipeError):  # it has ended already
                stream.close()
        self._end()

    def ask(self, message: Message) -> Message:
        """Return the answer to a message.

        Raises:
            EndedError: if the process has ended.
        """
        try:
            send(self._outgoing, message)
            answer = receive(self._incoming)
        except BrokenPipeError:
            answer = None
        if answer is None:
            raise EndedError(f"the process of {self.contender.name} ended; its own message is above")
        self.settled = self.settled and bool(answer.fields["settled"])
        return answer


def start(contender: Contender, threads: int) -> Process:
    """Start the process of a contender; it does not wait until it is there."""
    command = [sys.executable, "-m", "benchmarks.contender_process", contender.name, str(threads)]
    running = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert running.stdin is not None
    assert running.stdout is not None
    return Process(contender, running.stdin, running.stdout, running.wait)


@contextmanager
def started(contenders: Iterable[Contender], threads: int) -> Iterator[dict[str, Process]]:
    """Start processes by the name of their contender, and end them."""
    running: dict[str, Process] = {}
    try:
        for contender in contenders:
            running[contender.name] = start(contender, threads)
        yield running
    finally:
        for process in running.values():
            process.close()
