"""Streams of classifiers: after each step, the very probabilities of the sequence so far."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright import Stream, cli
from gatewright.data.sequences import sequences_of
from gatewright.errors import GatewrightError, SpecError, StateError
from gatewright.exchange.c import to_c
from gatewright.files import model_file
from gatewright.nn.model import Model
from gatewright.spec import FeatureEncoder, Scaler
from gatewright.tasks.classify.encoding import encode
from gatewright.tasks.classify.predict import predict_proba
from tests.support.class_models import CLASSES, COLUMNS, class_model, class_rows

POOLINGS = ("last", "mean", "max", "attention")


@pytest.mark.parametrize("pooling", POOLINGS)
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


@pytest.mark.parametrize("pooling", POOLINGS)
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
    width = {"last": 0, "attention": 11}.get(pooling, 9)
    assert len(state.last) == width
    if pooling != "last":
        for wrong in (replace(state, last=np.full(width, np.nan)), replace(fresh, last=np.zeros(width))):
            with pytest.raises(StateError, match=r"state\.last: expected numbers after the first step"):
                stream.set_state(wrong)
    if pooling == "attention":
        for place, number in ((9, 0.0), (10, 0.5)):  # the sum of the weights, and the exponent
            last = state.last.copy()
            last[place] = number
            with pytest.raises(StateError, match=r"state\.last: expected a sum of weights"):
                stream.set_state(replace(state, last=last))
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
    ("pooling", "message"),
    [
        ("last", "expected one that reads forward only, as by train --directions forward, .* bidirectional"),
        ("max", "expected one that reads forward only"),
    ],
)
def test_models_of_whole_sequences_are_refused(
    pooling: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = class_model(pooling, bidirectional=True)
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


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_attention_weighs_the_steps_by_a_softmax(scale: float) -> None:
    model, rows = class_model("attention"), class_rows(60)
    assert model.pool is not None
    assert model.pool.weight is not None
    with torch.no_grad():
        model.pool.weight.mul_(scale)  # weights of some steps far below the smallest number
    found = model.stream().run(rows)
    [encoded] = encode(sequences_of([rows], columns=COLUMNS), *_reads(model))
    hidden = model.lstm(torch.from_numpy(encoded)[:, None])[0][:, 0].double().detach()
    scores = hidden @ model.pool.weight[0].double()
    for t in range(len(rows)):
        mean = scores[: t + 1].softmax(0) @ hidden[: t + 1]
        expected = (model.head.weight.double() @ mean + model.head.bias.double()).softmax(0).detach()
        np.testing.assert_allclose(found[t], expected, rtol=1e-5)
    y = model.pool(model.lstm(torch.from_numpy(encoded)[:, None])[0].double())
    [gradient] = torch.autograd.grad(y.sum(), model.pool.weight)
    weight = model.pool.weight.detach().double()[0].requires_grad_()
    [judge] = torch.autograd.grad(((hidden @ weight).softmax(0) @ hidden).sum(), weight)
    np.testing.assert_allclose(gradient[0], judge, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("pooling", ["max", ""])
def test_categories_are_read_as_in_a_whole_sequence(pooling: str, tmp_path: Path) -> None:
    model, rows = class_model(pooling, categories=True), class_rows(12).astype(object)
    rows[:, 2] = [7, 8, 9, 10, "10", 11, None, np.nan, 7.0, "x", 8, 7]
    indices = [1, 2, 3, 4, 4, 0, 0, 0, 1, 0, 2, 1]
    model.save(tmp_path / "model.safetensors")
    stream = Stream.load(tmp_path, sessions=2)
    assert stream.categories == {"c": ("7", "8", "9", "10")}
    encoded = rows.copy()
    encoded[:, 2] = indices
    x = torch.from_numpy(encode(sequences_of([encoded.astype(float)], columns=COLUMNS), *_reads(model))[0])
    vectors = model.encoder.category[0].weight[torch.tensor(indices)]
    y = model.lstm(torch.cat([x[:, :2], vectors, x[:, 3:]], -1)[:, None])[0]
    expected = model.readout(model.pooled(y)).double().softmax(-1)[:, 0].detach().numpy()
    found = stream.run(rows.tolist(), sessions=1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_array_equal(stream.run(encoded.astype(float), sessions=0, indexed=True), found)
    stream.reset()
    steps = [stream.step([row, row])[1] for row in rows.tolist()]
    np.testing.assert_array_equal(np.stack(steps), found)
    before = stream.snapshot(0)
    for x, message in (([0.0, 0.0, True], "category 'c', None for none, got True"), ([0.0, 0.0, 7.5], "got 7.5")):
        with pytest.raises(GatewrightError, match=message):
            stream.step(x, 0)
    with pytest.raises(GatewrightError, match=r"the index of a value .* got 5\.0 in column 2"):
        stream.step([0.0, 0.0, 5.0], 0, indexed=True)
    assert stream.snapshot(0) == before


def _reads(model: Model) -> tuple[FeatureEncoder, Scaler]:
    assert isinstance(model.spec.encoder, FeatureEncoder)
    assert model.scaler is not None
    return model.spec.encoder, model.scaler


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
