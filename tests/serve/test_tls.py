"""HTTPS and secure WebSockets, within the limits of connections without TLS."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from gatewright.errors import GatewrightError
from gatewright.serve.client import Client
from gatewright.serve.settings import Limits
from gatewright.web.http_connection import MAX_HEAD
from gatewright.web.tls import require_certificate
from tests.support.certificates import certificate
from tests.support.local_server import Local, local
from tests.support.serving import Server
from tests.support.stream_models import text_model
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls") / "server.pem")


@pytest.fixture(scope="module")
def server(pem: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    folder, limits = tmp_path_factory.mktemp("secure"), Limits(max_clients=12)
    with local(text_model().stream(sessions=4), folder, limits=limits, certificate=pem) as running:
        yield running


def secure(server: Local, pem: Path) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=pem)
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_the_client_verifies_the_certificate(server: Local, pem: Path) -> None:
    address = f"https://127.0.0.1:{server.port}"
    expected = text_model().stream().run("abc")
    for verify in (str(pem), pem, ssl.create_default_context(cafile=pem), False):
        with Client(address, verify=verify) as client:
            assert np.array_equal(client.create().run("abc"), expected)
    assert server.http.get("/readyz").text == "ready\n"
    with (
        Client(address) as client,
        pytest.raises(GatewrightError, match="address: expected a server whose certif"),
    ):
        client.create()
    with (
        Client(f"https://localhost:{server.port}", verify=pem) as client,
        pytest.raises(GatewrightError, match="Hostname mismatch"),
    ):
        client.create()
    for bad in (server.store._path, "no such file", 7):
        with pytest.raises(GatewrightError, match="verify: expected True, False, an SSLContext, or a PEM file"):
            Client(address, verify=bad)  # type: ignore[arg-type]


def test_limits_hold_for_secure_connections(server: Local, pem: Path) -> None:
    for sent, status in ((b"GET /" + b"a" * 9000, b"414"), (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200, b"431")):
        with secure(server, pem) as raw:
            raw.sendall(sent + b" HTTP/1.1\r\n\r\n")
            assert raw.recv(1000).startswith(b"HTTP/1.1 " + status)
    with secure(server, pem) as raw:  # what nobody reads is not kept
        raw.settimeout(0.5)
        request = b"GET /v1/model HTTP/1.1\r\nHost: localhost\r\n\r\n"
        sent, most = 0, 64 * MAX_HEAD * 64
        with contextlib.suppress(TimeoutError, OSError):
            while sent < most:
                raw.sendall(request * 400)
                sent += len(request) * 400
        assert sent < most
        assert server.http.get("/healthz").status_code == 200


def test_half_handshakes_make_room_for_others(server: Local, pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewright.web.connection_limit._FRESH", 0.0)
    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            for _ in range(30)
        ]
        for _ in range(3):
            with httpx.Client(verify=ssl.create_default_context(cafile=pem), timeout=30) as client:
                answers = []
                wait_until(lambda: answers.append(tried(client, server)) or answers[-1] == 200)  # noqa: B023
        assert server.limit.count <= server.limit.maximum + 1
        monkeypatch.setattr("gatewright.web.connection_limit._HANDSHAKE_TIMEOUT", 0.0)
        for raw in silent:
            with contextlib.suppress(OSError):
                while raw.recv(100):
                    pass
    assert server.limit._handshakes == {}


def tried(client: httpx.Client, server: Local) -> int:
    try:
        return client.get(f"https://127.0.0.1:{server.port}/healthz").status_code
    except httpx.TransportError:
        return 0


def test_plain_requests_are_no_handshake(server: Local) -> None:
    for sent in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + bytes(200)):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
            raw.sendall(sent)
            with contextlib.suppress(ConnectionError):
                assert not raw.recv(100).startswith(b"HTTP")
    assert server.http.get("/healthz").status_code == 200


def test_the_certificate_is_loaded_again(tmp_path: Path) -> None:
    text_model().save(tmp_path / "model.safetensors")
    pem = certificate(tmp_path / "server.pem")
    options = ("--ssl-certfile", str(pem), "--ssl-keyfile", str(pem.with_suffix(".key")))
    with Server(tmp_path / "model.safetensors", tmp_path, *options) as server:
        assert server.events("ready")[0]["address"].startswith("https://")

        def served() -> str:
            return ssl.get_server_certificate(("127.0.0.1", server.port)).strip()

        first = served()
        assert first in pem.read_text()
        whole = pem.read_text()
        pem.write_text("damaged")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.events("certificate not reloaded"))
        assert served() == first
        pem.write_text(whole)
        certificate(pem)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.events("certificate reloaded"))
        assert served() != first
        assert served() in pem.read_text()
        assert server.stop() == 0
    assert "raceback" not in server.log.read_text()


def test_keys_that_do_not_fit(tmp_path: Path, pem: Path) -> None:
    other = certificate(tmp_path / "other.pem")
    key, locked = other.with_suffix(".key"), tmp_path / "locked.key"
    require_certificate(other, key)
    require_certificate(other, None)
    subprocess.run(
        ["openssl", "ec", "-in", str(key), "-aes256", "-passout", "pass:secret", "-out", str(locked)],
        check=True,
        capture_output=True,
    )
    for certificate_file, key_file, expected in (
        (pem, key, "--ssl-certfile, --ssl-keyfile: expected a certificate and its private key"),
        (other, locked, "the key without a passphrase"),
        (key, key, "--ssl-certfile, --ssl-keyfile: expected a certificate"),
        (other, tmp_path / "no", "--ssl-keyfile: expected a PEM file that can be read"),
    ):
        with pytest.raises(GatewrightError, match=expected):
            require_certificate(certificate_file, key_file)
