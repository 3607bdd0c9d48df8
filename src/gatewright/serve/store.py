"""Where sessions are kept: state, step number and last answer of each, and the models that they are of.

`SqliteStore` is one file, for one process; `gatewright.serve.valkey.ValkeyStore` is for several.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from gatewright.errors import StoreError

#: The version of the file that this build writes, and the only one that it reads.
FORMAT = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    snapshot BLOB NOT NULL,
    first INTEGER NOT NULL,
    request BLOB NOT NULL,
    answer BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS owners ON sessions (owner, id);
CREATE TABLE IF NOT EXISTS models (fingerprint TEXT PRIMARY KEY, weights TEXT NOT NULL, file BLOB NOT NULL);
"""


class Saved(NamedTuple):
    """A session as it is kept.

    Attributes:
        id: its name.
        owner: whose it is; nobody else sees it.
        model: fingerprint of the model that its state is of.
        version: how often it was saved before; a store refuses one that does not follow upon what it has.
        steps: steps taken, ever; a reset does not take them back.
        snapshot: its state, as `gatewright.Stream.snapshot` gives it.
        first: where the last request began, to tell a repetition; -1 before the first.
        request: digest of the last request's input.
        answer: the last answer, bytes of the output array.
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


class SavedModel(NamedTuple):
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

    def save(self, sessions: Sequence[Saved]) -> list[bool]:
        """Write sessions; they are kept when this returns, but for those that have changed behind our back.

        Returns:
            For each whether it was written: whether its ``version`` follows upon the one that is kept.
        """

    def delete(self, name: str, owner: str) -> None:
        """Forget a session."""

    def load(self, name: str) -> Saved | None:
        """Return a session, or None if there is none of that name."""

    def names(self, owner: str, after: str = "", most: int = 1000) -> list[str]:
        """Return names of an owner's sessions in order, the first so many after one."""

    def count(self, owner: str | None = None) -> int:
        """Return how many sessions an owner has, or how many there are."""

    def save_model(self, model: SavedModel) -> None:
        """Keep a model, if it is not there."""

    def load_model(self, fingerprint: str) -> SavedModel | None:
        """Return a model, or None if it is not there."""

    def ping(self) -> None:
        """Raise a `StoreError` if nothing can be read."""

    def close(self) -> None:
        """Let go of what is held; twice is fine."""


class SqliteStore:
    """Sessions in an SQLite file; one process at a time, any of its threads.

    The file is in WAL mode with a full sync: when `save` returns, what it saved survives the process and the
    machine.

    Args:
        path: of the file; made if it is not there.  ":memory:" keeps all in memory, as long as this is open.

    Raises:
        StoreError: if it cannot be opened, is something else, of another version, or in use by another process.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, SqliteStore(f"{folder}/sessions.db") as store:
    ...     store.save([Saved("a", "me", "f00d", 0, 1, b"state", 0, b"", b"answer")])
    ...     store.load("a").steps, store.load("b"), store.count("me")
    [True]
    (1, None, 1)
    """

    shared = False

    def __init__(self, path: Path | str) -> None:
        self._path, self._lock = Path(path), threading.Lock()
        try:
            self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=0)
        except sqlite3.Error as error:
            raise StoreError(str(path), "a file that can be opened", str(error)) from None
        try:
            self._prepare()
            owned = self._read("SELECT owner, count(*) FROM sessions GROUP BY owner")
            self._counts: Counter[str] = Counter(dict(owned))  # counting a hundred thousand takes milliseconds
        except BaseException:
            self._file.close()
            raise

    def _prepare(self) -> None:
        try:
            # Before anything is written: whoever holds the file, holds it for good.
            self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._file.execute("BEGIN EXCLUSIVE")
            [version] = self._file.execute("PRAGMA user_version").fetchone()
            [tables] = self._file.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if version not in (0, FORMAT) or (version == 0 and tables):
                raise StoreError(
                    str(self._path), f"sessions in format {FORMAT}", f"a database of format {version}"
                )
            self._file.execute(f"PRAGMA user_version = {FORMAT}")
            self._file.execute("COMMIT")
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = FULL")
            self._file.executescript(_TABLES)
        except sqlite3.Error as error:
            raise StoreError(
                str(self._path), "a file of sessions that no other process has open", str(error)
            ) from None

    def save(self, sessions: Sequence[Saved]) -> list[bool]:
        """Write sessions, all or none; they are on disk when this returns.

        Raises:
            StoreError: if they cannot be written; nothing has changed then.
        """
        self._change("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", sessions)
        self._counts.update(saved.owner for saved in sessions if saved.version == 0)
        return [True] * len(sessions)

    def delete(self, name: str, owner: str) -> None:
        """Forget a session, which is there.

        Raises:
            StoreError: if it cannot be deleted.
        """
        self._change("DELETE FROM sessions WHERE id = ?", [(name,)])
        self._counts[owner] -= 1

    def _change(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        with self._lock:
            try:
                self._file.execute("BEGIN IMMEDIATE")
                try:
                    self._file.executemany(statement, rows)
                    self._file.execute("COMMIT")
                except BaseException:
                    self._file.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise StoreError(str(self._path), "a file that can be written", str(error)) from None

    def load(self, name: str) -> Saved | None:
        """Return a session, or None if there is none of that name."""
        rows = self._read("SELECT * FROM sessions WHERE id = ?", name)
        return Saved(*rows[0]) if rows else None

    def names(self, owner: str, after: str = "", most: int = 1000) -> list[str]:
        """Return names of an owner's sessions in order, the first so many after one."""
        statement = "SELECT id FROM sessions WHERE owner = ? AND id > ? ORDER BY id LIMIT ?"
        return [name for (name,) in self._read(statement, owner, after, most)]

    def count(self, owner: str | None = None) -> int:
        """Return how many sessions an owner has, or how many there are."""
        return self._counts.total() if owner is None else self._counts[owner]

    def save_model(self, model: SavedModel) -> None:
        """Keep a model, if it is not there.

        Raises:
            StoreError: if it cannot be written.
        """
        self._change("INSERT OR IGNORE INTO models VALUES (?, ?, ?)", [model])

    def load_model(self, fingerprint: str) -> SavedModel | None:
        """Return a model, or None if it is not there."""
        rows = self._read("SELECT * FROM models WHERE fingerprint = ?", fingerprint)
        return SavedModel(*rows[0]) if rows else None

    def ping(self) -> None:
        """Raise a `StoreError` if nothing can be read."""
        self._read("SELECT 1")

    def _read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._file.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise StoreError(str(self._path), "a file that can be read", str(error)) from None

    def close(self) -> None:
        """Close the file; twice is fine."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
