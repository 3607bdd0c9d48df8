"""One run of a caller's module, with a recording of each LSTM in it."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from gatewright.errors import GatewrightError
from gatewright.insight.changes import describe
from gatewright.insight.inputs import layers_fingerprint
from gatewright.insight.modules.changes import ModuleChanges
from gatewright.insight.modules.find import layers_of
from gatewright.insight.modules.recording import ModuleRecording
from gatewright.insight.modules.sequences import Sequence
from gatewright.insight.modules.snapshot import Snapshot
from gatewright.insight.modules.tape import Tape
from gatewright.insight.modules.twin import Twins
from gatewright.insight.recording import Recording
from gatewright.nn import LSTM, _torch_private, layer_sizes
from gatewright.spec.cell import CellSpec
from gatewright.spec.recording import LayersMetadata, RecordingMetadata


def look_at_module(module: nn.Module, inputs: Any, title: str = "") -> ModuleRecording:
    """Run a caller's module in evaluation mode, and record every LSTM in it; see `gatewright.look`.

    Args:
        module: the module; a copy of it runs.
        inputs: a tuple of positional arguments, a dict of keyword arguments, or one argument.
        title: title of the recordings; the name of the class if empty.

    Raises:
        GatewrightError: if it has no LSTM, runs none, or has one that cannot be recorded.
    """
    layers_of(module)  # before any copy
    recording = ModuleRun(Snapshot.of(module, inputs), title or type(module).__name__).record()
    if recording.not_called:
        names = ", ".join(recording.not_called)
        warnings.warn(f"not recorded, since the module did not call it: {names}", stacklevel=3)
    return recording


@dataclass(frozen=True, eq=False)
class ModuleRun:
    """What runs again for a "what if": the module and its inputs as they were.

    Attributes:
        snapshot: of both.
        title: title of the recordings.
        changes: changes inside of layers.
    """

    snapshot: Snapshot
    title: str
    changes: ModuleChanges = field(default_factory=dict)

    def changed(self, changes: ModuleChanges) -> ModuleRecording:
        """Return the recording of a run with further changes.

        Args:
            changes: the further changes, next to those of this run.
        """
        whole = dict(self.changes)
        for place, each in changes.items():
            whole[place] = whole[place].joined(each) if place in whole else each
        return dataclasses.replace(self, changes=whole).record()

    def layer(self, name: str) -> LSTM:
        """Return a layer by its name, or that which runs in its place."""
        layers = self._names(self.snapshot.module)
        return Twins().of(name, next(each for each, known in layers.items() if known == name))

    @staticmethod
    def _names(module: nn.Module) -> dict[nn.Module, str]:
        return {layer: name or type(layer).__name__ for name, layer in layers_of(module).items()}

    def record(self) -> ModuleRecording:
        """Run the module and return its recording."""
        module, args, kwargs = self.snapshot.fresh()
        names = self._names(module)
        tape = Tape(names, self.changes)
        with self.snapshot.numbers.drawn(), torch.no_grad(), _eagerly(), tape.recording():
            predictions = module(*args, **kwargs)
        not_called = tuple(name for name in names.values() if name not in tape.sequences)
        if not tape.sequences:
            raise GatewrightError(
                "module", "a forward that calls one of its LSTMs", f"none of {', '.join(not_called)} called"
            )
        return ModuleRecording(dict(self._recordings(tape)), predictions, not_called, self)

    def _recordings(self, tape: Tape) -> Any:
        for name, sequences in tape.sequences.items():
            for number, sequence in enumerate(sequences, 1):
                key = name if len(sequences) == 1 else f"{name}#{number}"
                lstm, changes = tape.layer(name), self.changes.get((name, number - 1))
                note = ""
                if changes is not None:
                    note = describe(changes.plan, sequence.lengths(), layer_sizes.hidden_sizes(lstm))
                yield key, _recording(key, lstm, sequence, self.title, note)


def _recording(key: str, lstm: LSTM, sequence: Sequence, title: str, note: str) -> Recording:
    inputs, lengths = sequence.array("x"), sequence.lengths()
    about = RecordingMetadata(
        title=f"{title}, {key}",
        note=note,
        fingerprint=layers_fingerprint(lstm),
        rows=("",) * inputs.shape[1],
        inputs=tuple(f"x{n}" for n in range(inputs.shape[2])),
        readouts=(),
        peer="",
        edits=sequence.edits(),
        data=LayersMetadata(),
        cell=CellSpec.of(lstm.cell.in_evaluation(), bias=lstm.bias),
        residual=lstm.residual,
    )
    # Figures that are measured on the model would not be those of a changed one.
    model = lstm if sequence.can_run_again and not note else None
    try:
        return Recording(about, sequence.layers(), lengths, inputs, sequence.array("y"), model=model)
    except GatewrightError as error:
        raise type(error)(f"{key}, {error.argument}", error.expected, error.got) from None


def _eagerly() -> Any:
    """Return a context in which what the caller compiled runs as it was written."""
    compiler_is_loaded = _torch_private.compiler_is_loaded()
    return torch.compiler.set_stance("force_eager") if compiler_is_loaded else contextlib.nullcontext()
