"""The recorder: one pass of a model over data, with every gate and state."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypedDict, runtime_checkable

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from gatewright import equations
from gatewright.equations.record import FIELDS
from gatewright.errors import GatewrightError
from gatewright.insight.inputs import gather, of_run, require_whole_model_arguments
from gatewright.insight.layers import Layer
from gatewright.insight.output import with_normal
from gatewright.insight.recording import Recording
from gatewright.nn import LSTM, Record
from gatewright.nn.model import Model, State
from gatewright.nn.record import LayerRecord
from gatewright.runs.run import Run
from gatewright.spec.cell import CellSpec, LayerWeights
from gatewright.tasks import registry
from gatewright.tasks.inputs import InputBatch

#: A pass of an LSTM over (T, B, D) with lengths and initial states, which returns its record.
Pass = Callable[[LSTM, Tensor, Any, State | None], Record]


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


def look(
    model: Model | LSTM | Run | str | Path | Looking,
    data: Any = None,
    *,
    state: State | None = None,
    start: int = 0,
    steps: int | None = None,
    title: str = "",
) -> Recording:
    """Run a model over data in evaluation mode and return a recording of every gate and state.

    A model reads its data in one pass from zero states, as a `gatewright.Stream` does.  The gates are the record
    of the fast path itself, in the same memory, so that a recording costs next to nothing.

    Args:
        model: a run or its directory, a fitted estimator (`gatewright.load`), its ``model_``, or a
            `gatewright.LSTM`.
        data: the data.  For a forecaster the path of a table (or a `gatewright.data.table.Table`, if a column
            names its series and there is no run that says which); for a language model a text, or the `Path` of
            one; for bare layers numbers as they read them, or a `PackedSequence`.  None, for a run: the test part
            of its data, with a context before it.
        state: initial states (h_0, c_0) of bare layers; zeros if None.  A run or a whole model starts from zeros
            and takes no state.
        start: first step (row, character) that is read.
        steps: maximum number of steps; all if None.
        title: title of the recording; the name of the run or file if empty.

    Returns:
        The recording.  A table's series are rows of its batch.

    Raises:
        GatewrightError: if there is no such run, its source has changed, the data does not fit the model or is
            empty, or a gate is not finite.

    >>> recording = look(LSTM(3, 4, num_layers=2), torch.ones(6, 1, 3))
    >>> ledger = recording.ledger(layer=1, t=5)
    >>> bool(abs(ledger.total - ledger.cell).max() < 1e-6)
    True
    """
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
    if not isinstance(model, Model | LSTM):
        got = f"a {type(model).__module__}.{type(model).__name__}{_hint(model)}"
        raise GatewrightError("model", "a run, a gatewright.Model or a gatewright.LSTM", got)
    return model, gather(model, data, state=state, start=start, steps=steps, title=title)


def _hint(model: Any) -> str:
    """Return a hint at the layers inside a caller's module that `look` accepts, or an empty text."""
    modules = list(model.named_modules()) if isinstance(model, torch.nn.Module) else []
    names = [name for name, module in modules if isinstance(module, LSTM)]
    if names:
        return f"; look at a layer inside it, model.get_submodule({names[0]!r}), with the input of that layer"
    if any(isinstance(module, torch.nn.LSTM) for _, module in modules):
        return "; gatewright.convert replaces torch's layers with ours"
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
        tuple(_layer(lstm, number, layer) for number, layer in enumerate(result.layers)),
        batch.lengths,
        _array(x),
        _array(predictions),
        targets=batch.targets,
        columns=batch.columns,
        times=batch.times,
        symbols=None if batch.x.is_floating_point() else _array(batch.x),
        readout_weight=None if head is None else _array(head.weight),
        readout_bias=None if head is None else _array(head.bias),
        model=model,
    )


def forward(lstm: LSTM, x: Tensor, lengths: Any, state: State | None) -> Record:
    """Run the layers over (T, B, D) by their fast path, rows of unequal length as a packed sequence."""
    if (lengths == len(x)).all():
        if lstm.batch_first:
            x = x.transpose(0, 1)
        return lstm(x, state, record=True)[2]
    packed = pack_padded_sequence(x, torch.from_numpy(lengths), enforce_sorted=False)
    return lstm(packed, state, record=True)[2]


def _layer(lstm: LSTM, number: int, record: LayerRecord) -> Layer:
    forward = _numpy(record, lstm.layer_weights(number))
    if record.reverse is None:
        return Layer(forward)
    return Layer(forward, _numpy(record.reverse, lstm.layer_weights(number, reverse=True)))


def _numpy(layer: LayerRecord, weights: LayerWeights) -> equations.Record:
    tensors = {name: getattr(layer, name) for name in (*FIELDS, "kept", "written")}
    arrays: dict[str, Any] = {name: each if each is None else _array(each) for name, each in tensors.items()}
    record = equations.Record(**arrays)
    if weights.w_ln_cell is None:
        return record
    return with_normal(record, _array(weights.w_ln_cell), _array(weights.b_ln_cell))


def _array(tensor: Tensor) -> Any:
    """Return a tensor as an array, in the same memory if possible."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()
