"""Sessions that write: the text of one generation, whether asked for whole, in parts, again, or beside others."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright import LSTM
from gatewright.errors import GatewrightError, StepError, StoreError
from gatewright.runtime.sampling import generate
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.requests import Advance, Answer, Generate
from gatewright.serve.sessions.sqlite import SqliteStore
from tests.support.stream_models import SYMBOLS, text_model

MODEL = text_model()


def whole(prompt: str, length: int, **options: Any) -> str:
    return "".join(generate(MODEL.stream(), prompt, length, **options))


def told(sessions: Sessions, request: Generate | Advance) -> Answer:
    [answer] = sessions.advance([request])
    assert isinstance(answer, Answer), answer
    return answer


def text(answer: Answer) -> str:
    return "".join(SYMBOLS[number] for number in answer.y)


def refused(sessions: Sessions, request: Generate | Advance) -> GatewrightError:
    [answer] = sessions.advance([request])
    assert isinstance(answer, GatewrightError), answer
    return answer


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), resident=st.integers(1, 5))
def test_a_text_in_parts_beside_others_and_out_of_memory_is_the_same_text(seed: int, resident: int) -> None:
    draw = random.Random(seed)
    with SqliteStore(":memory:") as store:
        sessions = Sessions(MODEL.stream(sessions=resident), store)
        names = [sessions.create() for _ in range(4)]
        prompts = ["".join(draw.choices("abcdefgh xyz", k=draw.randint(1, 6))) for _ in names]
        heat = [draw.choice([0.0, 0.5, 1.0, 3.0]) for _ in names]
        parts = [sorted(draw.sample(range(1, 40), 3)) for _ in names]
        found = [""] * len(names)
        for turn in range(3):
            requests = [
                Generate(name, parts[n][turn], prompts[n], 0, heat[n], seed=n) for n, name in enumerate(names)
            ]
            again = draw.random() < 0.5
            for _ in range(1 + again):
                for n, answer in enumerate(sessions.advance(requests)):
                    assert isinstance(answer, Answer), answer
                    found[n] = text(answer)
                    assert answer.steps == len(prompts[n]) + parts[n][turn]
            assert answer.repeated == again
        for n, name in enumerate(names):
            assert found[n] == whole(prompts[n], parts[n][-1], temperature=heat[n], seed=n)
            alone = MODEL.stream()
            alone.run(prompts[n] + found[n])
            assert sessions.read(name) == (len(prompts[n]) + parts[n][-1], alone.state())


def test_a_text_goes_on_after_what_was_read_or_written(store: SqliteStore) -> None:
    sessions = Sessions(MODEL.stream(), store)
    name = sessions.create()
    assert "text, for a session that has read nothing" in str(refused(sessions, Generate(name, 5)))
    told(sessions, Advance(name, "abc", 0))
    expected = whole("abc", 30, seed=4)
    assert text(told(sessions, Generate(name, 10, first=3, seed=4))) == expected[:10]
    assert text(told(sessions, Generate(name, 20, first=13, seed=4))) == expected[10:]
    fork = sessions.fork(name)
    assert text(told(sessions, Generate(fork, 7, seed=4))) == whole("abc", 37, seed=4)[30:]
    told(sessions, Generate(name, 0, "ab", 33))  # reads, and writes nothing
    alone = MODEL.stream()
    alone.run("abc" + expected + "ab")
    assert sessions.read(name) == (35, alone.state())
    sessions.reset(name)
    assert "read nothing" in str(refused(sessions, Generate(name, 5)))
    assert text(told(sessions, Generate(name, 5, "abc", 35, temperature=0))) == whole("abc", 5, temperature=0)


def test_a_part_of_what_was_written_comes_again_and_another_request_does_not(store: SqliteStore) -> None:
    sessions = Sessions(MODEL.stream(), store)
    name = sessions.create()
    first = told(sessions, Generate(name, 20, "ab", 0, seed=1))
    sessions = Sessions(MODEL.stream(), store)  # the server was started again
    again = told(sessions, Generate(name, 20, "ab", 0, seed=1))
    assert (text(again), again.steps, again.repeated) == (text(first), 22, True)
    part = told(sessions, Generate(name, 8, "ab", 0, seed=1))
    assert (text(part), part.steps, part.repeated) == (text(first)[:8], 10, True)
    before = sessions.read(name)
    for other in (
        Generate(name, 20, "ba", 0, seed=1),
        Generate(name, 20, "ab", 0, seed=2),
        Generate(name, 20, "ab", 0, 0.5, seed=1),
        Generate(name, 20, "ab", 1, seed=1),
        Advance(name, "ab", 0),
    ):
        assert isinstance(refused(sessions, other), StepError)
    assert sessions.read(name) == before
    longer = told(sessions, Generate(name, 25, "ab", 0, seed=1))
    assert text(longer) == whole("ab", 25, seed=1)
    assert (longer.steps, longer.repeated) == (27, False)


def test_what_cannot_be_stored_was_not_written(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(MODEL.stream(), store)
    name = sessions.create()
    told(sessions, Generate(name, 5, "ab", 0, seed=1))
    before = sessions.read(name)

    def full(_: object) -> None:
        raise StoreError("sessions.db", "a file that can be written", "database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(store, "save", full)
        assert isinstance(refused(sessions, Generate(name, 9, "ab", 0, seed=1)), StoreError)
        assert sessions.read(name) == before
    assert text(told(sessions, Generate(name, 9, "ab", 0, seed=1))) == whole("ab", 9, seed=1)


def test_layers_write_nothing(store: SqliteStore) -> None:
    sessions = Sessions(LSTM(3, 4).stream(), store)
    name = sessions.create()
    assert "model: expected a language model" in str(refused(sessions, Generate(name, 5, "ab")))
    assert np.array_equal(told(sessions, Advance(name, [[0.0] * 3])).y.shape, (1, 4))
