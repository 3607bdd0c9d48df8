"""SQLite store: sessions in a file that one process has open."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gatewright.errors import StoreError, reason
from gatewright.serve.sessions.store import StoredModel, StoredSession

#: Format version of the files that this build writes; it also reads the previous one.
FORMAT = 2

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
    answer BLOB NOT NULL,
    tag BLOB NOT NULL DEFAULT x'',
    size INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sizes ON sessions (owner, id, size);
CREATE TABLE IF NOT EXISTS models (fingerprint TEXT PRIMARY KEY, weights TEXT NOT NULL, file BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS probe (id INTEGER PRIMARY KEY, room BLOB NOT NULL);
"""
_FROM_FORMAT_1 = """
ALTER TABLE sessions ADD COLUMN tag BLOB NOT NULL DEFAULT x'';
ALTER TABLE sessions ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
UPDATE sessions SET size = length(snapshot) + length(answer) + 256;
DROP INDEX owners;
"""
_COLUMNS = "id, owner, model, version, steps, snapshot, first, request, answer, tag"
_INSERT = (
    f"INSERT INTO sessions ({_COLUMNS}, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_FOLLOWED = "WHERE id = ? AND owner = ? AND version = ? AND tag = ?"
_UPDATE = f"""
UPDATE sessions SET model = ?, version = ?, steps = ?, snapshot = ?, first = ?, request = ?, answer = ?, tag = ?
{_FOLLOWED}
"""
#: Size of a probe write: more than the size of most sessions.
_PROBE = 1 << 16


def require_file_name(name: str) -> Path:
    """Return the path of a session file.

    Raises:
        StoreError: if SQLite would open a database in memory, a temporary one or a URI; or if it is not a file.
    """
    expected = "the path of a file, or a URL such as valkey://host:6379/0"
    if not name.strip() or name.startswith((":", "file:")) or "\0" in name:
        raise StoreError("--store", expected, repr(name)[:80])
    path = Path(name)
    with contextlib.suppress(OSError):  # opening it fails too, and reports why
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreError("--store", expected, f"{name}, which is something else"[:200])
    return path


class SqliteStore:
    """Sessions in an SQLite file, for one process at a time and any of its threads.

    The file is in WAL mode with full sync: when `save` returns, its data survives a crash of the process or the
    machine.  Each call detects a file that was removed, replaced or truncated while open.

    Args:
        path: path of the file; created if missing.  ":memory:" keeps sessions in memory until the store is closed.

    Raises:
        StoreError: if the file cannot be opened, has another format or version, or is in use by another process.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, SqliteStore(f"{folder}/sessions.db") as store:
    ...     store.save([StoredSession("a", "me", "f00d", 0, 1, b"state", 0, b"", b"answer")])
    ...     store.load("a").steps, store.load("b"), store.count("me")
    [True]
    (1, None, 1)
    """

    shared = False

    def __init__(self, path: Path | str) -> None:
        self._path, self._lock = Path(path), threading.Lock()
        self._identities: dict[Path, tuple[int, int]] = {}  # device and inode of each file
        self._lengths: dict[Path, int] = {}  # minimum length of each file: SQLite never shortens them
        self._failed = False  # whether the last write failed
        try:
            self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=0)
        except sqlite3.Error as error:
            raise StoreError(str(path), "a file that can be opened", str(error)) from None
        try:
            self._prepare()
            if str(path) != ":memory:":
                self._note_identities()
            owned = self._read("SELECT owner, count(*), sum(size) FROM sessions GROUP BY owner")
            # Read from the index alone: milliseconds for a hundred thousand sessions.
            self._counts: Counter[str] = Counter({owner: count for owner, count, _ in owned})
            self._sizes: Counter[str] = Counter({owner: size for owner, _, size in owned})
        except BaseException:
            self._file.close()
            raise

    def _prepare(self) -> None:
        try:
            # Before anything is written: the lock is held until the file is closed.
            self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._file.execute("BEGIN EXCLUSIVE")
            [version] = self._file.execute("PRAGMA user_version").fetchone()
            [tables] = self._file.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if version not in (0, 1, FORMAT) or (version == 0 and tables):
                raise StoreError(
                    str(self._path), f"sessions in format {FORMAT}", f"a database of format {version}"
                )
            for statement in _FROM_FORMAT_1.split(";") if version == 1 else ():
                self._file.execute(statement)
            self._file.execute(f"PRAGMA user_version = {FORMAT}")
            self._file.execute("COMMIT")
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = FULL")
            self._file.executescript(_TABLES)
        except sqlite3.Error as error:
            raise StoreError(
                str(self._path), "a file of sessions that no other process has open", str(error)
            ) from None

    def _note_identities(self) -> None:
        path = self._path.absolute()
        target = path.resolve()  # SQLite puts its log next to the target of a link
        for file in (path, target.with_name(f"{target.name}-wal")):
            with contextlib.suppress(FileNotFoundError):  # some file systems have no WAL
                status = file.stat()
                self._identities[file] = status.st_dev, status.st_ino

    def _require_identities(self) -> None:
        """Raise if an open file was removed, replaced or truncated: further writes would be lost.

        Raises:
            StoreError: names the file.
        """
        for path, identity in self._identities.items():
            try:
                status = path.stat()
            except OSError as error:
                got = "none" if isinstance(error, FileNotFoundError) else reason(error)
                raise StoreError(str(path), "the file that was opened", got) from None
            if (status.st_dev, status.st_ino) != identity:
                raise StoreError(str(path), "the file that was opened", "another one in its place")
            if status.st_size < self._lengths.get(path, 0):
                raise StoreError(str(path), f"a file of {self._lengths[path]} bytes", f"{status.st_size} of them")
            self._lengths[path] = status.st_size

    def save(self, sessions: Sequence[StoredSession]) -> list[bool]:
        """Write sessions durably in one transaction, except those that do not succeed the stored commit.

        Returns:
            For each whether it was written: whether it succeeds the stored commit.

        Raises:
            StoreError: if writing fails; nothing has changed then.
        """
        done, grown = [], Counter[str]()
        with self._change():
            for saved in sessions:
                added = self._write(saved)
                done.append(added is not None)
                grown[saved.owner] += added or 0
        created = (
            saved.owner for saved, committed in zip(sessions, done, strict=True) if committed and not saved.version
        )
        with self._lock:
            self._sizes.update(grown)
            self._counts.update(created)
        return done

    def _write(self, saved: StoredSession) -> int | None:
        """Write a session and return its growth in bytes; None if it does not succeed the stored commit."""
        if saved.version == 0:
            done = self._file.execute(_INSERT, (*saved[:10], saved.size)).rowcount
            return saved.size if done else None
        before = (saved.id, saved.owner, saved.version - 1, saved.parent_tag)
        # Most sessions keep their size: then the index, which contains it, need not change.
        if self._file.execute(f"{_UPDATE} AND size = ?", (*saved[2:10], *before, saved.size)).rowcount:
            return 0
        row = self._file.execute(f"SELECT size FROM sessions {_FOLLOWED}", before).fetchone()
        if row is None:
            return None
        self._file.execute(f"UPDATE sessions SET size = ? {_FOLLOWED}", (saved.size, *before))
        self._file.execute(_UPDATE, (*saved[2:10], *before))
        return saved.size - int(row[0])

    def delete(self, name: str, owner: str) -> None:
        """Delete a session; idempotent.

        Raises:
            StoreError: if it cannot be deleted.
        """
        with self._change():
            rows = self._file.execute("SELECT size FROM sessions WHERE id = ? AND owner = ?", (name, owner))
            size = rows.fetchone()
            self._file.execute("DELETE FROM sessions WHERE id = ? AND owner = ?", (name, owner))
        if size is not None:
            with self._lock:
                self._counts[owner] -= 1
                self._sizes[owner] -= size[0]

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """Run the body in one transaction, which is durable on exit.

        Raises:
            StoreError: if the transaction fails.
        """
        with self._lock:
            try:
                self._require_identities()
                self._file.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._file.execute("COMMIT")
                except BaseException:
                    if self._file.in_transaction:  # a full disk has already ended it
                        self._file.execute("ROLLBACK")
                    raise
                self._require_identities()
            except sqlite3.Error as error:
                self._failed = True
                full = "full" in str(error)
                expected = "a disk with room" if full else "a file that can be written"
                raise StoreError(str(self._path), expected, "a full one" if full else str(error)) from None
            self._failed = False

    def load(self, name: str) -> StoredSession | None:
        """Return a session, or None if it does not exist.

        Raises:
            StoreError: if it cannot be read, or is damaged.
        """
        rows = self._read(f"SELECT {_COLUMNS} FROM sessions WHERE id = ?", name)
        try:
            return StoredSession(*rows[0]).validated() if rows else None
        except ValueError as error:
            raise StoreError(str(self._path), "an intact session", f"a damaged one: {error}"[:200]) from None

    def names(self, owner: str, after: str = "", most: int = 1000) -> list[str]:
        """Return names of an owner's sessions in order: at most ``most`` of those after ``after``."""
        statement = "SELECT id FROM sessions WHERE owner = ? AND id > ? ORDER BY id LIMIT ?"
        return [name for (name,) in self._read(statement, owner, after, most)]

    def count(self, owner: str | None = None) -> int:
        """Return the number of an owner's sessions, or of all sessions."""
        with self._lock:
            return self._counts.total() if owner is None else self._counts[owner]

    def size(self, owner: str) -> int:
        """Return the approximate size of an owner's sessions, in bytes."""
        return self._sizes[owner]

    def save_model(self, model: StoredModel, name: str = "") -> None:  # noqa: ARG002
        """Store a model if it is not stored yet.

        Raises:
            StoreError: if the model cannot be written.
        """
        with self._change():
            self._file.execute("INSERT OR IGNORE INTO models VALUES (?, ?, ?)", model)

    def load_model(self, fingerprint: str) -> StoredModel | None:
        """Return a model, or None if it is not stored.

        Raises:
            StoreError: if it cannot be read, or is damaged.
        """
        rows = self._read("SELECT * FROM models WHERE fingerprint = ?", fingerprint)
        if not rows:
            return None
        if not isinstance(rows[0][2], bytes):
            raise StoreError(str(self._path), "an intact model", "a damaged one")
        return StoredModel(*rows[0])

    def ping(self) -> None:
        """Raise a `StoreError` if reading fails, or the last write failed and a probe still does."""
        self._read("SELECT 1")
        if self._failed:
            with self._change():
                self._file.execute("INSERT OR REPLACE INTO probe VALUES (1, zeroblob(?))", (_PROBE,))
            with self._change():
                self._file.execute("DELETE FROM probe")

    def _read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            self._require_identities()
            try:
                return self._file.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise StoreError(str(self._path), "a file that can be read", str(error)) from None

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
