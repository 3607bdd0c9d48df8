"""LSTM layers of Keras 3 both ways, judged by Keras, on its torch backend."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import LSTM, CellSpec
from gatewright.errors import GatewrightError
from gatewright.nn.reverse import ReverseLSTM
from tests.support.page_examples import run_example

os.environ.setdefault("KERAS_BACKEND", "torch")  # of this process: a process has one
keras = pytest.importorskip("keras")

from gatewright.exchange.keras import from_keras, to_keras  # noqa: E402

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

B, T, D, H = 3, 7, 4, 5
TOLERANCE = 1e-6


def x_of(width: int = D) -> Any:
    return np.random.default_rng(1).normal(size=(B, T, width)).astype(np.float32)


def random_weights(layer: Any) -> None:
    rng = np.random.default_rng(2)
    layer.set_weights([rng.normal(0, 0.6, weight.shape) for weight in layer.get_weights()])


def keras_gives(layer: Any, x: Any, **options: Any) -> Any:
    with torch.no_grad():
        result = layer(x, **options)
    convert = keras.ops.convert_to_numpy
    return [convert(each) for each in result] if isinstance(result, (list, tuple)) else convert(result)


@torch.no_grad()
def ours_gives(layer: LSTM, x: Any, **options: Any) -> Any:
    return layer.eval()(torch.from_numpy(x), **options)


def close(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=0, atol=TOLERANCE)


OPTIONS = [
    {},
    {"use_bias": False},
    {"unit_forget_bias": False, "recurrent_activation": "hard_sigmoid"},
    {"activation": "hard_tanh"},
    {"activation": "linear", "recurrent_activation": "hard_sigmoid"},
    {"recurrent_dropout": 0.3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("backwards", [False, True])
def test_a_layer_in_and_out(options: dict[str, Any], backwards: bool) -> None:
    theirs = keras.layers.LSTM(H, return_sequences=True, return_state=True, go_backwards=backwards, **options)
    theirs.build((None, None, D))
    random_weights(theirs)
    y, h, c = keras_gives(theirs, x_of())
    ours = from_keras(theirs)
    assert isinstance(ours, ReverseLSTM) == backwards
    assert ours.cell.hidden_dropout == options.get("recurrent_dropout", 0)
    got, (h_n, c_n) = ours_gives(ours, x_of())
    close(got.flip(1) if backwards else got, y)
    close(h_n[0], h)
    close(c_n[0], c)
    back = to_keras(ours, name="again")
    assert back.name == "again"
    assert back.get_config()["recurrent_activation"] == options.get("recurrent_activation", "sigmoid")
    close(keras_gives(back, x_of()), y)
    for mine, weight in zip(back.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, weight)


def test_both_directions_and_unequal_lengths() -> None:
    theirs = keras.layers.Bidirectional(keras.layers.LSTM(H, return_sequences=True))
    theirs.build((None, None, D))
    random_weights(theirs.forward_layer)
    random_weights(theirs.backward_layer)
    theirs.backward_layer.set_weights([-weight for weight in theirs.backward_layer.get_weights()])
    ours = from_keras(theirs)
    close(ours_gives(ours, x_of())[0], keras_gives(theirs, x_of()))
    back = to_keras(ours)
    close(keras_gives(back, x_of()), keras_gives(theirs, x_of()))
    # Keras carries the state over steps that a mask leaves out, and so do we.
    mask = np.arange(T) < np.array([7, 3, 5])[:, None]
    got, _ = ours_gives(ours, x_of(), mask=torch.from_numpy(mask))
    expected = keras_gives(theirs, x_of(), mask=mask)
    close(got.numpy()[mask], expected[mask])


def test_a_stack_out_and_a_model_in() -> None:
    torch.manual_seed(0)
    ours = LSTM(D, [6, 3, 5], bidirectional=True, dropout=0.2, batch_first=True).eval()
    model = to_keras(ours, name="stack")
    close(keras_gives(model, x_of()), ours_gives(ours, x_of())[0])
    last = to_keras(ours, return_sequences=False)
    h_n = ours_gives(ours, x_of())[1][0][-1]
    close(keras_gives(last, x_of()), torch.cat([h_n[0], h_n[1]], -1))
    outer = keras.Sequential([keras.Input((None, D)), model, keras.layers.LSTM(2, name="head")])
    found = from_keras(outer)
    assert list(found) == [f"stack/{layer.name}" for layer in model.layers if "bidirectional" in layer.name] + [
        "head"
    ]
    y = x_of()
    for layer in found.values():
        y = ours_gives(layer, y)[0].numpy()
    close(y[:, -1], keras_gives(outer, x_of()))


def test_an_rnn_of_a_cell_and_dropout_of_inputs() -> None:
    theirs = keras.layers.RNN(keras.layers.LSTMCell(H, dropout=0.1), return_sequences=True)
    theirs.build((None, None, D))
    with pytest.warns(UserWarning, match="dropout of the inputs, 0.1, is left out"):
        ours = from_keras(theirs)
    close(ours_gives(ours, x_of())[0], keras_gives(theirs, x_of()))


def built(layer: Any) -> Any:
    layer.build((None, None, D))
    return layer


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda: keras.layers.LSTM(H), "expected a built layer"),
        (lambda: built(keras.layers.LSTM(H, activation="relu")), "activation: expected one of .*, got 'relu'"),
        (
            lambda: built(keras.layers.LSTM(H, recurrent_activation="tanh")),
            "recurrent_activation: expected one of",
        ),
        (lambda: built(keras.layers.GRU(H)), "source: expected a keras.layers.LSTM"),
        (lambda: built(keras.layers.Bidirectional(keras.layers.LSTM(H), merge_mode="sum")), "merge_mode: .*'sum'"),
        (lambda: keras.Sequential([keras.layers.Dense(3)]), "without one"),
        (lambda: None, "source"),
    ],
)
def test_what_is_refused_on_the_way_in(source: Any, message: str) -> None:
    with pytest.raises(GatewrightError, match=message):
        from_keras(source())


@pytest.mark.parametrize(
    ("lstm", "message"),
    [
        (LSTM(D, H, proj_size=2), "proj_size: expected 0 for Keras"),
        (LSTM(D, H, cell=CellSpec(peephole=True)), "cell: .*Keras does not have, got peephole"),
        (LSTM(D, H, cell=CellSpec(output_activation="identity")), "output_activation"),
        (LSTM(H, H, 2, residual=True), "residual"),
        (LSTM(D, H, initial_state="learned"), "initial_state: expected 'zeros' for Keras"),
        (torch.nn.LSTM(D, H), "lstm: expected a gatewright.LSTM"),
    ],
)
def test_what_is_refused_on_the_way_out(lstm: Any, message: str) -> None:
    with pytest.raises(GatewrightError, match=message):
        to_keras(lstm)


def test_the_example_of_the_page() -> None:
    found = run_example("exchange.md", "Keras 3")
    assert repr(found["layers"]["both"]) == "LSTM(3, 8, batch_first=True, bidirectional=True)"
    close(ours_gives(found["layers"]["both"], x_of(3))[0], keras_gives(found["again"], x_of(3)))


def test_a_cell_with_a_step_of_its_own_is_refused():
    class Doubled(keras.layers.LSTMCell):
        def call(self, inputs, states, training=False):
            return super().call(2 * inputs, states, training)

    layer = keras.layers.RNN(Doubled(H), return_sequences=True)
    layer.build((None, None, D))
    with pytest.raises(GatewrightError, match="with the same call, got a Doubled"):
        from_keras(layer)
