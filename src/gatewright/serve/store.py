"""Where sessions are kept: state, step number and last answer of each, in one SQLite file.

The file is in WAL mode with a full sync: when `save` returns, what it saved survives the process and the machine.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from gatewright.errors import StoreError

#: The version of the file that this build writes, and the only one that it reads.
FORMAT = 1

_TABLE = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    model TEXT NOT NULL,
    steps INTEGER NOT NULL,
    snapshot BLOB NOT NULL,
    first INTEGER NOT NULL,
    request BLOB NOT NULL,
    answer BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS owners ON sessions (owner, id);
"""


class Saved(NamedTuple):
    """A session as it is kept.

    Attributes:
        id: its name.
        owner: whose it is; nobody else sees it.
        model: fingerprint of the model that its state is of.
        steps: steps taken, ever; a reset does not take them back.
        snapshot: its state, as `gatewright.Stream.snapshot` gives it.
        first: where the last request began, to tell a repetition; -1 before the first.
        request: digest of the last request's input.
        answer: the last answer, bytes of the output array.
    """

    id: str
    owner: str
    model: str
    steps: int
    snapshot: bytes
    first: int
    request: bytes
    answer: bytes


class SqliteStore:
    """Sessions in an SQLite file; one process at a time, any of its threads.

    Args:
        path: of the file; made if it is not there.

    Raises:
        StoreError: if it cannot be opened, is something else, of another version, or in use by another process.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, SqliteStore(f"{folder}/sessions.db") as store:
    ...     store.save([Saved("a", "me", "f00d", 1, b"state", 0, b"", b"answer")])
    ...     store.load("a").steps, store.load("b"), store.count("me")
    (1, None, 1)
    """

    def __init__(self, path: Path | str) -> None:
        self._path, self._lock = Path(path), threading.Lock()
        try:
            self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=0)
        except sqlite3.Error as error:
            raise StoreError(str(path), "a file that can be opened", str(error)) from None
        try:
            self._prepare()
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
            self._file.executescript(_TABLE)
        except sqlite3.Error as error:
            raise StoreError(
                str(self._path), "a file of sessions that no other process has open", str(error)
            ) from None

    def save(self, sessions: Iterable[Saved]) -> None:
        """Write sessions, all or none; they are on disk when this returns.

        Raises:
            StoreError: if they cannot be written; nothing has changed then.
        """
        self._change("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", sessions)

    def delete(self, names: Iterable[str]) -> None:
        """Forget sessions, all or none.

        Raises:
            StoreError: if they cannot be deleted.
        """
        self._change("DELETE FROM sessions WHERE id = ?", ((name,) for name in names))

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
        if owner is None:
            return int(self._read("SELECT count(*) FROM sessions")[0][0])
        return int(self._read("SELECT count(*) FROM sessions WHERE owner = ?", owner)[0][0])

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
