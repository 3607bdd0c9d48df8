"""Creation of sessions within quotas; a retried request creates no second session."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence

from gatewright.errors import BusyError, GatewrightError, LimitError, StepError
from gatewright.serve.sessions.store import Store, StoredSession

#: Form of a session's name: 192 random bits in base64url.
NAME = re.compile(r"[A-Za-z0-9_-]{32}")


class SessionCreator:
    """Creates sessions within quotas.

    Args:
        store: the store of all sessions.
        save: saves sessions; returns for each whether it was saved.
        most: maximum number of sessions in total.
        most_each: maximum number of sessions of one owner.
        most_bytes: maximum size of one owner's sessions in the store, in bytes.
    """

    def __init__(
        self,
        store: Store,
        save: Callable[[Sequence[StoredSession]], list[bool]],
        most: int | None,
        most_each: int | None,
        most_bytes: int | None,
    ) -> None:
        self._store, self._save = store, save
        self._most, self._most_each, self._most_bytes = most, most_each, most_bytes

    def create(self, initial: StoredSession, name: str | None) -> str:
        """Create a session and return its name.

        Args:
            initial: initial state; its ``request`` is the digest of the request that creates it.
            name: the session's name; None for a random one.

        Raises:
            GatewrightError: if the name is malformed.
            StepError: if another session has that name, or the session has advanced since.
            LimitError: if a quota is exceeded.
            StoreError: if the session cannot be stored.
        """
        if name is not None:
            if not NAME.fullmatch(name):
                raise GatewrightError("name", "32 letters, digits, - and _", repr(name)[:80])
            if self._is_retry(initial, name):
                return name
        quotas = ((self._most, None, "in all"), (self._most_each, initial.owner, "of one owner"))
        for most, owner, scope in quotas:
            if most is not None and self._store.count(owner) >= most:
                raise LimitError("sessions", f"at most {most} {scope}", "one more; delete some")
        self.require_quota(initial.owner, initial.size)
        session = secrets.token_urlsafe(24) if name is None else name
        [is_saved] = self._save([initial.first_commit(session)])
        if not is_saved and not (name is not None and self._is_retry(initial, name)):
            raise contention_error(session)
        return session

    def _is_retry(self, initial: StoredSession, name: str) -> bool:
        """Return whether the same request created this session before, and it has not advanced since.

        Raises:
            StepError: if the name belongs to another session.
        """
        stored = self._store.load(name)
        if stored is None:
            return False
        if (stored.owner, stored.version, stored.request) != (initial.owner, 0, initial.request):
            raise StepError("name", "an unused name", "the name of another session")
        return True

    def require_quota(self, owner: str, added: int) -> None:
        """Raise if additional bytes would exceed an owner's quota.

        Raises:
            LimitError: names the quota.
        """
        if self._most_bytes is not None and added > 0 and self._store.size(owner) + added > self._most_bytes:
            raise LimitError("sessions", f"at most {self._most_bytes} bytes of one owner", "more; delete some")


def contention_error(session: str) -> BusyError:
    """Return the error for a session that other processes keep changing."""
    got = f"several at {session}"
    return BusyError("session", "one process that advances it at a time", got, retry_after=0.2)
