"""Durable sessions: a step is stored before it is answered, and a retried step is taken once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, LimitError, StepError, StoreError
from gatewright.runtime.state import State
from gatewright.runtime.stream import Stream
from gatewright.serve.sessions.cache import SessionCache
from gatewright.serve.sessions.creation import SessionCreator, contention_error
from gatewright.serve.sessions.executor import PendingRequest, execute
from gatewright.serve.sessions.model_caches import SessionCaches
from gatewright.serve.sessions.requests import (
    Advance,
    Answer,
    Generate,
    Request,
    creation_digest,
    digest,
    from_bytes,
    require_numbers,
    require_request,
)
from gatewright.serve.sessions.store import Store, StoredSession, verified_answer, with_digest

Array = NDArray[Any]
#: Maximum number of attempts at a request whose session another process keeps advancing.
_ATTEMPTS = 5


class _StaleError(StepError):
    """A session in memory differs from the store: another process advanced it, or the store lost a commit."""


class Sessions:
    """Sessions of a model, kept in a store, next to those of earlier models.

    `advance` stores a step before it answers: after a crash at any moment a session stands at its last answer, or
    one request further; that request, retried, then gets the lost answer.  Where several processes share a store,
    one of them takes each request.

    Args:
        stream: the model; its number of sessions is the number kept in memory.  No other code may advance it.
        store: the store of all sessions.
        find: returns the stream of an earlier model by its fingerprint, or None.
        most: maximum number of sessions in total.
        most_each: maximum number of sessions of one owner.
        most_bytes: maximum size of one owner's sessions in the store, in bytes.
        observe: called with the duration of each commit, in seconds.

    >>> import tempfile
    >>> from gatewright.serve.sessions.sqlite import SqliteStore
    >>> zeros = np.zeros((4, 1), np.float32)
    >>> with tempfile.TemporaryDirectory() as folder, SqliteStore(f"{folder}/sessions.db") as store:
    ...     stream = Stream.from_weights({"weight_ih_l0": zeros, "weight_hh_l0": zeros})
    ...     sessions = Sessions(stream, store)
    ...     name = sessions.create()
    ...     [answer] = sessions.advance([Advance(name, [[1.0], [2.0]], first=0)])
    ...     [retry] = sessions.advance([Advance(name, [[1.0], [2.0]], first=0)])
    >>> answer.steps, retry.steps, retry.repeated, bool((answer.y == retry.y).all())
    (2, 2, True, True)
    """

    def __init__(
        self,
        stream: Stream,
        store: Store,
        *,
        find: Callable[[str], Stream | None] = lambda _: None,
        most: int | None = None,
        most_each: int | None = None,
        most_bytes: int | None = None,
        observe: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._store, self._observe = store, observe
        self._creator = SessionCreator(store, self._save, most, most_each, most_bytes)
        self._caches = SessionCaches(store, find)
        self._lock = threading.Lock()
        self.serve(stream)

    def serve(self, stream: Stream) -> None:
        """Use a model for new sessions from now on; existing sessions keep theirs."""
        with self._lock:
            self._caches.serve(stream)

    @property
    def stream(self) -> Stream:
        """The model of new sessions."""
        return self._caches.current.stream

    def model_of(self, session: str, owner: str = "") -> Stream:
        """Return the model of a session.

        Raises:
            SessionError: if the session does not exist.
            StoreError: if it cannot be read.
        """
        with self._lock:
            return self._caches.of(self._caches.stored(session, owner)).stream

    def replica_of(self, session: str, owner: str = "") -> str:
        """Return the name of the replica that last changed a session; empty if it has none.

        Raises:
            SessionError: if the session does not exist.
            StoreError: if it cannot be read.
        """
        with self._lock:
            return self._caches.load(session, owner).replica

    def resident(self) -> int:
        """Return the number of sessions in memory."""
        return self._caches.count()

    def count(self) -> int:
        """Return the number of sessions."""
        return self._store.count()

    def create(self, owner: str = "", name: str | None = None) -> str:
        """Create a session and return its name, which cannot be guessed.

        Args:
            owner: owner of the session.
            name: name of the session; random if omitted.  A request with a name may be retried until the session
                advances: no second session is created.

        Raises:
            GatewrightError: if the name is malformed.
            StepError: if another session has that name, or the session has advanced since.
            LimitError: if a quota is exceeded.
            StoreError: if the session cannot be stored.
        """
        with self._lock:
            state, fingerprint = self._caches.current.initial_snapshot, self._caches.fingerprint
            initial = StoredSession("", owner, fingerprint, 0, 0, state, -1, creation_digest("create"), b"")
            return self._creator.create(initial, name)

    def fork(self, session: str, owner: str = "", name: str | None = None) -> str:
        """Create a session with the state of another one, and return its name.

        Args:
            session: name of the other session.
            owner: owner of both.
            name: as for `create`.

        Raises:
            GatewrightError: if the name is malformed.
            SessionError: if the other session does not exist.
            StepError: if another session has the new name, or the new session has advanced since.
            LimitError: if a quota is exceeded.
            StoreError: if the session cannot be stored.
        """
        with self._lock:
            stored = self._caches.load(session, owner)
            # Only the scores that a text continues from: the new session has no request to retry.
            scores = self._caches.of(stored).last_scores(stored)
            answer = with_digest(scores) if scores else b""
            initial = stored._replace(first=-1, request=creation_digest("fork", session), answer=answer)
            return self._creator.create(initial, name)

    def reset(self, session: str, owner: str = "", snapshot: bytes | None = None) -> None:
        """Reset a session's state to the initial one or to a snapshot; its number of steps does not change.

        Raises:
            SessionError: if the session does not exist.
            StateError: if the snapshot is damaged, or of another model.
            StoreError: if the session cannot be stored; its state has not changed then.
        """
        with self._lock:
            for _ in range(_ATTEMPTS):
                stored = self._caches.load(session, owner)
                cache = self._caches.of(stored)
                if snapshot is not None:
                    cache.stream.require(snapshot)
                state = cache.initial_snapshot if snapshot is None else snapshot
                [is_saved] = self._save([stored.next_commit(snapshot=state, first=-1, request=b"", answer=b"")])
                cache.evict(session)  # the next access loads the stored state
                if is_saved:
                    return
            raise contention_error(session)

    def delete(self, session: str, owner: str = "") -> None:
        """Delete a session.

        Raises:
            SessionError: if the session does not exist.
            StoreError: if it cannot be deleted.
        """
        with self._lock:
            self._caches.load(session, owner)
            self._store.delete(session, owner)
            self._caches.evict(session)

    def read(self, session: str, owner: str = "") -> tuple[int, State]:
        """Return a session's number of steps and its state.

        Raises:
            SessionError: if the session does not exist.
            StoreError: if it cannot be read.
        """
        with self._lock:
            self._caches.evict_stale(self._caches.load(session, owner))
            cache, cached = self._caches.fetch(session, owner)
            return cached.stored.steps, cache.stream.state(cached.slot)

    def snapshot(self, session: str, owner: str = "") -> tuple[int, bytes]:
        """Return a session's number of steps and its state as bytes for `Stream.restore`.

        Raises:
            SessionError: if the session does not exist.
            StoreError: if it cannot be read.
        """
        with self._lock:
            stored = self._caches.load(session, owner)
            return stored.steps, stored.snapshot

    def names(self, owner: str = "", after: str = "", most: int = 1000) -> list[str]:
        """Return names of an owner's sessions in order: at most ``most`` of those after ``after``."""
        return self._store.names(owner, after, most)

    def drop_idle(self, seconds: float) -> None:
        """Remove sessions from memory that were not used for a number of seconds; the store keeps them."""
        with self._lock:
            self._caches.evict_idle(seconds)

    def advance(self, requests: Sequence[Request]) -> list[Answer | GatewrightError]:
        """Execute requests of many sessions together; each result has the same bits as alone.

        An invalid request does not affect the others; a session that could not be stored has not advanced.

        Returns:
            For each request its answer or its error: a `SessionError` if the session does not exist, a `StepError`
            if it is not at step ``first``, a `StoreError` if nothing could be stored, or another
            `GatewrightError` for invalid input.
        """
        if isinstance(requests, Advance | Generate):
            raise GatewrightError("requests", "a list of requests", "one request")
        for request in requests:
            require_request(request)
        answers: list[Answer | GatewrightError | None] = [None] * len(requests)
        with self._lock:
            for _ in range(_ATTEMPTS):
                waiting = [index for index, answer in enumerate(answers) if answer is None]
                while waiting:
                    most = self._caches.fewest_slots
                    self._advance(requests, waiting[:most], answers)
                    waiting = waiting[most:]
                if None not in answers:
                    break
        return [
            contention_error(request.session) if answer is None else answer
            for request, answer in zip(requests, answers, strict=True)
        ]

    def _advance(self, requests: Sequence[Request], indices: list[int], answers: list[Any]) -> None:
        """Answer some of the requests; those whose session another process has advanced stay without answer."""
        pending = self._pending(requests, indices, answers)
        executed: list[tuple[PendingRequest, StoredSession]] = []
        try:
            executed = execute(list(pending.values()), answers)
            commits = self._within_quota(executed, answers)
            saved = self._save([commit for _, commit in commits]) if commits else []
        except StoreError as error:
            for item, _ in executed:
                if answers[item.index] is None:
                    item.cache.stream.restore(item.cached.stored.snapshot, item.cached.slot)
                    answers[item.index] = error
            return
        except BaseException:
            for name, item in pending.items():
                item.cache.evict(name)  # the next access loads the stored state
            raise
        for (item, commit), is_saved in zip(commits, saved, strict=True):
            if is_saved:
                item.cache.update(item.cached, commit)
                state_steps = item.cache.stream.steps_read(item.cached.slot)
                answers[item.index] = Answer(item.y, commit.steps, repeated=False, state_steps=state_steps)
            else:
                item.cache.evict(commit.id)

    def _pending(
        self, requests: Sequence[Request], indices: list[int], answers: list[Any]
    ) -> dict[str, PendingRequest]:
        """Return the requests to execute, by session; answer the retried and the invalid ones."""
        pending: dict[str, PendingRequest] = {}
        for index in indices:
            request = requests[index]
            try:
                if request.session in pending:
                    raise StepError("session", "one request of each at a time", f"two of {request.session}")
                answers[index] = self._prepare(request, index, pending)
            except GatewrightError as error:
                answers[index] = error
        return pending

    def _within_quota(
        self, executed: list[tuple[PendingRequest, StoredSession]], answers: list[Any]
    ) -> list[tuple[PendingRequest, StoredSession]]:
        """Return the requests whose growth fits the owner's quota; the other sessions have not advanced."""
        accepted: list[tuple[PendingRequest, StoredSession]] = []
        growth: Counter[str] = Counter()
        for item, commit in executed:
            added = commit.size - item.cached.size
            try:
                if added > 0:  # rare: a session's answers mostly have the same length
                    self._creator.require_quota(commit.owner, growth[commit.owner] + added)
            except LimitError as error:
                item.cache.evict(commit.id)  # the next access loads the stored state
                answers[item.index] = error
            else:
                growth[commit.owner] += added
                accepted.append((item, commit))
        return accepted

    def _prepare(self, request: Request, index: int, pending: dict[str, PendingRequest]) -> Answer | None:
        """Return the answer of a retried request; else add the request to the pending ones."""
        try:
            return self._prepare_once(request, index, pending)
        except StoreError:
            raise
        except GatewrightError as error:
            is_cached = self._caches.holds(request.session)
            if not (isinstance(error, _StaleError) or (self._store.shared and is_cached)):
                raise
            self._caches.evict(request.session)  # another process may have advanced it
            return self._prepare_once(request, index, pending)

    def _prepare_once(self, request: Request, index: int, pending: dict[str, PendingRequest]) -> Answer | None:
        cache, cached = self._caches.fetch(request.session, request.owner, pending)
        stream, times, written = cache.stream, None, None
        if isinstance(request, Generate):
            if not stream.symbols:
                raise GatewrightError("model", "a language model, to generate text", "one that reads no symbols")
            x, _ = stream.read(request.prompt)
            if not len(x) and not cached.last_scores:
                raise GatewrightError("prompt", "text, for a session that has read nothing", "none")
        else:
            require_numbers(request.x, stream)
            x, times = stream.read(request.x, request.times)
            if not len(x):
                raise GatewrightError("x", "at least one step", "none")
        key = digest(request, x, times)
        if request.first not in (None, cached.stored.steps):
            y = self._stored_outputs(cache, cached.stored, request, key)
            steps, state_steps = cached.stored.steps, stream.steps_read(cached.slot)
            if not isinstance(request, Generate):
                return Answer(y, steps, repeated=True, state_steps=state_steps)
            if len(y) >= request.length:
                extra = len(y) - request.length
                y = y[: request.length]
                return Answer(y, steps - extra, repeated=True, state_steps=state_steps - extra)
            x, written = x[:0], y
        scores = np.frombuffer(cached.last_scores, stream.output_dtype)
        pending[request.session] = PendingRequest(
            index, request, cache, cached, x, times, key, written, y=x[:0], scores=scores
        )
        return None

    def _stored_outputs(self, cache: SessionCache, stored: StoredSession, request: Request, key: bytes) -> Array:
        """Return the outputs of a retried request.

        Raises:
            StepError: if it is not the session's last request.
        """
        if request.first != stored.first:
            expected = f"first {stored.steps}, the steps that the session has taken"
            raise StepError("first", expected, f"{request.first!r}"[:80])
        if key != stored.request:
            expected = f"the request that was taken at step {stored.first}, to repeat it"
            raise StepError("x", expected, "a different request")
        latest = self._store.load(stored.id)
        if latest is None or not latest.is_same_commit(stored):
            raise _StaleError("first", "the next request, or the last one again", f"{request.first!r}"[:80])
        return from_bytes(request, verified_answer(latest), cache.stream.output_dtype, cache.stream.output_shape)

    def _save(self, sessions: Sequence[StoredSession]) -> list[bool]:
        start = time.perf_counter()
        saved = self._store.save(sessions)
        self._observe(time.perf_counter() - start)
        return saved
