"""Inputs of the model or the layers that `look` records."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from gatewright.errors import GatewrightError
from gatewright.nn import LSTM, layer_sizes
from gatewright.nn.initial_state import types_of
from gatewright.nn.model import Model, State
from gatewright.runs.run import Run
from gatewright.spec.recording import LayersMetadata, RecordingMetadata
from gatewright.tasks import registry
from gatewright.tasks.inputs import InputBatch, start_error

Array = NDArray[Any]


def gather(
    model: Model | LSTM,
    data: Any,
    *,
    state: State | None = None,
    start: int = 0,
    steps: int | None = None,
    title: str = "",
    fill: str = "",
) -> InputBatch:
    """Return the inputs of a model from data of any kind that fits it; see `gatewright.insight.look`.

    Args:
        model: the model.
        data: as for `look`.
        state: initial states of bare layers; zeros if None.
        start: first step.
        steps: maximum number of steps; all if None.
        title: title of the recording; the name of the file if empty.
        fill: how missing inputs are filled: "", "forward" or "mean".

    Raises:
        GatewrightError: if the data does not fit the model.
    """
    span = _span(start, steps)
    if isinstance(model, LSTM):
        _require_title(title)
        return _of_numbers(model, data, state, span, title)
    require_whole_model_arguments(state, title)
    kind = registry.kind_of(model.spec)
    return replace(kind.inputs(model, data, span, title, fill), kind=kind.name)


def require_whole_model_arguments(state: Any, title: Any) -> None:
    """Raise unless arguments suit a run or a whole model.

    Raises:
        GatewrightError: if there is a state, or the title is no text.
    """
    if state is not None:
        raise GatewrightError("state", "None for a whole model, which starts from zeros", type(state).__name__)
    _require_title(title)


def require_module_arguments(state: Any, start: Any, steps: Any, title: Any) -> None:
    """Raise unless arguments suit a caller's module.

    Raises:
        GatewrightError: if there is a state, a first step or a number of steps, or the title is no text.
    """
    for name, value, unset in (("state", state, None), ("start", start, 0), ("steps", steps, None)):
        if value is not unset and value != unset:
            expected = "none for a module, whose inputs say what it reads"
            raise GatewrightError(name, expected, repr(value)[:80])
    _require_title(title)


def _require_title(title: Any) -> None:
    if not isinstance(title, str):
        raise GatewrightError("title", "a text", repr(title)[:80])


def of_run(
    run: Run,
    model: Model,
    data: Any,
    *,
    start: int = 0,
    steps: int | None = None,
    part: str = "test",
    fill: str | None = None,
) -> InputBatch:
    """Return the inputs of a run's model.

    Args:
        run: the run.
        model: its best model, or that of a snapshot.
        data: as for `look`; None for a part of the run's own data.
        start: first step, within that part.
        steps: maximum number of steps; all if None.
        part: "valid" or "test", if ``data`` is None.
        fill: how missing inputs are filled; as in training if None.

    Raises:
        GatewrightError: if the run's source has changed, or the data does not fit the model.
    """
    span, kind = _span(start, steps), registry.kind(run.kind)
    if data is not None:
        options = run.options().data
        with run.reading():
            batch = kind.inputs(model, data, span, "", (options.fill or "") if fill is None else fill, options)
    else:
        title = f"{run.path.resolve().name}, {'validation' if part == 'valid' else 'test'} part"
        batch = kind.part_inputs(model, run.data(fill), part, span, title)
    return replace(batch, kind=kind.name)


def _span(start: Any, steps: Any) -> slice:
    """Return the slice of steps to read.

    Raises:
        GatewrightError: if ``start`` or ``steps`` is out of range.
    """
    for name, number, least in (("start", start, 0), ("steps", steps, 1)):
        whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
        if number is not None and (not whole or number < least):
            raise GatewrightError(name, f"a whole number of at least {least}", repr(number)[:80])
    return slice(int(start), None if steps is None else int(start) + int(steps))


def _of_numbers(lstm: LSTM, data: Any, state: State | None, span: slice, title: str) -> InputBatch:
    """Return the inputs of bare layers from numbers (T, B, D), (T, D), or with `batch_first` (B, T, D)."""
    x, lengths = _time_first(lstm, data)
    weight = lstm.layer_weights(0).W_ih
    if x.dim() != 3 or x.shape[-1] != lstm.input_size:
        raise GatewrightError("data", f"numbers of shape (T, B, {lstm.input_size})", str(tuple(x.shape)))
    x = x[span].to(weight.device, weight.dtype)
    steps = np.clip(lengths.numpy() - span.start, 0, len(x))
    if x.shape[1] == 0 or int(lengths.min()) == 0:
        raise GatewrightError("data", "at least one step in every row", "none")
    if steps.min() == 0:
        raise start_error(span.start, int(lengths.min()), "the shortest row")
    if not bool(x.isfinite().all()):
        t, row, column = x.isfinite().logical_not().nonzero()[0].tolist()
        got = f"{float(x[t, row, column])} at step {t}, row {row}, column {column}"
        raise GatewrightError("data", "finite numbers", got)
    about = RecordingMetadata(
        title=title,
        note="",
        fingerprint=layers_fingerprint(lstm),
        rows=("",) * x.shape[1],
        inputs=tuple(f"x{n}" for n in range(x.shape[2])),
        readouts=(),
        peer="",
        edits=(),
        data=LayersMetadata(),
    )
    return InputBatch(about, x, steps, state=states_of(lstm, x, state))


def _time_first(lstm: LSTM, data: Any) -> tuple[Tensor, Tensor]:
    """Return numbers as (T, B, D), and the steps of each row (B,)."""
    if isinstance(data, PackedSequence):
        return pad_packed_sequence(data)
    try:
        x = data if isinstance(data, torch.Tensor) else torch.as_tensor(data, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        x = None
    if x is None or x.is_complex() or x.dtype == torch.bool:
        raise GatewrightError("data", f"numbers of shape (T, B, {lstm.input_size})", f"a {type(data).__name__}")
    if x.dim() == 2:
        x = x[:, None]
    elif x.dim() == 3 and lstm.batch_first:
        x = x.transpose(0, 1)
    return x, torch.full(x.shape[1:2], len(x) if x.dim() else 0, device="cpu")


def states_of(lstm: LSTM, x: Tensor, state: Any) -> State | None:
    """Return the initial states as (L*S, B, ...), also from those of unbatched input, which have no B."""
    if state is None:
        return None
    shapes = layer_sizes.state_shapes(lstm, (x.shape[1],))
    expected = f"a pair of tensors (h_0, c_0) of the shapes {shapes[0]} and {shapes[1]}"
    if not isinstance(state, tuple | list) or any(layer_sizes.shape_of(each) is None for each in state):
        raise GatewrightError("state", expected, f"a {type(state).__name__}")
    batched = [layer_sizes.each(lambda part: part[:, None] if part.dim() == 2 else part, each) for each in state]
    if tuple(map(layer_sizes.shape_of, batched)) != shapes:
        raise GatewrightError("state", expected, f"{[layer_sizes.shape_of(each) for each in state]}")
    types = types_of(lstm, x.dtype)
    h_0, c_0 = (
        layer_sizes.each(functools.partial(Tensor.to, device=x.device, dtype=dtype), each)
        for each, dtype in zip(batched, types, strict=True)
    )
    return h_0, c_0


def layers_fingerprint(lstm: LSTM) -> str:
    """Return the SHA-256 of bare layers' weights, in hexadecimal."""
    digest = hashlib.sha256()
    for name, value in lstm.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype} ".encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
