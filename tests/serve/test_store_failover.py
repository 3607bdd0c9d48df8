"""A Valkey that forgets what was answered, or all of it, or takes no more: nothing answered is overwritten."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewright.errors import LimitError, SessionError, StepError, StoreError
from gatewright.serve.sessions import model_loader
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.requests import Advance, Answer, Generate
from gatewright.serve.sessions.store import StoredModel, StoredSession
from gatewright.serve.sessions.valkey import ValkeyStore
from tests.serve.test_sessions import error, inputs, layer, only
from tests.serve.test_store_faults import ONE, answers_damaged
from tests.support.stream_models import text_model
from tests.support.valkey_server import Valkey


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    running = Valkey(tmp_path / "valkey")
    yield running
    running.kill()


@pytest.fixture
def store(server: Valkey) -> Iterator[ValkeyStore]:
    with ValkeyStore(server.url) as opened:
        yield opened


@contextlib.contextmanager
def replicas(server: Valkey) -> Iterator[tuple[Sessions, Sessions]]:
    with ValkeyStore(server.url) as one, ValkeyStore(server.url) as other:
        yield Sessions(layer().stream(), one), Sessions(layer().stream(), other)


def test_an_answered_step_is_not_overwritten_after_a_failover(server: Valkey, tmp_path: Path) -> None:
    """As many commits and steps on both sides, and not the same ones."""
    x = inputs(0, 9)
    with replicas(server) as (a, b):
        name = a.create()
        only(a.advance([Advance(name, x[:2], 0)]))
        server.copy(tmp_path / "copy")
        only(a.advance([Advance(name, x[2:3], 2)]))  # answered, and forgotten
        server.go_back(tmp_path / "copy")
        only(b.advance([Advance(name, x[5:6], 2)]))  # answered: it has to stay
        refused = error(a.advance([Advance(name, x[2:3], 2)]))
        assert isinstance(refused, StepError)
        assert (refused.argument, refused.got) == ("x", "a different request")
        then = only(a.advance([Advance(name, x[6:7], 3)]))
        expected = layer().stream().run(np.concatenate([x[:2], x[5:7]]))
        assert np.array_equal(then.y[0], expected[3])
        assert a.read(name) == b.read(name)
        assert only(b.advance([Advance(name, x[6:7], 3)])).repeated


@pytest.mark.parametrize("named", [True, False])
def test_memory_of_a_forked_past_is_let_go(server: Valkey, tmp_path: Path, named: bool) -> None:
    x = inputs(1, 9)
    with replicas(server) as (a, b):
        name = a.create()
        only(a.advance([Advance(name, x[:2], 0)]))
        server.copy(tmp_path / "copy")
        for at in (2, 3):
            only(a.advance([Advance(name, x[at : at + 1], at)]))
        server.go_back(tmp_path / "copy")
        if named:  # the client is told where the session stands, and sends again from there
            for first in (4, 3):
                refused = error(a.advance([Advance(name, x[first : first + 1], first)]))
                assert isinstance(refused, StepError)
                assert refused.expected == "first 2, the steps that the session has taken"
            answer = only(a.advance([Advance(name, x[2:5], 2)]))
        else:
            answer = only(a.advance([Advance(name, x[2:5])]))
        assert (answer.steps, answer.repeated) == (5, False)
        assert np.array_equal(answer.y, layer().stream().run(x[:5])[2:])
        assert a.read(name) == b.read(name)
        fork = b.fork(name)
        assert b.read(fork) == a.read(name)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 100_000), resident=st.integers(1, 2))
def test_whatever_is_forgotten_each_answer_follows_upon_what_the_store_has(
    server: Valkey, seed: int, resident: int
) -> None:
    """The judge keeps all inputs of the one past that the store has; both replicas have memories of others."""
    draw = random.Random(seed)
    with ValkeyStore(server.url) as one, ValkeyStore(server.url) as other, server.client() as client:
        client.flushall()
        each = [Sessions(layer().stream(sessions=resident), store) for store in (one, other)]
        name, beside = each[0].create(), each[1].create()
        key = f"{{gatewright}}:session:{name}"
        past: list[Any] = []
        last: tuple[int, Any] | None = None
        copies: list[tuple[Any, list[Any], tuple[int, Any] | None]] = []
        for turn in range(40):
            at, kind = (
                draw.choice(each),
                draw.choice(["step"] * 5 + ["copy", "forget"] * 2 + ["again", "beside", "read"]),
            )
            if kind == "copy":
                copies.append((client.hgetall(key), list(past), last))
            elif kind == "forget" and copies:
                fields, past, last = copies[-1]
                past = list(past)
                client.delete(key)
                client.hset(key, mapping=fields)
            elif kind == "beside":  # which may put the session out of memory
                only(at.advance([Advance(beside, inputs(turn, 1))]))
            elif kind == "read":
                assert at.read(name)[0] == len(past)
            else:
                x = inputs(seed + turn, draw.choice([1, 2]))
                first = draw.choice([None, len(past)] * 4 + [len(past) + 1, max(0, len(past) - 1)])
                if kind == "again" and last is not None:
                    first, x = last
                [answer] = at.advance([Advance(name, x, first)])
                if first is not None and first != len(past) and not (last and first == last[0] and x is last[1]):
                    assert isinstance(answer, StepError)
                    continue
                assert isinstance(answer, Answer), answer
                assert answer.repeated == (first not in (None, len(past)))
                if not answer.repeated:
                    last = len(past), x
                    past += list(x)
                assert answer.steps == len(past)
                assert np.array_equal(answer.y, layer().stream().run(np.stack(past))[-len(x) :])
        for at in each:
            steps, state = at.read(name)
            judge = layer().stream()
            if past:
                judge.run(np.stack(past))
            assert (steps, state) == (len(past), judge.state())


def test_a_session_that_was_forgotten_is_gone(server: Valkey, tmp_path: Path) -> None:
    x = inputs(2, 4)
    with replicas(server) as (a, b):
        server.copy(tmp_path / "copy")
        name = a.create()
        only(a.advance([Advance(name, x[:2], 0)]))
        server.go_back(tmp_path / "copy")
        for at in (a, b):
            assert type(error(at.advance([Advance(name, x[2:], 2)]))) is SessionError
            for call in (at.read, at.fork, at.reset, at.delete, at.snapshot):
                with pytest.raises(SessionError):
                    call(name)
        assert a.count() == len(a.names()) == 0


def test_a_text_does_not_go_on_from_a_forked_past(server: Valkey, tmp_path: Path) -> None:
    with ValkeyStore(server.url) as one, ValkeyStore(server.url) as other:
        a, b = Sessions(text_model().stream(), one), Sessions(text_model().stream(), other)
        name = a.create()
        only(a.advance([Generate(name, 4, "abc", 0, seed=1)]))
        server.copy(tmp_path / "copy")
        only(a.advance([Generate(name, 4, "", 7, seed=1)]))
        server.go_back(tmp_path / "copy")
        left = only(b.advance([Generate(name, 4, "", 7, seed=2)]))
        assert isinstance(error(a.advance([Generate(name, 8, "", 7, seed=1)])), StepError)  # the same, going on
        longer = only(a.advance([Generate(name, 8, "", 7, seed=2)]))
        assert np.array_equal(longer.y[:4], left.y)
        assert a.read(name) == b.read(name)


def test_a_model_that_was_forgotten_is_given_again(server: Valkey, store: ValkeyStore, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    text_model().save(path)
    saved, stream = model_loader.load_file(path, weights="float32", sessions=2, threads=1)
    store.save_model(saved)
    sessions = Sessions(stream, store)
    old = sessions.create()
    with server.client() as client:
        client.flushall()
        assert type(error(sessions.advance([Advance(old, "abc", 0)]))) is SessionError
        name = sessions.create()
        assert client.get("{gatewright}:format") == b"1"
        with ValkeyStore(server.url) as other:
            found = model_loader.load_stored(other, saved.fingerprint, sessions=2, threads=1)
            assert found is not None
            assert only(Sessions(found, other).advance([Advance(name, "abc", 0)])).steps == 3
        client.delete(f"{{gatewright}}:model:{saved.fingerprint}")
        sessions.fork(name)
        assert store.load_model(saved.fingerprint) == saved
        client.config_resetstat()
        sessions.create()  # in one round trip where it is there
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 1


def test_a_model_of_another_process_is_not_looked_for(store: ValkeyStore) -> None:
    store.save_model(StoredModel("beef", "float32", b"file"))
    assert store.save([ONE.first_commit("a")]) == [True]


def test_only_what_follows_upon_the_very_commit_is_written(store: ValkeyStore) -> None:
    first = ONE.first_commit("a")
    left, right = first.next_commit(steps=4), first.next_commit(steps=5)
    assert store.save([first, ONE.first_commit("a"), right, left]) == [True, False, True, False]
    assert store.save([left.next_commit(steps=6), right.next_commit(steps=7)]) == [False, True]
    kept = store.load("a")
    assert kept is not None
    assert (kept.steps, kept.version, len(kept.tag)) == (7, 2, 12)


def test_sessions_of_the_build_before_go_on(server: Valkey, store: ValkeyStore) -> None:
    """They have no tag, no size, and no digest before their answer."""
    stream, x = layer().stream(), inputs(0, 4)
    y = stream.run(x[:2])
    name, first = (
        "n" * 32,
        StoredSession("", "me", stream.fingerprint, 0, 0, layer().stream().snapshot(), -1, b"", b""),
    )
    sessions = Sessions(layer().stream(), store)
    assert sessions.create("me", name) == name
    only(sessions.advance([Advance(name, x[:2], 0, "me")]))
    with server.client() as client:
        key = f"{{gatewright}}:session:{name}"
        client.hset(key, "answer", y.tobytes())
        client.hdel(key, "tag", "size")
        client.delete("{gatewright}:bytes:me")
    again = Sessions(layer().stream(), store)
    repeated = only(again.advance([Advance(name, x[:2], 0, "me")]))
    assert repeated.repeated
    assert np.array_equal(repeated.y, y)
    assert np.array_equal(only(again.advance([Advance(name, x[2:], 2, "me")])).y, stream.run(x[2:]))
    kept = store.load(name)
    assert kept is not None
    assert store.size("me") == kept.size > first.size


def test_the_bytes_of_an_owner_are_counted(store: ValkeyStore) -> None:
    first = ONE.first_commit("a")
    store.save([first, ONE.first_commit("b"), ONE._replace(owner="you").first_commit("c")])
    longer = first.next_commit(answer=bytes(1000))
    shorter = longer.next_commit(answer=b"", snapshot=bytes(10))
    assert store.save([longer, ONE.first_commit("b"), ONE.next_commit()]) == [True, False, False]
    assert (store.size("me"), store.size("you"), store.size("they")) == (longer.size + ONE.size, ONE.size, 0)
    store.save([shorter])
    store.delete("b", "you")
    store.delete("b", "me")
    store.delete("b", "me")
    assert store.size("me") == shorter.size
    fresh = StoredSession("", "", "", 0, 0, layer().stream().snapshot(), -1, b"", b"").size
    sessions = Sessions(layer().stream(), store, most_bytes=shorter.size + 2 * fresh)
    sessions.fork(sessions.create("me"), "me")
    with pytest.raises(LimitError, match="bytes of one owner"):
        sessions.create("me")


def test_a_damaged_answer_is_the_store_s_fault(server: Valkey, store: ValkeyStore) -> None:
    x = inputs(0, 4)
    sessions = Sessions(layer().stream(), store)
    name = sessions.create()
    first = only(sessions.advance([Advance(name, x[:2], 0)]))
    key = f"{{gatewright}}:session:{name}"
    with server.client() as client:
        answer = client.hget(key, "answer")
        for damaged in answers_damaged(answer):
            client.hset(key, "answer", damaged)
            assert type(error(sessions.advance([Advance(name, x[:2], 0)]))) is StoreError, damaged
        client.hset(key, "answer", answer)
    assert np.array_equal(only(sessions.advance([Advance(name, x[:2], 0)])).y, first.y)


def test_a_server_that_takes_no_more_is_not_ready_until_it_does(server: Valkey, store: ValkeyStore) -> None:
    store.save([ONE.first_commit("a")])
    with server.client() as client:
        client.config_set("maxmemory", "1mb")
        store.ping()  # it can be read, and nobody has tried to write
        with pytest.raises(StoreError, match="maxmemory"):
            store.save([ONE.first_commit("b")])
        for _ in range(2):
            with pytest.raises(StoreError, match="maxmemory"):
                store.ping()
        client.config_set("maxmemory", "0")
        store.ping()
        client.config_set("min-replicas-to-write", "1")  # as after a failover to one that is alone
        with pytest.raises(StoreError, match="NOREPLICAS"):
            store.delete("a", "me")
        with pytest.raises(StoreError, match="NOREPLICAS"):
            store.ping()
        client.config_set("min-replicas-to-write", "0")
        store.delete("a", "me")
        store.ping()
