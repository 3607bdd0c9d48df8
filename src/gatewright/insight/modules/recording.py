"""The recording of a caller's module: one of each LSTM in it, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from gatewright.insight.diagnosis import Diagnosis, diagnose
from gatewright.insight.ledger import Ledger
from gatewright.insight.recording import Recording

if TYPE_CHECKING:
    import torch


class Run(Protocol):
    """What runs the module again."""

    def record(self) -> ModuleRecording:
        """Return its recording."""


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

    def __repr__(self) -> str:
        parts = []
        for name, each in self.items():
            T, B, _ = each.inputs.shape
            sizes = ", ".join(str(layer.forward.cell.shape[-1]) for layer in each.layers)
            parts.append(f"{name}: T={T}, B={B}, H={sizes}")
        parts += [f"{name}: not called" for name in self.not_called]
        return f"{type(self).__name__}({'; '.join(parts)})"
