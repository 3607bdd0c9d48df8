"""Requests of many callers, gathered so that the steps of different sessions run together."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import Any

from gatewright.errors import BusyError, GatewrightError
from gatewright.serve.sessions import Answer, Request, Sessions, require_request


class Batcher:
    """Takes requests from any thread, and hands those of different sessions to `Sessions.advance` together.

    A session's requests are taken in the order they came.  While one batch runs, the next gathers: nobody waits
    for a caller that is slow, and a lone request waits ``max_delay`` at most.

    Args:
        sessions: whose steps are taken.
        max_batch: most requests at once.
        max_delay: seconds to wait for others once a request is there.
        max_waiting: most requests that may wait; further ones are refused.

    Raises:
        GatewrightError: if a limit is not above 0.

    >>> import tempfile
    >>> import numpy as np
    >>> from gatewright.serve.store import SqliteStore
    >>> from gatewright.stream import Stream
    >>> zeros = np.zeros((4, 1), np.float32)
    >>> stream = Stream.from_weights({"weight_ih_l0": zeros, "weight_hh_l0": zeros})
    >>> with tempfile.TemporaryDirectory() as folder, SqliteStore(f"{folder}/sessions.db") as store:
    ...     sessions = Sessions(stream, store)
    ...     name = sessions.create()
    ...     with Batcher(sessions) as batcher:
    ...         batcher.submit(Request(name, [[1.0], [2.0]], first=0)).result().steps
    2
    """

    def __init__(
        self, sessions: Sessions, *, max_batch: int = 256, max_delay: float = 0.002, max_waiting: int = 10_000
    ) -> None:
        for name, value in (("max_batch", max_batch), ("max_waiting", max_waiting)):
            if not isinstance(value, int) or value < 1:
                raise GatewrightError(name, "a whole number of at least 1", repr(value))
        if not isinstance(max_delay, int | float) or not 0 <= max_delay < 60:
            raise GatewrightError("max_delay", "seconds from 0 to 60", repr(max_delay))
        self._sessions = sessions
        self._max_batch, self._max_delay, self._max_waiting = max_batch, max_delay, max_waiting
        self._waiting: deque[tuple[Request, Future[Answer]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._pace = 0.0  # seconds that a request takes, lately
        self._thread = threading.Thread(target=self._loop, name="gatewright-batches", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> Future[Answer]:
        """Return the answer to come; its exception is the error that `Sessions.advance` gives.

        Raises:
            GatewrightError: if it is no request.
            BusyError: if too many wait already, or this is closed; it says when to try again.
        """
        require_request(request)
        with self._changed:
            if self._closed:
                raise BusyError("request", "a batcher that takes requests", "one that is closed", retry_after=1.0)
            if len(self._waiting) >= self._max_waiting:
                after = max(0.1, self._pace * self._max_waiting / 2)
                got = f"{len(self._waiting)} of them"
                raise BusyError("request", f"less than {self._max_waiting} waiting", got, retry_after=after)
            future: Future[Answer] = Future()
            self._waiting.append((request, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Answer all that wait, and stop; twice is fine."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def __enter__(self) -> Batcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _loop(self) -> None:
        while batch := self._gather():
            began = time.perf_counter()
            try:
                answers: list[Any] = list(self._sessions.advance([request for request, _ in batch]))
            except Exception as error:
                answers = [error] * len(batch)
            self._pace = (time.perf_counter() - began) / len(batch)
            for (_, future), answer in zip(batch, answers, strict=True):
                if isinstance(answer, BaseException):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _gather(self) -> list[tuple[Request, Future[Answer]]]:
        """Wait for requests, and return those of different sessions; nothing when closed and all are answered."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return []
                self._changed.wait_for(
                    lambda: len(self._waiting) >= self._max_batch or self._closed, timeout=self._max_delay
                )
                if batch := self._take():
                    return batch

    def _take(self) -> list[tuple[Request, Future[Answer]]]:
        batch: list[tuple[Request, Future[Answer]]] = []
        later: list[tuple[Request, Future[Answer]]] = []
        named: set[str] = set()
        while self._waiting and len(batch) < self._max_batch:
            request, future = self._waiting.popleft()
            if request.session in named:
                later.append((request, future))
            elif future.set_running_or_notify_cancel():
                named.add(request.session)
                batch.append((request, future))
        self._waiting.extendleft(reversed(later))
        return batch
