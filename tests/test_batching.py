"""Requests of many callers at once: each answered as if alone, in order, or told to come again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import LSTM
from gatewright.errors import BusyError, GatewrightError, SessionError
from gatewright.serve.batching import Batcher
from gatewright.serve.sessions import Answer, Request, Sessions
from gatewright.serve.store import SqliteStore

D, H = 3, 6


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

    def advance(self, requests: list[Request]) -> list[Any]:
        self.batches.append([request.session for request in requests])
        assert self.go.acquire(timeout=30)
        return self.sessions.advance(requests)


def test_callers_in_many_threads_get_what_they_would_alone(sessions: Sessions) -> None:
    inputs = np.random.default_rng(0).normal(size=(12, 40, D)).astype(np.float32)
    found: list[Any] = [None] * 12

    def caller(number: int) -> None:
        name, ys = sessions.create(), []
        for first, x in enumerate(inputs[number]):
            answer = batcher.submit(Request(name, x[None], first=first)).result(timeout=30)
            assert answer.steps == first + 1
            ys.append(answer.y[0])
        found[number] = np.stack(ys)

    with Batcher(sessions, max_batch=5, max_delay=0.001) as batcher:
        threads = [threading.Thread(target=caller, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for x, ys in zip(inputs, found, strict=True):
        assert np.array_equal(ys, layer().stream().run(x))


def test_requests_of_one_session_keep_their_order_and_others_go_along(sessions: Sessions) -> None:
    slow = Slow(sessions)
    one, two, three = (sessions.create() for _ in range(3))
    x = np.ones((1, D), np.float32)
    with Batcher(slow, max_delay=0) as batcher:  # type: ignore[arg-type]
        futures = [batcher.submit(Request(one, x, first=0))]
        while not slow.batches:
            time.sleep(0.001)
        order = [(one, 1), (one, 2), (two, 0), (one, 3), (two, 1), (three, 0)]
        futures += [batcher.submit(Request(name, x, first=first)) for name, first in order]
        for _ in range(4):
            slow.go.release()
        assert [future.result(timeout=30).steps for future in futures] == [1, 2, 3, 1, 4, 2, 1]
    assert slow.batches == [[one], [one, two, three], [one, two], [one]]


def test_a_fault_of_one_request_is_its_own(sessions: Sessions) -> None:
    names = [sessions.create() for _ in range(3)]
    good, bad = np.ones((1, D), np.float32), np.full((1, D), np.inf, np.float32)
    with Batcher(sessions, max_delay=0.05) as batcher:
        futures = [batcher.submit(Request(name, x)) for name, x in zip(names, (good, bad, good), strict=True)]
        stranger = batcher.submit(Request("nobody", good))
        assert isinstance(futures[0].result(30), Answer)
        assert isinstance(futures[2].result(30), Answer)
        assert "inf in column 0" in str(futures[1].exception(30))
        assert isinstance(stranger.exception(30), SessionError)
    assert [sessions.read(name)[0] for name in names] == [1, 0, 1]


def test_whatever_happens_callers_hear_of_it(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise MemoryError("no room")

    name, x = sessions.create(), np.ones((1, D), np.float32)
    with Batcher(sessions) as batcher:
        with monkeypatch.context() as patched:
            patched.setattr(sessions, "advance", broken)
            assert isinstance(batcher.submit(Request(name, x)).exception(30), MemoryError)
        assert batcher.submit(Request(name, x)).result(30).steps == 1  # it goes on


def test_too_many_are_told_to_come_again_and_closing_answers_all(sessions: Sessions) -> None:
    slow, x = Slow(sessions), np.ones((1, D), np.float32)
    names = [sessions.create() for _ in range(4)]
    batcher = Batcher(slow, max_delay=0, max_waiting=2)  # type: ignore[arg-type]
    futures: list[Future[Answer]] = [batcher.submit(Request(names[0], x))]
    while not slow.batches:
        time.sleep(0.001)
    futures += [batcher.submit(Request(name, x)) for name in names[1:3]]
    with pytest.raises(BusyError, match="request: expected less than 2 waiting, got 2 of them") as caught:
        batcher.submit(Request(names[3], x))
    assert caught.value.retry_after > 0
    assert futures[2].cancel()
    closing = threading.Thread(target=batcher.close)
    closing.start()
    slow.go.release(2)
    closing.join(30)
    assert [future.result(0).steps for future in futures[:2]] == [1, 1]
    assert sessions.read(names[2])[0] == 0
    with pytest.raises(BusyError, match="closed"):
        batcher.submit(Request(names[0], x))
    batcher.close()


@pytest.mark.parametrize(
    "request_",
    [("a", [[1.0]]), None, Request(1, [[1.0]]), Request("a", [[1.0]], first=0.0), Request("a", [], owner=None)],
)
def test_what_is_no_request_is_refused_and_harms_nobody(request_: Any, sessions: Sessions) -> None:
    name, x = sessions.create(), np.ones((1, D), np.float32)
    with Batcher(sessions) as batcher:
        with pytest.raises(GatewrightError, match="expected"):
            batcher.submit(request_)
        with pytest.raises(GatewrightError, match="expected"):
            sessions.advance([Request(name, x), request_])
        assert batcher.submit(Request(name, x, first=0)).result(30).steps == 1


def test_a_cancelled_request_ends_nothing(sessions: Sessions) -> None:
    name, x = sessions.create(), np.ones((1, D), np.float32)
    with Batcher(sessions, max_delay=0.05) as batcher:
        assert batcher.submit(Request(name, x)).cancel()
        time.sleep(0.1)
        assert batcher.submit(Request(name, x, first=0)).result(30).steps == 1


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
