"""The server over HTTP: what it answers is what a stream of the same model gives, to the bit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gatewright import Stream
from gatewright.runtime.sampling import generate
from gatewright.spec import BYTE_NAMES
from tests.support.local_server import Local, local, nulls, numbers
from tests.support.stream_models import SYMBOLS, byte_model, rows_of, series_model, table, text_model

TEXT = "a bad cab\nfed a hag"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with local(text_model().stream(sessions=3), tmp_path_factory.mktemp("text")) as server:
        yield server


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with local(series_model(time_zone="UTC").stream(sessions=3), tmp_path_factory.mktemp("series")) as server:
        yield server


def alone(text: str) -> Stream:
    stream = text_model().stream()
    stream.run(text)
    return stream


def test_text_in_whatever_parts_gives_what_a_stream_gives(text: Local) -> None:
    expected = text_model().stream().run(TEXT)
    session = text.create()
    whole = text.advance(session, TEXT, first=0)
    assert np.array_equal(np.array(whole["y"], np.float32), expected)
    assert (whole["steps"], whole["repeated"]) == (len(TEXT), False)
    assert text.state(session) == alone(TEXT).state()
    session, found = text.create(), []
    parts = [TEXT[:1], [SYMBOLS.index(symbol) for symbol in TEXT[1:4]], TEXT[4:9], TEXT[9:]]
    for part in parts:
        found += text.advance(session, part, first=len(found))["y"]
    assert np.array_equal(np.array(found, np.float32), expected)
    assert text.state(session) == alone(TEXT).state()


def test_a_forecaster_with_a_calendar_and_missing_targets(series: Local) -> None:
    model = series_model(time_zone="UTC")
    observed = table(model, 14)
    rows, times = rows_of(model, observed, 10), observed.times[:10]
    stream = model.stream()
    expected = stream.run(rows, times=times)
    assert np.isnan(rows).any()
    session, told = series.create(), [str(time) for time in times]
    found = []
    for part in (slice(0, 1), slice(1, 6), slice(6, 10)):
        body = {"x": nulls(rows[part]), "times": told[part], "first": part.start}
        found += series.advance(session, **body)["y"]
    assert np.array_equal(numbers(found), expected, equal_nan=True)
    assert series.state(session) == stream.state()
    # A zone counts: the same moments elsewhere.
    elsewhere = [f"{time + np.timedelta64(2, 'h')}+02:00" for time in times]
    session = series.create()
    assert np.array_equal(
        numbers(series.advance(session, nulls(rows), times=elsewhere)["y"]), expected, equal_nan=True
    )


def test_a_repeated_request_gets_the_same_answer_and_takes_no_step(text: Local) -> None:
    session = text.create()
    text.advance(session, "ab", first=0)
    steps = text.metric("steps_total")
    first = text.advance(session, "bad", first=2)
    again = text.advance(session, "bad", first=2)
    assert again == {**first, "repeated": True}
    assert text.metric("steps_total") == steps + 3
    assert text.state(session) == alone("abbad").state()
    for what, body in (
        ("first", {"x": "bad", "first": 0}),
        ("first", {"x": "b", "first": 9}),
        ("x", {"first": 2}),
    ):
        refused = text.ask(session, "advance", **{"x": "bed", **body})
        assert refused.status_code == 409
        assert refused.json()["error"]["argument"] == what
    assert text.state(session) == alone("abbad").state()


@pytest.mark.parametrize(
    ("outputs", "part"), [("all", slice(None)), ("last", slice(-1, None)), ("none", slice(0))]
)
def test_the_outputs_that_are_wanted(text: Local, outputs: str, part: slice) -> None:
    session = text.create()
    for _ in range(2):  # a repetition too
        answer = text.advance(session, TEXT, first=0, outputs=outputs)
        expected = text_model().stream().run(TEXT)[part]
        assert np.array_equal(np.array(answer["y"], np.float32).reshape(expected.shape), expected)
        assert answer["steps"] == len(TEXT)
    assert np.array_equal(
        np.array(text.advance(session, TEXT, first=0)["y"], np.float32), text_model().stream().run(TEXT)
    )


def test_fork_reset_delete_and_the_list(text: Local) -> None:
    session = text.create()
    text.advance(session, "abc", first=0)
    forked = text.ask(session, "fork").json()
    assert (forked["steps"], forked["state_steps"]) == (3, 3)
    assert forked["session"] != session
    text.advance(session, "d", first=3)
    text.advance(forked["session"], "e", first=3)
    assert text.state(session) == alone("abcd").state()
    assert text.state(forked["session"]) == alone("abce").state()
    reset = text.ask(session, "reset").json()
    assert (reset["session"], reset["steps"], reset["state_steps"]) == (session, 4, 0)
    assert text.state(session) == text_model().stream().state()
    for _ in range(2):  # the answer again, too
        answer = text.advance(session, "fg", first=4)
        assert (answer["steps"], answer["state_steps"]) == (6, 2)
    assert text.state(session) == alone("fg").state()
    assert text.http.delete(f"/v1/sessions/{session}").status_code == 204
    for answer in (
        text.http.delete(f"/v1/sessions/{session}"),
        text.http.get(f"/v1/sessions/{session}"),
        text.ask(session, "advance", x="a"),
        text.ask(session, "fork"),
        text.ask(session, "reset"),
        text.ask(session, "generate", length=1, prompt="a"),
    ):
        assert answer.status_code == 404
    assert text.state(forked["session"]) == alone("abce").state()


def test_pages_of_the_list_have_every_session_once(tmp_path: Path) -> None:
    with local(text_model().stream(), tmp_path) as server:
        made = sorted(server.create() for _ in range(7))
        for most in (1, 3, 7, 8):
            found, after = [], ""
            for turn in itertools.count():
                page = server.http.get("/v1/sessions", params={"after": after, "most": most}).json()
                found += page["sessions"]
                assert len(page["sessions"]) <= most
                if page["next"] is None:
                    break
                after = page["next"]
                assert turn < 8
            assert found == made


def test_a_snapshot_goes_to_a_stream_and_back(series: Local) -> None:
    model = series_model(time_zone="UTC")
    observed = table(model, 14)
    rows, times = nulls(rows_of(model, observed, 10)), [str(time) for time in observed.times[:10]]
    session = series.create()
    series.advance(session, rows[:6], times=times[:6])
    stream = model.stream()
    stream.restore(series.snapshot(session))
    assert stream.state() == series.state(session)
    series.advance(session, rows[6:], times=times[6:])
    expected = stream.run(rows_of(model, observed, 10)[6:], times=observed.times[6:10])
    other = series.create()
    series.advance(other, rows[:1], times=times[:1])
    early = model.stream()
    early.run(rows_of(model, observed, 10)[:6], times=observed.times[:6])
    answer = series.restore(other, early.snapshot())
    assert answer.status_code == 200
    assert answer.json()["steps"] == 1  # the number goes on
    found = series.advance(other, rows[6:], times=times[6:], first=1)
    assert np.array_equal(numbers(found["y"]), expected, equal_nan=True)
    assert series.state(other) == stream.state() == series.state(session)


def test_a_snapshot_of_another_model_is_refused(text: Local, series: Local) -> None:
    session = text.create()
    before = text.snapshot(session)
    answer = text.restore(session, series_model(time_zone="UTC").stream().snapshot())
    assert answer.status_code == 422
    assert answer.json()["error"]["argument"] == "snapshot"
    assert text.snapshot(session) == before


def written(pieces: list[dict[str, object]]) -> str:
    assert all(set(piece) == {"text", "steps", "state_steps", "repeated"} for piece in pieces), pieces
    return "".join(str(piece["text"]) for piece in pieces)


def test_generated_text_is_that_of_generate(text: Local) -> None:
    expected = "".join(generate(text_model().stream(), "abc", 50, temperature=0.8, seed=3))
    session = text.create()
    pieces = text.generate(session, prompt="abc", length=50, temperature=0.8, seed=3, first=0)
    assert written(pieces) == expected
    assert len(pieces) > 1
    assert [piece["steps"] for piece in pieces][-1] == 53
    assert text.state(session) == alone("abc" + expected).state()
    # In parts it is the same text, and the session reads on from there.
    session, parts, first = text.create(), "", 0
    for length in (1, 16, 17, 0, 16):
        prompt = "" if first else "abc"
        pieces = text.generate(session, prompt=prompt, length=length, temperature=0.8, seed=3, first=first)
        parts, first = parts + written(pieces), int(str(pieces[-1]["steps"]))
    assert parts == expected
    assert text.state(session) == alone("abc" + expected).state()


def test_generated_text_again_after_its_answer_was_lost(text: Local) -> None:
    session = text.create()
    body = {"prompt": "ab", "length": 40, "seed": 1, "first": 0}
    expected = written(text.generate(session, **body))
    again = text.generate(session, **body)
    assert written(again) == expected
    assert all(piece["repeated"] for piece in again)
    assert text.state(session) == alone("ab" + expected).state()
    more = text.generate(session, **{**body, "length": 60})  # goes on where it ended
    assert written(more)[:40] == expected
    assert written(more) == "".join(generate(text_model().stream(), "ab", 60, seed=1))
    assert text.ask(session, "generate", **{**body, "seed": 2}).status_code == 409


def test_text_whose_reader_goes_away_can_be_asked_for_again(text: Local) -> None:
    session = text.create()
    body = {"prompt": "ab", "length": 700, "seed": 1, "first": 0}
    with text.http.stream("POST", f"/v1/sessions/{session}/generate", json=body) as response:
        next(response.iter_lines())
    again = text.generate(session, **body)
    assert written(again) == "".join(generate(text_model().stream(), "ab", 700, seed=1))
    assert text.state(session) == alone("ab" + written(again)).state()


def test_the_seed_of_a_text_comes_from_its_session(text: Local) -> None:
    session, other = text.create(), text.create()
    pieces = text.generate(session, prompt="a", length=40)
    assert written(pieces) != written(text.generate(other, prompt="a", length=40))
    assert text.state(session) == alone("a" + written(pieces)).state()


def test_what_the_model_reads_and_gives_is_told(text: Local, series: Local) -> None:
    for server, stream in ((text, text_model().stream()), (series, series_model(time_zone="UTC").stream())):
        found = server.http.get("/v1/model").json()
        assert found["model"] == stream.fingerprint
        assert tuple(found["columns"]) == stream.columns
        assert found["calendar"] == stream.reads_calendar
        assert tuple(found["targets"]) == stream.targets
        assert tuple(found["quantiles"]) == stream.quantiles
        assert tuple(found["symbols"]) == stream.symbols
        assert tuple(found["output"]) == stream.output_shape
        assert found["context"] == stream.context
    assert (text_model().stream().context, series_model().stream().context) == (0, 12)


def test_more_sessions_than_memory_has_room_for(text: Local) -> None:
    sessions = [text.create() for _ in range(8)]
    for at, symbol in enumerate(TEXT):
        for session in sessions:
            text.advance(session, symbol, first=at)
    assert all(text.state(session) == alone(TEXT).state() for session in sessions)
    assert text.metric("sessions_resident") <= 3


MERGES = ("a b", "ab a", " ".join((BYTE_NAMES[0xC3], BYTE_NAMES[0xA9])))


@pytest.mark.parametrize(("tokens", "merges"), [("bytes", ()), ("bpe", MERGES)])
def test_text_of_bytes_comes_in_whole_characters(tokens: str, merges: tuple[str, ...], tmp_path: Path) -> None:
    stream = byte_model(tokens, merges).stream
    expected = "".join(generate(stream(), "abaé", 90, seed=3))
    assert "\ufffd" in expected  # a byte in the wrong place
    read = stream().tokenizer.encode("abaé").tolist()
    assert len(read) == {"bytes": 5, "bpe": 2}[tokens]
    with local(stream(sessions=3), tmp_path, piece=1) as server:
        session = server.create()
        body = {"prompt": "abaé", "length": 90, "seed": 3, "first": 0}
        pieces = server.generate(session, **body)
        assert len(pieces) == 90
        assert any(piece["text"] == "" for piece in pieces)  # in the middle of a character
        assert written(pieces) == expected
        assert [piece["steps"] for piece in pieces] == [len(read) + n for n in range(1, 91)]
        assert written(server.generate(session, **body)) == expected
        # Texts that are read are counted in tokens, too.
        session = server.create()
        answer = server.advance(session, "abaé", first=0)
        assert answer["steps"] == len(read)
        assert np.array_equal(np.array(answer["y"], np.float32), stream().run("abaé"))
        model = server.http.get("/v1/model").json()
        assert (model["token"], model["symbols"][0xE9]) == ({"bytes": "byte", "bpe": "token"}[tokens], "\\xe9")
