"""The process of one engine: makes calls by name, and times one whenever it is told to.

Nothing of it runs between turns: it answers when all of its threads have come to rest.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import IO

from benchmarks import timing
from benchmarks.contender_process import as_array
from benchmarks.messages import Message, receive, send

#: From a name, threads and other arguments, as JSON holds them, to a call.
Maker = Callable[..., timing.Call]


def serve(make: Maker, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
    """Answer messages until there are no more.

    - ``prepare`` (key, arguments): makes a call and runs it once; the answer has its results, its seconds and
      those that this thread ran.
    - ``turn`` (key, seconds, short, cpu): the seconds of a call, the mean over one turn; with ``cpu`` those that
      this thread ran.
    - ``drop`` (keys): frees calls.
    """
    calls: dict[str, timing.Call] = {}
    while (message := receive(incoming)) is not None:
        fields = message.fields
        if fields["do"] == "prepare":
            call = calls[fields["key"]] = make(**fields["arguments"])
            answer = _first(call, fields["results"])
        elif fields["do"] == "turn":
            clock = time.thread_time if fields["cpu"] else time.perf_counter
            seconds = timing.turn(calls[fields["key"]], fields["seconds"], short=fields["short"], clock=clock)
            answer = Message({"seconds": seconds})
        else:
            for key in fields["keys"]:
                calls.pop(key, None)
            gc.collect()
            answer = Message({})
        answer.fields["settled"] = timing.settle()
        send(outgoing, answer)


def _first(call: timing.Call, wanted: bool) -> Message:
    began, cpu = time.perf_counter(), time.thread_time()
    results = call()
    seconds = {"seconds": time.perf_counter() - began, "cpu": time.thread_time() - cpu}
    return Message(seconds, [as_array(result) for result in results] if wanted else [])


def main(module: str, function: str) -> None:
    """Serve on the standard streams; whatever a library prints goes to the error stream."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that measures ends this one
    make = getattr(importlib.import_module(module), function)
    gc.disable()
    with os.fdopen(os.dup(1), "wb") as outgoing:
        os.dup2(2, 1)
        serve(make, sys.stdin.buffer, outgoing)


if __name__ == "__main__":
    main(*sys.argv[1:])
