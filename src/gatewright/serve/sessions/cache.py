"""The sessions of one model that are in memory: a few of all that the store has."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

from gatewright.errors import StoreError
from gatewright.runtime.stream import Stream
from gatewright.serve.sessions.store import Saved, unsealed


@dataclass
class Resident:
    """A session in memory.

    Attributes:
        saved: what the store has of it, but for the answer.
        number: its place in the stream.
        size: about how many bytes it takes in the store.
        tail: the end of its last answer: a text model's last scores.
        used: when it was used last, in seconds of `time.monotonic`.
    """

    saved: Saved
    number: int
    size: int
    tail: bytes
    used: float = field(default_factory=time.monotonic)


class Residents:
    """Sessions in a stream's places; whoever was not used for longest makes room.

    All that is here is in the store too, so that letting go of it loses nothing.

    Attributes:
        stream: the model.
        fresh: a snapshot of a session that has read nothing.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        stream.reset()
        self.fresh = stream.snapshot()
        self._by_name: OrderedDict[str, Resident] = OrderedDict()
        self._free = list(range(stream.sessions))
        self._tail = stream.output_dtype.itemsize * len(stream.symbols)

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def get(self, name: str) -> Resident | None:
        """Return a session if it is in memory, and take note that it was used."""
        found = self._by_name.get(name)
        if found is not None:
            self._by_name.move_to_end(name)
            found.used = time.monotonic()
        return found

    def bring(self, saved: Saved, in_use: Collection[str]) -> Resident:
        """Bring a session into memory.

        Args:
            saved: as the store has it.
            in_use: sessions that must stay.

        Raises:
            StateError: if its snapshot is damaged.
            StoreError: if its last answer is.
        """
        tail = self.tail(saved)
        if not self._free:
            self.drop(next(name for name in self._by_name if name not in in_use))
        self.stream.restore(saved.snapshot, self._free[-1])
        found = Resident(saved._replace(answer=b""), self._free.pop(), saved.size, tail)
        self._by_name[saved.id] = found
        return found

    def put(self, resident: Resident, saved: Saved) -> None:
        """Take note of what the store has of a session now."""
        resident.saved, resident.size, resident.tail = (
            saved._replace(answer=b""),
            saved.size,
            self._end(saved.answer),
        )

    def tail(self, saved: Saved) -> bytes:
        """Return the last scores of a text model's session; nothing, if it has read nothing since it was reset.

        Raises:
            StoreError: if its answer is damaged.
        """
        if not self._tail:
            return b""
        answer = unsealed(saved)
        if 0 < len(answer) < self._tail:
            raise StoreError("store", f"an answer of at least {self._tail} bytes", f"{len(answer)}")
        return self._end(answer)

    def _end(self, answer: bytes) -> bytes:
        return answer[-self._tail :] if self._tail else b""

    def drop(self, name: str) -> None:
        """Let go of a session, if it is here."""
        found = self._by_name.pop(name, None)
        if found is not None:
            self._free.append(found.number)

    def drop_idle(self, seconds: float) -> None:
        """Let go of the sessions that were not used for so long."""
        before = time.monotonic() - seconds
        while self._by_name and next(iter(self._by_name.values())).used <= before:
            self.drop(next(iter(self._by_name)))
