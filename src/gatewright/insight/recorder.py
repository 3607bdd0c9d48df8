"""The recorder: one pass of a model over data, with every gate and state."""

from __future__ import annotations

import copy
import dataclasses
import functools
from pathlib import Path
from typing import Any, Protocol, TypedDict, overload, runtime_checkable

import torch

from gatewright.errors import GatewrightError
from gatewright.insight.inputs import (
    gather,
    layers_fingerprint,
    of_run,
    require_module_arguments,
    require_whole_model_arguments,
)
from gatewright.insight.modules.recording import ModuleRecording
from gatewright.insight.modules.run import look_at_module
from gatewright.insight.origin import Origin
from gatewright.insight.passes import Pass, array_of, arrays_of_layer, forward
from gatewright.insight.recording import Recording
from gatewright.nn import LSTM, convert
from gatewright.nn.model import Model, State
from gatewright.runs.run import Run
from gatewright.spec.cell import CellSpec
from gatewright.tasks import registry
from gatewright.tasks.inputs import InputBatch


@runtime_checkable
class Looking(Protocol):
    """A fitted estimator, which knows how its data is read."""

    def look_inputs(self, X: Any, *, start: int, steps: int | None, title: str) -> tuple[Model, InputBatch]:
        """Return the model, and its inputs from data."""


class Reading(TypedDict, total=False):
    """Keyword arguments of `look` that select what is read of the data, and name it."""

    state: State | None
    start: int
    steps: int | None
    title: str


@overload
def look(
    model: Model | LSTM | torch.nn.LSTM | Run | str | Path | Looking,
    data: Any = None,
    *,
    state: State | None = None,
    start: int = 0,
    steps: int | None = None,
    title: str = "",
) -> Recording: ...


@overload
def look(model: torch.nn.Module, data: Any, *, title: str = "") -> ModuleRecording: ...


def look(
    model: Any,
    data: Any = None,
    *,
    state: State | None = None,
    start: int = 0,
    steps: int | None = None,
    title: str = "",
) -> Recording | ModuleRecording:
    """Run a model over data in evaluation mode and return a recording of every gate and state.

    A model reads its data in one pass from zero states, as a `gatewright.Stream` does.  The gates are the record
    of the fast path itself, in the same memory, so that a recording costs next to nothing.

    Any other `torch.nn.Module` that holds LSTMs or LSTM cells, of torch or of Gatewright, is run as a copy: the
    module keeps its parameters, buffers, mode and random numbers.  Layers of torch run as Gatewright's, with the
    same weights.

    Args:
        model: a run or its directory, a fitted estimator (`gatewright.load`), its ``model_``, a
            `gatewright.LSTM` or a `torch.nn.LSTM`; or a module that holds some of these.
        data: the data.  For a forecaster the path of a table (or a `gatewright.data.table.Table`, if a column
            names its series and there is no run that says which); for a language model a text, or the `Path` of
            one; for bare layers numbers as they read them, or a `PackedSequence`.  None, for a run: the test part
            of its data, with a context before it.  For a module what it reads: a tuple of positional arguments,
            a dict of keyword arguments, or one argument of any other type.
        state: initial states (h_0, c_0) of bare layers; zeros if None.  A run or a whole model starts from zeros
            and takes no state; a module reads its states with its inputs.
        start: first step (row, character) that is read; not for a module.
        steps: maximum number of steps; all if None; not for a module.
        title: title of the recording; the name of the run or file if empty.

    Returns:
        The recording.  A table's series are rows of its batch.  Of a module that holds LSTMs a
        `gatewright.insight.ModuleRecording`.

    Raises:
        GatewrightError: if there is no such run, its source has changed, the data does not fit the model or is
            empty, or a gate is not finite; if a module has no LSTM, calls none, or has one that cannot be
            recorded.

    >>> recording = look(LSTM(3, 4, num_layers=2), torch.ones(6, 1, 3))
    >>> ledger = recording.ledger(layer=1, t=5)
    >>> bool(abs(ledger.total - ledger.cell).max() < 1e-6)
    True
    """
    if type(model) is torch.nn.LSTM and "forward" not in vars(model):
        model = convert(copy.deepcopy(model))[0]
    elif isinstance(model, torch.nn.Module) and not isinstance(model, Model | Looking) and not _is_bare(model):
        require_module_arguments(state, start, steps, title)
        return look_at_module(model, data, title)
    opened, batch = prepare(model, data, state=state, start=start, steps=steps, title=title)
    return record(opened, batch)


def prepare(
    model: Any,
    data: Any = None,
    *,
    state: State | None = None,
    start: int = 0,
    steps: int | None = None,
    title: str = "",
) -> tuple[Model | LSTM, InputBatch]:
    """Return the model and its inputs; arguments and errors as for `look`."""
    if isinstance(model, Looking):
        require_whole_model_arguments(state, title)
        return model.look_inputs(data, start=start, steps=steps, title=title)
    if isinstance(model, str | Path):
        model = Run.open(Path(model))
    if isinstance(model, Run):
        require_whole_model_arguments(state, title)
        loaded = model.best_model()
        batch = of_run(model, loaded, data, start=start, steps=steps)
        if title:
            batch = dataclasses.replace(batch, about=dataclasses.replace(batch.about, title=title))
        return loaded, batch
    if not isinstance(model, Model) and not _is_bare(model):
        got = f"a {type(model).__module__}.{type(model).__name__}{_hint(model)}"
        raise GatewrightError("model", "a run, a gatewright.Model or a gatewright.LSTM", got)
    return model, gather(model, data, state=state, start=start, steps=steps, title=title)


def _is_bare(model: Any) -> bool:
    """Whether a module is layers of ours without a forward of its own, such as that of `ReverseLSTM`."""
    return isinstance(model, LSTM) and type(model).forward is LSTM.forward and "forward" not in vars(model)


def _hint(model: Any) -> str:
    """Return what to do with a caller's module, or an empty text."""
    if isinstance(model, torch.nn.Module):
        return "; look at it, and call what_if of the recording"
    return ""


def record(model: Model | LSTM, batch: InputBatch, run: Pass | None = None) -> Recording:
    """Run a model on prepared inputs and return a recording.

    Args:
        model: the model.
        batch: its inputs, as `prepare` returns them.
        run: a pass of the layers in place of the usual one; `forward` if None.
    """
    lstm = model if isinstance(model, LSTM) else model.lstm
    training = [module for module in model.modules() if module.training]
    model.eval()
    saved, lstm.saved = lstm.saved, "float32"  # gates of a bf16 pass as they were, so that a ledger adds up
    try:
        with torch.no_grad():
            x = batch.x if isinstance(model, LSTM) else model.encoder(batch.x)
            result = (run or forward)(lstm, x, batch.lengths, batch.state)
            y = result.output
            predictions = y
            if not isinstance(model, LSTM):
                output = model.readout(model.pooled(y, torch.from_numpy(batch.lengths)), batch.differences)
                predictions = registry.kind(batch.kind).predictions(model, batch, output)
    finally:
        lstm.saved = saved
        for module in training:
            module.training = True
    # The head of a classifier may read something else than the hidden state of each step; then it has no readouts.
    head = None if isinstance(model, LSTM) or not batch.about.readouts else model.head
    cell = CellSpec.of(lstm.cell.in_evaluation(), bias=lstm.bias)
    about = dataclasses.replace(batch.about, cell=cell, residual=lstm.residual)
    return Recording(
        about,
        tuple(arrays_of_layer(lstm, number, layer) for number, layer in enumerate(result.layers)),
        batch.lengths,
        array_of(x),
        array_of(predictions),
        targets=batch.targets,
        columns=batch.columns,
        times=batch.times,
        symbols=None if batch.x.is_floating_point() else array_of(batch.x),
        readout_weight=None if head is None else array_of(head.weight),
        readout_bias=None if head is None else array_of(head.bias),
        model=model,
        origin=origin(model, batch),
    )


def origin(model: Model | LSTM, batch: InputBatch) -> Origin:
    """Return what runs a model on prepared inputs again, with changes.

    Args:
        model: the model.
        batch: its inputs, as `prepare` returns them.
    """
    if isinstance(model, LSTM):
        return Origin(model, functools.partial(record, model, batch), functools.partial(layers_fingerprint, model))
    return Origin(model.lstm, functools.partial(record, model, batch), lambda: model.fingerprint)
