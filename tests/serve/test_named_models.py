"""Several models in one server: each has its sessions, its thread and its numbers."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from gatewright.errors import GatewrightError, SessionError
from gatewright.serve.client import Client
from gatewright.serve.models import parse_models
from gatewright.serve.settings import Limits, Settings
from tests.support.forks import SERVING, fork_server
from tests.support.local_server import Local, local, metric, packed
from tests.support.serving import Server
from tests.support.stream_models import text_model

TOKENS = {"ann-0123456789abcdef": "ann", "bob-0123456789abcdef": "bob"}
ANN = {"authorization": "Bearer ann-0123456789abcdef"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """The same model twice, and another one."""
    other = text_model(hidden_size=12)
    named = {"twin": text_model().stream(sessions=3), "other": other.stream(sessions=3)}
    with local(text_model().stream(sessions=3), tmp_path_factory.mktemp("named"), named=named) as running:
        yield running


def create(server: Local, model: str = "") -> str:
    path = f"/v1/models/{model}/sessions" if model else "/v1/sessions"
    return str(server.http.post(path).raise_for_status().json()["session"])


def test_they_are_listed_and_described(server: Local) -> None:
    found = server.http.get("/v1/models").json()["models"]
    assert [(each["name"], each["default"]) for each in found] == [
        ("default", True),
        ("twin", False),
        ("other", False),
    ]
    assert found[0]["model"] == found[1]["model"] == text_model().stream().fingerprint
    assert found[2]["model"] == text_model(hidden_size=12).stream().fingerprint
    assert server.http.get("/v1/models/default").json() == server.http.get("/v1/model").json()
    assert server.http.get("/v1/models/other").json()["name"] == "other"
    unknown = server.http.get("/v1/models/nothing")
    assert unknown.status_code == 404
    assert unknown.json()["error"] == {
        "argument": "model", "expected": "a model of this server: default, twin, other", "got": "'nothing'",
    }  # fmt: skip


def test_a_session_of_one_is_none_of_another(server: Local) -> None:
    paths = {"": "/v1", "default": "/v1/models/default", "twin": "/v1/models/twin", "other": "/v1/models/other"}
    own = {"default": ("", "default"), "twin": ("twin",), "other": ("other",)}
    sessions = {model: create(server, model) for model in own}
    expected = {"default": text_model(), "twin": text_model(), "other": text_model(hidden_size=12)}
    for model, session in sessions.items():
        listed = server.http.get(f"{paths[model]}/sessions").json()["sessions"]
        assert session in listed
        assert not set(listed) & (set(sessions.values()) - {session})
        for name, path in paths.items():
            at = f"{path}/sessions/{session}"
            if name in own[model]:
                assert server.http.get(at).status_code == 200
                continue
            answers = [
                server.http.post(f"{at}/advance", json={"x": "abc"}),
                server.http.post(f"{at}/generate", json={"length": 1, "prompt": "a"}),
                server.http.post(f"{at}/reset"),
                server.http.post(f"{at}/fork"),
                server.http.get(at),
                server.http.get(f"{at}/snapshot"),
                server.http.delete(at),
            ]
            assert [answer.status_code for answer in answers] == [404] * len(answers)
            taken = server.http.post(f"{path}/sessions", json={"name": session})
            assert (taken.status_code, taken.json()["error"]["argument"]) == (409, "name")
        at = f"{paths[model]}/sessions/{session}/advance"
        y = server.http.post(at, json={"x": "abc", "first": 0}).json()["y"]
        assert np.array_equal(np.array(y, np.float32), expected[model].stream().run("abc"))


def test_websockets_and_the_client_name_one(server: Local) -> None:
    for name, model in (("twin", text_model()), ("other", text_model(hidden_size=12))):
        with Client(f"http://127.0.0.1:{server.port}", model=name) as client:
            session = client.create()
            assert np.array_equal(session.run("abc"), model.stream().run("abc"))
            assert client.model()["name"] == name
        with Client(f"http://127.0.0.1:{server.port}") as client, pytest.raises(SessionError):
            client.session(session.name)
    with (
        Client(f"http://127.0.0.1:{server.port}", model="nothing") as client,
        pytest.raises(GatewrightError, match="model: expected a model of the server"),
    ):
        client.create()
    with pytest.raises(GatewrightError, match="model: expected a name of 1 to 64"):
        Client(f"http://127.0.0.1:{server.port}", model="../v1")
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{server.port}/v1/models/nothing/ws")
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body)["error"]["argument"] == "model"


def test_a_busy_one_holds_up_no_other(server: Local) -> None:
    busy, free, other = (server.models.named(name) for name in ("default", "twin", "other"))
    entered, release = threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        release.wait(30)

    async def block() -> None:
        await busy._batcher.call(work)

    held = threading.Thread(target=server.run, args=(block(),))
    session = create(server, "other")
    held.start()
    try:
        assert entered.wait(30)
        for service in (free, other):
            assert service.name in ("twin", "other")
            create(server, service.name)
        answer = server.http.post(f"/v1/models/other/sessions/{session}/advance", json={"x": "a"})
        assert answer.json()["steps"] == 1
    finally:
        release.set()
        held.join(30)


def test_metrics_have_the_model(server: Local) -> None:
    before = {name: server.metric("steps_total", model=name) for name in ("default", "twin", "other")}
    session = create(server, "twin")
    server.http.post(f"/v1/models/twin/sessions/{session}/advance", json={"x": "abcd"})
    after = {name: server.metric("steps_total", model=name) for name in before}
    assert after == {**before, "twin": before["twin"] + 4}
    assert server.metric("requests_total", model="twin", op="advance", status="200") >= 1
    text = server.http.get("/metrics").text
    server.http.get("/v1/models/invented-by-a-client")
    assert "invented" not in server.http.get("/metrics").text
    assert metric(text, "sessions_resident", model="twin") >= 1


def test_rates_are_shared_and_quotas_are_of_each(tmp_path: Path) -> None:
    limits = Limits(max_token_steps=1, max_steps=10, max_token_sessions=2)
    named = {"twin": text_model().stream(sessions=3)}
    with local(text_model().stream(), tmp_path, limits=limits, tokens=TOKENS, named=named) as server:
        made = [server.http.post(path, headers=ANN) for path in ["/v1/sessions", "/v1/models/twin/sessions"] * 3]
        assert [answer.status_code for answer in made] == [201, 201, 201, 201, 429, 429]
        one, twin = (answer.json()["session"] for answer in made[:2])
        body = {"x": "a" * 10}
        assert server.http.post(f"/v1/sessions/{one}/advance", json=body, headers=ANN).status_code == 200
        limited = server.http.post(f"/v1/models/twin/sessions/{twin}/advance", json=body, headers=ANN)
        assert (limited.status_code, limited.json()["error"]["argument"]) == (429, "steps")
        bob = {"authorization": "Bearer bob-0123456789abcdef"}
        assert server.http.get(f"/v1/models/twin/sessions/{twin}", headers=bob).status_code == 404


def http(server: Server) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30)


def test_sessions_stay_with_their_name_over_a_restart(tmp_path: Path) -> None:
    one, two, new = text_model(), text_model(hidden_size=12), text_model(hidden_size=16)
    one.save(tmp_path / "one.safetensors")
    two.save(tmp_path / "two.safetensors")
    words = [f"one={tmp_path / 'one.safetensors'}", f"two={tmp_path / 'two.safetensors'}"]
    server = Server(Path(words[0]), tmp_path, words[1])
    with server:
        with http(server) as client:
            sessions = [client.post(f"/v1/models/{name}/sessions").json()["session"] for name in ("one", "two")]
            for name, session in zip(("one", "two"), sessions, strict=True):
                client.post(f"/v1/models/{name}/sessions/{session}/advance", json={"x": "ab", "first": 0})
            assert client.get("/v1/model").json()["name"] == "one"
        assert server.stop() == 0
    new.save(tmp_path / "two.safetensors")
    swapped = Server(Path(words[1]), tmp_path, f"three={tmp_path / 'one.safetensors'}")
    with swapped, http(swapped) as client:
        # The changed file is the model of new sessions; an old one keeps its model.
        at = f"/v1/models/two/sessions/{sessions[1]}/advance"
        y = client.post(at, json={"x": "cd", "first": 2}).json()["y"]
        assert np.array_equal(np.array(y, np.float32), two.stream().run("abcd")[2:])
        assert client.get("/v1/models/two").json()["model"] == new.stream().fingerprint
        # The name of the other is not served, though its file is.
        for name in ("two", "three"):
            answer = client.post(f"/v1/models/{name}/sessions/{sessions[0]}/advance", json={"x": "c"})
            assert answer.status_code == 404
        assert swapped.stop() == 0


def test_what_cannot_be_named_is_refused(tmp_path: Path) -> None:
    cases: list[tuple[list[str], str]] = [
        (["a=x", "y"], "RUN: expected NAME=RUN for each of several models"),
        (["a=x", "a=y"], "NAME=RUN: expected a name for each model, got a twice"),
        (["ä=x"], "NAME=RUN: expected a name of 1 to 64 letters"),
        (["a" * 65 + "=x"], "NAME=RUN: expected a name of 1 to 64 letters"),
        (["a="], "NAME=RUN: expected the directory of a run"),
        ([], "RUN: expected the directory of a run"),
    ]
    for words, expected in cases:
        with pytest.raises(GatewrightError, match=expected):
            parse_models(words)
    one, two = {"a": tmp_path}, {"a": tmp_path, "b": tmp_path}
    assert Settings(two, durability="memory").models == two
    given: list[tuple[dict[str, Path], dict[str, Any], str]] = [
        (two, {}, "--store: expected a file for the sessions of several models"),
        (one, {"replica": "a b"}, "--replica-id: expected a name"),
        (one, {"drain": -1.0}, "--drain: expected seconds from 0"),
        (one, {"drain": float("nan")}, "--drain: expected seconds from 0"),
        (one, {"key": tmp_path}, "--ssl-certfile: expected the certificate of --ssl-keyfile"),
    ]
    for models, options, expected in given:
        with pytest.raises(GatewrightError, match=expected):
            Settings(models, **options)
    text_model().save(tmp_path / "a.safetensors")
    model = str(tmp_path / "a.safetensors")
    environment = {name: value for name, value in os.environ.items() if name != "GATEWRIGHT_TOKEN"}
    command = ["-m", "gatewright", "serve", f"a={model}", f"b={model}", "--port", "0"]
    done = fork_server(*SERVING).run(command, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--store: expected a file" in done.stderr


def test_a_path_with_an_equals_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_models(["./a=b"]) == {"default": Path("./a=b")}
    assert parse_models(["a=b"]) == {"a": Path("b")}
    (tmp_path / "a=b").touch()
    with pytest.raises(GatewrightError, match=r"a path such as \./a=b"):
        parse_models(["a=b"])


def test_frames_of_one_connection_are_of_its_model(server: Local) -> None:
    session = create(server, "twin")
    url = f"ws://127.0.0.1:{server.port}/v1/models/twin/ws"
    frame: dict[str, Any] = {"op": "advance", "session": session, "x": "a"}
    with connect(url, subprotocols=["gatewright.json"]) as own, server.socket() as default:  # type: ignore[list-item]
        assert packed(own, frame)["steps"] == 1
        assert packed(default, frame)["status"] == 404
