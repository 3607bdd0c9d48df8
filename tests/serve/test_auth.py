"""Who may ask: hosts, origins and tokens, over HTTP and at the handshake of a WebSocket."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from gatewright.errors import GatewrightError
from gatewright.serve.http.auth import Tokens, require_loopback
from gatewright.serve.rate_limit import RateLimiter
from gatewright.web.hosts import is_allowed_host, is_allowed_origin
from tests.support.local_server import Local, local, packed
from tests.support.stream_models import text_model

ANN, BOB = "ann-" + "0" * 28, "bob_~." + "1" * 28


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with local(
        text_model().stream(),
        tmp_path_factory.mktemp("access"),
        tokens={ANN: "ann", BOB: "bob"},
        hosts=["Model.Example"],
        origins=["https://page.example"],
    ) as running:
        yield running


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": ANN},
        {"authorization": f"Basic {ANN}"},
        {"authorization": f"Bearer {ANN[:-1]}"},
        {"authorization": f"Bearer {ANN}0"},
        {"authorization": f"Bearer {ANN.upper()}"},
        {"authorization": f"Bearer {ANN}, Bearer {BOB}"},
        {"authorization": b"Bearer \xff\xfe"},
        {"x-token": ANN},
        {"cookie": f"token={ANN}"},
    ],
)
def test_without_a_token_nothing_is_told(server: Local, headers: Any) -> None:
    for path in (
        "/v1/sessions",
        "/v1/model",
        "/openapi.json",
        "/metrics",
        "/nowhere",
        f"/v1/sessions?token={ANN}",
    ):
        answer = server.http.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["argument"] == "Authorization"
        assert ANN[:8] not in answer.text
    for path in ("/healthz", "/readyz"):
        assert server.http.get(path, headers=headers).status_code == 200
    with pytest.raises(InvalidStatus) as refused:
        connect(server.url, additional_headers=headers)
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["error"]["argument"] == "Authorization"


def test_a_token_sees_its_own_sessions_only(server: Local) -> None:
    session = server.create(**bearer(ANN))
    url = f"/v1/sessions/{session}"
    assert server.http.post(f"{url}/advance", json={"x": "abc"}, headers=bearer(ANN)).status_code == 200
    before = server.http.get(f"{url}/snapshot", headers=bearer(ANN)).content
    for method, path, body in (
        ("GET", url, {}),
        ("DELETE", url, {}),
        ("GET", f"{url}/snapshot", {}),
        ("PUT", f"{url}/snapshot", {"content": before}),
        ("POST", f"{url}/reset", {}),
        ("POST", f"{url}/fork", {}),
        ("POST", f"{url}/advance", {"json": {"x": "a"}}),
        ("POST", f"{url}/advance", {"json": {"x": "abc", "first": 0}}),  # nor what was answered
        ("POST", f"{url}/generate", {"json": {"length": 1}}),
    ):
        answer = server.http.request(method, path, headers=bearer(BOB), **body)
        assert answer.status_code == 404
        # The same as for a session that there never was.
        nobody = server.http.request(method, path.replace(session, "A" * 32), headers=bearer(BOB), **body)
        assert nobody.status_code == 404
        assert answer.text.replace(session, "") == nobody.text.replace("A" * 32, "")
    assert server.http.get("/v1/sessions", headers=bearer(BOB)).json() == {"sessions": [], "next": None}
    assert session in server.http.get("/v1/sessions", headers=bearer(ANN)).json()["sessions"]
    with connect(server.url, additional_headers=bearer(BOB)) as connection:
        for frame in ({"op": "read"}, {"op": "delete"}, {"op": "advance", "x": "a"}, {"op": "fork"}):
            assert packed(connection, {**frame, "session": session})["status"] == 404
        assert packed(connection, {"op": "list"})["sessions"] == []
    assert server.http.get(f"{url}/snapshot", headers=bearer(ANN)).content == before


def test_a_page_gives_its_token_among_the_subprotocols(server: Local) -> None:
    session = server.create(**bearer(ANN))
    for protocol in ("gatewright.json", "gatewright.msgpack"):
        offered: Any = [protocol, f"token.{ANN}"]
        with connect(server.url, subprotocols=offered) as connection:
            assert connection.subprotocol == protocol  # the token does not come back
            assert packed(connection, {"op": "read", "session": session})["steps"] == 0
    for offered in (["gatewright.json", f"token.{ANN}0"], ["gatewright.json", ANN], ["token."]):
        with pytest.raises(InvalidStatus) as refused:
            connect(server.url, subprotocols=offered)
        assert refused.value.response.status_code == 401
    assert server.http.get("/v1/sessions", headers={"sec-websocket-protocol": f"token.{ANN}"}).status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "model.example.evil", "", "a@localhost"]
)
def test_other_hosts_are_refused(server: Local, host: str) -> None:
    answer = server.http.get("/v1/sessions", headers={"host": host, **bearer(ANN)})
    assert (answer.status_code, answer.json()["error"]["argument"]) == (421, "Host")
    assert host not in answer.text or not host
    assert server.http.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:8765", "model.example:80", "10.1.2.3"]
)
def test_its_own_hosts_fit(server: Local, host: str) -> None:
    assert server.http.get("/v1/sessions", headers={"host": host, **bearer(ANN)}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://page.example",
        "https://page.example.evil",
        "https://page.example:444",
        "x",
    ],
)
def test_other_pages_are_refused(server: Local, origin: str) -> None:
    answer = server.http.get("/v1/sessions", headers={"origin": origin, **bearer(ANN)})
    assert (answer.status_code, answer.json()["error"]["argument"]) == (403, "Origin")
    assert answer.headers.get("access-control-allow-origin") is None
    with pytest.raises(InvalidStatus) as refused:
        connect(server.url, additional_headers={"Origin": origin, **bearer(ANN)})
    assert refused.value.response.status_code == 403
    ask = {"origin": origin, "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in server.http.options("/v1/sessions", headers=ask).headers


def test_known_pages_may_ask(server: Local) -> None:
    page = {"origin": "https://page.example"}
    answer = server.http.get("/v1/sessions", headers={**page, **bearer(ANN)})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    preflight = server.http.options("/v1/sessions", headers={**page, **ask})
    assert preflight.status_code == 200
    assert {"authorization", "content-type"} <= set(
        preflight.headers["access-control-allow-headers"].lower().split(", ")
    )
    # What is refused says so to the page too, and when to come again.
    refused = server.http.get("/v1/sessions", headers=page)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://page.example"
    assert "retry-after" in refused.headers["access-control-expose-headers"].lower()
    same = {"origin": f"http://127.0.0.1:{server.port}"}
    assert server.http.get("/v1/sessions", headers={**same, **bearer(ANN)}).status_code == 200
    with connect(server.url, additional_headers={"Origin": "https://page.example", **bearer(ANN)}) as connection:
        assert "sessions" in packed(connection, {"op": "list"})


def test_a_wrong_host_at_the_handshake(server: Local) -> None:
    there = socket.create_connection(("127.0.0.1", server.port))
    with there, pytest.raises(InvalidStatus) as refused:
        connect("ws://evil.example/v1/ws", sock=there, additional_headers=bearer(ANN))
    assert refused.value.response.status_code == 421
    with pytest.raises(InvalidStatus) as lost:
        connect(f"ws://127.0.0.1:{server.port}/v1/nowhere", additional_headers=bearer(ANN))
    assert lost.value.response.status_code in (403, 404)


def test_names_of_sessions_cannot_be_guessed(server: Local) -> None:
    names = {server.create(**bearer(BOB)) for _ in range(50)}
    assert len(names) == 50
    assert all(len(name) == 32 for name in names)
    # Each place takes many values: there is no counter and no clock in it.
    assert all(len({name[place] for name in names}) > 20 for place in range(32))


def test_a_file_of_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"# who may ask\n\nann: {ANN}\n bob :{BOB}\nann: {'c' * 16}\n")
    tokens = Tokens.read("d" * 16, path)
    assert len(tokens) == 4
    assert [tokens.owner(token) for token in (ANN, BOB, "c" * 16, "d" * 16, "e" * 16, "", None)] == (
        ["ann", "bob", "ann", "", None, None, None]
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nobody\n",
        "ann\n",
        f": {ANN}\n",
        "ann: short\n",
        f"ann: {ANN} x\n",
        f"ann: {ANN}\nbob: {ANN}\n",
        b"\xff\xfe",
    ],
)
def test_files_of_tokens_that_are_none(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "tokens"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(GatewrightError) as refused:
        Tokens.read(None, path)
    assert ANN not in str(refused.value)
    assert "short" not in str(refused.value)


@pytest.mark.parametrize("token", ["", "short", "a" * 513, "a" * 16 + " ", "ä" * 16, "a" * 16 + "\n"])
def test_tokens_that_are_none(token: str) -> None:
    with pytest.raises(GatewrightError) as refused:
        Tokens.read(token, None)
    assert not token or token not in str(refused.value)


def test_without_a_token_only_this_machine_is_listened_to() -> None:
    some = Tokens({ANN: ""})
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        require_loopback(host, Tokens({}))
    for host in ("0.0.0.0", "::", "0", "10.0.0.1", "192.168.1.1"):
        require_loopback(host, some)
        with pytest.raises(GatewrightError, match="GATEWRIGHT_TOKEN"):
            require_loopback(host, Tokens({}))
    for host in ("", "*", "no such name"):
        with pytest.raises(GatewrightError, match="--host"):
            require_loopback(host, Tokens({}))


def test_hosts_and_origins_that_are_hardly_such() -> None:
    for header in ("localhost:", "localhost:x", "[::1", "a b", "localhost/x", "local\0host", "@localhost", "::::"):
        is_allowed_host(header, ())  # says something, and raises nothing
        is_allowed_origin(header, "localhost", ())
    assert not is_allowed_host("localhost:x", ())
    assert not is_allowed_host("evil/localhost", ())
    assert not is_allowed_origin("http://[", "localhost", ())
    assert not is_allowed_origin("file://localhost", "localhost", ())


def test_a_quota_fills_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    limiter = RateLimiter(10, 20)
    limiter.acquire("ann", 100)  # what ten seconds save up
    with pytest.raises(GatewrightError) as refused:
        limiter.acquire("ann", 5)
    assert getattr(refused.value, "retry_after") == pytest.approx(0.5)  # noqa: B009
    limiter.acquire("bob", 100)
    now[0] = 0.5
    limiter.acquire("ann", 5)
    now[0] = 1000
    limiter.acquire("ann", 100)
    with pytest.raises(GatewrightError):
        limiter.acquire("ann", 1)
    RateLimiter(None, 1).acquire("ann", 10**9)
