"""A store in a real Valkey or Redis server: what it keeps, what it refuses, and how it fails."""

from __future__ import annotations

import logging
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.errors import StoreError
from gatewright.serve.sessions import valkey
from gatewright.serve.sessions.sqlite import SqliteStore
from gatewright.serve.sessions.store import Store, StoredModel, StoredSession
from gatewright.serve.sessions.valkey import ValkeyStore
from tests.support.valkey_server import Leaky, Valkey, free_port

ONE = StoredSession("a", "me", "f00d", 0, 3, b"\x00state\r\n\xff", -1, b"", b"\x00answer")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    running = Valkey(tmp_path_factory.mktemp("valkey"))
    yield running
    running.kill()


@pytest.fixture
def store(server: Valkey) -> Iterator[ValkeyStore]:
    with server.client() as client:
        client.flushall()
    with ValkeyStore(server.url) as opened:
        yield opened


def refused(url: str) -> StoreError:
    with pytest.raises(StoreError) as caught:
        ValkeyStore(url)
    return caught.value


def test_what_is_saved_is_loaded(store: ValkeyStore) -> None:
    kept: Store = store
    assert kept.shared
    assert kept.load("a") is None
    assert kept.save([]) == []
    assert kept.save([ONE]) == [True]
    assert kept.load("a") == ONE
    after = ONE._replace(
        version=1, steps=2**60, snapshot=bytes(range(256)) * 999, first=2**59, request=b"\xfe", answer=b""
    )
    assert kept.save([after]) == [True]
    assert kept.load("a") == after
    kept.ping()


def test_only_what_follows_is_written(store: ValkeyStore) -> None:
    assert store.save([ONE._replace(version=1)]) == [False]  # there is none
    assert store.save([ONE, ONE._replace(steps=9), ONE._replace(version=1), ONE._replace(version=1, steps=9)]) == [
        True,
        False,
        True,
        False,
    ]
    for version in (0, 1, 3, 11):
        assert store.save([ONE._replace(version=version, steps=9)]) == [False]
    assert store.load("a") == ONE._replace(version=1)
    assert store.save([ONE._replace(id="b"), ONE._replace(version=2, steps=4), ONE]) == [True, True, False]
    store.delete("a", "me")
    for version in (1, 2, 3):
        assert store.save([ONE._replace(version=version)]) == [False]
    assert store.load("a") is None
    assert (store.count(), store.count("me"), store.names("me")) == (1, 1, ["b"])


def test_a_batch_takes_one_round_trip(server: Valkey, store: ValkeyStore) -> None:
    store.save([ONE])
    with server.client() as client:
        client.config_resetstat()
        store.save([ONE._replace(id=f"s{number}", snapshot=bytes(20_000)) for number in range(1000)])
        stats = client.info("commandstats")
        assert stats["cmdstat_evalsha"]["calls"] == 1
        assert not {"cmdstat_multi", "cmdstat_exec", "cmdstat_script|load", "cmdstat_script|exists"} & set(stats)
        keys = list(client.scan_iter(count=10_000))
    assert all(key.startswith(b"{gatewright}:") for key in keys)  # one slot of a cluster
    assert store.count() == 1001


def test_a_script_that_the_server_has_forgotten_is_sent_again(server: Valkey, store: ValkeyStore) -> None:
    store.save([ONE])
    with server.client() as client:
        client.script_flush()
    assert store.save([ONE._replace(version=1)]) == [True]
    with server.client() as client:
        client.script_flush()
    store.delete("a", "me")
    assert store.count() == 0


def test_owners_and_pages(store: ValkeyStore) -> None:
    owners = ["", "me", "m", "me:", "ü {x}\n", "{", "\udcff", "me*", "\x00"]
    names = [f"n{number:03}" for number in range(25)]
    for owner in owners:
        store.save([ONE._replace(id=f"{name}-{owner}", owner=owner) for name in reversed(names)])
    assert store.count() == len(owners) * 25
    for owner in owners:
        expected = [f"{name}-{owner}" for name in names]
        assert store.count(owner) == 25
        assert store.names(owner) == expected
        found: list[str] = []
        while page := store.names(owner, found[-1] if found else "", 7):
            assert len(page) <= 7
            found += page
        assert found == expected
        assert store.names(owner, "n010") == expected[10:]
        assert store.names(owner, most=0) == store.names(owner, "o") == []
        loaded = store.load(expected[3])
        assert loaded is not None
        assert loaded.owner == owner
    assert (store.names("you"), store.count("you")) == ([], 0)


def test_deleting_counts_once(store: ValkeyStore) -> None:
    store.save([ONE, ONE._replace(id="b", owner="you")])
    store.delete("a", "you")  # another's
    store.delete("c", "me")
    assert store.count() == 2
    with ValkeyStore(f"redis{store._name[6:]}") as other:
        threads = [threading.Thread(target=each.delete, args=("a", "me")) for each in (store, other) * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (other.count(), other.count("me"), other.names("me"), other.count("you")) == (1, 0, [], 1)


def test_models_are_kept_once(store: ValkeyStore) -> None:
    model = StoredModel("f00d", "int8", bytes(range(256)) * 5000 + b"\n\n")
    assert store.load_model("f00d") is None
    store.save_model(model)
    store.save_model(StoredModel("f00d", "float32", b"other"))
    store.save_model(StoredModel("beef", "float32", b""))
    assert store.load_model("f00d") == model
    assert store.load_model("beef") == StoredModel("beef", "float32", b"")


def test_of_many_that_save_one_version_one_does(store: ValkeyStore, server: Valkey) -> None:
    store.save([ONE])
    won: list[tuple[int, int]] = []

    def race(number: int) -> None:
        with ValkeyStore(server.url) as mine:
            for version in range(1, 101):
                # All the same but for who it was, as two retries of one request would be.
                if mine.save([ONE._replace(version=version, steps=version)]) == [True]:
                    won.append((version, number))
                while (kept := store.load("a")) is None or kept.version < version:
                    pass

    threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(version for version, _ in won) == list(range(1, 101))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_it_keeps_what_a_file_would(data: st.DataObject, server: Valkey) -> None:
    with server.client() as client:
        client.flushall()
    names, owners = st.sampled_from("abcd"), st.sampled_from(["", "me", "you"])
    versions: dict[str, int] = {}
    owner_of: dict[str, str] = {}
    with SqliteStore(":memory:") as file, ValkeyStore(server.url) as one, ValkeyStore(server.url) as two:
        for _ in range(data.draw(st.integers(1, 30))):
            store, name = data.draw(st.sampled_from([one, two])), data.draw(names)
            if data.draw(st.booleans()):
                version = data.draw(st.integers(0, versions.get(name, -1) + 2))
                owner = owner_of[name] if name in owner_of else data.draw(owners)
                saved = StoredSession(
                    name, owner, "m", version, version * 2, data.draw(st.binary(max_size=9)), -1, b"", b""
                )
                fits = version == versions.get(name, -1) + 1
                assert store.save([saved]) == [fits]
                if fits:
                    owner_of[name], versions[name] = owner, version
                    file.save([saved])
            elif name in versions:
                store.delete(name, owner_of[name])
                file.delete(name, owner_of[name])
                del versions[name], owner_of[name]
        for store in (one, two):
            assert [store.load(name) for name in "abcd"] == [file.load(name) for name in "abcd"]
            for each in (None, "", "me", "you"):
                assert store.count(each) == file.count(each)
                assert store.names(each or "", "a", 2) == file.names(each or "", "a", 2)


def every_call(store: ValkeyStore) -> list[Callable[[], object]]:
    return [
        lambda: store.save([ONE]),
        lambda: store.delete("a", "me"),
        lambda: store.load("a"),
        lambda: store.names("me"),
        store.count,
        lambda: store.count("me"),
        lambda: store.save_model(StoredModel("f", "int8", b"")),
        lambda: store.load_model("f"),
        store.ping,
    ]


def test_closed_it_says_so(server: Valkey) -> None:
    with ValkeyStore(server.url) as store:
        store.ping()
    store.close()
    for call in every_call(store):
        with pytest.raises(StoreError, match="expected an open store, got a closed one"):
            call()


def test_killed_it_fails_and_started_again_it_has_all(tmp_path: Path) -> None:
    server = Valkey(tmp_path / "data")
    with ValkeyStore(server.url) as store:
        for version in range(50):
            store.save([ONE._replace(version=version), ONE._replace(id=f"b{version}")])
        store.save_model(StoredModel("f00d", "int8", b"file"))
        for _ in range(2):
            server.kill()
            for call in every_call(store):
                with pytest.raises(StoreError, match=f"{server.url}: expected a server that answers"):
                    call()
            server.start()
            store.ping()  # at once: a connection that has died is found before anything is sent
        assert store.load("a") == ONE._replace(version=49)
        assert (store.count(), store.count("me"), len(store.names("me"))) == (51, 51, 51)
        assert store.load_model("f00d") == StoredModel("f00d", "int8", b"file")
        assert store.save([ONE._replace(version=50), ONE._replace(version=50)]) == [True, False]
    server.kill()


def test_a_server_that_hangs_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = 1000.0
    monkeypatch.setattr(valkey, "_REST", rest)
    server = Valkey(tmp_path / "data")
    with ValkeyStore(f"{server.url}?socket_timeout=0.6&socket_connect_timeout=0.6") as store:
        store.save([ONE])
        with server.client() as client:
            client.config_resetstat()
        server.signal(signal.SIGSTOP)
        for version in [1] * 20:
            with pytest.raises(StoreError, match="expected a server that answers, got Timeout"):
                store.save([ONE._replace(version=version)])
        server.signal(signal.SIGCONT)
        now = time.monotonic() + rest
        monkeypatch.setattr("time.monotonic", lambda: now)
        kept = store.load("a")
        assert kept is not None
        # What was sent was done, though no answer came; and it was sent once: only the first call waited.
        assert kept.version == 1
        with server.client() as client:
            assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 1
        assert store.save([ONE._replace(version=1)]) == [False]
        assert store.save([ONE._replace(version=2)]) == [True]
    server.kill()


def test_nothing_is_sent_twice(server: Valkey, store: ValkeyStore) -> None:
    store.save([ONE])
    between = Leaky(server.port)
    with ValkeyStore(f"valkey://127.0.0.1:{between.port}") as leaky, server.client() as client:
        leaky.ping()
        client.config_resetstat()
        between.lose_one()
        with pytest.raises(StoreError, match="expected a server that answers"):
            leaky.save([ONE._replace(version=1)])
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 1
        assert leaky.load("a") == ONE._replace(version=1)  # it was done, and nobody heard of it
        assert leaky.save([ONE._replace(version=2)]) == [True]
    between.close()


def test_a_full_server_is_one_clear_error(tmp_path: Path) -> None:
    server = Valkey(tmp_path / "data")
    with ValkeyStore(server.url) as store, server.client() as client:
        store.save([ONE])
        client.config_set("maxmemory", "1mb")
        with pytest.raises(StoreError, match=r"expected a server that accepts the command, got .*maxmemory"):
            store.save([ONE._replace(version=1), ONE._replace(id="b")])
        assert (store.load("a"), store.load("b"), store.count()) == (ONE, None, 1)
        client.config_set("maxmemory", "0")
        assert store.save([ONE._replace(version=1)]) == [True]
    server.kill()


def test_passwords_open_and_are_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    acl = "user worker on >s3cr%t/@word ~{gatewright}:* +@all -config"
    server = Valkey(tmp_path / "data", "--requirepass", "hunter2", "--user", *acl.split()[1:])
    where = f"127.0.0.1:{server.port}"
    with ValkeyStore(f"valkey://:hunter2@{where}") as store:
        store.save([ONE])
    with ValkeyStore(f"redis://worker:s3cr%25t%2F%40word@{where}/0") as store:  # may not ask for settings
        assert store.load("a") == ONE
    for who in ("", ":wr0ng@", "worker:wr0ng@", "nobody:wr0ng@", "worker@"):
        error = refused(f"redis://{who}{where}")
        assert error.argument == f"redis://{where}"
        assert "wr0ng" not in str(error)
        assert error.expected == "a server that answers" or "NOAUTH" in error.got
    assert caplog.text == ""
    server.kill()
    for who in (":hunter2@", "worker:s3cr%25t%2F%40word@"):
        error = refused(f"redis://{who}{where}")
        assert "refused" in str(error)
        assert "hunter2" not in str(error)
        assert "word" not in str(error)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("http://:s3cret@localhost", "http://localhost: expected valkey://host:port"),
        ("unix:///tmp/s3cret@x", "store: expected a URL whose password has %2F"),
        ("redis://:s3cret@localhost:0", "redis://localhost:0: expected valkey://host:port"),
        ("redis://:s3cret@localhost:70000", "a URL that cannot be read"),
        ("redis://:s3cret@localhost:x", "a URL that cannot be read"),
        ("redis://:s3cret@[::1", "a URL that cannot be read"),
        ("redis://:s3cret@", "expected valkey://host:port"),
        ("redis://:s3/cret@localhost", "store: expected"),
        ("redis://:12/s3cret@localhost", "store: expected a URL whose password has %2F"),
        ("redis://user:12?s3cret@localhost", "store: expected a URL whose password has %2F"),
        ("redis://:s3cret@localhost/first", "the number of a database after it, got '/first'"),
        ("redis://:s3cret@localhost?password=s3cret", "options that are among socket_timeout"),
        ("redis://:s3cret@localhost?ssl_ca_certs=x", "options that are among socket_timeout"),
        ("redis://:s3cret@localhost?decode_responses=1", "got 'decode_responses'"),
        ("redis://:s3cret@localhost?socket_timeout=s", "redis://localhost: expected options with valid values"),
        ("redis://:s3cret@localhost?socket_timeout=inf", "socket_timeout in seconds"),
        ("redis://:s3cret@localhost?socket_connect_timeout=0", "socket_connect_timeout in seconds"),
        ("redis://:s3cret@nowhere.invalid", "redis://nowhere.invalid: expected a server that answers"),
        ("rediss://:s3cret@127.0.0.1:1?ssl_ca_certs=/none", "expected a server that answers"),
    ],
)
def test_urls_that_cannot_be_used_are_refused(url: str, part: str) -> None:
    error = refused(url)
    assert part in str(error)
    assert "cret" not in str(error)
    assert error.__context__ is None or error.__suppress_context__


@pytest.mark.parametrize(
    "says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$x\r\n", b"*-9\r\n", b":1\r\n", b"", b"echo", b"\xff" * 99]
)
def test_what_is_no_such_server_is_refused(says: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)

        def answer() -> None:
            talking, _ = listening.accept()
            with talking:
                heard = talking.recv(10_000)
                talking.sendall(heard if says == b"echo" else says)

        thread = threading.Thread(target=answer)
        thread.start()
        port = listening.getsockname()[1]
        error = refused(f"valkey://:s3cret@127.0.0.1:{port}?socket_timeout=2")
        thread.join()
    assert error.argument == f"valkey://127.0.0.1:{port}"
    assert "s3cret" not in str(error)


def test_nobody_there() -> None:
    port = free_port()
    error = refused(f"valkey://127.0.0.1:{port}/3")
    assert error.argument == f"valkey://127.0.0.1:{port}/3"
    assert "Connection refused" in error.got


def test_sessions_of_another_format_are_left_alone(server: Valkey) -> None:
    with server.client() as client:
        client.flushall()
        client.set("{gatewright}:format", "2")
        error = refused(server.url)
        assert (error.expected, error.got) == ("sessions in format 1", "format b'2'")
        assert client.keys() == [b"{gatewright}:format"]
        client.delete("{gatewright}:format")
        client.hset("{gatewright}:format", "x", "1")
        assert "WRONGTYPE" in refused(server.url).got
        client.flushall()
        client.set("mine", "1")  # of somebody else, beside us
        with ValkeyStore(server.url) as store, ValkeyStore(f"{server.url}/3") as other:
            store.save([ONE])
            assert (store.count(), other.count()) == (1, 0)
        assert client.get("mine") == b"1"


def test_a_damaged_session_is_one_clear_error(server: Valkey, store: ValkeyStore) -> None:
    store.save([ONE, ONE._replace(id="b"), ONE._replace(id="c")])
    with server.client() as client:
        client.hdel("{gatewright}:session:a", "snapshot")
        client.hset("{gatewright}:session:b", "steps", "many")
        client.set("{gatewright}:session:c", "text")
    for name in "abc":
        with pytest.raises(StoreError, match=r"damaged|WRONGTYPE"):
            store.load(name)


def test_a_server_that_may_lose_sessions_is_told_of(server: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    def events() -> list[tuple[str, str]]:
        caplog.clear()
        ValkeyStore(server.url).close()
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    with server.client() as client, caplog.at_level(logging.INFO, "gatewright.serve"):
        assert events() == []
        client.config_set("appendonly", "no")
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert events() == [
            ("WARNING", "store may lose what it has when it stops"),
            ("WARNING", "store may forget sessions when its memory is full"),
        ]
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendonly", "yes")


def test_over_tls(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {key} -out {certificate}"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file"]
    server = Valkey(tmp_path / "data", *files, str(certificate), "--tls-auth-clients", "no", tls=True)
    secure = f"valkeys://127.0.0.1:{server.port}"
    with ValkeyStore(f"{secure}?ssl_ca_certs={certificate}") as store:
        assert store.save([ONE]) == [True]
        assert store.load("a") == ONE
    assert "certificate verify failed" in str(refused(secure))  # signed by nobody that we know
    refused(f"valkey://127.0.0.1:{server.port}?socket_timeout=1")
    server.kill()
