"""New sessions, and the room that there is for them: each made once, however often it is asked for."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence

from gatewright.errors import BusyError, GatewrightError, LimitError, StepError
from gatewright.serve.sessions.store import Saved, Store

#: What a name looks like: 192 random bits.
NAME = re.compile(r"[A-Za-z0-9_-]{32}")


class Making:
    """Makes sessions, as many as there may be.

    Args:
        store: where they are kept.
        save: saves some; says of each whether it was saved.
        most: most sessions in all.
        most_each: most sessions of one owner.
        most_bytes: most bytes that the sessions of one owner take in the store.
    """

    def __init__(
        self,
        store: Store,
        save: Callable[[Sequence[Saved]], list[bool]],
        most: int | None,
        most_each: int | None,
        most_bytes: int | None,
    ) -> None:
        self._store, self._save = store, save
        self._most, self._most_each, self._most_bytes = most, most_each, most_bytes

    def make(self, saved: Saved, name: str | None) -> str:
        """Make a session and return its name.

        Args:
            saved: where it begins, and as its ``request`` what it was made by.
            name: what to call it; None for a random name.

        Raises:
            GatewrightError: if the name is none.
            StepError: if another session has that name, or it has moved.
            LimitError: if there are too many.
            StoreError: if it cannot be stored.
        """
        if name is not None:
            if not NAME.fullmatch(name):
                raise GatewrightError("name", "32 letters, digits, - and _", repr(name)[:80])
            if self._is_made(saved, name):
                return name
        for most, owner, whose in ((self._most, None, "in all"), (self._most_each, saved.owner, "of one owner")):
            if most is not None and self._store.count(owner) >= most:
                raise LimitError("sessions", f"at most {most} {whose}", "one more; delete some")
        self.require_room(saved.owner, saved.size)
        chosen = secrets.token_urlsafe(24) if name is None else name
        [done] = self._save([saved.begun(chosen)])
        if not done and not (name is not None and self._is_made(saved, name)):
            raise contended(chosen)
        return chosen

    def _is_made(self, saved: Saved, name: str) -> bool:
        """Return whether a session was made by this very request, and has not moved since.

        Raises:
            StepError: if the name is another session's.
        """
        found = self._store.load(name)
        if found is None:
            return False
        if (found.owner, found.version, found.request) != (saved.owner, 0, saved.request):
            raise StepError("name", "a name that no session has", "one that is taken")
        return True

    def require_room(self, owner: str, more: int) -> None:
        """Raise if an owner's sessions would take too many bytes.

        Raises:
            LimitError: says so.
        """
        if self._most_bytes is not None and more > 0 and self._store.size(owner) + more > self._most_bytes:
            raise LimitError("sessions", f"at most {self._most_bytes} bytes of one owner", "more; delete some")


def contended(session: str) -> BusyError:
    """Return what is said where other processes change a session again and again."""
    got = f"several at {session}"
    return BusyError("session", "one process that advances it at a time", got, retry_after=0.2)
