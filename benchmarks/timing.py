"""Interleaved timing, so that nobody gains from a machine that changes while it is measured.

What is fair:

- *Turns.*  Contenders take turns, round after round, and the result is the median over rounds.  A machine that
  slows down for a second slows all of them.
- *Nobody's threads run in another's turn.*  After a call the threads of a pool keep spinning for the next one:
  torch's for some 10 ms, ONNX Runtime's for some 50 ms on both cores.  That makes repeated calls faster, so
  every contender keeps its defaults; but nobody begins a turn before the threads of the one before have come to
  rest.  Engines with thread pools of their own run in processes of their own (`processes.py`), and each of these
  answers only when it uses no more CPU: in one process, ONNX Runtime's pool made our times up to 1.4 times
  as long.
- *Nobody starts cold.*  Waiting lets threads fall asleep and caches grow cold.  So a turn lasts at least 20 ms,
  begins with an untimed call where calls are shorter than that, and counts the mean of its calls: what a
  contender reaches in a loop, its own spinning included.  A longer call is timed once; waking up is lost in it.
- *The same work.*  The first call of each contender is not timed; its results are compared before anything is.
"""

from __future__ import annotations

import gc
import math
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

#: Something to be timed; what it returns is compared with what the others return.
Call = Callable[[], Sequence[Any]]

#: A turn of a contender: of its least seconds, and whether calls are shorter, to the mean seconds of a call.
Turn = Callable[[float, bool], float]

#: Called after each round with its number.
Watcher = Callable[[int], object]

#: No more rounds than this: the median moves no further.
AT_MOST = 60


class Plan(NamedTuple):
    """How long to measure.

    Attributes:
        seconds: over all contenders and rounds,
        at_least: but at least so many rounds.
        turn: seconds that a turn lasts at least.
        warm: whether long calls, too, come after one that is not timed, as short ones do.
    """

    seconds: float
    at_least: int
    turn: float = 0.02
    warm: bool = False


class Timed(NamedTuple):
    """Time of one contender.

    Attributes:
        seconds: of one call, the median over rounds.
        spread: range of the middle half of the rounds over the median.
        rounds: how many.
    """

    seconds: float
    spread: float
    rounds: int


def interleaved(
    calls: Mapping[str, Call], plan: Plan, check: Callable[[Mapping[str, Sequence[Any]]], None] | None = None
) -> dict[str, Timed]:
    """Time calls in turns.

    Args:
        calls: contenders by name, in the order of their turns.
        plan: how long.
        check: called with everyone's results before anything is timed; raises if they differ.
    """
    last: dict[str, float] = {}
    results: dict[str, Sequence[Any]] = {}
    for name, call in calls.items():
        settle()
        began = time.perf_counter()
        results[name] = call()
        last[name] = time.perf_counter() - began
    if check is not None:
        check(results)
    results.clear()
    collecting = gc.isenabled()
    gc.disable()
    try:
        return rounds({name: _settled_turn(call) for name, call in calls.items()}, last, plan)
    finally:
        if collecting:
            gc.enable()


def rounds(
    contenders: Mapping[str, Turn], first: Mapping[str, float], plan: Plan, watcher: Watcher | None = None
) -> dict[str, Timed]:
    """Let contenders take turns, round after round.

    Args:
        contenders: by name, in the order of their turns.
        first: seconds of a first call of each.
        plan: how long.
        watcher: called after each round.
    """
    return {name: _summary(values) for name, values in turns(contenders, first, plan, watcher).items()}


def turns(
    contenders: Mapping[str, Turn], first: Mapping[str, float], plan: Plan, watcher: Watcher | None = None
) -> dict[str, list[float]]:
    """Do as `rounds`; return the seconds of each turn."""
    last = dict(first)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    number, began = 0, time.perf_counter()
    while number < plan.at_least or (number < AT_MOST and time.perf_counter() - began < plan.seconds):
        for name, take_turn in contenders.items():
            last[name] = take_turn(plan.turn, plan.warm or last[name] < plan.turn)
            seconds[name].append(last[name])
        number += 1
        if watcher is not None:
            watcher(number)
    return seconds


def _settled_turn(call: Call) -> Turn:
    """Return the turns of a contender in this process, each after those before have come to rest."""

    def take_turn(seconds: float, short: bool) -> float:
        settle()
        return turn(call, seconds, short=short)

    return take_turn


def turn(call: Call, seconds: float, *, short: bool, clock: Callable[[], float] | None = None) -> float:
    """Return the mean seconds of a call, over one turn.

    Args:
        call: what is timed.
        seconds: how long a turn lasts at least.
        short: whether to begin with a call that is not timed.
        clock: what says the time; None for that of the wall.
    """
    clock = clock or time.perf_counter
    if short:
        call()
    calls, passed, began = 0, 0.0, clock()
    while calls == 0 or passed < seconds:
        call()
        calls += 1
        passed = clock() - began
    return passed / calls


def settle(window: float = 0.005, at_most: float = 1.0) -> bool:
    """Wait until no other thread of this process is running any more; return whether that came."""
    end = time.perf_counter() + at_most
    while time.perf_counter() < end:
        began, used = time.perf_counter(), time.process_time()
        time.sleep(window)
        if time.process_time() - used < 0.2 * (time.perf_counter() - began) and not _others_runnable():
            return True
    return False


def waited(tasks: Path = Path("/proc/self/task")) -> float:
    """Return the seconds that threads of this process have waited for a core; 0 where no one counts them."""
    nanoseconds = 0
    for task in tasks.iterdir() if tasks.exists() else ():
        with suppress(OSError):  # it has just ended, or the kernel keeps no such statistics
            nanoseconds += int((task / "schedstat").read_bytes().split()[1])
    return nanoseconds / 1e9


def _others_runnable(tasks: Path = Path("/proc/self/task")) -> bool:
    """Return whether another thread runs, or waits for a core on a busy machine; known on Linux only."""
    for task in tasks.iterdir() if tasks.exists() else ():
        with suppress(OSError):  # it has just ended
            state = (task / "stat").read_bytes().rpartition(b")")[2].split()[0]
            if state == b"R" and task.name != str(threading.get_native_id()):
                return True
    return False


def _summary(seconds: list[float]) -> Timed:
    median = statistics.median(seconds)
    low, _, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else (median, median, median)
    return Timed(median, (high - low) / median, len(seconds))


def geometric_mean(ratios: Iterable[float]) -> float:
    """Return the mean of ratios: of twice and half as fast it is 1.

    >>> geometric_mean([2.0, 0.5])
    1.0
    """
    return math.exp(statistics.fmean(math.log(ratio) for ratio in ratios))
