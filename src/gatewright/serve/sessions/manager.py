"""Sessions that outlive the process: a step is stored before it is answered, and no step is taken twice."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, LimitError, SessionError, StepError, StoreError
from gatewright.runtime.state import State
from gatewright.runtime.stream import Stream
from gatewright.serve.sessions.cache import Resident, Residents
from gatewright.serve.sessions.creation import NAME, Making, contended
from gatewright.serve.sessions.executor import Taken, take
from gatewright.serve.sessions.requests import (
    Advance,
    Answer,
    Generate,
    Request,
    digest,
    from_bytes,
    made_by,
    require_request,
)
from gatewright.serve.sessions.store import Saved, Store, sealed, unsealed

Array = NDArray[Any]
#: How often a request is tried again because another process has advanced its session meanwhile.
_TRIES = 5


class _StaleError(StepError):
    """A session in memory is not what the store has: somebody has advanced it, or the store has forgotten some."""


class Sessions:
    """Sessions of a model, kept in a store; sessions of earlier models go on beside them.

    What `advance` answers is stored: after a crash at any moment, a session stands where its last answer left
    it, or one request further, and then that request, repeated, gets the answer that was lost.  Where several
    processes share a store, a request is taken by one of them only.

    Args:
        stream: the model; as many sessions are in memory at once as it has.  Nobody else may advance it.
        store: where all of them are.
        find: gives the stream of another model by its fingerprint, or None if there is none.
        most: most sessions in all.
        most_each: most sessions of one owner.
        most_bytes: most bytes that the sessions of one owner take in the store.
        observe: told how long the store took, in seconds.

    >>> import tempfile
    >>> from gatewright.serve.sessions.sqlite import SqliteStore
    >>> zeros = np.zeros((4, 1), np.float32)
    >>> with tempfile.TemporaryDirectory() as folder, SqliteStore(f"{folder}/sessions.db") as store:
    ...     stream = Stream.from_weights({"weight_ih_l0": zeros, "weight_hh_l0": zeros})
    ...     sessions = Sessions(stream, store)
    ...     name = sessions.create()
    ...     [answer] = sessions.advance([Advance(name, [[1.0], [2.0]], first=0)])
    ...     [again] = sessions.advance([Advance(name, [[1.0], [2.0]], first=0)])
    >>> answer.steps, again.steps, again.repeated, bool((answer.y == again.y).all())
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
        self._store, self._find, self._observe = store, find, observe
        self._making = Making(store, self._save, most, most_each, most_bytes)
        self._models: dict[str, Residents] = {}
        self._lock = threading.Lock()
        self.serve(stream)

    def serve(self, stream: Stream) -> None:
        """Make new sessions of this model from now on; those of others keep theirs."""
        with self._lock:
            if stream.fingerprint not in self._models:  # whose states may be in use
                self._models[stream.fingerprint] = Residents(stream)
            self._current = stream.fingerprint

    @property
    def stream(self) -> Stream:
        """The model of new sessions."""
        return self._models[self._current].stream

    def model_of(self, session: str, owner: str = "") -> Stream:
        """Return the model of a session.

        Raises:
            SessionError: if there is no such session.
            StoreError: if it cannot be read.
        """
        with self._lock:
            return self._model(self._saved(session, owner)).stream

    def resident(self) -> int:
        """Return how many sessions are in memory."""
        return sum(map(len, list(self._models.values())))

    def count(self) -> int:
        """Return how many sessions there are."""
        return self._store.count()

    def create(self, owner: str = "", name: str | None = None) -> str:
        """Make a session and return its name, which nobody can guess.

        Args:
            owner: whose it is.
            name: what to call it; left out, a random name.  A request that names it may be repeated as long as
                the session has not moved: no second one is made.

        Raises:
            GatewrightError: if the name is none.
            StepError: if another session has that name, or it has moved.
            LimitError: if there are too many.
            StoreError: if it cannot be stored.
        """
        with self._lock:
            fresh = self._models[self._current].fresh
            saved = Saved("", owner, self._current, 0, 0, fresh, -1, made_by("create"), b"")
            return self._making.make(saved, name)

    def fork(self, session: str, owner: str = "", name: str | None = None) -> str:
        """Make a session that stands where another one does, and return its name.

        Args:
            session: the other one.
            owner: whose both are.
            name: as for `create`.

        Raises:
            GatewrightError: if the name is none.
            SessionError: if there is no such session.
            StepError: if another session has that name, or it has moved.
            LimitError: if there are too many.
            StoreError: if it cannot be stored.
        """
        with self._lock:
            saved = self._loaded(session, owner)
            # Of the last answer only what a text goes on from: nobody can ask the new session for the rest.
            tail = self._model(saved).tail(saved)
            answer = sealed(tail) if tail else b""
            saved = saved._replace(first=-1, request=made_by("fork", session), answer=answer)
            return self._making.make(saved, name)

    def reset(self, session: str, owner: str = "", snapshot: bytes | None = None) -> None:
        """Put a session's state back to the beginning, or into another one; the number of its steps goes on.

        Raises:
            SessionError: if there is no such session.
            StateError: if the snapshot is damaged, or of another model.
            StoreError: if it cannot be stored; the state is as it was then.
        """
        with self._lock:
            for _ in range(_TRIES):
                saved = self._loaded(session, owner)
                model = self._model(saved)
                if snapshot is not None:
                    model.stream.require(snapshot)
                state = model.fresh if snapshot is None else snapshot
                [done] = self._save([saved.then(snapshot=state, first=-1, request=b"", answer=b"")])
                model.drop(session)  # comes back as it is stored
                if done:
                    return
            raise contended(session)

    def delete(self, session: str, owner: str = "") -> None:
        """Forget a session.

        Raises:
            SessionError: if there is no such session.
            StoreError: if it cannot be deleted.
        """
        with self._lock:
            self._loaded(session, owner)
            self._store.delete(session, owner)
            self._drop(session)

    def read(self, session: str, owner: str = "") -> tuple[int, State]:
        """Return how many steps a session has taken, and its state.

        Raises:
            SessionError: if there is no such session.
            StoreError: if it cannot be read.
        """
        with self._lock:
            self._drop_unless(self._loaded(session, owner))
            model, resident = self._bring(session, owner, ())
            return resident.saved.steps, model.stream.state(resident.number)

    def snapshot(self, session: str, owner: str = "") -> tuple[int, bytes]:
        """Return how many steps a session has taken, and its state as bytes for `Stream.restore`.

        Raises:
            SessionError: if there is no such session.
            StoreError: if it cannot be read.
        """
        with self._lock:
            saved = self._loaded(session, owner)
            return saved.steps, saved.snapshot

    def names(self, owner: str = "", after: str = "", most: int = 1000) -> list[str]:
        """Return names of an owner's sessions in order, the first so many after one."""
        return self._store.names(owner, after, most)

    def drop_idle(self, seconds: float) -> None:
        """Let go of what was not used for so long; it stays in the store, and comes back when it is asked for."""
        with self._lock:
            for fingerprint, model in list(self._models.items()):
                model.drop_idle(seconds)
                if not len(model) and fingerprint != self._current:
                    del self._models[fingerprint]

    def advance(self, requests: Sequence[Request]) -> list[Answer | GatewrightError]:
        """Take the steps of many requests together, to the bits of each alone.

        What is wrong with one request does not touch the others; sessions that could not be stored stand where
        they stood.

        Returns:
            For each request its answer, or the error: a `SessionError` for a session that is not there, a
            `StepError` for one that is not at ``first``, a `StoreError` if nothing could be stored, another
            `GatewrightError` for unfit input.
        """
        if isinstance(requests, Advance | Generate):
            raise GatewrightError("requests", "a list of requests", "one request")
        for request in requests:
            require_request(request)
        answers: list[Answer | GatewrightError | None] = [None] * len(requests)
        with self._lock:
            for _ in range(_TRIES):
                waiting = [place for place, answer in enumerate(answers) if answer is None]
                while waiting:
                    # No more than the least model has room for.
                    most = min(model.stream.sessions for model in self._models.values())
                    self._advance(requests, waiting[:most], answers)
                    waiting = waiting[most:]
                if None not in answers:
                    break
        return [
            contended(request.session) if answer is None else answer
            for request, answer in zip(requests, answers, strict=True)
        ]

    def _advance(self, requests: Sequence[Request], places: list[int], answers: list[Any]) -> None:
        """Answer some of the requests; those whose session another process has advanced have no answer then."""
        taken: dict[str, Taken] = {}
        for place in places:
            request = requests[place]
            try:
                if request.session in taken:
                    raise StepError("session", "one request of each at a time", f"two of {request.session}")
                answers[place] = self._prepare(request, place, taken)
            except GatewrightError as error:
                answers[place] = error
        done: list[tuple[Taken, Saved]] = []
        try:
            done = take(list(taken.values()), answers)
            fits = self._with_room(done, answers)
            stored = self._save([after for _, after in fits]) if fits else []
        except StoreError as error:
            for one, _ in done:
                if answers[one.place] is None:
                    one.model.stream.restore(one.resident.saved.snapshot, one.resident.number)
                    answers[one.place] = error
            return
        except BaseException:
            for name, one in taken.items():
                one.model.drop(name)  # comes back as it is stored
            raise
        for (one, after), kept in zip(fits, stored, strict=True):
            if kept:
                one.model.put(one.resident, after)
                read = one.model.stream.steps_read(one.resident.number)
                answers[one.place] = Answer(one.y, after.steps, repeated=False, state_steps=read)
            else:
                one.model.drop(after.id)

    def _with_room(self, done: list[tuple[Taken, Saved]], answers: list[Any]) -> list[tuple[Taken, Saved]]:
        """Return those whose owners have room for what their sessions have grown by; the others have not moved."""
        fits: list[tuple[Taken, Saved]] = []
        grown: Counter[str] = Counter()
        for one, after in done:
            more = after.size - one.resident.size
            try:
                if more > 0:  # seldom: a session's next answer is mostly as long as its last one
                    self._making.require_room(after.owner, grown[after.owner] + more)
            except LimitError as error:
                one.model.drop(after.id)  # comes back as it is stored
                answers[one.place] = error
            else:
                grown[after.owner] += more
                fits.append((one, after))
        return fits

    def _prepare(self, request: Request, place: int, taken: dict[str, Taken]) -> Answer | None:
        """Return the answer of a request that was taken already; else put it among those to be taken."""
        try:
            return self._prepare_once(request, place, taken)
        except StoreError:
            raise
        except GatewrightError as error:
            known = any(request.session in model for model in self._models.values())
            if not (isinstance(error, _StaleError) or (self._store.shared and known)):
                raise
            self._drop(request.session)  # another process may have advanced it
            return self._prepare_once(request, place, taken)

    def _prepare_once(self, request: Request, place: int, taken: dict[str, Taken]) -> Answer | None:
        model, resident = self._bring(request.session, request.owner, taken)
        stream, times = model.stream, None
        if isinstance(request, Generate):
            if not stream.symbols:
                raise GatewrightError("model", "a language model, to generate text", "one that reads no symbols")
            x, _ = stream.read(request.prompt)
            if not len(x) and not resident.tail:
                raise GatewrightError("prompt", "text, for a session that has read nothing", "none")
        else:
            x, times = stream.read(request.x, request.times)
            if not len(x):
                raise GatewrightError("x", "at least one step", "none")
        told, written = digest(request, x, times), None
        if request.first not in (None, resident.saved.steps):
            y, steps, read = (
                self._answered(model, resident.saved, request, told),
                resident.saved.steps,
                stream.steps_read(resident.number),
            )
            if not isinstance(request, Generate):
                return Answer(y, steps, repeated=True, state_steps=read)
            if len(y) >= request.length:
                left_out = len(y) - request.length
                return Answer(y[: request.length], steps - left_out, repeated=True, state_steps=read - left_out)
            x, written = x[:0], y
        scores = np.frombuffer(resident.tail, stream.output_dtype)
        taken[request.session] = Taken(
            place, request, model, resident, x, times, told, written, y=x[:0], scores=scores
        )
        return None

    def _answered(self, model: Residents, saved: Saved, request: Request, told: bytes) -> Array:
        """Return the outputs of a request that was taken already.

        Raises:
            StepError: if it is not the last one.
        """
        if request.first != saved.first:
            expected = f"first {saved.steps}, the steps that the session has taken"
            raise StepError("first", expected, f"{request.first!r}"[:80])
        if told != saved.request:
            expected = f"the request that was taken at step {saved.first}, to repeat it"
            raise StepError("x", expected, "a different request")
        kept = self._store.load(saved.id)
        if kept is None or not kept.is_same_commit(saved):
            raise _StaleError("first", "the next request, or the last one again", f"{request.first!r}"[:80])
        return from_bytes(request, unsealed(kept), model.stream.output_dtype, model.stream.output_shape)

    def _save(self, sessions: Sequence[Saved]) -> list[bool]:
        began = time.perf_counter()
        kept = self._store.save(sessions)
        self._observe(time.perf_counter() - began)
        return kept

    def _saved(self, session: str, owner: str) -> Saved:
        """Return what is known of a session, but for its answer where it is in memory.

        Raises:
            SessionError: if there is none of that name, or it is another's.
        """
        for model in self._models.values():
            found = model.get(session)
            if found is not None and found.saved.owner == owner:
                return found.saved
        return self._loaded(session, owner)

    def _loaded(self, session: str, owner: str) -> Saved:
        """Return what the store has of a session.

        Raises:
            SessionError: if there is none of that name, or it is another's.
        """
        saved = self._store.load(session) if NAME.fullmatch(session) else None
        if saved is None or saved.owner != owner:
            raise SessionError("session", "the name of one of yours", repr(session)[:80])
        return saved

    def _model(self, saved: Saved) -> Residents:
        """Return the model of a session.

        Raises:
            SessionError: if it is not to be found.
        """
        if saved.model not in self._models:
            stream = self._find(saved.model)
            if stream is None or stream.fingerprint != saved.model:
                expected = f"a session of the model {self._current[:12]}..."
                raise SessionError("session", expected, f"one of {saved.model[:12]}...")
            self._models[saved.model] = Residents(stream)
        return self._models[saved.model]

    def _bring(self, session: str, owner: str, in_use: Collection[str]) -> tuple[Residents, Resident]:
        """Return a session, after it has been brought into memory if need be, and its model."""
        saved = self._saved(session, owner)
        model = self._model(saved)
        return model, model.get(session) or model.bring(saved, in_use)

    def _drop_unless(self, saved: Saved) -> None:
        """Let go of a session in memory, if it is not what the store has."""
        for model in self._models.values():
            resident = model.get(saved.id)
            if resident is not None and not resident.saved.is_same_commit(saved):
                model.drop(saved.id)

    def _drop(self, session: str) -> None:
        for model in self._models.values():
            model.drop(session)
