"""The Python client: what a stream gives, whatever happens to the server in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright import Stream
from gatewright.errors import BusyError, GatewrightError, SessionError, StepError
from gatewright.runtime.sampling import generate
from gatewright.serve.client import Client, _plain
from tests.support.serving import Server
from tests.support.stream_models import rows_of, series_model, table, text_model
from tests.support.valkey_server import Leaky


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("client")
    text_model().save(made / "text.safetensors")
    series_model().save(made / "series.safetensors")
    return made


@pytest.fixture
def writer(folder: Path, tmp_path: Path) -> Iterator[Server]:
    with Server(folder / "text.safetensors", tmp_path) as server:
        yield server


def client(server: Server, **options: object) -> Client:
    return Client(f"http://127.0.0.1:{server.port}", **options)  # type: ignore[arg-type]


def test_a_forecaster_in_blocks_over_a_server_that_is_killed(folder: Path, tmp_path: Path) -> None:
    model = series_model()
    series = table(model, 303)
    xs, times = rows_of(model, series, 300), series.times[:300]  # type: ignore[index]
    assert np.isnan(xs).any()
    alone = Stream.load(folder / "series.safetensors")
    expected = alone.run(xs, times=times)
    with Server(folder / "series.safetensors", tmp_path, "--max-steps", "7") as server, client(server) as known:
        assert known.model()["columns"] == list(alone.columns)
        assert known.model()["quantiles"] == [0.1, 0.5, 0.9]
        session = known.create()
        first = session.step(xs[0], time=times[0])
        assert np.array_equal(first, expected[0], equal_nan=True)
        begun = threading.Semaphore(0)

        def disturb() -> None:
            for pause in (0.0, 0.002, 0.004, 0.008, 0.016):
                for _ in range(3):
                    begun.acquire()
                time.sleep(pause)  # into a block of steps
                server.kill()
                server.start()

        disturbing = threading.Thread(target=disturb)
        disturbing.start()
        found = []
        for at in range(1, 300, 20):
            begun.release()
            found.append(session.run(xs[at : at + 20], times[at : at + 20]))
        disturbing.join()
        assert np.array_equal(np.concatenate(found), expected[1:], equal_nan=True)
        assert session.steps == 300
        assert session.state() == alone.state()
        again = known.session(session.name)
        assert again.steps == 300
        assert server.process.returncode is None


def test_a_text_that_breaks_off_goes_on(folder: Path, writer: Server) -> None:
    alone = Stream.load(folder / "text.safetensors")
    expected = "".join(generate(alone, "abc", 200, seed=5, temperature=0.7))
    with client(writer) as known:
        one, other = known.create(), known.create()
        pieces = []
        for piece in one.generate(200, "abc", seed=5, temperature=0.7):
            other.step("a")  # beside it, over the same connection
            if len(pieces) in (2, 7):
                writer.kill()
                writer.start()
            pieces.append(piece)
        assert "".join(pieces) == expected
        assert len(pieces) == 13
        assert one.steps == 203
        assert other.steps == 13
        assert one.state() == alone.state()
        # What it wrote it has read: it goes on as if it had never stopped.
        longer = "".join(generate(alone, "abc", 230, seed=5, temperature=0.7))
        assert expected + "".join(one.generate(30, seed=5, temperature=0.7)) == longer


def test_whoever_stops_listening_goes_on_after_the_text(folder: Path, writer: Server) -> None:
    alone = Stream.load(folder / "text.safetensors")
    written = "".join(generate(alone, "abc", 200, seed=5))
    with client(writer) as known:
        session = known.create()
        for piece in session.generate(200, "abc", seed=5):
            assert written.startswith(piece)
            break
        assert np.array_equal(session.run("ab"), alone.run("ab"))
        assert session.steps == 205


def test_a_session_of_a_model_before_keeps_its_shapes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    series_model(calendar=()).save(path)
    alone = Stream.load(path)
    row = np.ones(len(alone.columns))
    with Server(path, tmp_path) as server, client(server) as known:
        name = known.create().name
        server.stop()
        series_model(calendar=(), targets=("flow",)).save(path)
        server.start()
        assert known.create().step(np.ones(len(Stream.load(path).columns))).shape == (3, 1, 3)
        assert np.array_equal(known.session(name).step(row), alone.step(row))


def test_sessions_are_made_found_forked_reset_and_forgotten(writer: Server) -> None:
    with client(writer) as known:
        sessions = [known.create() for _ in range(3)]
        assert list(known.sessions()) == sorted(session.name for session in sessions)
        y = sessions[0].run("abcab")
        fork = sessions[0].fork()
        assert (fork.steps, fork.state_steps, fork.context) == (5, 5, 0)
        assert np.array_equal(fork.run("c"), sessions[0].run("c"))
        fork.reset()
        assert (fork.steps, fork.state_steps) == (6, 0)
        assert np.array_equal(fork.run("abcab"), y)
        assert (fork.steps, fork.state_steps) == (11, 5)
        "".join(fork.generate(3, "b"))
        assert (fork.steps, fork.state_steps) == (15, 9)
        again = known.session(fork.name)
        assert (again.steps, again.state_steps) == (15, 9)
        assert fork.name not in repr(fork)
        fork.delete()
        for call in (fork.state, fork.reset, fork.delete, fork.fork, lambda: fork.run("a")):
            with pytest.raises(SessionError, match="the name of one of your sessions"):
                call()


def test_an_answer_that_gets_lost_makes_and_forgets_nothing_twice(writer: Server) -> None:
    between = Leaky(writer.port)
    with client(writer) as watching, Client(f"http://127.0.0.1:{between.port}") as known:

        def losing(call: Callable[[], Any]) -> Any:
            known.model()  # over a connection that is there
            between.lose_one()
            found = call()
            assert not between.will_lose
            return found

        one = losing(known.create)
        assert list(watching.sessions()) == [one.name]
        y = losing(lambda: one.run("abc"))
        fork = losing(one.fork)
        assert sorted(watching.sessions()) == sorted([one.name, fork.name])
        assert (fork.steps, len(y)) == (3, 3)
        losing(one.reset)
        losing(fork.delete)
        assert list(watching.sessions()) == [one.name]
        for _ in range(2):
            with pytest.raises(SessionError):
                fork.delete()  # whose answer came
        watching.session(one.name).delete()
        with pytest.raises(SessionError):
            one.delete()
    between.close()


def test_what_the_server_refuses_is_an_error_of_ours(writer: Server) -> None:
    with client(writer) as known:
        session = known.create()
        other = known.session(session.name)
        session.run("a")
        with pytest.raises(StepError, match="x: expected the request that was taken at step 0"):
            other.run("cd")
        session.run("b")
        with pytest.raises(StepError, match="first: expected first 2"):
            other.run("a")
        with pytest.raises(GatewrightError, match="x: expected at least one step"):
            session.run("")
        with pytest.raises(GatewrightError, match="expected"):
            session.run([[1.0, 2.0]])
        with pytest.raises(GatewrightError, match="times: expected none"):
            session.run("a", times=["2024-05-01"])
        with pytest.raises(GatewrightError, match="prompt and length: expected at most 1000 steps"):
            list(session.generate(1001))
        with pytest.raises(GatewrightError, match="prompt: expected text"):
            list(known.create().generate(3))
        assert session.steps == 2
        assert len(session.run("c")) == 1


def test_tokens(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokens").write_text("ann: ann-0123456789abcdef\nbob: bob-0123456789abcdef\n")
    with Server(folder / "text.safetensors", tmp_path, "--token-file", str(tmp_path / "tokens")) as server:
        with (
            client(server, token="ann-0123456789abcdef") as ann,
            client(server, token="bob-0123456789abcdef") as bob,
        ):
            session = ann.create()
            with pytest.raises(SessionError):
                bob.session(session.name)
            assert list(bob.sessions()) == []
        monkeypatch.setenv("GATEWRIGHT_TOKEN", "ann-0123456789abcdef")
        with client(server) as again:
            assert list(again.sessions()) == [session.name]
        with (
            client(server, token="eve-0123456789abcdef") as eve,
            pytest.raises(GatewrightError, match="token: expected a token that the server accepts"),
        ):
            eve.create()


def test_patience_has_an_end(folder: Path, tmp_path: Path) -> None:
    with (
        Server(folder / "text.safetensors", tmp_path, "--max-token-steps", "1", "--max-steps", "20") as server,
        client(server, patience=0.2) as known,
    ):
        session = known.create()
        session.run("a" * 20)
        with pytest.raises(BusyError, match="at most 1 a second") as caught:
            session.run("a" * 20)
        assert caught.value.retry_after > 5
        assert session.steps == 20
        server.kill()
        with pytest.raises(ConnectionError, match=r"no answer for 0.2 s"):
            session.run("a")
    for address in ("127.0.0.1:8765", "ftp://here", "http://", 7):
        with pytest.raises(GatewrightError, match="address"):
            Client(address)  # type: ignore[arg-type]


def test_what_is_no_number_is_named_before_anything_is_sent() -> None:
    for given, place in (([[12.8, 5, 0, b"x"]], r"x\[0\]\[3\]"), ([[1.0], [b"2"]], r"x\[1\]\[0\]")):
        with pytest.raises(GatewrightError, match=f"{place}: expected a number"):
            _plain(given)
    assert _plain([[1.0, None], [float("nan"), 2]]) == [[1.0, None], [None, 2.0]]
    assert _plain([1, 2]) == [1, 2]
    # A text may be a category, which the server knows.
    row = ["dry", np.True_, float("nan"), np.float64(1)]
    assert _plain([row, [1, 2]]) == [["dry", True, None, 1.0], [1, 2]]
