"""Requests of many callers at once: each answered as if alone, in order, or told to come again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import LSTM
from gatewright.errors import BusyError, GatewrightError, SessionError
from gatewright.serve.sessions.batcher import Batcher
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.requests import Advance, Answer, Generate
from gatewright.serve.sessions.sqlite import SqliteStore

D, H = 3, 6
X = np.ones((1, D), np.float32)


def layer() -> LSTM:
    torch.manual_seed(0)
    return LSTM(D, H, 2)


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    with SqliteStore(tmp_path / "sessions.db") as store:
        yield Sessions(layer().stream(sessions=8), store)


class Slow:
    """Sessions whose every batch waits for a word."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions, self.go, self.batches = sessions, threading.Semaphore(0), []

    def advance(self, requests: list[Advance]) -> list[Any]:
        self.batches.append([request.session for request in requests])
        assert self.go.acquire(timeout=30)
        return self.sessions.advance(requests)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(work(), 30)

    asyncio.run(limited())


async def first_batch(slow: Slow) -> None:
    while not slow.batches:
        await asyncio.sleep(0.001)


def test_many_callers_get_what_they_would_alone(sessions: Sessions) -> None:
    inputs = np.random.default_rng(0).normal(size=(12, 40, D)).astype(np.float32)
    sizes: list[int] = []

    async def caller(batcher: Batcher, number: int) -> np.ndarray[Any, Any]:
        name, ys = await batcher.call(sessions.create), []
        for first, x in enumerate(inputs[number]):
            answer = await batcher.submit(Advance(name, x[None], first=first))
            assert answer.steps == first + 1
            ys.append(answer.y[0])
        return np.stack(ys)

    async def work() -> None:
        async with Batcher(sessions, max_batch=5, max_delay=0.001, observe=sizes.append) as batcher:
            found = await asyncio.gather(*(caller(batcher, number) for number in range(12)))
        for x, ys in zip(inputs, found, strict=True):
            assert np.array_equal(ys, layer().stream().run(x))

    run(work)
    assert sum(sizes) == 12 * 40
    assert max(sizes) == 5


def test_requests_of_one_session_keep_their_order_and_others_go_along(sessions: Sessions) -> None:
    slow = Slow(sessions)
    one, two, three = (sessions.create() for _ in range(3))

    async def work() -> None:
        async with Batcher(slow, max_delay=0) as batcher:  # type: ignore[arg-type]
            futures = [batcher.submit(Advance(one, X, first=0))]
            await first_batch(slow)
            order = [(one, 1), (one, 2), (two, 0), (one, 3), (two, 1), (three, 0)]
            futures += [batcher.submit(Advance(name, X, first=first)) for name, first in order]
            slow.go.release(4)
            assert [(await future).steps for future in futures] == [1, 2, 3, 1, 4, 2, 1]

    run(work)
    assert slow.batches == [[one], [one, two, three], [one, two], [one]]


def test_a_fault_of_one_request_is_its_own(sessions: Sessions) -> None:
    names = [sessions.create() for _ in range(3)]
    bad = np.full((1, D), np.inf, np.float32)

    async def work() -> None:
        async with Batcher(sessions, max_delay=0.05) as batcher:
            requests = [Advance(name, x) for name, x in zip(names, (X, bad, X), strict=True)]
            requests.append(Advance("nobody", X))
            found = await asyncio.gather(*map(batcher.submit, requests), return_exceptions=True)
            assert isinstance(found[0], Answer)
            assert "inf in column 0" in str(found[1])
            assert isinstance(found[2], Answer)
            assert isinstance(found[3], SessionError)

    run(work)
    assert [sessions.read(name)[0] for name in names] == [1, 0, 1]


def test_whatever_happens_callers_hear_of_it(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise MemoryError("no room")

    async def work() -> None:
        name = sessions.create()
        async with Batcher(sessions) as batcher:
            with monkeypatch.context() as patched:
                patched.setattr(sessions, "advance", broken)
                with pytest.raises(MemoryError):
                    await batcher.submit(Advance(name, X))
            assert (await batcher.submit(Advance(name, X))).steps == 1  # it goes on

    run(work)


def test_too_many_are_told_to_come_again_and_closing_answers_all(sessions: Sessions) -> None:
    slow = Slow(sessions)
    names = [sessions.create() for _ in range(4)]

    async def work() -> None:
        batcher = Batcher(slow, max_delay=0, max_waiting=2)  # type: ignore[arg-type]
        futures = [batcher.submit(Advance(names[0], X))]
        await first_batch(slow)
        futures += [batcher.submit(Advance(name, X)) for name in names[1:3]]
        assert batcher.waiting == 2
        with pytest.raises(BusyError, match="request: expected fewer than 2 waiting, got 2") as caught:
            batcher.submit(Advance(names[3], X))
        assert caught.value.retry_after > 0
        assert futures[2].cancel()
        slow.go.release(2)
        await batcher.close()
        assert [future.result().steps for future in futures[:2]] == [1, 1]
        for refused in (lambda: batcher.submit(Advance(names[0], X)), lambda: batcher.call(sessions.create)):
            with pytest.raises(BusyError, match="stopping"):
                await refused()
        await batcher.close()

    run(work)
    assert sessions.read(names[2])[0] == 0


@pytest.mark.parametrize(
    "request_",
    [
        ("a", [[1.0]]),
        None,
        Advance(1, [[1.0]]),  # type: ignore[arg-type]
        Advance("a", [[1.0]], first=0.0),  # type: ignore[arg-type]
        Advance("a", [], owner=None),  # type: ignore[arg-type]
        Generate("a", 1.5),  # type: ignore[arg-type]
        Generate("a", 1, prompt=None),  # type: ignore[arg-type]
        Generate("a", 1, temperature=float("nan")),
        Generate("a", 1, seed=-1),
    ],
)
def test_what_is_no_request_is_refused_and_harms_nobody(request_: Any, sessions: Sessions) -> None:
    async def work() -> None:
        name = sessions.create()
        async with Batcher(sessions) as batcher:
            with pytest.raises(GatewrightError, match="expected"):
                batcher.submit(request_)
            with pytest.raises(GatewrightError, match="expected"):
                sessions.advance([Advance(name, X), request_])
            assert (await batcher.submit(Advance(name, X, first=0))).steps == 1

    run(work)


def test_a_cancelled_request_ends_nothing(sessions: Sessions) -> None:
    async def work() -> None:
        name = sessions.create()
        async with Batcher(sessions, max_delay=0.05) as batcher:
            assert batcher.submit(Advance(name, X)).cancel()
            await asyncio.sleep(0.1)
            assert (await batcher.submit(Advance(name, X, first=0))).steps == 1

    run(work)


@pytest.mark.parametrize(
    "limit",
    [
        {"max_batch": 0},
        {"max_batch": 1.5},
        {"max_waiting": 0},
        {"max_delay": -1.0},
        {"max_delay": 61},
        {"max_delay": "a"},
    ],
)
def test_limits_have_to_be_limits(limit: dict[str, Any], sessions: Sessions) -> None:
    with pytest.raises(GatewrightError, match=next(iter(limit))):
        Batcher(sessions, **limit)
