"""Who may ask the inspector's server: hosts, origins and tokens; and what its page may do."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator

import httpx
import pytest

from gatewright.errors import GatewrightError
from gatewright.inspector.catalog import Subject
from gatewright.inspector.server import PageServer
from tests.serve.attacks import HEADS, MIB, head
from tests.support.inspected import ASKED, served, shelf_of, small, subjects

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    return subjects(tmp_path_factory.mktemp("shown"))


@pytest.fixture(scope="module")
def page(shown: dict[str, Subject]) -> Iterator[httpx.Client]:
    with served(shelf_of(**shown), "<b>a & b</b>\udcff") as client:
        yield client


def raw(page: httpx.Client, target: bytes, *headers: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """Ask by hand, as no client would; return the whole answer without its date."""
    port = page.base_url.port
    if not any(header.lower().startswith(b"host:") for header in headers):
        headers = (b"Host: 127.0.0.1:%d" % port, *headers)
    lines = [b"%s %s HTTP/1.1" % (method, target), *headers, b"Connection: close"]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    return re.sub(rb"date: [^\r]*\r\n", b"", answer)


@pytest.fixture
def token(page: httpx.Client) -> bytes:
    return page.base_url.path.strip("/").encode()


def refusal(page: httpx.Client, token: bytes) -> bytes:
    """The answer to a wrong token."""
    answer = raw(page, b"/" + b"x" * len(token) + b"/recordings")
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.endswith(b"\r\n\r\nnot found\n")
    assert b"content-length: 10\r\n" in answer.lower()
    return answer


HOSTS = [
    b"evil.example", b"evil.example:%d", b"127.0.0.1.evil.example:%d", b"localhost.evil.example",
    b"127.0.0.1@evil", b"evil@127.0.0.1:%d", b"", b"localhost:x", b"[::1", b"127.0.0.1/x", b"\xff",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_another_host_is_refused(page: httpx.Client, token: bytes, host: bytes) -> None:
    header = b"Host: " + (host % page.base_url.port if b"%d" in host else host)
    for target in (b"", b"recordings", b"recordings/text/meta", b"recordings/text/rows/0/scores", b"events", b"x"):
        answer = raw(page, b"/%s/%s" % (token, target), header)
        assert answer == refusal(page, token) or answer.startswith(b"HTTP/1.1 400 ")
        assert b"feed" not in answer
    assert raw(page, b"/%s/recordings" % token).startswith(b"HTTP/1.1 200 ")


HEADERS = [
    b"Origin: https://evil.example",
    b"Origin: null",
    b"Origin: ",
    b"Origin: http://127.0.0.1",
    b"Origin: http://127.0.0.1:1",
    b"Origin: http://localhost:%d",
    b"Origin: http://127.0.0.1:%d.evil.example",
    b"Origin: http://[",
    b"Origin: file://127.0.0.1:%d",
    b"Sec-Fetch-Site: cross-site",
    b"Sec-Fetch-Site: same-site",
    b"Sec-Fetch-Site: x",
]


def test_two_headers_that_say_who_asks_are_refused(page: httpx.Client, token: bytes) -> None:
    host = b"Host: 127.0.0.1:%d" % page.base_url.port
    origin = b"Origin: http://127.0.0.1:%d" % page.base_url.port
    target = b"/%s/recordings" % token
    assert raw(page, target, host, origin).startswith(b"HTTP/1.1 200 ")
    for headers in ((host, host), (host, b"Host: evil.example"), (host, origin, origin)):
        assert raw(page, target, *headers).startswith(b"HTTP/1.1 400 ")


def test_heads_and_trailers_without_end_are_refused(page: httpx.Client) -> None:
    port = page.base_url.port
    assert port is not None
    for name in HEADS:
        if "body" not in name and "chunk" not in name:
            told = head(name, MIB, "/x/recordings")(port)
            # The head before trailers is whole: its answer may come before they pass their bound.
            refused = ("400", "404", "414", "431") if "trailer" in name else ("400", "414", "431")
            assert told[:3] in refused, (name, told)
    assert page.get("recordings").status_code == 200


@pytest.mark.parametrize("header", HEADERS)
def test_another_origin_is_refused(page: httpx.Client, token: bytes, header: bytes) -> None:
    header = header % page.base_url.port if b"%d" in header else header
    body = json.dumps({**ASKED, "layer": 0}).encode()
    before = page.get("recordings").content
    for target, method in ((b"recordings", b"GET"), (b"recordings/text/whatif", b"POST"), (b"", b"OPTIONS")):
        answer = raw(
            page, b"/%s/%s" % (token, target), header, method=method, body=body if method == b"POST" else b""
        )
        assert answer == refusal(page, token)
    assert page.get("recordings").content == before
    own = (b"Origin: http://127.0.0.1:%d" % page.base_url.port, b"Sec-Fetch-Site: same-origin")
    assert raw(page, b"/%s/recordings" % token, *own).startswith(b"HTTP/1.1 200 ")


def test_a_wrong_token_is_refused(page: httpx.Client, token: bytes) -> None:
    refused = refusal(page, token)
    assert len(token) >= 32
    wrong = [
        b"/", b"/recordings", b"//recordings", b"/%s0/recordings" % token, b"/%s/recordings" % token[:-1],
        b"//%s/recordings" % token, b"/./%s/recordings" % token, b"/x/../%s/recordings" % token,
        b"/%s%%00/recordings" % token, b"/%%20%s/recordings" % token, b"/%s;a/recordings" % token,
        b"/%s%%2Frecordings0" % token[:-1], b"/%ff%fe/recordings", b"/%E2%82%AC/recordings", b"/%/recordings",
        b"/?token=%s" % token, b"/recordings?%s" % token, b"/%s/recordings" % token.swapcase(),
        b"/etc/passwd", b"/../../etc/passwd", b"/%2e%2e/%2e%2e/etc/passwd", b"/" + b"a" * 5000,
    ]  # fmt: skip
    for target in wrong:
        assert raw(page, target) == refused, target
    for target in (b"*", b"/\xff/recordings", b"http://127.0.0.1/%s0/" % token, b"x"):
        answer = raw(page, target, method=b"OPTIONS" if target == b"*" else b"GET")
        assert answer == refused or answer.startswith(b"HTTP/1.1 400 "), target
    header = b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: x", b"Sec-WebSocket-Version: 13"
    assert raw(page, b"/x/recordings", *header) == refused


def test_within_the_token_nothing_leads_out(page: httpx.Client, token: bytes) -> None:
    for target in (
        b"../../etc/passwd", b"%2e%2e/%2e%2e/etc/passwd", b"recordings/../../../etc/passwd/meta", b"/recordings",
        b"recordings/text/rows/0/../../../../../etc/passwd", b"recordings/text/rows/0/..%2f..%2fserver.py",
        b"recordings/%ff/meta", b"recordings/text/rows/0/%ff", b"recordings/text/rows/0/", b"static/inspector.js",
    ):  # fmt: skip
        answer = raw(page, b"/%s/%s" % (token, target))
        assert answer.startswith(b"HTTP/1.1 404 "), target
        assert b"root:" not in answer


def test_every_answer_has_the_headers_of_a_careful_page(page: httpx.Client) -> None:
    paths = [
        "",
        "recordings",
        "recordings/text/meta",
        "recordings/text/rows/0/inputs",
        "nothing",
        "recordings/x/meta",
    ]
    foreign = httpx.get(f"http://127.0.0.1:{page.base_url.port}/x/", trust_env=False)
    for answer in (*map(page.get, paths), page.post("recordings/text/whatif", content=b"x"), foreign):
        headers = answer.headers
        assert headers["cache-control"] == "no-store"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers
        assert not [name for name in headers if name.startswith("access-control")]


def test_the_page_runs_its_own_script_alone(page: httpx.Client, token: bytes) -> None:
    nonces = []
    for _ in range(2):
        answer = page.get("")
        assert answer.status_code == 200
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert "unsafe" not in str(policy)
        assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["connect-src"] == "'self'"
        [nonce] = re.fullmatch(r"'nonce-([\w-]{20,})'", policy["script-src"]).groups()
        assert policy["style-src"] == f"'nonce-{nonce}'"
        assert re.findall(r"<script[^>]*>", answer.text)[:1] == [f'<script type="module" nonce="{nonce}">']
        assert f'data-base="/{token.decode()}/"' in answer.text
        assert "<title>&lt;b&gt;a &amp; b&lt;/b&gt;?</title>" in answer.text
        nonces.append(nonce)
    assert nonces[0] != nonces[1]


def test_it_listens_on_this_machine_alone() -> None:
    with PageServer(shelf_of(it=small()), "it") as server:
        assert server._listening.getsockname()[0] == "127.0.0.1"
        with pytest.raises(OSError):  # noqa: PT011 - what the system says differs
            socket.create_connection(("127.0.0.2", server._listening.getsockname()[1]), timeout=5).close()
        again = PageServer(shelf_of(it=small()), "it")
        assert again.url.split("/")[3] != server.url.split("/")[3]
        again._listening.close()


def test_a_port_that_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            GatewrightError, match=f"^--port: expected a port that is free, got 127.0.0.1:{port}: "
        ):
            PageServer(shelf_of(it=small()), "it", port)
    for port in (-1, 65536, 99999):
        with pytest.raises(GatewrightError, match=f"^--port: expected a number from 0 to 65535, got {port}$"):
            PageServer(shelf_of(it=small()), "it", port)
