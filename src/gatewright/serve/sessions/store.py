"""What is kept of a session: state, step number, last answer; of its model; and what a store does with them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from gatewright.errors import StoreError

#: Bytes that a session takes in a store next to its state and its answer, about.
_OVERHEAD = 256
_DIGEST = 8


class StoredSession(NamedTuple):
    """A session as it is kept.

    Attributes:
        id: its name.
        owner: whose it is; nobody else sees it.
        model: fingerprint of the model that its state is of.
        version: how often it was saved before.
        steps: steps taken, ever; a reset does not take them back.
        snapshot: its state, as `gatewright.Stream.snapshot` gives it.
        first: where the last request began, to tell a repetition; -1 before the first.
        request: digest of the last request's input.
        answer: the last answer, as `with_digest` gives it.
        tag: random, of this commit.  A count alone would not tell two commits apart of which a store has forgotten
            one: a store refuses what does not follow upon the very commit that it has.
        parent_tag: tag of the commit before; it is compared, and not kept.
    """

    id: str
    owner: str
    model: str
    version: int
    steps: int
    snapshot: bytes
    first: int
    request: bytes
    answer: bytes
    tag: bytes = b""
    parent_tag: bytes = b""

    @property
    def size(self) -> int:
        """About how many bytes it takes in a store."""
        return len(self.snapshot) + len(self.answer) + _OVERHEAD

    def first_commit(self, name: str) -> StoredSession:
        """Return the first commit of a new session that stands where this one does."""
        return self._replace(id=name, version=0, tag=_tag(), parent_tag=b"")

    def next_commit(self, **changes: Any) -> StoredSession:
        """Return the commit that follows upon this one."""
        return self._replace(version=self.version + 1, tag=_tag(), parent_tag=self.tag, **changes)

    def is_same_commit(self, other: StoredSession) -> bool:
        """Whether this is the very commit that another one is."""
        return (self.version, self.tag) == (other.version, other.tag)

    def validated(self) -> StoredSession:
        """Return it, if its parts are such as a server leaves.

        Raises:
            ValueError: if not.
        """
        texts, numbers = (self.owner, self.model), (self.version, self.steps, self.first)
        if not all(isinstance(part, str) for part in texts):
            raise ValueError("an owner or a model that is no text")
        if not all(type(part) is int for part in numbers):
            raise ValueError("a count that is no whole number")
        if not all(isinstance(part, bytes) for part in (self.snapshot, self.request, self.answer, self.tag)):
            raise ValueError("a state or an answer that is not bytes")
        if not (self.version >= 0 and -1 <= self.first <= self.steps < 2**63):
            raise ValueError(f"version {self.version}, {self.steps} steps, the last request at {self.first}")
        return self


def _tag() -> bytes:
    return secrets.token_bytes(12)


def with_digest(answer: bytes) -> bytes:
    """Return an answer as it is kept, with a digest before it."""
    return hashlib.blake2b(answer, digest_size=_DIGEST).digest() + answer


def verified_answer(saved: StoredSession) -> bytes:
    """Return an answer that was kept; nothing, if there is none.

    Raises:
        StoreError: if it is damaged.
    """
    if not saved.answer or not saved.tag:  # sessions without a tag were saved before there were digests
        return saved.answer
    answer = saved.answer[_DIGEST:]
    if with_digest(answer) != saved.answer:
        raise StoreError("store", "a whole answer", "a damaged one: its digest does not fit")
    return answer


class StoredModel(NamedTuple):
    """A model as it is kept, so that its sessions can go on when another one is served.

    Attributes:
        fingerprint: its name.
        weights: how its weights are kept in memory.
        file: bytes of the model file.
    """

    fingerprint: str
    weights: str
    file: bytes


class Store(Protocol):
    """What a store does; every method raises a `StoreError` where it cannot.

    One that is elsewhere may have saved even so, where only its word of it got lost; a request that is repeated
    finds out.
    """

    #: Whether others may change sessions behind our back.
    shared: bool

    def save(self, sessions: Sequence[StoredSession]) -> list[bool]:
        """Write sessions; they are kept when this returns, but for those that have changed behind our back.

        Returns:
            For each whether it was written: whether it follows upon the commit that is kept.
        """

    def delete(self, name: str, owner: str) -> None:
        """Forget a session."""

    def load(self, name: str) -> StoredSession | None:
        """Return a session, or None if there is none of that name."""

    def names(self, owner: str, after: str = "", most: int = 1000) -> list[str]:
        """Return names of an owner's sessions in order, the first so many after one."""

    def count(self, owner: str | None = None) -> int:
        """Return how many sessions an owner has, or how many there are."""

    def size(self, owner: str) -> int:
        """Return about how many bytes the sessions of an owner take."""

    def save_model(self, model: StoredModel) -> None:
        """Keep a model, if it is not there."""

    def load_model(self, fingerprint: str) -> StoredModel | None:
        """Return a model, or None if it is not there."""

    def ping(self) -> None:
        """Raise a `StoreError` if nothing can be read, or the last write failed and one still does."""

    def close(self) -> None:
        """Let go of what is held; twice is fine."""
