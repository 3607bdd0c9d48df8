"""Batches of requests of different sessions."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from gatewright.errors import BusyError, GatewrightError
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.requests import Answer, Request, require_request

T = TypeVar("T")


class Batcher:
    """Collects requests on an event loop and passes them to `Sessions.advance` in batches.

    The requests of a session run in order of arrival.  While one batch runs, the next is collected; a single
    request waits ``max_delay`` at most.  All access to the sessions runs in one thread, so that the event loop is
    never blocked.

    Args:
        sessions: the sessions to advance.
        max_batch: maximum number of requests in a batch.
        max_delay: time to wait for further requests after the first, in seconds.
        max_waiting: maximum number of waiting requests; further ones are refused.
        observe: called with the size of each batch.

    Raises:
        GatewrightError: if a limit is out of range.

    >>> import numpy as np
    >>> from gatewright.serve.sessions.requests import Advance
    >>> from gatewright.serve.sessions.sqlite import SqliteStore
    >>> from gatewright.runtime.stream import Stream
    >>> zeros = np.zeros((4, 1), np.float32)
    >>> async def example() -> int:
    ...     stream = Stream.from_weights({"weight_ih_l0": zeros, "weight_hh_l0": zeros})
    ...     async with Batcher(Sessions(stream, SqliteStore(":memory:"))) as batcher:
    ...         name = await batcher.call(batcher.sessions.create)
    ...         return (await batcher.submit(Advance(name, [[1.0], [2.0]], first=0))).steps
    >>> asyncio.run(example())
    2
    """

    def __init__(
        self,
        sessions: Sessions,
        *,
        max_batch: int = 256,
        max_delay: float = 0.002,
        max_waiting: int = 10_000,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        for name, value in (("max_batch", max_batch), ("max_waiting", max_waiting)):
            if not isinstance(value, int) or value < 1:
                raise GatewrightError(name, "a whole number of at least 1", repr(value))
        if not isinstance(max_delay, int | float) or not 0 <= max_delay < 60:
            raise GatewrightError("max_delay", "seconds from 0 to 60", repr(max_delay))
        self.sessions = sessions
        self._max_batch, self._max_delay, self._max_waiting = max_batch, max_delay, max_waiting
        self._observe = observe
        self._waiting: deque[tuple[Request, asyncio.Future[Answer]]] = deque()
        self._arrived = asyncio.Event()  # a request arrived, or the batcher closed
        self._full = asyncio.Event()  # a batch is full, or the batcher closed
        self._closed = False
        self._pace = 0.0  # recent seconds per request
        self._thread = ThreadPoolExecutor(1, "gatewright-sessions")
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return len(self._waiting)

    def submit(self, request: Request) -> asyncio.Future[Answer]:
        """Return a future of the answer; its exception is the error from `Sessions.advance`.

        Raises:
            GatewrightError: if it is not a request.
            BusyError: if too many requests wait, or the batcher is closed; ``retry_after`` says when to retry.
        """
        require_request(request)
        if self._closed:
            raise _stopping_error()
        if len(self._waiting) >= self._max_waiting:
            retry_after = max(0.1, self._pace * self._max_waiting / 2)
            got = str(len(self._waiting))
            raise BusyError("request", f"fewer than {self._max_waiting} waiting", got, retry_after=retry_after)
        if self._task is None:
            self._task = asyncio.create_task(self._loop())
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        self._arrived.set()
        if len(self._waiting) >= self._max_batch:
            self._full.set()
        return future

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function between two batches, in the thread of the sessions.

        Raises:
            BusyError: if the batcher is closed.
        """
        if self._closed:
            raise _stopping_error()
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def close(self, *, answer: bool = True) -> None:
        """Stop; idempotent.

        Args:
            answer: whether the waiting requests are answered; otherwise they are refused, and only the batch that
                runs is answered.
        """
        self._closed = True
        while self._waiting and not answer:
            _, future = self._waiting.popleft()
            if not future.cancelled():
                future.set_exception(_stopping_error())
        self._arrived.set()
        self._full.set()
        if self._task is not None:
            await self._task
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    async def __aenter__(self) -> Batcher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if not self._waiting:
                if self._closed:
                    return
                self._arrived.clear()
                continue
            if self._max_delay and len(self._waiting) < self._max_batch and not self._closed:
                await _wait(self._full, self._max_delay)
            self._full.clear()
            batch = self._next_batch()
            if not batch:
                continue
            requests = [request for request, _ in batch]
            began = time.perf_counter()
            try:
                answers: list[Any] = await loop.run_in_executor(self._thread, self.sessions.advance, requests)
            except Exception as error:
                answers = [error] * len(batch)
            self._pace = (time.perf_counter() - began) / len(batch)
            self._observe(len(batch))
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.cancelled():
                    continue
                if isinstance(answer, BaseException):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _next_batch(self) -> list[tuple[Request, asyncio.Future[Answer]]]:
        """Remove and return waiting requests of different sessions; cancelled ones are dropped."""
        batch: list[tuple[Request, asyncio.Future[Answer]]] = []
        later: list[tuple[Request, asyncio.Future[Answer]]] = []
        named: set[str] = set()
        while self._waiting and len(batch) < self._max_batch:
            request, future = self._waiting.popleft()
            if request.session in named:
                later.append((request, future))
            elif not future.cancelled():
                named.add(request.session)
                batch.append((request, future))
        self._waiting.extendleft(reversed(later))
        return batch


def _stopping_error() -> BusyError:
    return BusyError("request", "a running server", "one that is stopping", retry_after=1.0)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, with a timeout."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
