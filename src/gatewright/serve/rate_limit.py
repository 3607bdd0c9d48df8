"""Rate limits per owner."""

from __future__ import annotations

import time

from gatewright.errors import BusyError


class RateLimiter:
    """A token bucket for each owner; unused steps accumulate for ten seconds.

    Args:
        rate: steps per second; None for no limit.
        burst: minimum capacity of a bucket, in steps.
    """

    def __init__(self, rate: int | None, burst: int) -> None:
        self._rate, self._burst = rate, max(burst, 10 * (rate or 0))
        self._buckets: dict[str, tuple[float, float]] = {}  # steps left, and the time of that value

    def acquire(self, owner: str, steps: int) -> None:
        """Deduct steps from an owner's bucket.

        Raises:
            BusyError: if the bucket holds fewer; ``retry_after`` says when it will hold enough.
        """
        if self._rate is None:
            return
        now = time.monotonic()
        left, then = self._buckets.get(owner, (float(self._burst), now))
        left = min(self._burst, left + (now - then) * self._rate)
        if left < steps:
            self._buckets[owner] = (left, now)
            retry_after = (steps - left) / self._rate
            raise BusyError("steps", f"at most {self._rate} a second", "more", retry_after=retry_after)
        self._buckets[owner] = (left - steps, now)
