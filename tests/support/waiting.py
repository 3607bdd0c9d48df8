"""Waits for a condition, however busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds after which a wait counts as a hang. Far above what any test takes: no outcome depends on it.
HANG = 300.0


def wait_until(condition: Callable[[], T], state: Callable[[], object] = lambda: "") -> T:
    """Return the first true value of a condition.

    Args:
        condition: polled every 10 ms.
        state: describes the state of things for the error of a hang.
    """
    deadline = time.monotonic() + HANG
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the condition was still false after {HANG:g} s: {state()}")
        time.sleep(0.01)
    return value
