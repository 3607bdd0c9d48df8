"""Several servers over one store: a session goes on at any of them, and no step is lost or taken twice."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.errors import BusyError, GatewrightError, SessionError, StepError, StoreError
from gatewright.runtime.sampling import generate
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.requests import Advance, Answer, Generate
from gatewright.serve.sessions.valkey import ValkeyStore
from tests.serve.test_sessions import D, error, inputs, layer, only, save_weights
from tests.support.forks import SERVING, fork_server
from tests.support.stream_models import SYMBOLS, text_model
from tests.support.valkey_server import Valkey


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    running = Valkey(tmp_path_factory.mktemp("valkey"))
    yield running
    running.kill()


@contextlib.contextmanager
def replicas(server: Valkey, count: int = 2, resident: int = 2) -> Iterator[list[Sessions]]:
    with contextlib.ExitStack() as stack:
        with server.client() as client:
            client.flushall()
        stores = [stack.enter_context(ValkeyStore(server.url)) for _ in range(count)]
        yield [Sessions(layer().stream(sessions=resident), store) for store in stores]


def alone(x: Any) -> Any:
    return layer().stream().run(x)


def state_after(x: Any) -> Any:
    stream = layer().stream()
    if len(x):
        stream.run(x)
    return stream.state()


@pytest.mark.parametrize("named", [True, False])
def test_a_session_goes_on_at_any_replica(server: Valkey, named: bool) -> None:
    draw, x = random.Random(0), inputs(0, 120)
    found: list[Any] = []
    with replicas(server, 3) as each:
        name = each[0].create("me")
        while len(found) < len(x):
            part = x[len(found) : len(found) + draw.randint(1, 4)]
            at = draw.choice(each)
            answer = only(at.advance([Advance(name, part, len(found) if named else None, "me")]))
            found.extend(answer.y)
            assert (answer.steps, answer.repeated) == (len(found), False)
        assert np.array_equal(np.stack(found), alone(x))
        for at in each:
            assert at.read(name, "me") == (len(x), state_after(x))


def test_what_one_acknowledged_the_other_repeats(server: Valkey) -> None:
    x = inputs(1, 9)
    with replicas(server) as (a, b):
        name = a.create()
        only(b.advance([Advance(name, x[:2], 0)]))  # b has it in memory, as it will be no more
        first = only(a.advance([Advance(name, x[2:5], 2)]))
        for at in (b, a, b):
            again = only(at.advance([Advance(name, x[2:5], 2)]))
            assert (again.steps, again.repeated) == (5, True)
            assert np.array_equal(again.y, first.y)
        assert "a different request" in str(error(b.advance([Advance(name, x[3:6], 2)])))
        assert "first 5" in str(error(b.advance([Advance(name, x[:2], 0)])))
        only(a.advance([Advance(name, x[5:7], 5)]))
        assert "first 7" in str(error(b.advance([Advance(name, x[2:5], 2)])))  # no more its last
        assert np.array_equal(only(b.advance([Advance(name, x[7:], 7)])).y, alone(x)[7:])


def test_reset_fork_and_delete_are_seen_by_the_other(server: Valkey) -> None:
    x = inputs(2, 8)
    with replicas(server) as (a, b):
        name = a.create("me")
        for at, part in ((a, x[:3]), (b, x[3:5])):
            only(at.advance([Advance(name, part, owner="me")]))
        two = a.fork(name, "me")  # of what b left
        assert np.array_equal(only(b.advance([Advance(two, x[5:], 5, "me")])).y, alone(x)[5:])
        a.reset(name, "me")
        assert b.read(name, "me") == (5, state_after(x[:0]))
        only(b.advance([Advance(name, x[:1], 5, "me")]))
        a.reset(name, "me")  # with b's state in memory at b: it must not go on from there
        assert np.array_equal(only(b.advance([Advance(name, x[:4], 6, "me")])).y, alone(x[:4]))
        a.reset(name, "me", a.snapshot(two, "me")[1])
        assert isinstance(error(b.advance([Advance(name, x[:4], 6, "me")])), StepError)  # it is not to be repeated
        assert b.read(name, "me") == (10, state_after(x))
        assert (a.names("me"), a.count()) == (b.names("me"), b.count())
        a.delete(name, "me")
        for request in (Advance(name, x, owner="me"), Advance(name, x, 10, "me"), Advance(name, x, 3, "me")):
            assert type(error(b.advance([request]))) is SessionError
            only(b.advance([Advance(two, x[:1], owner="me")]))
        for call in (b.read, b.reset, b.fork, b.snapshot, b.delete):
            with pytest.raises(SessionError, match="the name of one of your sessions"):
                call(name, "me")
        assert b.names("me") == [two]


def test_a_text_begun_at_one_goes_on_at_the_other(server: Valkey) -> None:
    model = text_model()
    with ValkeyStore(server.url) as one, ValkeyStore(server.url) as other:
        a, b = Sessions(model.stream(), one), Sessions(model.stream(), other)
        expected = "".join(generate(model.stream(), "abc", 12, seed=3))

        def text(answers: list[Answer | GatewrightError]) -> str:
            return "".join(SYMBOLS[number] for number in only(answers).y)

        name = a.create()
        b.read(name)  # b has it in memory when it has read nothing yet
        begun = text(a.advance([Generate(name, 5, "abc", 0, seed=3)]))
        assert begun + text(b.advance([Generate(name, 4, "", 8, seed=3)])) == expected[:9]
        assert text(a.advance([Generate(name, 4, "", 8, seed=3)])) == expected[5:9]
        assert text(a.advance([Generate(name, 7, "", 8, seed=3)])) == expected[5:]  # and goes on
        assert text(b.advance([Generate(name, 7, "", 8, seed=3)])) == expected[5:]
        a.reset(name)
        assert "read nothing" in str(error(b.advance([Generate(name, 4)])))


def together(*functions: Callable[[], None]) -> None:
    """Call functions at the same time."""
    failed: list[BaseException] = []
    start = threading.Barrier(len(functions))

    def call(function: Callable[[], None]) -> None:
        try:
            start.wait()
            function()
        except BaseException as caught:
            failed.append(caught)

    threads = [threading.Thread(target=call, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def test_of_two_that_race_for_one_request_one_takes_it(server: Valkey) -> None:
    x = inputs(3, 150)
    with replicas(server) as (a, b):
        name = a.create()
        answers: list[list[Answer | GatewrightError]] = [[] for _ in x]
        met = threading.Barrier(2)

        def drive(at: Sessions) -> None:
            for step in range(len(x)):
                met.wait()
                answers[step] += at.advance([Advance(name, x[step : step + 1], step)])

        together(lambda: drive(a), lambda: drive(b))
        for step, (one, two) in enumerate(answers):
            assert isinstance(one, Answer)
            assert isinstance(two, Answer)
            assert sorted([one.repeated, two.repeated]) == [False, True], step
            assert np.array_equal(one.y, two.y)
            assert one.steps == two.steps == step + 1
        assert np.array_equal(np.concatenate([one.y for one, _ in answers if isinstance(one, Answer)]), alone(x))
        assert a.read(name) == b.read(name) == (len(x), state_after(x))


def test_of_two_that_race_with_different_requests_one_is_refused(server: Valkey) -> None:
    xs = [inputs(4, 100), inputs(5, 100)]
    with replicas(server) as each:
        name = each[0].create()
        answers: list[dict[int, Any]] = [{} for _ in xs[0]]
        met = threading.Barrier(2)

        def drive(who: int) -> None:
            for step in range(len(answers)):
                met.wait()
                [answers[step][who]] = each[who].advance([Advance(name, xs[who][step : step + 1], step)])

        together(lambda: drive(0), lambda: drive(1))
        read, y = [], []
        for step, both in enumerate(answers):
            [winner] = [who for who, answer in both.items() if isinstance(answer, Answer)]
            assert isinstance(both[1 - winner], StepError)
            read.append(xs[winner][step])
            y.extend(both[winner].y)
        assert np.array_equal(np.stack(y), alone(np.stack(read)))
        assert each[0].read(name) == (len(read), state_after(np.stack(read)))


def test_steps_without_a_number_count_once_each(server: Valkey) -> None:
    """Each caller steps with an input of its own; in the order of the answers it is one run."""
    callers, steps = 4, 40
    with replicas(server, callers) as each:
        name = each[0].create()
        taken: dict[int, tuple[int, Any]] = {}

        def drive(who: int) -> None:
            for turn in range(steps):
                while True:
                    x = np.full((1, D), who if turn % 2 else 9, np.float32)  # every other one is like the others'
                    [answer] = each[who].advance([Advance(name, x)])
                    if isinstance(answer, Answer):
                        break
                    assert isinstance(answer, BusyError), answer
                    time.sleep(answer.retry_after * random.random() / 20)
                assert not answer.repeated
                assert answer.steps not in taken
                taken[answer.steps] = who if turn % 2 else 9, answer.y[0]

        together(*(lambda who=who: drive(who) for who in range(callers)))
        assert sorted(taken) == list(range(1, callers * steps + 1))
        x = np.stack([np.full(D, taken[step][0], np.float32) for step in sorted(taken)])
        assert np.array_equal(np.stack([taken[step][1] for step in sorted(taken)]), alone(x))
        for at in each:
            assert at.read(name) == (len(x), state_after(x))


def test_processes_that_race_take_each_step_once(server: Valkey, tmp_path: Path) -> None:
    count, weights, read = 150, tmp_path / "weights.npz", tmp_path / "x.npy"
    save_weights(weights)
    np.save(read, inputs(6, count))
    with replicas(server, 1) as (a,):
        name = a.create()
        outputs = [tmp_path / "one", tmp_path / "other"]
        processes = []
        for seed, output in enumerate(outputs):
            command = ["-m", "tests.support.session_process", "race"]
            with output.open("w") as file:
                more = [server.url, str(weights), str(read), name, str(seed)]
                processes.append(fork_server(*SERVING).start([*command, *more], stdout=file, stderr=file))
        statuses = [process.wait() for process in processes]
        assert statuses == [0, 0], [output.read_text() for output in outputs]
        assert sum(int(output.read_text()) for output in outputs) == count
        assert a.read(name) == (count, state_after(inputs(6, count)))


def test_the_store_killed_in_use_loses_nothing(tmp_path: Path) -> None:
    server = Valkey(tmp_path / "data")
    x, draw = inputs(7, 400), random.Random(0)
    with replicas(server, resident=4) as each:
        names = [each[0].create() for _ in range(3)]
        answered: dict[str, list[Any]] = {name: [] for name in names}
        outcomes = {"errors": 0, "repeats": 0}

        def drive(number: int) -> None:
            name = names[number]
            mine = random.Random(number)
            while len(answered[name]) < len(x):
                first = len(answered[name])
                [answer] = each[mine.randrange(2)].advance([Advance(name, x[first : first + 3], first)])
                if isinstance(answer, StoreError):
                    outcomes["errors"] += 1
                    time.sleep(0.005)
                    continue
                assert isinstance(answer, Answer), answer
                outcomes["repeats"] += answer.repeated
                answered[name].extend(answer.y)
                assert answer.steps == len(answered[name])

        def kill() -> None:
            for _ in range(6):
                time.sleep(draw.uniform(0.005, 0.05))
                server.kill()
                for call in (each[0].create, lambda: each[1].read(names[0]), lambda: each[0].names()):
                    with pytest.raises(StoreError):
                        call()
                server.start()

        together(kill, *(lambda number=number: drive(number) for number in range(3)))
        assert outcomes["errors"] > 0
        for name in names:
            assert np.array_equal(np.stack(answered[name]), alone(x))
            assert each[0].read(name) == each[1].read(name) == (len(x), state_after(x))
        assert each[0].count() == len(each[0].names()) == 3
    server.kill()


def test_an_answer_that_got_lost_comes_when_it_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatewright.serve.sessions.valkey._REST", 0.0)
    server = Valkey(tmp_path / "data")
    x = inputs(8, 6)
    with replicas(server, 1) as (b,), ValkeyStore(f"{server.url}?socket_timeout=0.8") as store:
        a = Sessions(layer().stream(), store)
        name = a.create()
        only(a.advance([Advance(name, x[:2], 0)]))
        server.signal(signal.SIGSTOP)
        assert isinstance(error(a.advance([Advance(name, x[2:4], 2)])), StoreError)
        server.signal(signal.SIGCONT)  # and does what was asked of it, for nobody
        for at in (a, b, a):
            answer = only(at.advance([Advance(name, x[2:4], 2)]))
            assert (answer.steps, answer.repeated) == (4, True)
            assert np.array_equal(answer.y, alone(x)[2:4])
        server.signal(signal.SIGSTOP)
        assert isinstance(error(a.advance([Advance(name, x[4:5])])), StoreError)
        server.signal(signal.SIGCONT)
        assert only(a.advance([Advance(name, x[5:])])).steps == 6  # upon what it did, not beside it
        assert a.read(name) == b.read(name) == (6, state_after(x))
    server.kill()


class _Expected:
    """What a session must be: all that it has read since it was reset, and its last request."""

    def __init__(self) -> None:
        self.read: list[Any] = []
        self.steps = 0
        self.last: tuple[int, Any, Any] | None = None

    def take(self, x: Any) -> Any:
        self.read.extend(x)
        y = alone(np.stack(self.read))[-len(x) :]
        self.last = self.steps, x, y
        self.steps += len(x)
        return y

    def state(self) -> Any:
        return state_after(np.stack(self.read) if self.read else [])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100_000), resident=st.integers(1, 4))
def test_whatever_is_done_at_whichever_replica(server: Valkey, seed: int, resident: int) -> None:
    draw, owner = random.Random(seed), f"owner {seed}"
    expected: dict[str, _Expected] = {}
    with contextlib.ExitStack() as stack:
        stores = [stack.enter_context(ValkeyStore(server.url)) for _ in range(2)]
        each = [Sessions(layer().stream(sessions=resident), store) for store in stores]
        gone: list[str] = []
        with server.client() as client:
            client.flushall()

        def advance(at: Sessions, turn: int) -> None:
            chosen = draw.sample(list(expected), draw.randint(1, len(expected)))
            requests, kinds = [], []
            for number, name in enumerate(chosen):
                kept = expected[name]
                kind = draw.choice(["next", "next", "any", "again", "wrong", "gone"])
                x, first = inputs(seed + 100 * turn + number, draw.choice([1, 1, 2])), None
                if kind == "next":
                    first = kept.steps
                elif kind == "again" and kept.last is not None:
                    first, x, _ = kept.last
                elif kind == "wrong":
                    first = kept.steps + draw.choice([1, 7, -9])
                elif kind == "gone" and gone:
                    name = draw.choice(gone)
                else:
                    kind = "any"
                requests.append(Advance(name, x, first, owner))
                kinds.append(kind)
            for request, kind, answer in zip(requests, kinds, at.advance(requests), strict=True):
                if kind == "gone":
                    assert type(answer) in (SessionError, StepError)
                    continue
                kept = expected[request.session]
                if kind == "wrong":
                    assert isinstance(answer, StepError)
                    continue
                assert isinstance(answer, Answer), answer
                assert answer.repeated == (kind == "again")
                y = kept.last[2] if answer.repeated and kept.last else kept.take(request.x)
                assert np.array_equal(answer.y, y)
                assert answer.steps == kept.steps

        for turn in range(25):
            place = draw.randrange(2)
            at = each[place]
            kind = draw.choice(["create", "fork", "reset", "delete", "restart", "read"] + ["advance"] * 8)
            if kind == "restart":
                each[place] = Sessions(layer().stream(sessions=resident), stores[place])
            elif kind == "create" or not expected:
                expected[at.create(owner)] = _Expected()
            elif kind == "advance":
                advance(at, turn)
            else:
                name = draw.choice(list(expected))
                kept = expected[name]
                if kind == "fork":
                    twin = expected[at.fork(name, owner)] = _Expected()
                    twin.read, twin.steps = list(kept.read), kept.steps
                elif kind == "reset":
                    at.reset(name, owner)
                    kept.read, kept.last = [], None
                elif kind == "delete":
                    at.delete(name, owner)
                    del expected[name]
                    gone.append(name)
                else:
                    assert at.read(name, owner) == (kept.steps, kept.state())
            assert each[1 - place].names(owner) == sorted(expected)
            assert at.count() == len(expected)
        for name, kept in expected.items():
            for at in each:
                assert at.read(name, owner) == (kept.steps, kept.state())


def test_a_name_that_is_taken_is_not_given_again(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    with replicas(server) as (a, b):
        name = a.create("me")
        only(a.advance([Advance(name, inputs(0, 2), owner="me")]))
        monkeypatch.setattr("secrets.token_urlsafe", lambda _: name)
        with pytest.raises(BusyError):
            b.create("you")
        assert b.read(name, "me")[0] == 2


def test_a_fault_midway_leaves_no_state_behind(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    x = inputs(9, 7)
    with replicas(server, 1) as (a,):
        name = a.create()
        only(a.advance([Advance(name, x[:2])]))
        with monkeypatch.context() as patched:
            patched.setattr(ValkeyStore, "save", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                a.advance([Advance(name, x[2:5])])
        assert np.array_equal(only(a.advance([Advance(name, x[2:5], 2)])).y, alone(x)[2:5])
        a.serve(a.stream)  # its own; the states in it are in use
        assert np.array_equal(only(a.advance([Advance(name, x[5:], 5)])).y, alone(x)[5:])
