"""How much room the sessions of an owner take, and that each is made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gatewright.errors import GatewrightError, LimitError, StepError, StoreError
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.requests import Advance, Answer, Generate
from gatewright.serve.sessions.sqlite import SqliteStore
from gatewright.serve.sessions.store import StoredSession, with_digest
from tests.serve.test_sessions import error, inputs, layer, only
from tests.serve.test_store_faults import ONE
from tests.support.stream_models import text_model

# --- room of one owner


def test_the_bytes_of_an_owner_are_counted(path: Path) -> None:
    with SqliteStore(path) as store:
        first = ONE.first_commit("a")
        store.save([first, ONE.first_commit("b"), ONE._replace(owner="you").first_commit("c")])
        longer = first.next_commit(answer=bytes(1000))
        store.save([longer, ONE.first_commit("b")])
        shorter = longer.next_commit(answer=b"", snapshot=bytes(10))
        expected = longer.size + ONE.size
        assert (store.size("me"), store.size("you"), store.size("they")) == (expected, ONE.size, 0)
        store.save([shorter])
        store.delete("b", "you")
        store.delete("b", "me")
        store.delete("b", "me")
        assert (store.size("me"), store.count("me")) == (shorter.size, 1)
    with SqliteStore(path) as store:
        assert (store.size("me"), store.size("you"), store.count()) == (shorter.size, ONE.size, 2)


def test_an_owner_has_only_so_much_room(store: SqliteStore) -> None:
    x = inputs(0, 300)
    stream = layer().stream(sessions=4)
    fresh = StoredSession("", "", "", 0, 0, stream.snapshot(), -1, b"", b"").size
    answer = len(with_digest(layer().stream().run(x[:1]).tobytes()))
    sessions = Sessions(stream, store, most_bytes=2 * fresh + 3 * answer)
    one, two, other = sessions.create("me"), sessions.create("me"), sessions.create("you")
    for call in (lambda: sessions.create("me"), lambda: sessions.fork(one, "me")):
        with pytest.raises(LimitError, match="bytes of one owner, got more; delete some"):
            call()
    a, b, c = sessions.advance([Advance(name, x[:1], 0, owner) for name, owner in
                                ((one, "me"), (two, "me"), (other, "you"))])  # fmt: skip
    assert [type(each) for each in (a, b, c)] == [Answer] * 3
    # There is room for one answer more; of two that ask for it one has it.
    told = sessions.advance([Advance(name, x[1:3], 1, owner) for name, owner in
                             ((one, "me"), (two, "me"), (other, "you"))])  # fmt: skip
    assert [type(each) for each in told] == [Answer, LimitError, Answer]
    assert isinstance(error(sessions.advance([Advance(two, x[1:300], 1, "me")])), LimitError)
    # What does not grow goes on, and what was refused has not moved.
    assert np.array_equal(only(sessions.advance([Advance(two, x[1:2], 1, "me")])).y, layer().stream().run(x)[1:2])
    sessions.delete(one, "me")
    sessions.create("me")


def test_where_the_room_cannot_be_asked_for_nothing_has_moved(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = inputs(0, 9)
    sessions = Sessions(layer().stream(sessions=3), store, most_bytes=10**9)
    one, two = sessions.create(), sessions.create()

    def gone(_: str) -> int:
        raise StoreError("store", "a server that answers", "none")

    requests = [Advance(one, x[:3], 0), Advance(two, x[:5], 0)]
    with monkeypatch.context() as patched:
        patched.setattr(store, "size", gone)
        assert [type(answer) for answer in sessions.advance(requests)] == [StoreError] * 2
        assert sessions.read(one)[0] == sessions.read(two)[0] == 0
    expected = layer().stream().run(x)
    for request, answer in zip(requests, sessions.advance(requests), strict=True):
        assert isinstance(answer, Answer)
        assert np.array_equal(answer.y, expected[: len(request.x)])


def test_a_fork_takes_no_more_than_its_state(store: SqliteStore) -> None:
    sessions = Sessions(layer().stream(), store)
    one = sessions.create("me")
    before = store.size("me")
    only(sessions.advance([Advance(one, inputs(0, 900), owner="me")]))
    long = store.size("me")
    assert long > 10 * before
    two = sessions.fork(one, "me")
    assert store.size("me") == long + before
    assert sessions.read(two, "me") == sessions.read(one, "me")
    writer = Sessions(text_model().stream(), store)
    text = writer.create()
    only(writer.advance([Generate(text, 50, "abc", 0, seed=1)]))
    fork = writer.fork(text)
    a, b = (only(writer.advance([Generate(name, 9, "", seed=2)])) for name in (text, fork))
    assert np.array_equal(a.y, b.y)  # it goes on from the last scores


# --- made once


def test_a_session_is_made_once_however_often_it_is_asked_for(store: SqliteStore) -> None:
    x = inputs(0, 4)
    sessions = Sessions(layer().stream(), store, most_each=2)
    name, other = "n" * 32, "o" * 32
    assert sessions.create("me", name) == sessions.create("me", name) == name
    only(sessions.advance([Advance(name, x[:2], owner="me")]))
    assert sessions.fork(name, "me", other) == sessions.fork(name, "me", other) == other
    only(sessions.advance([Advance(name, x[2:], owner="me")]))
    assert sessions.fork(name, "me", other) == other  # the other one has not moved
    assert sessions.read(other, "me")[0] == 2
    assert store.count("me") == 2
    for call in (
        lambda: sessions.create("me", name),  # it has moved
        lambda: sessions.create("me", other),  # made by something else
        lambda: sessions.fork(other, "me", other),
        lambda: sessions.create("you", name),
    ):
        with pytest.raises(StepError, match="name: expected an unused name, got the name of another session"):
            call()
    for wrong in ("", "n" * 31, "n" * 33, "ü" * 32, "n" * 31 + "\n", "../" + "n" * 29):
        with pytest.raises(GatewrightError, match="name: expected 32 letters"):
            sessions.create("me", wrong)
