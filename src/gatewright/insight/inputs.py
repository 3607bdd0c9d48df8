"""What a model is to read, ready for it, with all that is known about it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from gatewright.data.series import encode
from gatewright.data.table import Roles, Series, Table, read_table
from gatewright.data.text import encode_text, read_text
from gatewright.data.time_zones import NO_ZONE
from gatewright.errors import DataError, GatewrightError
from gatewright.nn import LSTM
from gatewright.nn.model import Model, State
from gatewright.runs.run import Run
from gatewright.spec import QuantileHead, SeriesEncoder
from gatewright.spec.recording import About, LayersAbout, SeriesAbout, TextAbout
from gatewright.tasks.forecast import task as forecasting
from gatewright.tasks.forecast.predict import require_fit
from gatewright.tasks.language import task as language

Array = NDArray[Any]

#: Characters of a file's name; a text that is shorter may be meant as one.
_LONGEST_NAME = 256


@dataclass(frozen=True, eq=False)
class Material:
    """What a model is to read.

    Attributes:
        about: names; title and fingerprint are there, edits are not yet.
        x: symbols (T, B), or numbers (T, B, D), on the device of the model.
        lengths: steps of each row (B,).
        state: hidden and cell states to begin with, each (L*S, B, ...); zeros if None.
        level: a forecaster's targets as last observed (T, B, targets), in the scaler's units; else None.
        targets: as in `Recording`.
        columns: as in `Recording`.
        times: as in `Recording`.
    """

    about: About
    x: Tensor
    lengths: NDArray[np.int64]
    state: State | None = None
    level: Tensor | None = None
    targets: Array | None = None
    columns: Array | None = None
    times: NDArray[np.datetime64] | None = None

    def noted(self, note: str) -> Material:
        """Return the same with a note."""
        return replace(self, about=replace(self.about, note=note))

    def rows(self, rows: Sequence[int]) -> Material:
        """Return some rows of the batch."""
        chosen = list(rows)
        longest = int(self.lengths[chosen].max())

        def taken(array: Any) -> Any:
            return None if array is None else array[:longest, chosen]

        return Material(
            replace(self.about, rows=tuple(self.about.rows[row] for row in chosen)),
            taken(self.x),
            self.lengths[chosen],
            None if self.state is None else (self.state[0][:, chosen], self.state[1][:, chosen]),
            *map(taken, (self.level, self.targets, self.columns, self.times)),
        )


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
) -> Material:
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
) -> Material:
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
        roles = forecasting.roles(options) if run.kind == "forecast" else None
        return gather(model, data, start=start, steps=steps, fill=options.fill, roles=roles)
    source = run.unchanged_source()
    title = f"{run.path.resolve().name}, {'validation' if part == 'valid' else 'test'} part"
    if run.kind == "language":
        text = getattr(language.read(source, options).parts, part)
        return of_text(model, text, span, title)
    assert isinstance(model.spec.encoder, SeriesEncoder)
    read = forecasting.read(source, options, model.spec.encoder.step)
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


def of_text(model: Model, text: str, span: slice, title: str) -> Material:
    """Return what a language model is to read of a text.

    Raises:
        GatewrightError: if the model reads no text, or there is none.
    """
    if model.vocabulary is None:
        raise DataError("data", "a table, which this model reads", "a text")
    read = encode_text(text[span], model.vocabulary)
    if len(read) == 0:
        raise DataError("data", "at least one character", f"none of {len(text)} from {span.start} on")
    after = encode_text(text[span.start + len(read) :][:1], model.vocabulary)
    following = after if len(after) else np.array([-1])
    symbols = model.vocabulary.symbols
    about = About(
        title=title,
        note="",
        fingerprint=model.fingerprint,
        rows=("",),
        inputs=tuple(f"embedding {n}" for n in range(model.spec.input_size)),
        readouts=symbols,
        peer="",
        edits=(),
        data=TextAbout(symbols),
    )
    return Material(
        about,
        torch.from_numpy(read)[:, None].to(_device(model)),
        np.array([len(read)]),
        targets=np.concatenate([read[1:], following])[:, None],
    )


def of_table(model: Model, table: Table, spans: Sequence[slice], title: str, fill: str = "") -> Material:
    """Return what a forecaster is to read of a table's series, each a row of the batch.

    Args:
        model: the forecaster.
        table: the series.
        spans: which of its rows are read of each series.
        title: what it is.
        fill: how missing inputs are filled.

    Raises:
        GatewrightError: if the table does not fit the model, or a series has nothing to read.
    """
    encoder, head = model.spec.encoder, model.spec.head
    if not isinstance(encoder, SeriesEncoder) or not isinstance(head, QuantileHead):
        raise DataError("data", "a text, which this model reads", "a table")
    assert model.scaler is not None
    require_fit(table, encoder)
    about = About(
        title=title,
        note="",
        fingerprint=model.fingerprint,
        rows=tuple(one.name for one in table.series),
        inputs=_input_names(encoder, head),
        readouts=tuple(
            f"{target} +{ahead} q{level:g}"
            for ahead in range(1, head.horizon + 1)
            for target in encoder.targets
            for level in head.quantiles
        ),
        peer="",
        edits=(),
        data=SeriesAbout(
            encoder.targets,
            encoder.columns,
            head.horizon,
            head.quantiles,
            model.scaler.scale[: len(encoder.targets)],
            encoder.step,
        ),
    )
    parts = [_of_series(model, one, span, fill) for one, span in zip(table.series, spans, strict=True)]
    lengths = np.array([len(part[0]) for part in parts])
    x, level, columns, targets = (
        _padded([part[n] for part in parts], pad) for n, pad in enumerate((0.0, 0.0, np.nan, np.nan))
    )
    times = None
    if table.series[0].times is not None:
        stamps = [
            one.clock.local(one.times[span][:length])
            for one, span, length in zip(table.series, spans, lengths, strict=True)
            if one.times is not None
        ]
        times = _padded(stamps, np.datetime64("NaT"))
    device = _device(model)
    return Material(
        about,
        torch.from_numpy(x).to(device),
        lengths,
        level=torch.from_numpy(level).to(device),
        columns=columns,
        targets=targets,
        times=times,
    )


def _of_series(model: Model, one: Series, span: slice, fill: str) -> tuple[Array, Array, Array, Array]:
    """Return what is read of one series: inputs, level, columns and what came (T, horizon, targets)."""
    encoder, head = model.spec.encoder, model.spec.head
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    assert model.scaler is not None
    targets, horizon = len(encoder.targets), head.horizon
    # What stands before the first row that is read is unknown to the model, as it is to a stream.
    one = _from(one, span.start)
    observed = np.flatnonzero(np.isfinite(one.values[:, :targets]).any(axis=1))
    if not len(observed):
        raise _unreadable(one, span)
    encoded = encode(one, encoder, model.scaler, fill)
    inputs = np.concatenate([encoded.inputs, _ahead(encoded.known, horizon).reshape(len(one.values), -1)], axis=1)
    # Past the last observed target inputs may be missing; those known in advance end before the table does.
    usable = np.isfinite(inputs).all(axis=1) & (np.arange(len(inputs)) <= observed[-1])
    end = len(inputs) if usable.all() else int(np.argmin(usable))
    if end == 0:
        raise _unreadable(one, span)
    read = slice(0, end if span.stop is None else min(end, span.stop - span.start))
    came = _ahead(one.values[:, :targets], horizon).transpose(0, 2, 1)
    return inputs[read], encoded.level[read], one.values[read], came[read]


def _unreadable(one: Series, span: slice) -> DataError:
    got = f"none from row {span.start + 1} on"
    return DataError(one.title, "at least one row that the model can read", got)


def _from(one: Series, row: int) -> Series:
    """Return the rows of a series from one on."""
    times = None if one.times is None else one.times[row:]
    return replace(one, times=times, values=one.values[row:], lines=one.lines[row:])


def _ahead(values: Array, horizon: int) -> Array:
    """Return the next values of each row (rows, columns, horizon), NaN past the end."""
    later = np.pad(values[1:], ((0, horizon), (0, 0)), constant_values=np.nan)
    return np.lib.stride_tricks.sliding_window_view(later, horizon, axis=0)[: len(values)]


def _padded(parts: Sequence[Array], pad: Any) -> Array:
    """Lay rows of unequal length side by side: (T, B, ...)."""
    longest = max(map(len, parts))
    laid = np.full((longest, len(parts), *parts[0].shape[1:]), pad, parts[0].dtype)
    for row, part in enumerate(parts):
        laid[: len(part), row] = part
    return laid


def _input_names(encoder: SeriesEncoder, head: QuantileHead) -> tuple[str, ...]:
    """Name what the first layer reads, in the order of `SeriesEncoder`."""
    names = []
    if encoder.reads in ("change", "both"):
        names += [f"change of {target}" for target in encoder.targets]
    if encoder.reads in ("level", "both"):
        names += list(encoder.targets)
    if encoder.reads != "nothing":
        names += [f"{target} observed" for target in encoder.targets]
    names += [*encoder.past, *encoder.static]
    names += [f"{wave} of {part.replace('_', ' ')}" for part in encoder.calendar for wave in ("sine", "cosine")]
    names += [f"{known} +{ahead}" for known in encoder.known for ahead in range(1, head.horizon + 1)]
    return tuple(names)


def _of_numbers(lstm: LSTM, data: Any, state: State | None, span: slice, title: str) -> Material:
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
    return Material(about, x, found, state=_states(lstm, x, state))


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


def _device(model: Model) -> torch.device:
    return next(model.parameters()).device
