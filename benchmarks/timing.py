"""Interleaved timing, so that nobody gains from a machine that changes while it is measured.

What is fair:

- *Turns.*  Contenders take turns, round after round, and the result is the median over rounds.  A machine that
  slows down for a second slows all of them.
- *Nobody's threads run in another's turn.*  After a call the threads of a pool keep spinning for the next one:
  torch's for some 10 ms, ONNX Runtime's for some 50 ms on both cores.  That makes repeated calls faster, so
  every contender keeps its defaults; but before each turn we wait until this process has stopped using the CPU,
  however long that takes.
- *Nobody starts cold.*  Waiting lets threads fall asleep and caches grow cold.  So a turn lasts at least 20 ms,
  begins with an untimed call where calls are shorter than that, and counts the mean of its calls: what a
  contender reaches in a loop, its own spinning included.  A longer call is timed once; waking up is lost in it.
- *The same work.*  The first call of each contender is not timed; its results are compared before anything is.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

#: Something to be timed; what it returns is compared with what the others return.
Call = Callable[[], Sequence[Any]]

#: No more rounds than this: the median moves no further.
AT_MOST = 60


class Plan(NamedTuple):
    """How long to measure.

    Attributes:
        seconds: over all contenders and rounds,
        at_least: but at least so many rounds.
        turn: seconds that a turn lasts at least.
    """

    seconds: float
    at_least: int
    turn: float = 0.02


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
    turns: dict[str, list[float]] = {name: [] for name in calls}
    collecting = gc.isenabled()
    gc.disable()
    try:
        rounds, began = 0, time.perf_counter()
        while rounds < plan.at_least or (rounds < AT_MOST and time.perf_counter() - began < plan.seconds):
            for name, call in calls.items():
                last[name] = _turn(call, plan.turn, short=last[name] < plan.turn)
                turns[name].append(last[name])
            rounds += 1
    finally:
        if collecting:
            gc.enable()
    return {name: _summary(seconds) for name, seconds in turns.items()}


def _turn(call: Call, turn: float, *, short: bool) -> float:
    """Return the mean seconds of a call, over one turn."""
    settle()
    if short:
        call()
    calls, passed, began = 0, 0.0, time.perf_counter()
    while calls == 0 or passed < turn:
        call()
        calls += 1
        passed = time.perf_counter() - began
    return passed / calls


def settle(window: float = 0.005, at_most: float = 0.5) -> None:
    """Wait until no thread of this process is running any more."""
    end = time.perf_counter() + at_most
    while time.perf_counter() < end:
        began, used = time.perf_counter(), time.process_time()
        time.sleep(window)
        if time.process_time() - used < 0.2 * (time.perf_counter() - began):
            return


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
