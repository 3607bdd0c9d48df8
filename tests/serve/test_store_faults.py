"""What becomes of a store in use: forgotten, damaged, removed, full; nothing is answered that nobody keeps."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright.errors import (
    ModelFileError,
    SessionError,
    StateError,
    StepError,
    StoreError,
)
from gatewright.serve.hosting import open_store
from gatewright.serve.sessions import model_loader
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.requests import Advance, Generate
from gatewright.serve.sessions.sqlite import SqliteStore, require_file_name
from gatewright.serve.sessions.store import StoredSession, with_digest
from gatewright.serve.settings import Settings
from tests.serve.test_sessions import error, inputs, layer, only
from tests.support.local_server import local as serving
from tests.support.stream_models import text_model

ONE = StoredSession("a", "me", "f00d", 0, 3, b"state", -1, b"", b"answer")


# --- what follows upon what


def test_only_what_follows_upon_the_very_commit_is_written(store: SqliteStore) -> None:
    first = ONE.first_commit("a")
    assert len(first.tag) == 12
    assert store.save([first, ONE.first_commit("a"), ONE._replace(version=1)]) == [True, False, False]
    left, right = first.next_commit(steps=4), first.next_commit(steps=5)  # the same count, and not the same commit
    assert left.version == right.version
    assert store.save([right]) == [True]
    commits = [left, *(commit.next_commit(steps=n) for commit, n in ((left, 6), (right, 7), (right, 8)))]
    assert store.save(commits) == [False, False, True, False]
    kept = store.load("a")
    assert kept is not None
    assert (kept.steps, kept.version) == (7, 2)
    assert store.save([kept.next_commit(owner="you")]) == [False]
    assert (store.count(), store.count("me"), store.count("you")) == (1, 1, 0)


def test_a_store_that_forgot_a_commit_is_not_overwritten(store: SqliteStore) -> None:
    """Two servers in one: the second took another step in the place of the one that was forgotten."""
    x = inputs(0, 9)
    a, b = (Sessions(layer().stream(), store) for _ in range(2))
    name = a.create()
    only(a.advance([Advance(name, x[:2], 0)]))
    before = store.load(name)
    assert before is not None
    only(a.advance([Advance(name, x[2:3], 2)]))
    put_back(store, before)
    taken = only(b.advance([Advance(name, x[5:6], 2)]))  # answered: it has to stay
    assert np.array_equal(taken.y[0], layer().stream().run(np.concatenate([x[:2], x[5:6]]))[2])
    # a's memory has as many commits, and the same number of steps.
    refused = error(a.advance([Advance(name, x[2:3], 2)]))
    assert isinstance(refused, StepError)
    then = only(a.advance([Advance(name, x[6:7], 3)]))
    expected = layer().stream().run(np.concatenate([x[:2], x[5:7]]))
    assert np.array_equal(then.y[0], expected[3])
    assert a.read(name) == b.read(name)


def put_back(store: SqliteStore, saved: StoredSession) -> None:
    columns = ", ".join(f"{field} = ?" for field in saved._fields[3:10])
    store._file.execute(f"UPDATE sessions SET {columns} WHERE id = ?", (*saved[3:10], saved.id))


def test_memory_that_is_ahead_of_the_store_is_told_where_it_stands(store: SqliteStore) -> None:
    x = inputs(1, 8)
    sessions = Sessions(layer().stream(), store)
    name = sessions.create()
    only(sessions.advance([Advance(name, x[:3], 0)]))
    before = store.load(name)
    assert before is not None
    answers = [only(sessions.advance([Advance(name, x[at : at + 1], at)])) for at in (3, 4)]
    put_back(store, before)
    its_last_again = error(sessions.advance([Advance(name, x[4:5], 4)]))
    assert its_last_again.expected == "first 3, the steps that the session has taken"
    refused = error(sessions.advance([Advance(name, x[5:6], 5)]))
    assert isinstance(refused, StepError)
    assert refused.expected == "first 3, the steps that the session has taken"
    assert sessions.read(name)[0] == 3
    for at in (3, 4):  # the client sends again what was forgotten
        again = only(sessions.advance([Advance(name, x[at : at + 1], at)]))
        assert not again.repeated
        assert np.array_equal(again.y, answers[at - 3].y)


def test_a_file_of_the_format_before_is_taken_over(path: Path) -> None:
    tables = """
    CREATE TABLE sessions (id TEXT PRIMARY KEY, owner TEXT NOT NULL, model TEXT NOT NULL, version INTEGER NOT NULL,
        steps INTEGER NOT NULL, snapshot BLOB NOT NULL, first INTEGER NOT NULL, request BLOB NOT NULL,
        answer BLOB NOT NULL) WITHOUT ROWID;
    CREATE INDEX owners ON sessions (owner, id);
    CREATE TABLE models (fingerprint TEXT PRIMARY KEY, weights TEXT NOT NULL, file BLOB NOT NULL);
    PRAGMA user_version = 1;
    """
    stream, x = layer().stream(), inputs(0, 4)
    y = stream.run(x[:2])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.executescript(tables)
        row = ("n" * 32, "me", stream.fingerprint, 3, 2, stream.snapshot(), 0, b"", y.tobytes())
        file.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    with SqliteStore(path) as store:
        assert store.load("n" * 32) == StoredSession(*row)
        assert store.size("me") == StoredSession(*row).size
        sessions = Sessions(layer().stream(), store)
        answer = only(sessions.advance([Advance("n" * 32, x[2:], 2, "me")]))
        assert np.array_equal(answer.y, stream.run(x[2:]))
    with SqliteStore(path) as store:
        assert (store.count("me"), store.names("me")) == (1, ["n" * 32])


# --- damaged

COLUMNS: dict[str, list[Any]] = {
    "steps": ["many", -1, b"\x01", 1.5, 2**62],
    "version": ["x", -1, 0.5],
    "first": ["x", -2, 99, b""],
    "snapshot": ["text", b"", b"short", 7],
    "model": [7.5, b"\xff", ""],
    "tag": ["text", 1],
}


@pytest.mark.parametrize("column", COLUMNS)
def test_a_damaged_session_is_the_store_s_fault(store: SqliteStore, column: str) -> None:
    x = inputs(0, 4)
    sessions = Sessions(layer().stream(), store)
    name = sessions.create()
    only(sessions.advance([Advance(name, x[:2], 0)]))
    for value in COLUMNS[column]:
        sessions.drop_idle(0)
        [before] = store._file.execute(f"SELECT {column} FROM sessions").fetchone()
        store._file.execute(f"UPDATE sessions SET {column} = ?", (value,))
        [told] = sessions.advance([Advance(name, x[2:3], 2)])
        if value == 2**62:  # which may be
            assert isinstance(told, StepError)
        elif column == "model" and value != b"\xff":  # any text may name a model
            assert isinstance(told, SessionError)
        else:
            assert isinstance(told, StoreError | StateError), (value, told)
        store._file.execute(f"UPDATE sessions SET {column} = ?", (before,))
    sessions.drop_idle(0)
    assert only(sessions.advance([Advance(name, x[2:3], 2)])).steps == 3


def answers_damaged(answer: bytes) -> list[Any]:
    flipped = bytes([answer[-1] ^ 1])
    return [answer[:-1], answer[:-4], answer[:8], answer[:3], answer + b"\0", answer[:-1] + flipped,
            bytes([answer[0] ^ 1]) + answer[1:], bytes(len(answer)), with_digest(b"\xff" * 15),
            with_digest(b"\xff" * 3),
            "text", 7]  # fmt: skip


def test_a_damaged_answer_is_the_store_s_fault(store: SqliteStore) -> None:
    x = inputs(0, 4)
    sessions = Sessions(layer().stream(), store)
    name = sessions.create()
    first = only(sessions.advance([Advance(name, x[:2], 0)]))
    [answer] = store._file.execute("SELECT answer FROM sessions").fetchone()
    for damaged in answers_damaged(answer):
        store._file.execute("UPDATE sessions SET answer = ?", (damaged,))
        assert type(error(sessions.advance([Advance(name, x[:2], 0)]))) is StoreError, damaged
    store._file.execute("UPDATE sessions SET answer = ?", (answer,))
    assert np.array_equal(only(sessions.advance([Advance(name, x[:2], 0)])).y, first.y)


@pytest.mark.parametrize("request_", [Advance("", "abc", 0), Generate("", 5, "abc", 0)])
def test_a_damaged_answer_of_a_text_is_the_store_s_fault(store: SqliteStore, request_: Advance | Generate) -> None:
    sessions = Sessions(text_model().stream(), store)
    name = sessions.create()
    asked = request_._replace(session=name)
    first = only(sessions.advance([asked]))
    [answer] = store._file.execute("SELECT answer FROM sessions").fetchone()
    wrong = np.full(5, -1, "<i8").tobytes(), np.full(5, 10**6, "<i8").tobytes()
    scores = answer[-text_model().stream().output_dtype.itemsize * 12 :]
    texts = [with_digest(part + scores) for part in wrong] if isinstance(asked, Generate) else []
    for damaged in [*answers_damaged(answer), *texts]:
        store._file.execute("UPDATE sessions SET answer = ?", (damaged,))
        for _ in range(2):  # from memory, and out of it
            assert type(error(sessions.advance([asked]))) is StoreError, damaged
            sessions.drop_idle(0)
    store._file.execute("UPDATE sessions SET answer = ?", (answer,))
    assert np.array_equal(only(sessions.advance([asked])).y, first.y)


@pytest.mark.parametrize("file", [b"", b"half", "text", None])
def test_a_damaged_model_is_the_store_s_fault(store: SqliteStore, tmp_path: Path, file: Any) -> None:
    text_model().save(tmp_path / "model.safetensors")
    saved, _ = model_loader.load_file(tmp_path / "model.safetensors", weights="float32", sessions=1, threads=1)
    store.save_model(saved)
    if file is None:
        store._file.execute("UPDATE models SET weights = 'float8'")
    else:
        store._file.execute("UPDATE models SET file = ?", (file,))
    with pytest.raises((StoreError, ModelFileError)):
        model_loader.load_stored(store, saved.fingerprint, sessions=1, threads=1)


# --- removed, or replaced


def remove(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name(f"{path.name}.away"))


def replace(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("change", [remove, move, replace, cut, make_a_folder])
def test_a_file_that_is_not_there_any_more_is_noticed(
    path: Path, suffix: str, change: Callable[[Path], None]
) -> None:
    x = inputs(0, 6)
    with serving(layer().stream(), path.parent) as local:
        name = local.create()
        local.advance(name, x[:2].tolist(), first=0)
        assert local.http.get("/readyz").status_code == 200
        change(path.with_name(path.name + suffix))
        assert local.ask(name, "advance", x=x[2:3].tolist(), first=2).status_code == 503
        assert local.ask(name, "advance", x=x[:2].tolist(), first=0).status_code == 503  # its last one again
        assert local.http.get("/readyz").status_code == 503
        for call in (
            lambda: local.http.post("/v1/sessions"),
            lambda: local.http.get(f"/v1/sessions/{name}"),
            lambda: local.http.get(f"/v1/sessions/{name}/snapshot"),
            lambda: local.http.get("/v1/sessions"),
            lambda: local.http.post(f"/v1/sessions/{name}/fork"),
            lambda: local.http.post(f"/v1/sessions/{name}/reset"),
            lambda: local.http.delete(f"/v1/sessions/{name}"),
        ):
            assert call().status_code == 503
        if change is move:  # and back again: nothing was lost
            back = path.with_name(path.name + suffix)
            back.with_name(f"{back.name}.away").rename(back)
            assert local.http.get("/readyz").status_code == 200
            assert local.advance(name, x[2:3].tolist(), first=2)["steps"] == 3


def test_a_file_by_another_name_is_watched_too(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link, real = tmp_path / "sessions.db", tmp_path / "far" / "kept.db"
    link.symlink_to(real)
    with SqliteStore(link) as store:
        first = ONE.first_commit("a")
        store.save([first])
        real.with_name("kept.db-wal").rename(tmp_path / "away")
        with pytest.raises(StoreError, match=r"kept\.db-wal: expected the file that was opened"):
            store.save([first.next_commit()])
        (tmp_path / "away").rename(real.with_name("kept.db-wal"))
        link.unlink()
        link.symlink_to(tmp_path / "other.db")
        with pytest.raises(StoreError, match=r"sessions\.db: expected the file that was opened"):
            store.load("a")
    with SqliteStore(real) as store:
        assert store.load("a") == first


def test_a_file_that_goes_during_the_commit_is_noticed(path: Path) -> None:
    """What was written then is nobody's: it is not answered, and the session stands where it stood."""
    x = inputs(0, 4)
    with SqliteStore(path) as store:
        sessions = Sessions(layer().stream(), store)
        name = sessions.create()
        only(sessions.advance([Advance(name, x[:2], 0)]))
        require, calls = store._require_identities, []

        def second_time() -> None:
            calls.append(None)
            if len(calls) == 2:
                path.rename(path.with_name("away"))
            require()

        store._require_identities = second_time  # type: ignore[method-assign]
        assert isinstance(error(sessions.advance([Advance(name, x[2:3], 2)])), StoreError)
        path.with_name("away").rename(path)
        answer = only(sessions.advance([Advance(name, x[2:3], 2)]))  # it was in the file after all
        assert (answer.steps, answer.repeated) == (3, True)
        assert np.array_equal(answer.y, layer().stream().run(x)[2:3])


@pytest.mark.parametrize(
    "name", ["", " ", ":memory:", ":", ":x", "file:", "file:x.db", "file::memory:?cache=shared", "a\0b"]
)
def test_names_that_sqlite_takes_for_something_else_are_refused(name: str) -> None:
    with pytest.raises(StoreError, match="--store: expected the path of a file"):
        require_file_name(name)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
        with pytest.raises(StoreError, match="which is something else"):
            require_file_name(str(name))
    assert require_file_name(str(tmp_path / "new.db")) == tmp_path / "new.db"
    os.mkfifo(tmp_path / "sessions.db")  # where a run's own would be
    with pytest.raises(StoreError, match="which is something else"):
        open_store(Settings({"default": tmp_path}))


# --- full


def test_a_full_disk_is_said_and_the_server_is_not_ready(path: Path) -> None:
    x = inputs(0, 2000)
    with serving(layer().stream(), path.parent) as local:
        name = local.create()
        [pages] = local.store._file.execute("PRAGMA page_count").fetchone()
        local.store._file.execute(f"PRAGMA max_page_count = {pages}")
        refused = local.ask(name, "advance", x=x[:900].tolist(), first=0)
        assert refused.status_code == 503
        with pytest.raises(StoreError, match="expected a disk with room, got a full one"):
            local.store.save([ONE._replace(answer=bytes(100_000)).first_commit("b" * 32)])
        for _ in range(2):
            assert local.http.get("/readyz").status_code == 503
        local.store._file.execute("PRAGMA max_page_count = 1000000")
        assert local.http.get("/readyz").status_code == 200  # nobody had to ask for a step first
        assert local.advance(name, x[:900].tolist(), first=0)["repeated"] is False


def test_a_write_that_succeeds_makes_it_ready(store: SqliteStore) -> None:
    [pages] = store._file.execute("PRAGMA page_count").fetchone()
    store._file.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError):
        store.save([ONE._replace(answer=bytes(100_000)).first_commit("a")])
    with pytest.raises(StoreError, match="full"):
        store.ping()
    store._file.execute("PRAGMA max_page_count = 1000000")
    store.save([ONE.first_commit("b")])
    assert not store._failed
    store.ping()
    assert store._file.execute("SELECT count(*) FROM probe").fetchone() == (0,)


def test_a_file_that_may_not_grow(path: Path) -> None:
    """The system refuses in the middle of a write, with another error than that of a full database."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with SqliteStore(path) as store:
        first = ONE.first_commit("a")
        store.save([first])
        size = path.with_name("sessions.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 8192, hard))
        try:
            with pytest.raises(StoreError, match=r"expected a (disk with room|file that can be written), got"):
                store.save([first.next_commit(answer=bytes(200_000))])
            with pytest.raises(StoreError):
                store.ping()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        store.ping()
        assert store.load("a") == first
        assert store.save([first.next_commit(answer=bytes(200_000))]) == [True]
