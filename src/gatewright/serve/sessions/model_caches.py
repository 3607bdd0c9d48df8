"""The served models and the caches of their sessions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from gatewright.errors import SessionError
from gatewright.runtime.stream import Stream
from gatewright.serve.sessions.cache import CachedSession, SessionCache
from gatewright.serve.sessions.creation import NAME
from gatewright.serve.sessions.store import Store, StoredSession


class SessionCaches:
    """One `SessionCache` for each model in memory: the current one, and earlier ones with sessions.

    Args:
        store: the store of all sessions.
        find: returns the stream of an earlier model by its fingerprint, or None.

    Attributes:
        fingerprint: of the model of new sessions.
    """

    def __init__(self, store: Store, find: Callable[[str], Stream | None]) -> None:
        self._store, self._find = store, find
        self._by_model: dict[str, SessionCache] = {}
        self.fingerprint = ""

    def serve(self, stream: Stream) -> None:
        """Use a model for new sessions from now on."""
        if stream.fingerprint not in self._by_model:  # a stream in use holds states
            self._by_model[stream.fingerprint] = SessionCache(stream)
        self.fingerprint = stream.fingerprint

    @property
    def current(self) -> SessionCache:
        """The cache of the model of new sessions."""
        return self._by_model[self.fingerprint]

    @property
    def fewest_slots(self) -> int:
        """The number of slots of the smallest cache."""
        return min(cache.stream.sessions for cache in self._by_model.values())

    def count(self) -> int:
        """Return the number of sessions in memory."""
        return sum(map(len, list(self._by_model.values())))

    def holds(self, session: str) -> bool:
        """Return whether a session is in memory."""
        return any(session in cache for cache in self._caches())

    def stored(self, session: str, owner: str) -> StoredSession:
        """Return a session from memory, then without its answer, or else from the store.

        Raises:
            SessionError: if the owner has no session of that name.
        """
        for cache in self._caches():
            cached = cache.get(session)
            if cached is not None and cached.stored.owner == owner:
                return cached.stored
        return self.load(session, owner)

    def load(self, session: str, owner: str) -> StoredSession:
        """Return a session from the store.

        Raises:
            SessionError: if the owner has no session of that name.
        """
        stored = self._store.load(session) if NAME.fullmatch(session) else None
        if stored is None or stored.owner != owner:
            raise SessionError("session", "the name of one of your sessions", repr(session)[:80])
        return stored

    def of(self, stored: StoredSession) -> SessionCache:
        """Return the cache of a session's model.

        Raises:
            SessionError: if the model cannot be found.
        """
        if stored.model not in self._by_model:
            stream = self._find(stored.model)
            if stream is None or stream.fingerprint != stored.model:
                expected = f"a session of the model {self.fingerprint[:12]}..."
                raise SessionError("session", expected, f"one of {stored.model[:12]}...")
            self._by_model[stored.model] = SessionCache(stream)
        return self._by_model[stored.model]

    def fetch(self, session: str, owner: str, in_use: Collection[str] = ()) -> tuple[SessionCache, CachedSession]:
        """Return a session in memory and its cache; load it first if necessary."""
        stored = self.stored(session, owner)
        cache = self.of(stored)
        return cache, cache.get(session) or cache.add(stored, in_use)

    def evict(self, session: str) -> None:
        """Remove a session from memory, if it is there."""
        for cache in self._caches():
            cache.evict(session)

    def evict_stale(self, stored: StoredSession) -> None:
        """Remove a session from memory if its commit is not the one in the store."""
        for cache in self._caches():
            cached = cache.get(stored.id)
            if cached is not None and not cached.stored.is_same_commit(stored):
                cache.evict(stored.id)

    def evict_idle(self, seconds: float) -> None:
        """Remove idle sessions from memory, and earlier models without sessions in memory."""
        for fingerprint, cache in list(self._by_model.items()):
            cache.evict_idle(seconds)
            if not len(cache) and fingerprint != self.fingerprint:
                del self._by_model[fingerprint]

    def _caches(self) -> Iterable[SessionCache]:
        return self._by_model.values()
