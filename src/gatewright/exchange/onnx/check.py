"""ONNX Runtime next to the model, on random input: several sizes, gaps, rows of unequal length, two calls."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.data.public_holidays import ahead
from gatewright.data.target_units import in_table_units, transformed
from gatewright.exchange.onnx.model import states_of
from gatewright.files.model_file import ModelFile
from gatewright.runtime.classes import ClassSteps
from gatewright.runtime.packed_model import WeightFormat
from gatewright.runtime.signature import Signature
from gatewright.runtime.state import State
from gatewright.runtime.stream import Stream
from gatewright.spec import FeatureEncoder, SeriesEncoder

Array = NDArray[Any]

#: Steps and rows of calls: the second goes on from the first.
_SIZES = ((9, 3), (4, 3)), ((13, 2),)


class Call(NamedTuple):
    """A call of a graph.

    Attributes:
        inputs: by name, without states.
        times: of the steps of each row, (steps, rows), for a model that reads them.
    """

    inputs: dict[str, Array]
    times: Array | None

    @property
    def lengths(self) -> Array:
        """Steps of each row."""
        return self.inputs["lengths"]


def largest_difference(file: ModelFile, model: Any, weights: WeightFormat = "float32") -> float:
    """Return the largest difference between ONNX Runtime and the model, by the size of the output of each target.

    Outputs are compared, and all states after the calls; infinity where one is missing and the other is not.

    Args:
        file: the model.
        model: its graph.
        weights: the format of its weights, as of a stream.
    """
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [each.name for each in session.get_outputs()]
    random = np.random.default_rng(0)
    worst = 0.0
    for sizes in _SIZES:
        rows = sizes[0][1]
        judge = _Whole(file) if file.spec.lstm.bidirectional else _Streamed(file, rows, weights)
        given = {name: _start(session, name, start, rows) for name, (_, start) in states_of(model).items()}
        for number, (T, B) in enumerate(sizes):
            call = random_call(file, random, T, B, whole=file.spec.lstm.bidirectional, first=number == 0)
            results = dict(zip(names, session.run(None, {**call.inputs, **given}), strict=True))
            given = {name: results[following] for name, (following, _) in states_of(model).items()}
            worst = max(worst, *(_difference(results[name], each) for name, each in judge.results(call).items()))
    return worst


def _start(session: Any, name: str, number: float, rows: int) -> Array:
    """Return a state before the first step."""
    found = next(each for each in session.get_inputs() if each.name == name)
    dtype = np.float32 if found.type == "tensor(float)" else np.float64
    return np.full([rows if size == "rows" else size for size in found.shape], number, dtype)


def _difference(got: Array, expected: Array) -> float:
    """Return the largest difference, by the largest number of each target."""
    if got.shape != expected.shape or not np.array_equal(np.isnan(got), np.isnan(expected)):
        return float("inf")
    axes = tuple(k for k in range(got.ndim) if k != 3) if got.ndim == 5 else tuple(range(got.ndim))
    size = np.abs(np.nan_to_num(expected)).max(axis=axes, keepdims=True, initial=0)
    return float((np.abs(np.nan_to_num(got - expected)) / np.where(size > 0, size, 1)).max(initial=0))


def random_call(
    file: ModelFile, random: np.random.Generator, T: int, B: int, *, whole: bool = False, first: bool = True
) -> Call:
    """Return random input.

    Args:
        file: the model.
        random: random numbers.
        T: steps.
        B: rows; the second is shorter.
        whole: whether every row has steps.
        first: whether it is the first call; in a later one the last row has no steps.
    """
    encoder = file.spec.encoder
    inputs: dict[str, Array] = {"lengths": np.full(B, T, np.int64)}
    inputs["lengths"][1] = max(1, T // 2)
    if not (first or whole):
        inputs["lengths"][-1] = 0
    times = None
    if isinstance(encoder, SeriesEncoder):
        inputs["x"] = _table(file, random, (T, B))
        if encoder.calendar or encoder.holidays:
            hours = random.integers(0, 20 * 365 * 20, (T, B))  # from 4 in the morning on: no clock jumps there
            times = np.datetime64("2004-01-01T04:00", "us") + (
                hours // 20 * np.timedelta64(24, "h") + hours % 20 * np.timedelta64(1, "h")
            )
            inputs |= {"time": times.astype(np.int64)} if encoder.calendar else {}
        if encoder.holidays and times is not None:
            options = encoder.time_zone, encoder.step, file.spec.head.horizon, encoder.holidays
            inputs["holidays"] = ahead(times.reshape(-1), *options).reshape(T, B, -1)
    elif isinstance(encoder, FeatureEncoder):
        inputs["x"] = _features(file, random, (T, B))
    else:
        inputs["x"] = random.integers(0, encoder.symbols, (T, B))
    return Call(inputs, times)


def _table(file: ModelFile, random: np.random.Generator, sizes: tuple[int, int]) -> Array:
    """Return rows of a forecaster's table, a part of whose targets is missing."""
    assert file.spec.forecaster is not None
    encoder, head = file.spec.forecaster
    assert file.scaler is not None
    scaler = file.scaler
    signature, K = Signature.of(file.spec, None), len(encoder.targets)
    z = random.normal(size=(*sizes, K)) * scaler.scale[:K] + scaler.mean[:K]
    unbounded = head.__class__(head.horizon, head.quantiles)
    x = np.empty((*sizes, len(signature.columns)))
    values = in_table_units(z[..., None], encoder, scaler, unbounded)[..., 0]
    allowed = np.isfinite(transformed(values.reshape(-1, K), encoder, scaler)).reshape(values.shape)
    x[..., :K] = np.where(allowed & (random.random((*sizes, K)) > 0.2), values, np.nan)
    for place, name in enumerate(signature.columns[K:], K):
        column = scaler.columns.index(name.rpartition("+")[0] if name not in scaler.columns else name)
        x[..., place] = random.normal(scaler.mean[column], scaler.scale[column], sizes)
    for each, (_, places) in zip(encoder.categories, signature.categories, strict=True):
        x[..., places] = random.integers(0, each.count, (*sizes, places.stop - places.start))
    return x


def _features(file: ModelFile, random: np.random.Generator, sizes: tuple[int, int]) -> Array:
    """Return rows of a classifier or a tagger, a part of which is missing where it may be."""
    encoder = file.spec.encoder
    assert isinstance(encoder, FeatureEncoder)
    assert file.scaler is not None
    x = random.normal(size=(*sizes, len(encoder.columns))) * file.scaler.scale + file.scaler.mean
    for name in encoder.missing:
        x[..., encoder.columns.index(name)][random.random(sizes) < 0.2] = np.nan
    for category, place in encoder.category_places():
        x[..., place] = random.integers(0, category.count, (*sizes, 1))
    return x


class _Streamed:
    """The model by a stream, row by row.

    Args:
        file: the model.
        rows: number of sessions.
        weights: the format of the weights.
    """

    def __init__(self, file: ModelFile, rows: int, weights: WeightFormat) -> None:
        self._spec, self._stream = file.spec, Stream.of(file, sessions=rows, weights=weights)

    def results(self, call: Call) -> dict[str, Array]:
        """Return outputs and states after a call, by their names in the graph."""
        stream, x = self._stream, call.inputs["x"]
        y = np.full((*x.shape[:2], *stream.output_shape), np.nan)
        last = np.full((x.shape[1], *stream.output_shape), np.nan)
        for row, length in enumerate(call.lengths):
            if length:
                times = None if call.times is None else call.times[:length, row]
                y[:length, row] = stream.run(x[:length, row], row, times=times, indexed=True)
                last[row] = y[length - 1, row]
        states = [stream.state(row) for row in range(x.shape[1])]
        if self._spec.labeller is not None:
            return {"probability": last if self._spec.classifier else y, **self._layers(states)}
        if self._spec.forecaster is None:
            return {"logits": y, **self._layers(states)}
        return {"forecast": y, **self._layers(states), **self._targets(states)}

    def _layers(self, states: list[State]) -> dict[str, Array]:
        """Return the states of the layers."""
        stack = self._spec.lstm
        parts: dict[str, Array] = {}
        hidden = [stack.proj_size or H for H in stack.hidden_sizes]
        for name, each, widths in (("hn", "hidden", hidden), ("cn", "cell", stack.cell_state_sizes)):
            flat = np.stack([getattr(state, each).reshape(-1) for state in states])
            layers = np.split(flat, np.cumsum(widths)[:-1], axis=1)
            if stack.is_unequal:
                parts |= {f"{name}_l{number}": layer for number, layer in enumerate(layers)}
            else:
                parts[name] = np.stack(layers)
        return parts

    def _targets(self, states: list[State]) -> dict[str, Array]:
        """Return what is remembered of targets."""
        encoder, K = self._spec.encoder, len(self._spec.encoder.targets)
        if not encoder.reads_targets:
            return {}
        last = np.stack([state.last for state in states])
        parts = {"lastn": last[:, :K]}
        if encoder.window:
            parts["windown"] = last[:, K:].reshape(len(last), K, -1)
        return {**parts, "recentn": np.stack([state.recent for state in states])} if encoder.seasons else parts


class _Whole:
    """A model that reads whole sequences, by torch.

    Args:
        file: a classifier or a tagger of both directions.
    """

    def __init__(self, file: ModelFile) -> None:
        import torch

        from gatewright.nn.model import Model

        self._classes, self._torch = ClassSteps(file), torch
        self._model = Model(file.spec, scaler=file.scaler).eval()
        self._model.load_state_dict(
            {name: torch.tensor(each) for name, each in file.tensors.items()}, strict=False
        )

    def results(self, call: Call) -> dict[str, Array]:
        """Return the outputs of a call."""
        rows = self._torch.from_numpy(self._classes.rows(call.inputs["x"]))
        with self._torch.no_grad():
            scores = self._model(rows, lengths=self._torch.from_numpy(call.lengths)).y.numpy()
        shares = self._classes.probabilities(scores)
        if self._model.spec.classifier is not None:
            return {"probability": shares[0]}
        steps = np.arange(len(shares))[:, None] < call.lengths
        return {"probability": np.where(steps[..., None], shares, np.nan)}
