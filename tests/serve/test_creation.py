"""Sessions that are asked for over the wire: made once, as many as there may be, in the room that there is."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from gatewright.serve.sessions.store import StoredSession
from gatewright.serve.settings import Limits
from tests.serve.test_sessions import inputs, layer
from tests.support.local_server import Local, local, packed

TAKEN = {"argument": "name", "expected": "an unused name", "got": "the name of another session"}


def new_name() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(24)).decode()


def over_http(server: Local, session: str | None, name: str | None) -> tuple[int, Any]:
    path = "/v1/sessions" if session is None else f"/v1/sessions/{session}/fork"
    response = server.http.post(path) if name is None else server.http.post(path, json={"name": name})
    return response.status_code, response.json()


def over_a_socket(server: Local, session: str | None, name: str | None) -> tuple[int, Any]:
    frame: dict[str, Any] = {"op": "create"} if session is None else {"op": "fork", "session": session}
    with server.socket("gatewright.msgpack") as connection:
        answer = packed(connection, frame if name is None else {**frame, "name": name})
    return answer.get("status", 201), answer


Ask = Callable[[Local, str | None, str | None], tuple[int, Any]]


@pytest.mark.parametrize("ask", [over_http, over_a_socket])
def test_a_request_that_names_a_session_makes_one(tmp_path: Path, ask: Ask) -> None:
    x = inputs(0, 3).tolist()
    with local(layer().stream(), tmp_path) as server:
        name, other = new_name(), new_name()
        assert {ask(server, None, None)[1]["session"] for _ in range(3)} > set()
        for _ in range(2):
            status, answer = ask(server, None, name)
            assert (status, answer["session"], answer["steps"]) == (201, name, 0)
        server.advance(name, x[:2], first=0)
        for _ in range(2):
            status, answer = ask(server, name, other)
            assert (status, answer["session"], answer["steps"]) == (201, other, 2)
        assert server.store.count() == 5
        for session, taken in ((None, name), (None, other), (other, name)):
            status, answer = ask(server, session, taken)
            assert (status, answer["error"]) == (409, TAKEN)
        for wrong in ("", "n" * 31, "n" * 33, "ü" * 32, "n" * 31 + "/"):
            assert ask(server, None, wrong)[0] == ask(server, name, wrong)[0] == 422
        assert ask(server, new_name(), new_name())[0] == 404
        assert server.store.count() == 5


def test_another_s_name_is_taken_and_stays_theirs(tmp_path: Path) -> None:
    tokens = {f"{who}-0123456789abcdef": who for who in ("ann", "bob")}
    with local(layer().stream(), tmp_path, tokens=tokens) as server:
        ann, bob = ({"authorization": f"Bearer {token}"} for token in tokens)
        name = new_name()
        assert server.http.post("/v1/sessions", json={"name": name}, headers=ann).status_code == 201
        refused = server.http.post("/v1/sessions", json={"name": name}, headers=bob)
        assert (refused.status_code, refused.json()["error"]) == (409, TAKEN)
        assert server.http.get(f"/v1/sessions/{name}", headers=bob).status_code == 404


def test_making_counts_against_the_steps_of_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewright.serve.rate_limit.time", SimpleNamespace(monotonic=lambda: 1000.0))
    limits = Limits(max_token_steps=1, max_steps=12)
    with local(layer().stream(), tmp_path, limits=limits) as server:
        name = server.create()
        asks: list[Callable[[], httpx.Response]] = [
            lambda: server.http.post("/v1/sessions"),
            lambda: server.http.post(f"/v1/sessions/{name}/fork"),
            lambda: server.http.post(f"/v1/sessions/{name}/reset"),
            lambda: server.restore(name, server.snapshot(name)),
        ]
        statuses = [asks[number % 4]().status_code for number in range(11)]
        assert set(statuses) == {200, 201}
        for ask in asks:
            refused = ask()
            assert (refused.status_code, refused.json()["error"]["argument"]) == (429, "steps")
        # The steps themselves are counted by themselves.
        assert server.advance(name, inputs(0, 12).tolist())["steps"] == 12
        assert server.ask(name, "advance", x=inputs(0, 1).tolist()).status_code == 429
        assert server.http.delete(f"/v1/sessions/{name}").status_code == 204


def test_a_token_has_only_so_much_room(tmp_path: Path) -> None:
    x = inputs(0, 900).tolist()
    fresh = StoredSession("", "", "", 0, 0, layer().stream().snapshot(), -1, b"", b"").size
    with local(layer().stream(), tmp_path, limits=Limits(max_token_bytes=3 * fresh + 2000)) as server:
        name = server.create()
        for _ in range(2):
            assert server.http.post(f"/v1/sessions/{name}/fork").status_code == 201
        for _ in range(8):
            server.advance(name, x[:1])
        refused = server.ask(name, "advance", x=x)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
        expected = f"at most {3 * fresh + 2000} bytes of one owner"
        assert refused.json()["error"] == {
            "argument": "sessions",
            "expected": expected,
            "got": "more; delete some",
        }
        assert server.advance(name, x[:1], first=8)["steps"] == 9
        while server.http.post(f"/v1/sessions/{name}/fork").status_code == 201:
            pass
        assert server.store.size("") <= 3 * fresh + 2000
