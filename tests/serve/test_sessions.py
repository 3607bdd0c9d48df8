"""Sessions that outlive their process: nothing that was answered is lost, nothing is taken twice."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright import LSTM
from gatewright.errors import GatewrightError, SessionError, StoreError
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.requests import Advance, Answer
from gatewright.serve.sessions.sqlite import SqliteStore
from gatewright.serve.sessions.store import StoredSession
from tests.support.forks import SERVING, Forked, fork_server
from tests.support.stream_models import rows_of, series_model, table

D, H = 3, 6


def layer() -> LSTM:
    torch.manual_seed(0)
    return LSTM(D, H, 2)


def save_weights(path: Path) -> None:
    """Write the weights of `layer` for a process that has no torch."""
    np.savez(path, **{name: value.detach().numpy() for name, value in layer().named_parameters()})


def inputs(seed: int, T: int) -> Any:
    return np.random.default_rng(seed).normal(size=(T, D)).astype(np.float32)


def only(answers: list[Answer | GatewrightError]) -> Answer:
    [answer] = answers
    assert isinstance(answer, Answer), answer
    return answer


def error(answers: list[Answer | GatewrightError]) -> GatewrightError:
    [answer] = answers
    assert isinstance(answer, GatewrightError)
    return answer


def test_steps_go_on_where_they_ended_after_a_restart(tmp_path: Path) -> None:
    x, expected = inputs(0, 20), layer().stream().run(inputs(0, 20))
    found = []
    name = ""
    for part in (slice(0, 5), slice(5, 6), slice(6, 20)):
        with SqliteStore(tmp_path / "sessions.db") as store:
            sessions = Sessions(layer().stream(sessions=2), store)
            name = name or sessions.create("me")
            answer = only(sessions.advance([Advance(name, x[part], first=part.start, owner="me")]))
            assert (answer.steps, answer.repeated) == (part.stop, False)
            found.append(answer.y)
    assert np.array_equal(np.concatenate(found), expected)


def test_a_repeated_request_gets_the_same_answer_and_takes_no_step(tmp_path: Path) -> None:
    x = inputs(0, 4)
    with SqliteStore(tmp_path / "sessions.db") as store:
        sessions = Sessions(layer().stream(), store)
        name = sessions.create()
        first = only(sessions.advance([Advance(name, x[:3], first=0)]))
    with SqliteStore(tmp_path / "sessions.db") as store:  # the answer was lost, and the server too
        sessions = Sessions(layer().stream(), store)
        again = only(sessions.advance([Advance(name, x[:3].tolist(), first=0)]))
        assert again.repeated
        assert again.steps == first.steps == 3
        assert np.array_equal(again.y, first.y)
        again.y[:] = 0  # the caller's own
        assert np.array_equal(only(sessions.advance([Advance(name, x[:3], first=0)])).y, first.y)
        assert "a different request" in str(error(sessions.advance([Advance(name, x[1:4], first=0)])))
        for wrong in (1, 2, 4, -1):
            refused = error(sessions.advance([Advance(name, x[3:], first=wrong)]))
            assert isinstance(refused, SessionError)
            assert refused.expected == "first 3, the steps that the session has taken"
        steps, state = sessions.read(name)
        alone = layer().stream()
        alone.run(x[:3])
        assert steps == 3
        assert state == alone.state()
        assert only(sessions.advance([Advance(name, x[3:])])).steps == 4
        assert "first 4" in str(error(sessions.advance([Advance(name, x[:3], first=0)])))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), resident=st.integers(1, 9))
def test_however_requests_come_each_session_is_as_if_alone(seed: int, resident: int) -> None:
    draw = random.Random(seed)
    with SqliteStore(":memory:") as store:
        sessions = Sessions(layer().stream(sessions=resident), store)
        names = [sessions.create() for _ in range(7)]
        read: dict[str, list[Any]] = {name: [] for name in names}
        given_: dict[str, list[Any]] = {name: [] for name in names}
        for turn in range(12):
            chosen = draw.sample(names, draw.randint(1, 7))
            xs = {name: inputs(seed + turn, draw.choice([1, 1, 1, 2, 5])) for name in chosen}
            bad = draw.choice(chosen) if draw.random() < 0.3 else ""
            requests = [
                Advance(name, np.full((1, D), np.nan, "f4") if name == bad else x, first=len(read[name]))
                for name, x in xs.items()
            ]
            for request, answer in zip(requests, sessions.advance(requests), strict=True):
                if request.session == bad:
                    assert isinstance(answer, GatewrightError)
                    assert "nan in column 0" in str(answer)
                    continue
                assert isinstance(answer, Answer)
                read[request.session].extend(request.x)
                given_[request.session].extend(answer.y)
        for name in names:
            steps, state = sessions.read(name)
            assert steps == len(read[name])
            alone = layer().stream()
            if steps:
                assert np.array_equal(np.stack(given_[name]), alone.run(np.stack(read[name])))
            assert state == alone.state()


def test_sessions_fork_reset_and_go(store: SqliteStore) -> None:
    sessions = Sessions(layer().stream(sessions=2), store)
    x = inputs(0, 6)
    one = sessions.create("me")
    only(sessions.advance([Advance(one, x[:4], owner="me")]))
    two = sessions.fork(one, "me")
    assert sessions.read(two, "me")[1] == sessions.read(one, "me")[1]
    a, b = sessions.advance([Advance(one, x[4:], owner="me"), Advance(two, x[4:], 4, owner="me")])
    assert isinstance(a, Answer)
    assert isinstance(b, Answer)
    assert np.array_equal(a.y, b.y)
    sessions.reset(one, "me")
    assert sessions.read(one, "me") == (6, layer().stream().state())
    fresh = only(sessions.advance([Advance(one, x[:2], first=6, owner="me")]))
    assert np.array_equal(fresh.y, layer().stream().run(x[:2]))
    assert sessions.names("me") == sorted([one, two])
    assert sessions.names("me", after=min(one, two), most=1) == [max(one, two)]
    sessions.delete(two, "me")
    assert sessions.names("me") == [one]
    assert len({sessions.create() for _ in range(100)}) == 100
    for call in (sessions.read, sessions.reset, sessions.delete, sessions.fork):
        for name, owner in ((two, "me"), (one, "you"), (one, ""), ("", "me")):
            with pytest.raises(SessionError, match="session: expected the name of one of your sessions"):
                call(name, owner)
    assert isinstance(error(sessions.advance([Advance(one, x, owner="you")])), SessionError)
    double = sessions.advance([Advance(one, x, owner="me"), Advance(one, x, owner="me")])
    assert isinstance(double[0], Answer)
    assert "one request of each at a time" in str(double[1])
    assert "at least one step" in str(error(sessions.advance([Advance(one, x[:0], owner="me")])))


def test_a_session_of_another_model_is_refused(store: SqliteStore) -> None:
    name = Sessions(layer().stream(), store).create()
    other = Sessions(LSTM(D, H, 2).stream(), store)
    with pytest.raises(SessionError, match="a session of the model"):
        other.read(name)


def test_forecasters_take_their_times(store: SqliteStore) -> None:
    model = series_model(time_zone="UTC")
    series = table(model, 23)
    xs = rows_of(model, series, 20)
    assert series.times is not None
    sessions = Sessions(model.stream(sessions=3), store)
    names = [sessions.create() for _ in range(3)]
    texts = [f"{when}Z" for when in series.times[:20].astype("datetime64[s]")]
    expected = model.stream().run(xs, times=series.times[:20])
    requests = [Advance(names[0], xs, 0, times=texts), Advance(names[1], xs, 0, times=series.times[:20])]
    for answer in sessions.advance([*requests, Advance(names[2], xs, 0)]):
        if isinstance(answer, Answer):
            assert np.array_equal(answer.y, expected)
        else:
            assert answer.argument == "times"
    repeated = only(sessions.advance([Advance(names[0], xs, 0, times=series.times[:20])]))
    assert repeated.repeated
    assert np.array_equal(repeated.y, expected)


def test_what_cannot_be_stored_was_not_taken(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(layer().stream(), store)
    x = inputs(0, 5)
    name = sessions.create()
    only(sessions.advance([Advance(name, x[:2])]))
    before = sessions.read(name)

    def full(_: object) -> None:
        raise StoreError("sessions.db", "a file that can be written", "database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(store, "save", full)
        assert isinstance(error(sessions.advance([Advance(name, x[2:], first=2)])), StoreError)
        with pytest.raises(StoreError):
            sessions.reset(name)
        assert sessions.read(name) == before
    answer = only(sessions.advance([Advance(name, x[2:], first=2)]))
    assert not answer.repeated
    assert np.array_equal(answer.y, layer().stream().run(x)[2:])


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "sessions.db") as store:
        store._file.execute("PRAGMA max_page_count = 8")
        big = StoredSession("a", "", "m", 0, 0, bytes(100_000), -1, b"", b"")
        with pytest.raises(StoreError, match="full"):
            store.save([big._replace(id="b", snapshot=b""), big])
        assert store.load("b") is None
        store.save([big._replace(snapshot=b"")])
        assert store.count() == 1


def test_files_that_are_no_store_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as file:
        file.execute("CREATE TABLE mine (x)")
    file.close()
    (tmp_path / "text.db").write_text("hello " * 100)
    newer = tmp_path / "newer.db"
    with sqlite3.connect(newer) as file:
        file.execute("PRAGMA user_version = 3")
    file.close()
    for path in (other, tmp_path / "text.db", newer, tmp_path / "none" / "x.db", tmp_path):
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(StoreError, match=path.name):
            SqliteStore(path)
        assert (path.read_bytes() if path.is_file() else b"") == before


def test_two_processes_may_not_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    code = f"from gatewright.serve.sessions.sqlite import SqliteStore; SqliteStore({str(path)!r})"
    with SqliteStore(path):
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "no other process has open" in second.stderr
    subprocess.run([sys.executable, "-c", code], check=True)


@contextlib.contextmanager
def process(path: Path, weights: Path) -> Iterator[tuple[Forked, IO[str], IO[str]]]:
    """A process that owns the sessions of a file, and pipes to it and from it."""
    reads, asking = os.pipe()
    answering, writes = os.pipe()
    command = ["-m", "tests.support.session_process", "answer_lines", str(path), str(weights), "0"]
    with os.fdopen(asking, "w") as asked, os.fdopen(answering) as answers:
        started = fork_server(*SERVING).start(command, stdin=reads, stdout=writes)
        os.close(reads)
        os.close(writes)
        try:
            yield started, asked, answers
        finally:
            started.kill()
            started.wait()


def test_killed_at_any_moment_nothing_is_lost_or_taken_twice(tmp_path: Path) -> None:
    path, weights, draw = tmp_path / "sessions.db", tmp_path / "weights.npz", random.Random(0)
    save_weights(weights)
    with SqliteStore(path) as store:
        names = [Sessions(layer().stream(), store).create() for _ in range(6)]
    answers: dict[str, list[bytes]] = {name: [] for name in names}
    repeats = 0
    for _ in range(20):
        with process(path, weights) as (server, asked, answering):
            assert answering.readline() == "ready\n"
            for turn in range(draw.randint(1, 12), -1, -1):
                chosen = draw.sample(names, draw.randint(1, 4))
                asked.write(" ".join(f"{name},{len(answers[name])}" for name in chosen) + "\n")
                asked.flush()
                if turn == 0:  # with a request under way: not begun, taken, stored, or answered to nobody
                    time.sleep(draw.random() * 0.01)
                    server.kill()
                    break
                for name, word in zip(chosen, answering.readline().split(), strict=True):
                    steps, repeated, y = word.split(",")
                    repeats += int(repeated)
                    answers[name].append(bytes.fromhex(y))
                    assert int(steps) == len(answers[name])
    assert repeats > 0
    x = np.random.default_rng(0).normal(size=(10_000, D)).astype(np.float32)
    with SqliteStore(path) as store:
        sessions = Sessions(layer().stream(sessions=4), store)
        for name in names:
            steps, state = sessions.read(name)
            assert steps - len(answers[name]) in (0, 1)  # stored, and killed before it was answered
            alone = layer().stream()
            expected = alone.run(x[:steps])
            assert state == alone.state()
            assert b"".join(answers[name]) == expected[: len(answers[name])].tobytes()
