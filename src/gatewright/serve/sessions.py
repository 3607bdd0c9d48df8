"""Sessions that outlive the process: a step is stored before it is answered, and no step is taken twice."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, SessionError, StoreError
from gatewright.serve.store import Saved, SqliteStore
from gatewright.state import State
from gatewright.stream import Stream

Array = NDArray[Any]


class Request(NamedTuple):
    """Steps that a session is to take.

    Attributes:
        session: its name.
        x: what the steps read, as for `Stream.run`: (T, ...), or a text.
        first: how many steps the session has taken before these; None for however many.  A request that names it
            may be repeated: if it was taken already, the same answer comes again and no step is taken.
        owner: whose session it is.
        times: when the steps were observed, where the model reads a calendar.
    """

    session: str
    x: Any
    first: int | None = None
    owner: str = ""
    times: Any = None


class Answer(NamedTuple):
    """What came of a request.

    Attributes:
        y: the outputs, as `Stream.run` gives them.
        steps: steps that the session has taken now.
        repeated: whether these steps had been taken before.
    """

    y: Array
    steps: int
    repeated: bool


@dataclass
class _Slot:
    """A session in memory: its number in the stream, and what the store has of it."""

    number: int
    saved: Saved


@dataclass
class _Taken:
    """A request under way: its place among the others, what it reads, and in the end its outputs."""

    place: int
    slot: _Slot
    x: Array
    times: Array | None
    digest: bytes
    y: Array


class Sessions:
    """Sessions of one model, kept in a store.

    What `advance` answers is on disk: after a crash at any moment, a session stands where its last answer left
    it, or one request further, and then that request, repeated, gets the answer that was lost.

    Args:
        stream: the model; as many sessions are in memory at once as it has.  Nobody else may advance it.
        store: where all of them are.

    >>> import tempfile
    >>> zeros = np.zeros((4, 1), np.float32)
    >>> with tempfile.TemporaryDirectory() as folder, SqliteStore(f"{folder}/sessions.db") as store:
    ...     stream = Stream.from_weights({"weight_ih_l0": zeros, "weight_hh_l0": zeros})
    ...     sessions = Sessions(stream, store)
    ...     name = sessions.create()
    ...     [answer] = sessions.advance([Request(name, [[1.0], [2.0]], first=0)])
    ...     [again] = sessions.advance([Request(name, [[1.0], [2.0]], first=0)])
    >>> answer.steps, again.steps, again.repeated, bool((answer.y == again.y).all())
    (2, 2, True, True)
    """

    def __init__(self, stream: Stream, store: SqliteStore) -> None:
        self._stream, self._store = stream, store
        stream.reset()
        self._fresh = stream.snapshot()
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._free = list(range(stream.sessions))
        self._lock = threading.Lock()

    def create(self, owner: str = "") -> str:
        """Make a session and return its name, which nobody can guess.

        Raises:
            StoreError: if it cannot be stored.
        """
        name = secrets.token_urlsafe(24)
        self._store.save([Saved(name, owner, self._stream.fingerprint, 0, self._fresh, -1, b"", b"")])
        return name

    def fork(self, session: str, owner: str = "") -> str:
        """Make a session that stands where another one does, and return its name.

        Raises:
            SessionError: if there is no such session.
            StoreError: if it cannot be stored.
        """
        with self._lock:
            name = secrets.token_urlsafe(24)
            self._store.save([self._saved(session, owner)._replace(id=name)])
        return name

    def reset(self, session: str, owner: str = "") -> None:
        """Put a session's state back to the beginning; the number of its steps goes on.

        Raises:
            SessionError: if there is no such session.
            StoreError: if it cannot be stored; the state is as it was then.
        """
        with self._lock:
            saved = self._saved(session, owner)._replace(snapshot=self._fresh, first=-1, request=b"", answer=b"")
            self._store.save([saved])
            if session in self._slots:
                slot = self._slots[session]
                slot.saved = saved
                self._stream.reset(slot.number)

    def delete(self, session: str, owner: str = "") -> None:
        """Forget a session.

        Raises:
            SessionError: if there is no such session.
            StoreError: if it cannot be deleted.
        """
        with self._lock:
            self._saved(session, owner)
            self._store.delete([session])
            if session in self._slots:
                self._free.append(self._slots.pop(session).number)

    def read(self, session: str, owner: str = "") -> tuple[int, State]:
        """Return how many steps a session has taken, and its state.

        Raises:
            SessionError: if there is no such session.
        """
        with self._lock:
            slot = self._resident(session, owner, ())
            return slot.saved.steps, self._stream.state(slot.number)

    def names(self, owner: str = "", after: str = "", most: int = 1000) -> list[str]:
        """Return names of an owner's sessions in order, the first so many after one."""
        return self._store.names(owner, after, most)

    def advance(self, requests: Sequence[Request]) -> list[Answer | GatewrightError]:
        """Take the steps of many requests together, to the bits of each alone.

        What is wrong with one request does not touch the others; sessions that could not be stored stand where
        they stood.

        Returns:
            For each request its answer, or the error: a `SessionError` for a session that is not there or not at
            ``first``, a `StoreError` if nothing could be stored, another `GatewrightError` for unfit input.
        """
        if isinstance(requests, Request):
            raise GatewrightError("requests", "a list of requests", "one request")
        for request in requests:
            require_request(request)
        answers: list[Answer | GatewrightError] = []
        with self._lock:
            for begin in range(0, len(requests), self._stream.sessions):
                answers += self._advance(requests[begin : begin + self._stream.sessions])
        return answers

    def _advance(self, requests: Sequence[Request]) -> list[Answer | GatewrightError]:
        answers: list[Any] = [None] * len(requests)
        taken: dict[str, _Taken] = {}
        for place, request in enumerate(requests):
            try:
                if request.session in taken:
                    raise SessionError("session", "one request of each at a time", f"two of {request.session}")
                slot = self._resident(request.session, request.owner, taken)
                x, times = self._stream.read(request.x, request.times)
                if not len(x):
                    raise GatewrightError("x", "at least one step", "none")
                digest = _digest(x, times)
                answers[place] = self._answered(slot.saved, request, digest)
                if answers[place] is None:
                    taken[request.session] = _Taken(place, slot, x, times, digest, y=x[:0])
            except GatewrightError as error:
                answers[place] = error
        done = []
        for one in self._run(list(taken.values()), answers):
            saved = one.slot.saved
            after = saved._replace(
                steps=saved.steps + len(one.y),
                snapshot=self._stream.snapshot(one.slot.number),
                first=saved.steps,
                request=one.digest,
                answer=one.y.tobytes(),
            )
            done.append((one, after))
        try:
            if done:
                self._store.save([saved for _, saved in done])
        except StoreError as error:
            for one, _ in done:
                self._stream.restore(one.slot.saved.snapshot, one.slot.number)
                answers[one.place] = error
            return answers
        for one, saved in done:
            one.slot.saved = saved
            answers[one.place] = Answer(one.y, saved.steps, repeated=False)
        return answers

    def _run(self, taken: list[_Taken], answers: list[Any]) -> list[_Taken]:
        """Take steps, as many requests at once as have the same number of them; return those that fit."""
        groups: dict[Any, list[_Taken]] = {}
        for one in taken:
            when = () if one.times is None else (one.times.shape, one.times.tobytes())
            groups.setdefault((len(one.x), when), []).append(one)
        done = []
        for group in groups.values():
            try:
                done += self._run_together(group)
            except GatewrightError:  # nothing has changed: find out whose fault it is
                for one in group:
                    try:
                        done += self._run_together([one])
                    except GatewrightError as error:
                        answers[one.place] = error
        return done

    def _run_together(self, group: list[_Taken]) -> list[_Taken]:
        numbers = [one.slot.number for one in group]
        xs = np.stack([one.x for one in group], axis=1)
        ys = self._stream.run(xs, sessions=numbers, times=group[0].times)
        for place, one in enumerate(group):
            one.y = ys[:, place]
        return group

    def _answered(self, saved: Saved, request: Request, digest: bytes) -> Answer | None:
        """Return the answer of a request that was taken already; None for one that is to be taken.

        Raises:
            SessionError: if it is neither that nor the next.
        """
        if request.first is None or request.first == saved.steps:
            return None
        if request.first != saved.first:
            expected = f"first {saved.steps}, the steps that the session has taken"
            raise SessionError("first", expected, f"{request.first!r}"[:80])
        if digest != saved.request:
            expected = f"the input that was taken at step {saved.first}, to repeat that request"
            raise SessionError("x", expected, "another one")
        flat = np.frombuffer(saved.answer, self._stream.output_dtype)
        return Answer(flat.reshape(-1, *self._stream.output_shape).copy(), saved.steps, repeated=True)

    def _saved(self, session: str, owner: str) -> Saved:
        """Return what the store has of a session.

        Raises:
            SessionError: if there is none of that name, it is another's, or of another model.
        """
        slot = self._slots.get(session)
        saved = self._store.load(session) if slot is None else slot.saved
        if saved is None or saved.owner != owner:
            raise SessionError("session", "the name of one of yours", repr(session)[:80])
        if saved.model != self._stream.fingerprint:
            expected = f"a session of the model {self._stream.fingerprint[:12]}..."
            raise SessionError("session", expected, f"one of {saved.model[:12]}...")
        return saved

    def _resident(self, session: str, owner: str, in_use: Collection[str]) -> _Slot:
        """Return a session's slot, after it has been brought into memory if need be."""
        saved = self._saved(session, owner)
        if session in self._slots:
            self._slots.move_to_end(session)
            return self._slots[session]
        if not self._free:
            # All that is in memory is in the store too, so the one that was not used for longest may go.
            oldest = next(name for name in self._slots if name not in in_use)
            self._free.append(self._slots.pop(oldest).number)
        number = self._free[-1]
        self._stream.restore(saved.snapshot, number)
        self._free.pop()
        slot = self._slots[session] = _Slot(number, saved)
        return slot


def require_request(request: object) -> None:
    """Raise if something is no request, or its names and numbers are of another type.

    Raises:
        GatewrightError: says what is wrong.
    """
    if not isinstance(request, Request):
        raise GatewrightError("request", "a Request", f"a {type(request).__name__}")
    for name in ("session", "owner"):
        if not isinstance(getattr(request, name), str):
            raise GatewrightError(name, "text", repr(getattr(request, name))[:80])
    if request.first is not None and (isinstance(request.first, bool) or not isinstance(request.first, int)):
        raise GatewrightError("first", "a whole number, or None", repr(request.first)[:80])


def _digest(x: Array, times: Array | None) -> bytes:
    """Return what tells a repeated request from another one."""
    digest = hashlib.blake2b(f"{x.shape}".encode() + x.tobytes(), digest_size=16)
    digest.update(b"" if times is None else f"{times.shape}".encode() + times.tobytes())
    return digest.digest()
