"""Inputs of the model or the layers that are looked at."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from gatewright.data.table import Roles, Table, read_table
from gatewright.data.text import read_text
from gatewright.data.time_zones import NO_ZONE
from gatewright.errors import GatewrightError
from gatewright.nn import LSTM
from gatewright.nn.model import Model, State
from gatewright.runs.run import Run
from gatewright.spec import SeriesEncoder
from gatewright.spec.recording import About, LayersAbout
from gatewright.tasks.forecast import dataset as series_data
from gatewright.tasks.forecast.inputs import of_table
from gatewright.tasks.inputs import InputBatch
from gatewright.tasks.language import dataset as text_data
from gatewright.tasks.language.inputs import of_text

Array = NDArray[Any]

#: Characters of a file's name; a text that is shorter may be meant as one.
_LONGEST_NAME = 256


def gather(
    model: Model | LSTM,
    data: Any,
    *,
    state: State | None = None,
    start: int = 0,
    steps: int | None = None,
    title: str = "",
    fill: str = "",
    roles: Roles | None = None,
) -> InputBatch:
    """Make what a model is to read out of data of any kind that fits it; see `gatewright.insight.look`.

    Args:
        model: that is to read it.
        data: what `look` takes.
        state: states to begin with, for bare layers.
        start: first step.
        steps: at most so many.
        title: what it is; the name of the file if empty.
        fill: how missing inputs are filled: "", "forward" or "mean".
        roles: what a table's columns are for, where the model does not say it all.

    Raises:
        GatewrightError: if the data does not fit.
    """
    span = _span(start, steps)
    if isinstance(model, LSTM):
        _require_title(title)
        return _of_numbers(model, data, state, span, title)
    require_whole_model_arguments(state, title)
    if isinstance(model.spec.encoder, SeriesEncoder):
        table = data
        if isinstance(data, str | Path):
            encoder = model.spec.encoder
            zone = (encoder.time_zone or NO_ZONE) if encoder.calendar else ""
            named = Roles(encoder.targets, encoder.past, encoder.known, encoder.static, time_zone=zone)
            table, title = read_table(Path(data), roles or named, fill, encoder.step), title or Path(data).name
        if not isinstance(table, Table):
            raise GatewrightError("data", "a table's path", type(data).__name__)
        return of_table(model, table, [span] * len(table.series), title, fill)
    if isinstance(data, Path):
        data, title = read_text(data), title or data.name
    if not isinstance(data, str):
        raise GatewrightError("data", "a text, or the Path of one", type(data).__name__)
    if len(data) < _LONGEST_NAME and "\n" not in data and Path(data).is_file():
        raise GatewrightError("data", "a text, or the Path of one", f"the name of a file: write Path({data!r})")
    return of_text(model, data, span, title)


def require_whole_model_arguments(state: Any, title: Any) -> None:
    """Raise at what a run or a whole model cannot take.

    Raises:
        GatewrightError: if there is a state, or the title is no text.
    """
    if state is not None:
        raise GatewrightError("state", "None for a whole model, which begins with zeros", type(state).__name__)
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
    """Make what a run's model is to read.

    Args:
        run: the run.
        model: its model, or one of its checkpoints.
        data: what `look` takes; None for a part of what the run learned from.
        start: first step, within that part.
        steps: at most so many.
        part: "valid" or "test", where ``data`` is None.
        fill: how missing inputs are filled; as in training if None.

    Raises:
        GatewrightError: if the run's source has changed, or the data does not fit the model.
    """
    span = _span(start, steps)
    options = run.options().data
    if fill is not None:
        options = replace(options, fill=fill)
    if data is not None:
        roles = series_data.roles(options) if run.kind == "forecast" else None
        return gather(model, data, start=start, steps=steps, fill=options.fill, roles=roles)
    source = run.unchanged_source()
    title = f"{run.path.resolve().name}, {'validation' if part == 'valid' else 'test'} part"
    if run.kind == "language":
        text = getattr(text_data.read(source, options).parts, part)
        return of_text(model, text, span, title)
    assert isinstance(model.spec.encoder, SeriesEncoder)
    read = series_data.read(source, options, model.spec.encoder.step)
    spans, shown = [], []
    for series, one in zip(read.table.series, read.parts, strict=True):
        # The part's first forecast is made at the end of a context before it.
        begin, end = (one.valid, one.test) if part == "valid" else (one.test, one.end)
        if begin == end:
            continue  # a short series has no rows in some parts
        shown.append(series)
        first = max(0, begin - model.spec.encoder.context) + start
        spans.append(slice(first, end if steps is None else min(end, first + steps)))
    return of_table(model, replace(read.table, series=tuple(shown)), spans, title, options.fill)


def _span(start: Any, steps: Any) -> slice:
    """Return which steps are read.

    Raises:
        GatewrightError: if ``start`` or ``steps`` is out of range.
    """
    for name, number, least in (("start", start, 0), ("steps", steps, 1)):
        whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
        if number is not None and (not whole or number < least):
            raise GatewrightError(name, f"a whole number of at least {least}", repr(number)[:80])
    return slice(int(start), None if steps is None else int(start) + int(steps))


def _of_numbers(lstm: LSTM, data: Any, state: State | None, span: slice, title: str) -> InputBatch:
    """Return what bare layers are to read: (T, B, D), (T, D), or (B, T, D) where they take the batch first."""
    x, lengths = _laid_out(lstm, data)
    weight = lstm.get_parameter("weight_ih_l0")
    if x.dim() != 3 or x.shape[-1] != lstm.input_size:
        raise GatewrightError("data", f"numbers of shape (T, B, {lstm.input_size})", str(tuple(x.shape)))
    x = x[span].to(weight.device, weight.dtype)
    found = np.clip(lengths.numpy() - span.start, 0, len(x))
    if len(x) == 0 or x.shape[1] == 0 or found.min() == 0:
        raise GatewrightError("data", f"at least one step in every row from step {span.start} on", "none")
    if not bool(x.isfinite().all()):
        t, row, column = x.isfinite().logical_not().nonzero()[0].tolist()
        got = f"{float(x[t, row, column])} at step {t}, row {row}, column {column}"
        raise GatewrightError("data", "finite numbers", got)
    about = About(
        title=title,
        note="",
        fingerprint=layers_fingerprint(lstm),
        rows=("",) * x.shape[1],
        inputs=tuple(f"x{n}" for n in range(x.shape[2])),
        readouts=(),
        peer="",
        edits=(),
        data=LayersAbout(),
    )
    return InputBatch(about, x, found, state=_states(lstm, x, state))


def _laid_out(lstm: LSTM, data: Any) -> tuple[Tensor, Tensor]:
    """Return numbers as (T, B, D), and the steps of each row."""
    if isinstance(data, PackedSequence):
        return pad_packed_sequence(data)
    try:
        x = torch.as_tensor(data)
    except (TypeError, ValueError, RuntimeError):
        x = None
    if x is None or x.is_complex() or x.dtype == torch.bool:
        raise GatewrightError("data", f"numbers of shape (T, B, {lstm.input_size})", f"a {type(data).__name__}")
    if x.dim() == 2:
        x = x[:, None]
    elif x.dim() == 3 and lstm.batch_first:
        x = x.transpose(0, 1)
    return x, torch.full(x.shape[1:2], len(x) if x.dim() else 0)


def _states(lstm: LSTM, x: Tensor, state: Any) -> State | None:
    """Return the states to begin with as (L*S, B, ...); those of unbatched input have no B."""
    if state is None:
        return None
    rows = lstm.num_layers * (2 if lstm.bidirectional else 1)
    shapes = [(rows, x.shape[1], size) for size in (lstm.proj_size or lstm.hidden_size, lstm.hidden_size)]
    expected = f"a pair of tensors (h_0, c_0) of the shapes {shapes[0]} and {shapes[1]}"
    if not isinstance(state, tuple | list) or not all(isinstance(one, Tensor) for one in state):
        raise GatewrightError("state", expected, f"a {type(state).__name__}")
    whole = [one[:, None] if one.dim() == 2 else one for one in state]
    if [tuple(one.shape) for one in whole] != shapes:
        raise GatewrightError("state", expected, f"{[tuple(one.shape) for one in state]}")
    h_0, c_0 = (one.to(x.device, x.dtype) for one in whole)
    return h_0, c_0


def layers_fingerprint(lstm: LSTM) -> str:
    """Return the SHA-256 of bare layers' weights, in hexadecimal."""
    digest = hashlib.sha256()
    for name, value in lstm.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype} ".encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
