"""Replicas over one store: which one has a session in memory is told, and no answer depends on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from gatewright.errors import GatewrightError
from gatewright.serve.client import Client
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.store import StoredModel
from gatewright.serve.sessions.valkey import ValkeyStore
from tests.support.local_server import Local, local
from tests.support.stream_models import text_model
from tests.support.valkey_server import Valkey


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Local]]:
    valkey = Valkey(tmp_path_factory.mktemp("valkey"))
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                local(
                    text_model().stream(sessions=2),
                    tmp_path_factory.mktemp(name),
                    store=stack.enter_context(contextlib.closing(ValkeyStore(valkey.url, name))),
                    replica=name,
                    named={"twin": text_model().stream(sessions=2)},
                )
            )
            for name in ("a", "b")
        ]
    valkey.kill()


def test_each_answer_names_its_replica_and_a_session_the_last_one(replicas: list[Local]) -> None:
    a, b = replicas
    alone = text_model().stream()
    made = a.http.post("/v1/sessions")
    assert (made.status_code, made.headers["gatewright-replica"]) == (201, "a")
    session = made.json()["session"]
    for first, (at, other) in enumerate([(a, b), (b, a), (b, a), (a, b)]):
        answer = at.ask(session, "advance", x="a", first=first)
        assert answer.headers["gatewright-replica"] == at.http.get("/healthz").headers["gatewright-replica"]
        assert np.array_equal(np.array(answer.json()["y"], np.float32), alone.run("a"))
        read = other.http.get(f"/v1/sessions/{session}")  # reading does not move it
        assert read.headers["gatewright-replica"] != answer.headers["gatewright-replica"]
        assert read.json()["replica"] == answer.headers["gatewright-replica"]
    refused = a.http.get("/v1/sessions/nothing")
    assert (refused.status_code, refused.headers["gatewright-replica"]) == (404, "a")


def test_a_replica_that_stores_no_name_and_one_alone(replicas: list[Local], tmp_path: Path) -> None:
    a, _ = replicas
    session = a.create()
    with a.store._client as client:
        client.hdel(f"{{gatewright}}:session:{session}", "replica")  # as an earlier build stores it
    assert a.http.get(f"/v1/sessions/{session}").json()["replica"] is None
    a.advance(session, "a")
    with local(text_model().stream(), tmp_path) as single:
        answer = single.http.get(f"/v1/sessions/{single.create()}")
        assert answer.json()["replica"] is None
        assert "gatewright-replica" not in answer.headers


def test_names_hold_at_all_replicas(replicas: list[Local]) -> None:
    a, b = replicas
    session = a.http.post("/v1/models/twin/sessions").json()["session"]
    path = f"sessions/{session}/advance"
    assert b.http.post(f"/v1/models/twin/{path}", json={"x": "abc", "first": 0}).json()["steps"] == 3
    assert b.http.post(f"/v1/{path}", json={"x": "abc", "first": 3}).status_code == 404
    assert session in a.http.get("/v1/models/twin/sessions").json()["sessions"]
    assert session not in a.http.get("/v1/sessions").json()["sessions"]


def test_an_emptied_store_gets_the_model_of_each_name_again(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path / "valkey")
    models = {"default": text_model(), "other": text_model(hidden_size=12)}
    with contextlib.closing(ValkeyStore(valkey.url)) as store:
        for name, model in models.items():
            model.save(tmp_path / name)
            store.save_model(
                StoredModel(model.stream().fingerprint, "float32", (tmp_path / name).read_bytes()), name
            )
        with valkey.client() as client:
            client.flushall()
        for model in models.values():
            stream = model.stream()
            Sessions(stream, store).create()
            found = store.load_model(stream.fingerprint)
            assert found is not None
    valkey.kill()


def test_the_client_says_how_to_be_hashed(replicas: list[Local]) -> None:
    a, b = replicas
    with Client(f"http://127.0.0.1:{a.port}", affinity="sensor-7") as client:
        session = client.create()
        assert client.replica == "a"
        session.run("abc")
        assert client._target._headers["Gatewright-Affinity"] == "sensor-7"
    with Client(f"http://127.0.0.1:{b.port}") as client:
        assert np.array_equal(client.session(session.name).run("de"), text_model().stream().run("abcde")[3:])
        assert client.replica == "b"
        key = client._target._headers["Gatewright-Affinity"]
    with Client(f"http://127.0.0.1:{b.port}") as other:
        assert other._target._headers["Gatewright-Affinity"] != key
    with pytest.raises(GatewrightError, match="affinity: expected 1 to 128"):
        Client(affinity="a b")
    answer = httpx.get(f"http://127.0.0.1:{a.port}/v1/model", headers={"Gatewright-Affinity": "x" * 500})
    assert answer.status_code == 200  # the server itself does not read it
