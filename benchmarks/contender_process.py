"""The process of one contender: prepares a case, runs it once, and takes a turn whenever it is told to.

Nothing of it runs between turns: it answers when all of its threads have come to rest, and then waits for the next
message.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from typing import IO, Any

import numpy as np

from benchmarks import engines, timing
from benchmarks.cases import Case
from benchmarks.contenders import BY_NAME, Contender
from benchmarks.messages import Message, receive, send


def serve(contender: Contender, threads: int, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
    """Answer messages until there are no more.

    - ``prepare`` (case, pass; x, dy, weights): prepares the pass and runs it once; the answer has its results, its
      seconds and the name of the implementation that ran.
    - ``turn`` (seconds, short): the seconds of a call, the mean over one turn; and the share of the turn that
      threads waited for a core, which other programs had.
    - ``drop``: frees the pass.
    """
    call: timing.Call | None = None
    while (message := receive(incoming)) is not None:
        fields = message.fields
        if fields["do"] == "prepare":
            x, dy, *weights = message.arrays
            work = engines.Work(Case(**fields["case"]), fields["pass"], x, dy, tuple(weights), threads)
            call, answer = _prepared(contender, work)
            del work, message, x, dy, weights
        elif fields["do"] == "turn":
            assert call is not None
            answer = _turn(call, fields["seconds"], short=fields["short"])
        else:
            call = None
            gc.collect()
            answer = Message({})
        answer.fields["settled"] = timing.settle()
        send(outgoing, answer)


def _prepared(contender: Contender, work: engines.Work) -> tuple[timing.Call, Message]:
    """Return the call, and the answer about its first run."""
    engine = engines.engine(contender, work)
    first = engine.watched()
    arrays = [as_array(result) for result in first.results]
    return engine.call, Message({"seconds": first.seconds, "implementation": first.implementation}, arrays)


def _turn(call: timing.Call, seconds: float, *, short: bool) -> Message:
    waited, began = timing.waited(), time.perf_counter()
    mean = timing.turn(call, seconds, short=short)
    return Message({"seconds": mean, "waited": (timing.waited() - waited) / (time.perf_counter() - began)})


def as_array(result: Any) -> Any:
    """Return a result, an array or a tensor of whatever precision, as float32."""
    return np.asarray(result.float() if hasattr(result, "float") else result, np.float32)


def main(name: str, threads: int) -> None:
    """Serve on the standard streams; whatever a library prints goes to the error stream."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that measures ends this one
    gc.disable()
    with os.fdopen(os.dup(1), "wb") as outgoing:
        os.dup2(2, 1)
        serve(BY_NAME[name], threads, sys.stdin.buffer, outgoing)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
