"""LRU cache of one model's sessions, in the slots of a stream."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

from gatewright.errors import StoreError
from gatewright.runtime.stream import Stream
from gatewright.serve.sessions.store import StoredSession, verified_answer


@dataclass
class CachedSession:
    """A session in memory.

    Attributes:
        stored: the session's last commit, without its answer.
        slot: index of its state in the stream.
        size: approximate size in the store, in bytes.
        last_scores: bytes of a text model's last scores, from the end of the last answer.
        last_used: time of the last access, as `time.monotonic` gives it.
    """

    stored: StoredSession
    slot: int
    size: int
    last_scores: bytes
    last_used: float = field(default_factory=time.monotonic)


class SessionCache:
    """An LRU cache of sessions in the slots of a stream.

    Every cached session is in the store too, so that evicting one loses nothing.

    Attributes:
        stream: the model.
        initial_snapshot: snapshot of a session that has read nothing.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        stream.reset()
        self.initial_snapshot = stream.snapshot()
        self._by_name: OrderedDict[str, CachedSession] = OrderedDict()
        self._free_slots = list(range(stream.sessions))
        self._scores_size = stream.output_dtype.itemsize * len(stream.symbols)

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def get(self, name: str) -> CachedSession | None:
        """Return a cached session and mark it as used; None if it is not in memory."""
        cached = self._by_name.get(name)
        if cached is not None:
            self._by_name.move_to_end(name)
            cached.last_used = time.monotonic()
        return cached

    def add(self, stored: StoredSession, in_use: Collection[str]) -> CachedSession:
        """Load a session into a slot; evict the least recently used session if no slot is free.

        Args:
            stored: the session as the store has it.
            in_use: names of sessions that must not be evicted.

        Raises:
            StateError: if the session's snapshot is damaged.
            StoreError: if its last answer is damaged.
        """
        last_scores = self.last_scores(stored)
        if not self._free_slots:
            self.evict(next(name for name in self._by_name if name not in in_use))
        self.stream.restore(stored.snapshot, self._free_slots[-1])
        slot = self._free_slots.pop()
        cached = CachedSession(stored._replace(answer=b""), slot, stored.size, last_scores)
        self._by_name[stored.id] = cached
        return cached

    def update(self, cached: CachedSession, stored: StoredSession) -> None:
        """Record a session's new commit."""
        cached.stored, cached.size = stored._replace(answer=b""), stored.size
        cached.last_scores = self._tail(stored.answer)

    def last_scores(self, stored: StoredSession) -> bytes:
        """Return the last scores of a text model's session; empty if it has read nothing since its last reset.

        Raises:
            StoreError: if the session's answer is damaged.
        """
        if not self._scores_size:
            return b""
        answer = verified_answer(stored)
        if 0 < len(answer) < self._scores_size:
            raise StoreError("store", f"an answer of at least {self._scores_size} bytes", f"{len(answer)}")
        return self._tail(answer)

    def _tail(self, answer: bytes) -> bytes:
        return answer[-self._scores_size :] if self._scores_size else b""

    def evict(self, name: str) -> None:
        """Remove a session from memory, if it is there."""
        cached = self._by_name.pop(name, None)
        if cached is not None:
            self._free_slots.append(cached.slot)

    def evict_idle(self, seconds: float) -> None:
        """Remove the sessions that were not used for a number of seconds."""
        cutoff = time.monotonic() - seconds
        while self._by_name and next(iter(self._by_name.values())).last_used <= cutoff:
            self.evict(next(iter(self._by_name)))
