"""The recording of a caller's module: one of each LSTM in it, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gatewright.errors import GatewrightError
from gatewright.insight.changes import plan as changes_plan
from gatewright.insight.diagnosis import Diagnosis, diagnose
from gatewright.insight.ledger import Ledger
from gatewright.insight.modules import file
from gatewright.insight.modules.changes import SequenceChanges, split
from gatewright.insight.modules.difference import ModuleDifference, difference
from gatewright.insight.patches import patch_plan
from gatewright.insight.recording import Recording

if TYPE_CHECKING:
    import torch


class Run(Protocol):
    """What runs the module again."""

    def record(self) -> ModuleRecording:
        """Return its recording."""

    def changed(self, changes: Any) -> ModuleRecording:
        """Return its recording with further changes."""

    def layer(self, name: str) -> Any:
        """Return the layer of a name."""


@dataclass(frozen=True, eq=False, repr=False)
class ModuleRecording(Mapping[str, Recording]):
    """What the LSTMs of a module read, did and gave in one run: a mapping from their names to recordings.

    A layer that was called several times has one recording if each call continues from the states of the one
    before, as in a decoder's loop: its steps are those of all calls.  Rows may begin anew in between: there the
    step keeps nothing, and writes what it started from.  Calls that do not continue each other have recordings
    of their own, in the order of the run: ``name#1``, ``name#2``.

    Attributes:
        layers: the recordings by the name that `torch.nn.Module.named_modules` gives the layer; a module that is
            a layer itself has the name of its class.
        predictions: what the module returned.
        not_called: names of the LSTMs that the module did not call.
        run: what runs the module again; None for a recording from a file.
        baseline: the recording that this one is a change of, by `what_if` or `patched`; else None.

    >>> import torch
    >>> from gatewright import LSTM, look
    >>> class Tagger(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.embedding, self.lstm, self.head = torch.nn.Embedding(9, 3), LSTM(3, 4), torch.nn.Linear(4, 2)
    ...     def forward(self, words):
    ...         return self.head(self.lstm(self.embedding(words))[0])
    >>> recording = look(Tagger(), torch.tensor([[1], [4], [2]]))
    >>> recording
    ModuleRecording(lstm: T=3, B=1, H=4)
    >>> recording["lstm"].layers[0].forget_gate.shape, recording.predictions.shape
    ((3, 1, 4), torch.Size([3, 1, 2]))
    """

    layers: Mapping[str, Recording]
    predictions: Any
    not_called: tuple[str, ...] = ()
    run: Run | None = None
    baseline: ModuleRecording | None = None

    def __getitem__(self, name: str) -> Recording:
        if name not in self.layers:
            raise KeyError(f"{name}: there are {', '.join(self.layers)}")
        return self.layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def ledger(self, name: str, layer: int, t: int, row: int = 0, **where: Any) -> Ledger:
        """Split a cell state of the layers of a name; see `gatewright.insight.Recording.ledger`.

        Args:
            name: name of the recording.
            layer: number of the layer in its stack.
            t: step whose cell state is split; negative from the end of the row.
            row: row of the batch.
            **where: ``direction`` and ``units``.

        Raises:
            KeyError: if there is no such name.
            GatewrightError: if a number is out of range.
        """
        return self[name].ledger(layer, t, row, **where)

    def diagnosis(self, name: str, *, plain: torch.nn.RNN | None = None) -> Diagnosis:
        """Diagnose the units of the layers of a name; see `gatewright.insight.diagnose`.

        Args:
            name: name of the recording.
            plain: a plain RNN of the same inputs, for comparison.

        Raises:
            KeyError: if there is no such name.
        """
        return diagnose(self[name], plain=plain)

    def what_if(
        self, name: str, *, clamp: Any = None, ablate: Any = None, edit_cell: Any = None
    ) -> ModuleRecording:
        """Run the whole module again with changes in the layers of a name, and return that recording.

        The module starts from the same state, inputs and random numbers.  Changes of this recording itself stay;
        those of the new one come on top of them.

        Args:
            name: name of a recording, or of a layer whose calls have several: then of all of them.
            clamp: gates to hold, as for `gatewright.insight.intervene`: ``{0: {"forget_gate": (units, value)}}``.
            ablate: units whose hidden state is 0, likewise.
            edit_cell: cell states to set, likewise.

        Returns:
            The recording of the changed run, with its predictions; its `baseline` is this recording, and its
            `difference` the effect of the changes.

        Raises:
            KeyError: if there is no such name.
            GatewrightError: if the recording is from a file, or there is no such layer, gate, unit or step.

        >>> import torch
        >>> from gatewright import LSTM, look
        >>> module = torch.nn.Sequential(torch.nn.Linear(2, 3), LSTM(3, 4))
        >>> recording = look(module, torch.ones(5, 1, 2))
        >>> changed = recording.what_if("1", ablate={0: [2]})
        >>> changed["1"].about.note, bool((changed.predictions[0][..., 2] == 0).all())
        ('output gate of unit 2 at 0', True)
        """
        run, changes = self._run(), {}
        for key in self._keys(name):
            layer, number = split(key, tuple(self))
            lengths = self[key].lengths
            plan = changes_plan(run.layer(layer), lengths, clamp, ablate, edit_cell)
            changes[layer, number] = SequenceChanges(plan, self[key].steps)
        return dataclasses.replace(run.changed(changes), baseline=self)

    def patched(
        self, source: Mapping[str, Recording] | Recording, name: str, quantity: str | Sequence[str], **where: Any
    ) -> ModuleRecording:
        """Run the whole module again with gates or states of another recording in the layers of a name.

        Which value comes from which is as for `gatewright.insight.Recording.patched`.

        Args:
            source: a recording of the module on other inputs, or of another module, that has the same name; or
                the recording of layers of the same size.
            name: name of a recording.
            quantity: "cell", "hidden", "forget" (or "forget_gate"), "input", "output", "candidate"; or several.
            **where: ``layer`` (its number in the stack, 0), ``steps``, ``units`` (all if None), ``rows`` and
                ``direction`` ("forward"), in both recordings.

        Raises:
            KeyError: if there is no such name.
            GatewrightError: if the recording is from a file, or an argument does not fit.

        >>> import torch
        >>> from gatewright import LSTM, look
        >>> module = torch.nn.Sequential(torch.nn.Linear(2, 3), LSTM(3, 4))
        >>> one, other = (look(module, torch.full((5, 1, 2), value)) for value in (1.0, -1.0))
        >>> patched = one.patched(other, "1", "hidden")
        >>> torch.equal(patched.predictions[0], other.predictions[0])
        True
        """
        run, target = self._run(), self[name]
        values = source if isinstance(source, Recording) else source[name]
        changes = SequenceChanges(patch_plan(target, values, quantity, **where), target.steps)
        return dataclasses.replace(run.changed({split(name, tuple(self)): changes}), baseline=self)

    def difference(self, baseline: ModuleRecording | None = None) -> ModuleDifference:
        """Return this recording minus another of the same module.

        Args:
            baseline: the other recording; the one that this one is a change of if None.

        Raises:
            GatewrightError: if there is none, or their names or the shapes of what they hold differ.
        """
        other = self.baseline if baseline is None else baseline
        if not isinstance(other, ModuleRecording):
            got = "None, for one that is no change of another" if other is None else type(other).__name__
            raise GatewrightError("baseline", "a recording of the module", got)
        return difference(self, other)

    def save(self, path: Path | str) -> None:
        """Write recordings and predictions to a safetensors file, with their descriptions as JSON in its metadata.

        Args:
            path: the file.

        Raises:
            GatewrightError: if the module returned something other than tensors, numbers and texts in tuples,
                lists, dicts and dataclasses.
            OSError: if the file cannot be written; a file that was there before is unchanged.
        """
        file.write(path, self.layers, self.predictions, self.not_called)

    @staticmethod
    def load(path: Path | str) -> ModuleRecording:
        """Read a recording that `save` wrote; a dataclass that the module returned is a dict of its fields.

        Args:
            path: the file.

        Raises:
            ModelFileError: if the file is damaged or no recording of a module.
            GatewrightError: if its arrays do not fit each other, or a number is not finite.
        """
        return ModuleRecording(*file.read(path))

    def _run(self) -> Run:
        if self.run is None:
            raise GatewrightError("recording", "a recording of `look`, with its module", "one from a file")
        return self.run

    def _keys(self, name: str) -> list[str]:
        several = [key for key in self if key != name and split(key, tuple(self))[0] == name]
        return several or [name]

    def __repr__(self) -> str:
        parts = []
        for name, each in self.items():
            T, B, _ = each.inputs.shape
            sizes = ", ".join(str(layer.forward.cell.shape[-1]) for layer in each.layers)
            parts.append(f"{name}: T={T}, B={B}, H={sizes}")
        parts += [f"{name}: not called" for name in self.not_called]
        return f"{type(self).__name__}({'; '.join(parts)})"
