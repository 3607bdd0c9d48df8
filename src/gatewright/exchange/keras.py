"""LSTM layers of Keras 3 and their weights, both ways, whatever Keras's backend.

Keras stacks its gates i, f, c, o as torch does, in columns, and has one bias.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from gatewright.errors import GatewrightError, shorten
from gatewright.exchange.gate_weights import GateWeights, layer_of, require_equations, weights_of
from gatewright.nn.lstm import LSTM
from gatewright.nn.reverse import ReverseLSTM
from gatewright.spec.cell import CellSpec

#: Features of a cell that Keras has too, and its names of our activations.
_FEATURES = ("gate_activation", "candidate_activation", "output_activation", "hidden_dropout")
_NAMES = {"sigmoid": "sigmoid", "hard_sigmoid": "hard_sigmoid", "tanh": "tanh", "hard_tanh": "hard_tanh"}
_NAMES["identity"] = "linear"
_ONE_BY_ONE = "; from_keras of its forward_layer and its backward_layer gives both alone"


def from_keras(source: Any) -> Any:
    """Return the LSTM layers of Keras with their weights, as layers with ``batch_first=True``.

    ``return_sequences``, ``return_state``, ``stateful`` and masks are matters of use: a call gives y of all steps
    and the last state, and takes ``hx``, ``lengths`` and ``mask``.  A layer with ``go_backwards`` becomes a
    `gatewright.nn.reverse.ReverseLSTM`, whose y is in the order of the input, where Keras's is in the order read.

    Args:
        source: a built ``keras.layers.LSTM``, ``Bidirectional`` of one, ``RNN`` of an ``LSTMCell``, or a model.

    Returns:
        The layer; of a model a dict of all of them by name, those of models within it as "model/layer".

    Raises:
        GatewrightError: if Keras is not installed, the source is none of these or not built, an activation is none
            of ours, or both directions are merged in another way than by concatenation.

    Warns:
        UserWarning: of dropout on the inputs, which acts in training alone, and which the layer does not have.

    >>> import keras  # doctest: +SKIP
    >>> layer = keras.layers.LSTM(8)  # doctest: +SKIP
    >>> layer.build((None, None, 3))  # doctest: +SKIP
    >>> from_keras(layer)  # doctest: +SKIP
    LSTM(3, 8, batch_first=True)
    """
    keras = _keras()
    if isinstance(source, keras.Model):
        found = dict(_layers(keras, source, ""))
        if not found:
            raise GatewrightError("source", "a model with an LSTM layer", f"{shorten(source.name)} without one")
        return found
    if not _is_lstm(keras, source):
        expected = "a keras.layers.LSTM, a Bidirectional of one, an RNN of an LSTMCell, or a model with some"
        raise GatewrightError("source", expected, f"a value of type {type(source).__name__}")
    return _layer(keras, source, source.name)


def _layers(keras: Any, model: Any, path: str) -> Any:
    """Yield name and layer of every LSTM of a model, once each."""
    for layer in model.layers:
        name = path + layer.name
        inner: Any = getattr(layer, "layer", None)  # of a wrapper, such as TimeDistributed
        if _is_lstm(keras, layer):
            yield name, _layer(keras, layer, name)
        elif isinstance(layer, keras.Model):
            yield from _layers(keras, layer, f"{name}/")
        elif _is_lstm(keras, inner):
            yield f"{name}/{inner.name}", _layer(keras, inner, f"{name}/{inner.name}")
        elif isinstance(inner, keras.Model):
            yield from _layers(keras, inner, f"{name}/{inner.name}/")


def _is_lstm(keras: Any, layer: Any) -> bool:
    """Whether this is an LSTM, or a pair of them."""
    if isinstance(layer, keras.layers.Bidirectional):
        return _is_lstm(keras, layer.forward_layer) and _is_lstm(keras, layer.backward_layer)
    return isinstance(layer, keras.layers.RNN) and isinstance(layer.cell, keras.layers.LSTMCell)


def _layer(keras: Any, layer: Any, name: str) -> LSTM:
    """Return a layer of ours for an LSTM of Keras or a pair of them."""
    if not isinstance(layer, keras.layers.Bidirectional):
        weights, cell = _direction(keras, layer, name)
        return layer_of([weights], cell, reverse=layer.go_backwards, argument=name, batch_first=True)
    if layer.merge_mode != "concat":
        expected = f"'concat', as both directions of a layer of ours{_ONE_BY_ONE}"
        raise GatewrightError(f"{name}.merge_mode", expected, repr(layer.merge_mode))
    if layer.forward_layer.go_backwards:
        expected = f"False of the forward layer{_ONE_BY_ONE}"
        raise GatewrightError(f"{name}.go_backwards", expected, "True")
    both = [_direction(keras, each, name) for each in (layer.forward_layer, layer.backward_layer)]
    if both[0][1] != both[1][1]:
        expected = f"one cell in both directions{_ONE_BY_ONE}"
        raise GatewrightError(name, expected, " and ".join(cell.in_words() for _, cell in both))
    return layer_of([weights for weights, _ in both], both[0][1], argument=name, batch_first=True)


def _direction(keras: Any, layer: Any, name: str) -> tuple[GateWeights, CellSpec]:
    """Return weights and cell of an LSTM layer."""
    cell = layer.cell
    require_equations(cell, [keras.layers.LSTMCell], name, "call")
    if not cell.built:
        raise GatewrightError(name, "a built layer: call it, or its build((None, None, D))", "one without weights")
    if cell.dropout:
        text = f"{name}: dropout of the inputs, {cell.dropout:g}, is left out; it acts in training alone"
        warnings.warn(text, stacklevel=4)
    gate = _activation(
        keras, cell.recurrent_activation, ("sigmoid", "hard_sigmoid"), f"{name}.recurrent_activation"
    )
    state = _activation(keras, cell.activation, ("tanh", "hard_tanh", "identity"), f"{name}.activation")
    spec = CellSpec(
        gate_activation=gate,
        candidate_activation=state,
        output_activation=state,
        hidden_dropout=cell.recurrent_dropout,
    )
    arrays = [cell.kernel, cell.recurrent_kernel, cell.bias if cell.use_bias else None]
    kernel, recurrent, bias = (None if each is None else _numbers(keras, each) for each in arrays)
    assert kernel is not None
    assert recurrent is not None
    return GateWeights(kernel.T, recurrent.T, bias), spec


def _numbers(keras: Any, variable: Any) -> Any:
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32")))


def _activation(keras: Any, function: Any, ours: tuple[str, ...], argument: str) -> str:
    for name in ours:
        if function is keras.activations.get(_NAMES[name]):
            return name
    got = getattr(function, "__name__", type(function).__name__)
    raise GatewrightError(argument, f"one of {[_NAMES[name] for name in ours]}", shorten(got))


def to_keras(lstm: LSTM, *, return_sequences: bool = True, name: str | None = None) -> Any:
    """Return a Keras layer with the weights of a layer.

    It reads (B, T, D), whatever ``batch_first`` is.  Several layers become a ``keras.Sequential``, with
    ``Dropout`` between them; both directions a ``Bidirectional``.  That of a `ReverseLSTM` has ``go_backwards``.

    Args:
        lstm: the layer; its cell may have hard activations, and dropout of the hidden state.
        return_sequences: whether the result is y of all steps, (B, T, S*H), as that of ours, or of the last step
            of each direction, (B, S*H).
        name: of the layer.

    Raises:
        GatewrightError: if Keras is not installed, or the layer has what Keras's do not.
    """
    keras = _keras()
    cell = lstm.cell if isinstance(lstm, LSTM) else None
    stack = weights_of(lstm, "Keras", _FEATURES)
    assert cell is not None
    if cell.candidate_activation != cell.output_activation:
        expected = "that of the candidate, since Keras has one activation for both"
        raise GatewrightError("output_activation", expected, repr(cell.output_activation))
    layers: list[Any] = []
    for number, directions in enumerate(stack):
        last = number == len(stack) - 1
        if number and lstm.dropout:
            layers.append(keras.layers.Dropout(lstm.dropout))
        sequences = return_sequences or not last
        layers.append(_built(keras, directions, lstm, sequences, name if len(stack) == 1 else None))
    if len(stack) == 1:
        return layers[0]
    D = stack[0][0].W_ih.shape[1]
    return keras.Sequential([keras.Input((None, D)), *layers], name=name)


def _built(keras: Any, directions: list[GateWeights], lstm: LSTM, sequences: bool, name: str | None) -> Any:
    """Return one Keras layer with its weights."""
    D, H = directions[0].W_ih.shape[1], directions[0].W_hh.shape[1]
    cell, both = lstm.cell, len(directions) == 2
    layer = keras.layers.LSTM(
        H,
        activation=_NAMES[cell.candidate_activation],
        recurrent_activation=_NAMES[cell.gate_activation],
        use_bias=directions[0].bias is not None,
        recurrent_dropout=cell.hidden_dropout,
        return_sequences=sequences,
        go_backwards=isinstance(lstm, ReverseLSTM),
        dtype="float64" if directions[0].W_ih.dtype == np.float64 else "float32",
        name=None if both else name,
    )
    whole = keras.layers.Bidirectional(layer, merge_mode="concat", name=name) if both else layer
    whole.build((None, None, D))
    for each, weights in zip(
        [whole.forward_layer, whole.backward_layer] if both else [whole], directions, strict=True
    ):
        arrays = [weights.W_ih.T, weights.W_hh.T]
        each.set_weights(arrays if weights.bias is None else [*arrays, weights.bias])
    return whole


def _keras() -> Any:
    try:
        import keras
    except ImportError:
        raise GatewrightError("keras", "the package keras: pip install 'keras>=3.8'", "none") from None
    return keras
