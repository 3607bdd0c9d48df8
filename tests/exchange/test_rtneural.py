"""RTNeural's JSON, read back by the equations; `make interop` runs RTNeural itself on it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import LSTM, CellSpec
from gatewright.errors import GatewrightError
from gatewright.exchange.rtneural import layers_json, to_rtneural
from gatewright.files.model_file import ModelFile
from gatewright.runtime.stream import Stream
from gatewright.spec import (
    ClassHead,
    FeatureEncoder,
    ModelSpec,
    QuantileHead,
    Scaler,
    SeriesEncoder,
    StackSpec,
    StepClassHead,
)
from tests.support.rtneural import by_equations, random_model


def test_layers_with_a_head() -> None:
    torch.manual_seed(0)
    lstm, head, x = LSTM(3, [5, 4]), torch.nn.Linear(4, 2), torch.randn(7, 1, 3)
    got = by_equations(layers_json(lstm, head), x[:, 0].numpy())
    np.testing.assert_allclose(got, head(lstm(x)[0])[:, 0].detach().numpy(), rtol=0, atol=1e-6)
    without = by_equations(layers_json(LSTM(3, 4, bias=False)), x[:, 0].numpy())
    assert without.shape == (7, 4)


def tagger() -> ModelFile:
    scaler = Scaler(("x", "y"), (3.0, -100.0), (2.0, 50.0), ())
    return random_model(
        ModelSpec(FeatureEncoder(("x", "y")), StackSpec((6, 5)), StepClassHead(("a", "b", "c"))), scaler
    )


def forecaster() -> ModelFile:
    encoder = SeriesEncoder(("out",), past=("in",), known=("knob",), static=("size",), reads="nothing", context=4)
    head = QuantileHead(horizon=2, quantiles=(0.5,))
    scaler = Scaler(("out", "in", "knob", "size"), (7.0, 3.0, 5.0, 1.0), (4.0, 0.5, 2.0, 3.0), (1.0,))
    return random_model(ModelSpec(encoder, StackSpec(6), head), scaler)


@pytest.mark.parametrize("make", [tagger, forecaster])
def test_whole_models_in_the_units_of_the_table(make: Any, tmp_path: Path) -> None:
    file = make()
    assert file.scaler is not None
    [path] = to_rtneural(file, tmp_path)
    stream = Stream.of(file)
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(20, len(stream.columns))) * 3 + 2
    expected = stream.run(rows).reshape(20, -1)
    inputs = (
        rows if file.spec.tagger else rows[:, 1:]
    )  # a forecaster's row has its targets, which it does not read
    got = by_equations(json.loads(path.read_text()), inputs)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    with pytest.raises(GatewrightError, match=r"--out: expected a directory without model\.json"):
        to_rtneural(file, tmp_path)


def changed(file: ModelFile, **parts: Any) -> ModelFile:
    assert file.scaler is not None
    return random_model(replace(file.spec, **parts), file.scaler)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            lambda: changed(tagger(), lstm=StackSpec(6, cell_clip=3.0)),
            "cell: expected a plain LSTM cell for RTNeural",
        ),
        (lambda: changed(tagger(), lstm=StackSpec(6, proj_size=2)), "proj_size: expected none, for RTNeural"),
        (lambda: changed(tagger(), lstm=StackSpec(6, bidirectional=True)), "bidirectional: expected none"),
        (lambda: changed(tagger(), lstm=StackSpec(6, 2, residual=True)), "residual: expected none"),
        (
            lambda: changed(tagger(), encoder=FeatureEncoder(("x", "y"), missing=("y",))),
            "missing: expected columns",
        ),
        (lambda: changed(tagger(), head=ClassHead(("a", "b"), pooling="mean")), "pooling: expected 'last'"),
        (lambda: changed(forecaster(), head=QuantileHead(horizon=2)), r"quantiles: expected one.*--quantiles 0.5"),
        (lambda: changed(forecaster(), head=QuantileHead(2, (0.5,), minimum=(0.0,))), "minimum: expected none"),
        (
            lambda: changed(forecaster(), encoder=replace(forecaster().spec.encoder, reads="change")),
            "reads: expected 'nothing', for RTNeural",
        ),
    ],
)
def test_what_rtneural_does_not_have_is_refused(file: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(GatewrightError, match=message):
        to_rtneural(file(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_layers_that_rtneural_does_not_have_are_refused() -> None:
    with pytest.raises(GatewrightError, match="lstm: expected layers that go forward"):
        layers_json(LSTM(3, 4, bidirectional=True))
    with pytest.raises(GatewrightError, match="got peephole"):
        layers_json(LSTM(3, 4, cell=CellSpec(peephole=True)))
    with pytest.raises(GatewrightError, match=r"head: expected a torch\.nn\.Linear of 4 inputs"):
        layers_json(LSTM(3, 4), torch.nn.Linear(5, 1))
    with pytest.raises(GatewrightError, match=r"a torch\.nn\.Linear of 4 inputs, got Embedding"):
        layers_json(LSTM(3, 4), torch.nn.Embedding(2, 4))


def test_the_model_is_a_real_one() -> None:
    """Its outputs depend on all inputs, so that a wrong unit could not pass."""
    stream = Stream.of(forecaster())
    rows = np.ones((3, 5))
    expected = stream.run(rows)[-1]
    for column in range(1, 5):
        stream.reset()
        moved = rows.copy()
        moved[:, column] += 1
        assert np.abs(stream.run(moved)[-1] - expected).max() > 1e-3, column
