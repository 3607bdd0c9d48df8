"""Several models in one store, limits on sessions, and sessions that leave memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright import Stream
from gatewright.errors import LimitError, ModelFileError, SessionError, StateError
from gatewright.runtime.packed_model import WeightFormat
from gatewright.serve.sessions import model_loader
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.requests import Advance, Answer
from gatewright.serve.sessions.sqlite import SqliteStore
from gatewright.serve.sessions.store import StoredModel
from tests.support.stream_models import text_model


def write(path: Path, seed: int) -> Path:
    model = text_model()
    torch.manual_seed(seed)
    torch.nn.init.normal_(model.head.weight)
    model.save(path)
    return path


def keep(store: SqliteStore, path: Path, weights: WeightFormat = "float32") -> Stream:
    saved, stream = model_loader.load_file(path, weights=weights, sessions=3, threads=1)
    store.save_model(saved)
    return stream


def serving(store: SqliteStore, path: Path, weights: WeightFormat = "float32", **options: int) -> Sessions:
    return Sessions(
        keep(store, path, weights),
        store,
        find=lambda fingerprint: model_loader.load_stored(store, fingerprint, sessions=3, threads=1),
        **options,
    )


def taken(sessions: Sessions, name: str, x: str) -> np.ndarray:
    [answer] = sessions.advance([Advance(name, x)])
    assert isinstance(answer, Answer), answer
    return answer.y


def test_sessions_of_an_old_model_go_on_with_it(store: SqliteStore, tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", 1)
    first, kept = Stream.load(path), path.read_bytes()
    sessions = serving(store, path)
    old = sessions.create()
    y = [taken(sessions, old, "abc")]
    write(path, 2)
    second = Stream.load(path)
    sessions.serve(keep(store, path))
    new = sessions.create()
    for round_ in range(3):
        if round_ == 1:
            sessions = serving(store, path)  # the server was started again, and only has the new file
        if round_ == 2:
            sessions.drop_idle(0)
            assert sessions.resident() == 0
        a, b = sessions.advance([Advance(old, "de"), Advance(new, "fgh")])
        assert isinstance(a, Answer)
        assert isinstance(b, Answer)
        y.append(a.y)
        assert np.array_equal(b.y, second.run("fgh"))
        assert sessions.model_of(old).fingerprint == first.fingerprint
        assert sessions.model_of(new).fingerprint == second.fingerprint
    assert np.array_equal(np.concatenate(y), first.run("abcdedede"))
    assert sessions.fork(old) != old
    found = store.load_model(first.fingerprint)
    assert found == StoredModel(first.fingerprint, "float32", kept)
    with pytest.raises(StateError, match="snapshot"):
        sessions.reset(new, snapshot=first.snapshot())


def test_narrow_weights_are_another_model_and_come_back_as_such(store: SqliteStore, tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", 1)
    sessions = serving(store, path, weights="bf16")
    name = sessions.create()
    y = taken(sessions, name, "abc")
    assert np.array_equal(y, Stream.load(path, weights="bf16").run("abc"))
    again = serving(store, path)
    whole = Stream.load(path, weights="bf16").run("abcde")
    assert np.array_equal(taken(again, name, "de"), whole[3:])


def test_a_model_that_the_store_has_not_is_no_sessions_model(store: SqliteStore, tmp_path: Path) -> None:
    sessions = serving(store, write(tmp_path / "one.safetensors", 1))
    name = sessions.create()
    other = Sessions(Stream.load(write(tmp_path / "two.safetensors", 2)), store)
    with pytest.raises(SessionError, match="a session of the model"):
        other.read(name)
    (tmp_path / "bad.safetensors").write_bytes(b"not a model")
    with pytest.raises(ModelFileError):
        keep(store, tmp_path / "bad.safetensors")


def test_there_are_only_so_many_sessions(store: SqliteStore, tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", 1)
    sessions = serving(store, path, most=4, most_each=3)
    mine = [sessions.create("me") for _ in range(3)]
    with pytest.raises(LimitError, match="sessions: expected at most 3 of one owner"):
        sessions.create("me")
    sessions.create("you")
    for call in (lambda: sessions.create("you"), lambda: sessions.fork(mine[0], "me")):
        with pytest.raises(LimitError, match="sessions: expected at most 4 in all"):
            call()
    sessions.delete(mine[0], "me")
    sessions = serving(store, path, most=4, most_each=3)
    sessions.fork(mine[1], "me")
    assert (sessions.count(), store.count("me"), store.count("you"), store.count("they")) == (4, 3, 1, 0)


def test_a_session_takes_over_a_snapshot(store: SqliteStore, tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", 1)
    sessions, alone = serving(store, path), Stream.load(path)
    alone.run("abcd")
    name = sessions.create()
    sessions.reset(name, snapshot=alone.snapshot())
    assert sessions.snapshot(name) == (0, alone.snapshot())
    assert np.array_equal(taken(sessions, name, "ef"), alone.run("ef"))
    sessions.reset(name, snapshot=alone.snapshot())
    for bad in (b"", alone.snapshot()[:-1], bytes(200)):
        with pytest.raises(StateError):
            sessions.reset(name, snapshot=bad)
    assert np.array_equal(taken(sessions, name, "gh"), alone.run("gh"))
