"""Stored sessions and models, and the interface of a store; `sqlite.py` and `valkey.py` implement it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from gatewright.errors import StoreError

#: Approximate size of a stored session without its state and answer, in bytes.
_OVERHEAD = 256
_DIGEST = 8


class StoredSession(NamedTuple):
    """A session in a store.

    Attributes:
        id: name of the session.
        owner: its owner; other owners cannot see it.  That of a session of a named model is ``NAME:OWNER``.
        model: fingerprint of its model.
        version: number of earlier commits.
        steps: steps taken in total; a reset does not change it.
        snapshot: its state, from `gatewright.Stream.snapshot`.
        first: step at which the last request began, to recognize a retry; -1 before the first.
        request: digest of the last request's input.
        answer: the last answer, from `with_digest`.
        tag: random tag of this commit.  A store accepts only the successor of its own commit; a counter alone
            would be ambiguous after a store lost a commit.
        parent_tag: tag of the previous commit; compared, not stored.
        replica: name of the replica that made this commit, as a shared store returns it; nothing depends on it.
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
    replica: str = ""

    @property
    def size(self) -> int:
        """Approximate size in a store, in bytes."""
        return len(self.snapshot) + len(self.answer) + _OVERHEAD

    def first_commit(self, name: str) -> StoredSession:
        """Return the first commit of a new session with this one's state."""
        return self._replace(id=name, version=0, tag=_tag(), parent_tag=b"")

    def next_commit(self, **changes: Any) -> StoredSession:
        """Return the successor of this commit."""
        return self._replace(version=self.version + 1, tag=_tag(), parent_tag=self.tag, **changes)

    def is_same_commit(self, other: StoredSession) -> bool:
        """Return whether both are the same commit."""
        return (self.version, self.tag) == (other.version, other.tag)

    def validated(self) -> StoredSession:
        """Return the session if its fields are valid.

        Raises:
            ValueError: if a field is invalid.
        """
        texts, numbers = (self.owner, self.model), (self.version, self.steps, self.first)
        if not all(isinstance(part, str) for part in texts):
            raise ValueError("an owner or a model that is not text")
        if not all(type(part) is int for part in numbers):
            raise ValueError("a count that is not a whole number")
        if not all(isinstance(part, bytes) for part in (self.snapshot, self.request, self.answer, self.tag)):
            raise ValueError("a state or an answer that is not bytes")
        if not (self.version >= 0 and -1 <= self.first <= self.steps < 2**63):
            raise ValueError(f"version {self.version}, {self.steps} steps, the last request at {self.first}")
        return self


def _tag() -> bytes:
    return secrets.token_bytes(12)


def with_digest(answer: bytes) -> bytes:
    """Return an answer with its digest prepended, for storage."""
    return hashlib.blake2b(answer, digest_size=_DIGEST).digest() + answer


def verified_answer(saved: StoredSession) -> bytes:
    """Return a stored answer after verification of its digest; empty without an answer.

    Raises:
        StoreError: if the answer is damaged.
    """
    if not saved.answer or not saved.tag:  # sessions without a tag were saved by a version without digests
        return saved.answer
    answer = saved.answer[_DIGEST:]
    if with_digest(answer) != saved.answer:
        raise StoreError("store", "an intact answer", "a damaged one: its digest does not match")
    return answer


class StoredModel(NamedTuple):
    """A model in a store, so that its sessions can continue after a reload.

    Attributes:
        fingerprint: fingerprint of the model.
        weights: format of its weights in memory.
        file: bytes of the model file.
    """

    fingerprint: str
    weights: str
    file: bytes


class Store(Protocol):
    """Interface of a store; every method raises a `StoreError` on failure.

    A remote store may have saved although its reply was lost; a retried request finds out.
    """

    #: Whether other processes may change sessions.
    shared: bool

    def save(self, sessions: Sequence[StoredSession]) -> list[bool]:
        """Write sessions durably, except those that another process has changed.

        Returns:
            For each whether it was written: whether it succeeds the stored commit.
        """

    def delete(self, name: str, owner: str) -> None:
        """Delete a session."""

    def load(self, name: str) -> StoredSession | None:
        """Return a session, or None if it does not exist."""

    def names(self, owner: str, after: str = "", most: int = 1000) -> list[str]:
        """Return names of an owner's sessions in order: at most ``most`` of those after ``after``."""

    def count(self, owner: str | None = None) -> int:
        """Return the number of an owner's sessions, or of all sessions."""

    def size(self, owner: str) -> int:
        """Return the approximate size of an owner's sessions, in bytes."""

    def save_model(self, model: StoredModel, name: str = "") -> None:
        """Store a model if it is not stored yet.

        Args:
            model: the model.
            name: name that it is served by; a store that may lose its data saves the last one of each name again.
        """

    def load_model(self, fingerprint: str) -> StoredModel | None:
        """Return a model, or None if it is not stored."""

    def ping(self) -> None:
        """Raise a `StoreError` if reading fails, or the last write failed and a probe still does."""

    def close(self) -> None:
        """Release all resources; idempotent."""
