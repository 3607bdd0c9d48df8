"""Calls of several engines, each engine in a process of its own, timed in turns.

A call that takes seconds is timed less often: above `ONCE` seconds once, above `FIRST` seconds not again after its
first call, which was compared with the others' and counts then.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

from numpy.typing import NDArray

from benchmarks import processes, timing
from benchmarks.contenders import Contender
from benchmarks.messages import Message
from benchmarks.timing import Plan

#: Seconds of a call above which it has one turn, and above which it has none.
ONCE, FIRST = 2.0, 15.0


class Prepared(NamedTuple):
    """A call of an engine.

    Attributes:
        results: of its first call; empty where they were not asked for.
        seconds: of its first call.
        cpu: those of them that the calling thread ran.
    """

    results: Sequence[NDArray[Any]]
    seconds: float
    cpu: float


class EngineCall(NamedTuple):
    """What is asked of an engine: keyword arguments of its module's function, which returns the call.

    Attributes:
        engine: the name of the process.
        arguments: what JSON can hold.
    """

    engine: str
    arguments: Mapping[str, Any]


class Engines:
    """Processes by name.

    Args:
        running: the processes.
    """

    def __init__(self, running: Mapping[str, processes.Process]) -> None:
        self._running = running

    def prepare(self, calls: Mapping[str, EngineCall], *, results: bool = True) -> dict[str, Prepared]:
        """Let each engine make its calls and run each once; engines do so side by side.

        Args:
            calls: by key.
            results: whether to return what the calls returned.
        """

        def prepare(engine: str) -> dict[str, Prepared]:
            prepared = {}
            for key, (own, arguments) in calls.items():
                if own == engine:
                    fields = {"do": "prepare", "key": key, "arguments": dict(arguments), "results": results}
                    answer = self._running[engine].ask(Message(fields))
                    prepared[key] = Prepared(answer.arrays, answer.fields["seconds"], answer.fields["cpu"])
            return prepared

        engines = list(dict.fromkeys(call.engine for call in calls.values()))
        with ThreadPoolExecutor(len(engines)) as pool:
            merged = {key: one for some in pool.map(prepare, engines) for key, one in some.items()}
        return {key: merged[key] for key in calls}

    def timed(
        self, calls: Mapping[str, EngineCall], first: Mapping[str, Prepared], plan: Plan, *, cpu: bool = False
    ) -> dict[str, list[float]]:
        """Return the seconds of each turn of prepared calls, by key.

        Args:
            calls: as they were prepared.
            first: what `prepare` returned.
            plan: how long.
            cpu: whether the time is that of the calling thread, which other programs do not lengthen.
        """

        def turn(key: str) -> timing.Turn:
            def take_turn(seconds: float, short: bool) -> float:
                fields = {"do": "turn", "key": key, "seconds": seconds, "short": short, "cpu": cpu}
                return float(self._running[calls[key].engine].ask(Message(fields)).fields["seconds"])

            return take_turn

        own = {key: first[key].cpu if cpu else first[key].seconds for key in calls}
        seconds = {key: [value] for key, value in own.items() if value > FIRST}
        once = [key for key, value in own.items() if ONCE < value <= FIRST]
        many = [key for key, value in own.items() if value <= ONCE]
        for key in once:
            seconds[key] = [turn(key)(plan.turn, False)]
        if many:
            seconds.update(timing.turns({key: turn(key) for key in many}, own, plan))
        return {key: seconds[key] for key in calls}

    def drop(self, calls: Mapping[str, EngineCall]) -> None:
        """Let the engines free calls."""
        for engine in dict.fromkeys(call.engine for call in calls.values()):
            keys = [key for key, call in calls.items() if call.engine == engine]
            self._running[engine].ask(Message({"do": "drop", "keys": keys}))


@contextmanager
def started(engines: Sequence[str], function: Callable[..., timing.Call]) -> Iterator[Engines]:
    """Start a process for each engine, which makes calls by ``function``, and end them.

    Args:
        engines: names.
        function: of a module of the benchmarks; from keyword arguments to a call.
    """
    running: dict[str, processes.Process] = {}
    try:
        for name in engines:
            running[name] = start(name, function)
        yield Engines(running)
    finally:
        for process in running.values():
            process.close()


def start(name: str, function: Callable[..., timing.Call]) -> processes.Process:
    """Start the process of an engine."""
    command = [sys.executable, "-m", "benchmarks.call_process", function.__module__, function.__name__]
    process = subprocess.Popen(command, cwd=processes.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    return processes.Process(Contender(name, name, ()), process.stdin, process.stdout, process.wait)
