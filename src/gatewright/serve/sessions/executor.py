"""Execution of requests of many sessions in batches: reading input, writing text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError
from gatewright.runtime.sampling import KNOWN, draw
from gatewright.runtime.stream import Stream
from gatewright.serve.sessions.cache import CachedSession, SessionCache
from gatewright.serve.sessions.requests import Generate, Request, to_bytes
from gatewright.serve.sessions.store import StoredSession, with_digest

Array = NDArray[Any]


@dataclass
class PendingRequest:
    """A request that is about to be executed.

    Attributes:
        index: position in the list of requests.
        request: the request.
        cache: cache of the session's model.
        cached: the session.
        x: input of the steps.
        times: times of the steps, or None.
        digest: digest of the request.
        written: symbols that an earlier execution wrote, where this one continues it.
        y: outputs, once executed.
        scores: scores of the last step: before execution those of the session, then those of this request.
    """

    index: int
    request: Request
    cache: SessionCache
    cached: CachedSession
    x: Array
    times: Array | None
    digest: bytes
    written: Array | None
    y: Array
    scores: Array

    @property
    def missing(self) -> int:
        """Number of symbols still to write."""
        if not isinstance(self.request, Generate):
            return 0
        return self.request.length - (0 if self.written is None else len(self.written))

    def next_commit(self) -> StoredSession:
        """Return the session's commit after execution."""
        stored = self.cached.stored
        return stored.next_commit(
            steps=stored.steps + len(self.x) + self.missing,
            snapshot=self.cache.stream.snapshot(self.cached.slot),
            first=stored.steps if self.written is None else stored.first,
            request=self.digest,
            answer=with_digest(to_bytes(self.request, self.y, self.scores)),
        )


def execute(requests: list[PendingRequest], answers: list[Any]) -> list[tuple[PendingRequest, StoredSession]]:
    """Execute requests; those with the same number of steps run as one batch.

    Args:
        requests: one request each of different sessions.
        answers: receives the errors of invalid requests; their sessions have not advanced.

    Returns:
        The executed requests, each with the next commit of its session.
    """
    groups: dict[Any, list[PendingRequest]] = {}
    for pending in requests:
        times = () if pending.times is None else (pending.times.shape, pending.times.tobytes())
        groups.setdefault((id(pending.cache), len(pending.x), times), []).append(pending)
    executed: list[PendingRequest] = []
    for group in groups.values():
        try:
            executed += _read(group)
        except GatewrightError:  # nothing has changed: find the invalid requests by running each alone
            for pending in group:
                try:
                    executed += _read([pending])
                except GatewrightError as error:
                    answers[pending.index] = error
    for cache in {id(pending.cache): pending.cache for pending in executed}.values():
        _write(cache.stream, [pending for pending in executed if pending.cache is cache])
    return [(pending, pending.next_commit()) for pending in executed]


def _read(group: list[PendingRequest]) -> list[PendingRequest]:
    """Run the input of requests, all of the same length."""
    if len(group[0].x):
        slots = [pending.cached.slot for pending in group]
        xs = np.stack([pending.x for pending in group], axis=1)
        ys = group[0].cache.stream.run(xs, sessions=slots, times=group[0].times, indexed=True)
        for column, pending in enumerate(group):
            pending.y = ys[:, column]
            pending.scores = pending.y[-1]
    return group


def _write(stream: Stream, executed: list[PendingRequest]) -> None:
    """Write the requested text, one symbol of all requests at a time."""
    writing = [(pending, pending.request) for pending in executed if isinstance(pending.request, Generate)]
    choice = stream.tokenizer.drawn if stream.tokenizer is not None else KNOWN
    drawn: list[list[int]] = [[] for _ in writing]
    while True:
        group = [index for index, (pending, _) in enumerate(writing) if len(drawn[index]) < pending.missing]
        if not group:
            break
        for index in group:
            pending, request = writing[index]
            step = pending.cached.stored.steps + len(pending.x) + len(drawn[index])
            drawn[index].append(draw(pending.scores, request.temperature, request.seed, step, choice))
        slots = [writing[index][0].cached.slot for index in group]
        scores = stream.step(np.array([drawn[index][-1] for index in group]), sessions=slots)
        for row, index in enumerate(group):
            writing[index][0].scores = scores[row]
    for (pending, _), symbols in zip(writing, drawn, strict=True):
        new = np.array(symbols, np.int64)
        pending.y = new if pending.written is None else np.concatenate([pending.written, new])
