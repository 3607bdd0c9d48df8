"""Streams of classifiers: after each step, the very probabilities of the sequence so far."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gatewright import Stream, cli
from gatewright.data.sequences import sequences_of
from gatewright.errors import GatewrightError, SpecError, StateError
from gatewright.exchange.c import to_c
from gatewright.files import model_file
from gatewright.tasks.classify.predict import predict_proba
from tests.support.class_models import CLASSES, COLUMNS, class_model, class_rows

STEPWISE = ("last", "mean", "max")


@pytest.mark.parametrize("pooling", STEPWISE)
@pytest.mark.parametrize("proj", [0, 4])
def test_each_step_gives_the_bits_of_the_sequence_so_far(pooling: str, proj: int, tmp_path: Path) -> None:
    model = class_model(pooling, proj=proj)
    model.save(tmp_path / "model.safetensors")
    stream, rows = Stream.load(tmp_path, sessions=3), class_rows(11)
    assert (stream.columns, stream.classes, stream.output_shape) == (COLUMNS, CLASSES, (3,))
    assert stream.output_dtype == np.float64
    parts = sequences_of([rows[: t + 1] for t in range(len(rows))], columns=COLUMNS)
    expected = predict_proba(model, parts)
    together = stream.run(rows, sessions=1)
    np.testing.assert_array_equal(together, expected)
    other = class_rows(11, seed=1)
    for t, row in enumerate(rows):  # next to another session, and by itself
        found = stream.step(np.stack([other[t], row]), sessions=[0, 2])
        np.testing.assert_array_equal(found[1], expected[t])
    stream.reset(2)
    np.testing.assert_array_equal(stream.run(rows[:4], sessions=2), expected[:4])
    np.testing.assert_array_equal(stream.run(rows[4:], sessions=2), expected[4:])
    y, record = model.stream().run(rows, record=True)
    np.testing.assert_array_equal(y, expected)
    assert record.cell.shape == (11, 2, 9)


@pytest.mark.parametrize("pooling", STEPWISE)
def test_states_are_taken_and_put_back(pooling: str) -> None:
    model, rows = class_model(pooling), class_rows(9)
    stream = model.stream(sessions=2)
    expected = stream.run(rows, sessions=0)
    stream.reset()
    stream.run(rows[:5], sessions=0)
    state, snapshot, twin = stream.state(0), stream.snapshot(0), copy.copy(stream)
    np.testing.assert_array_equal(stream.run(rows[5:], sessions=0), expected[5:])
    np.testing.assert_array_equal(twin.run(rows[5:], sessions=0), expected[5:])
    stream.restore(snapshot, 1)
    assert stream.state(1) == state
    np.testing.assert_array_equal(stream.run(rows[5:], sessions=1), expected[5:])
    fresh = model.stream().state()
    stream.set_state(fresh, 1)
    np.testing.assert_array_equal(stream.run(rows, sessions=1), expected)
    assert len(state.last) == (0 if pooling == "last" else 9)
    if pooling != "last":
        for wrong in (replace(state, last=np.full(9, np.nan)), replace(fresh, last=np.zeros(9))):
            with pytest.raises(StateError, match=r"state\.last: expected numbers after the first step"):
                stream.set_state(wrong)
    with pytest.raises(StateError, match="expected a state of the model"):
        class_model("last" if pooling == "max" else "max").stream().restore(snapshot)


def test_refused_input_changes_nothing() -> None:
    stream, rows = class_model("mean").stream(sessions=2), class_rows(4)
    stream.run(rows, sessions=0)
    before = stream.snapshot(0), stream.snapshot(1)
    for x, message in (
        ([np.nan, 1.0, 1.0], r"x: expected finite numbers, .*; NaN for 'b', got nan in column 'a'"),
        ([1.0, 1.0, np.inf], r"x: expected finite numbers, .* got inf in column 'c'"),
        ([1e30, 1.0, 1.0], r"x: expected finite numbers, within 1e\+20 standard deviations.* in column 'a'"),
        ([1.0, 1.0], r"x: expected .*, got shape \(2,\)"),
        (["1", 1.0, 1.0], r"x\[0\]: expected a number, got '1'"),
    ):
        with pytest.raises(GatewrightError, match=message):
            stream.step(x, sessions=0)
    with pytest.raises(GatewrightError, match="session"):
        stream.step(np.ones((2, 3)), sessions=[0, 7])
    with pytest.raises(GatewrightError, match="time: expected none"):
        stream.step(np.ones(3), sessions=0, time="2024-01-01")
    with pytest.raises(GatewrightError, match=r"stream: expected .*, got a classifier"):
        class_model("last").stream().step_into(np.ones(3), np.empty(3))
    assert (stream.snapshot(0), stream.snapshot(1)) == before


@pytest.mark.parametrize(
    ("pooling", "bidirectional", "message"),
    [
        ("last", True, "expected one that reads forward only, as by train --directions forward, .* bidirectional"),
        ("max", True, "expected one that reads forward only"),
        ("attention", False, "expected a classifier that pools by last, mean, max, .* by attention"),
    ],
)
def test_models_of_whole_sequences_are_refused(
    pooling: str, bidirectional: bool, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = class_model(pooling, bidirectional=bidirectional)
    path = tmp_path / "model.safetensors"
    model.save(path)
    with pytest.raises(SpecError, match=f"model: {message}"):
        model.stream()
    with pytest.raises(SpecError, match=f"model: {message}"):
        Stream.load(path)
    for command in (["serve", str(path), "--port", "0"], ["export", str(path), "--to", "c"]):
        with pytest.raises(SystemExit):
            cli.main(command)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: model: expected")


def test_weights_in_fewer_bits_stream_too() -> None:
    model, rows = class_model("max"), class_rows(8)
    whole = model.stream().run(rows)
    for weights in ("bf16", "int8"):
        fewer = model.stream(weights=weights)
        assert fewer.fingerprint != model.stream().fingerprint
        np.testing.assert_allclose(fewer.run(rows), whole, atol=0.1)


def test_c_source_is_refused_for_a_classifier_that_pools(tmp_path: Path) -> None:
    class_model("max").save(tmp_path / "model.safetensors")
    with pytest.raises(
        SpecError, match=r"model: expected a classifier of .* for C, got one with the pooling 'max'"
    ):
        to_c(model_file.read(tmp_path / "model.safetensors"), tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("proj", [0, 4])
def test_each_step_of_a_tagger_gives_the_bits_of_the_whole_sequence(proj: int, tmp_path: Path) -> None:
    from gatewright.tasks.tag.predict import predict_proba as predict_steps

    model, rows = class_model("", proj=proj), class_rows(11)
    model.save(tmp_path / "model.safetensors")
    stream = Stream.load(tmp_path, sessions=2)
    assert (stream.columns, stream.classes, stream.output_shape) == (COLUMNS, CLASSES, (3,))
    [expected] = predict_steps(model, sequences_of([rows], columns=COLUMNS))
    np.testing.assert_array_equal(stream.run(rows, sessions=1), expected)
    first = stream.run(rows[:4], sessions=0)
    stream.restore(stream.snapshot(0), 1)
    np.testing.assert_array_equal(np.concatenate([first, stream.run(rows[4:], sessions=1)]), expected)


def test_a_bidirectional_tagger_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class_model("", bidirectional=True).save(tmp_path / "model.safetensors")
    message = (
        r"model: expected one that reads forward only, as by train --directions forward, .* bidirectional tagger"
    )
    with pytest.raises(SpecError, match=message):
        Stream.load(tmp_path)
    with pytest.raises(
        SpecError, match="model: expected a tagger of --directions forward, for C, got one that reads"
    ):
        to_c(model_file.read(tmp_path / "model.safetensors"), tmp_path / "c")
    with pytest.raises(SystemExit):
        cli.main(["serve", str(tmp_path / "model.safetensors"), "--port", "0"])
    assert capsys.readouterr().err.startswith("error: model: expected one that reads forward only")
