"""The tape of one run of a module: every call of each of its LSTMs, with gates and states."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from gatewright.errors import GatewrightError
from gatewright.insight.changes import Plan
from gatewright.insight.modules.changes import ModuleChanges, changed_call, require_changeable
from gatewright.insight.modules.sequences import Call, Sequence, States
from gatewright.insight.modules.twin import Twins
from gatewright.insight.passes import array_of, arrays_of_layer
from gatewright.nn import LSTM, Record, _torch_private
from gatewright.spec.recording import Edit

#: Sequences of a layer, the latest ones, that a call may continue: a beam search makes one with each step.
_OPEN = 64


class Tape:
    """The calls of each layer of a module, in the order of the run.

    Args:
        names: name of each layer.
        changes: changes inside of layers.

    Attributes:
        sequences: the calls of each layer that was called, joined where one continues another.
        twins: the layers that ran.
    """

    def __init__(self, names: Mapping[nn.Module, str], changes: ModuleChanges | None = None) -> None:
        self.names, self.changes = names, changes or {}
        self.sequences: dict[str, list[Sequence]] = {}
        self.twins = Twins()

    def layer(self, name: str) -> LSTM:
        """Return a layer by its name, or its twin if it is torch's."""
        module = next(each for each, known in self.names.items() if known == name)
        return self.twins.of(name, module)

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record every call of the layers."""
        kinds = {layer: type(layer) for layer in self.names}
        try:
            for layer, kind in kinds.items():
                object.__setattr__(layer, "__class__", _recorded(kind, self.call))
            yield
        finally:
            for layer, kind in kinds.items():
                object.__setattr__(layer, "__class__", kind)

    def call(self, layer: nn.Module, x: Any, hx: Any, of_rows: dict[str, Any]) -> tuple[Any, Any, Record]:
        """Run a layer as a call of it would, and keep its record.

        Args:
            layer: the layer.
            x: its input; of a cell one step.
            hx: its initial states, or None.
            of_rows: lengths, masks and resets of the call.

        Returns:
            Its output, its last states, and its record.
        """
        name = self.names[layer]
        if _torch_private.in_transform(x.data if isinstance(x, PackedSequence) else x):
            expected = "a forward that calls its LSTMs outside of torch.func's transforms, such as vmap"
            raise GatewrightError("module", expected, f"{name} inside of one")
        lstm = self.twins.of(name, layer)
        saved, lstm.saved = lstm.saved, "float32"  # gates of a bf16 pass as they were, so that a ledger adds up
        try:
            y, state, record = LSTM.forward(lstm, x, hx, **of_rows, record=True)
        finally:
            lstm.saved = saved
        steps, before = _time_first(lstm, x), None if hx is None else _flat(hx)
        T, B, _ = steps.shape
        lengths = np.full(B, T) if record.lengths is None else record.lengths.cpu().numpy()
        sequence, resets = self._place(name, before, T, B)
        plan = self._plan(name, sequence, T)
        edits: tuple[Edit, ...] = ()
        if plan:
            require_changeable(name, lstm, of_rows)
            y, state, record, edits = changed_call(lstm, steps, lengths, hx, plan, (y, state), x)
        masked = any(of_rows.get(each) is not None for each in ("mask", "reset"))
        arrays = tuple(
            arrays_of_layer(lstm, number, each).map(_own_initial) for number, each in enumerate(record.layers)
        )
        read, gave = array_of(steps.detach().clone()), array_of(record.output)
        sequence.add(Call(arrays, read, gave, lengths, before, _flat(state), masked, edits), resets)
        # The caller may change what it receives in place; the record may be of the same memory.
        return _copied(y), _copied(state), record

    def _place(
        self, name: str, before: States | None, steps: int, rows: int
    ) -> tuple[Sequence, NDArray[np.bool_]]:
        """Return the sequence that a call continues, or one of its own, and the rows that it resets."""
        sequences = self.sequences.setdefault(name, [])
        for sequence in reversed(sequences[-_OPEN:] if before is not None else []):
            assert before is not None
            resets = sequence.continued(before, steps)
            if resets is not None:
                return sequence, resets
        sequences.append(Sequence())
        return sequences[-1], np.zeros(rows, bool)

    def _plan(self, name: str, sequence: Sequence, steps: int) -> Plan:
        """Return the changes in the next call of a sequence."""
        changes = self.changes.get((name, self.sequences[name].index(sequence)))
        return {} if changes is None else changes.of_call(sequence.steps, steps)


def _own_initial(name: str, array: Any) -> Any:
    """Return an array that the caller cannot change by way of the states that it passed."""
    return array.copy() if name.endswith("_initial") else array


def _time_first(lstm: LSTM, x: Any) -> Tensor:
    """Return the input of a call as (T, B, D)."""
    if isinstance(x, PackedSequence):
        return pad_packed_sequence(x)[0]
    if x.dim() == 2:
        return x[:, None]
    return x.transpose(0, 1) if lstm.batch_first else x


def _flat(state: Any) -> States:
    """Return copies of the tensors of a state, each (S, B, F), also from those of unbatched input."""
    parts = [part for each in state for part in ((each,) if isinstance(each, Tensor) else each)]
    return tuple((part[:, None] if part.dim() == 2 else part).detach().clone() for part in parts)


def _copied(value: Any) -> Any:
    if isinstance(value, PackedSequence):
        return value._replace(data=value.data.clone())
    return value.clone() if isinstance(value, Tensor) else tuple(map(_copied, value))


class _Recorded:
    """A layer whose calls a tape records."""

    tape_call: ClassVar[Callable[..., tuple[Any, Any, Record]]]


class _RecordedTorchLSTM(nn.LSTM, _Recorded):
    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002 - as torch's
        """Run as torch's layer does, by Gatewright's."""
        return type(self).tape_call(self, input, hx, {})[:2]

    def check_forward_args(self, *_: Any) -> None:
        """Refuse to run torch's own forward pass, which records nothing."""
        expected = "a subclass whose forward calls super().forward"
        raise GatewrightError("module", expected, f"a {type(self).__name__} that calls torch.nn.LSTM.forward")


class _RecordedLSTM(LSTM, _Recorded):
    def forward(self, input: Any, hx: Any = None, *, record: bool = False, **of_rows: Any) -> Any:  # noqa: A002
        """Run as the layer does."""
        results = type(self).tape_call(self, input, hx, of_rows)
        return results if record else results[:2]


class _RecordedCell(nn.LSTMCell, _Recorded):
    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002 - as torch's
        """Run one step as a sequence of one."""
        if not isinstance(input, Tensor) or input.dim() not in (1, 2):
            return super().forward(input, hx)  # torch's error
        batched = input.dim() == 2
        x = input if batched else input[None]
        states = None if hx is None else tuple((each if batched else each[None])[None] for each in hx)
        _, (h, c), _ = type(self).tape_call(self, x[None], states, {})
        return (h[0], c[0]) if batched else (h[0, 0], c[0, 0])


def _recorded(kind: type[nn.Module], call: Callable[..., tuple[Any, Any, Record]]) -> type[nn.Module]:
    """Return a class of layer like ``kind`` whose calls, also those by ``super().forward``, go to a tape."""
    base, recorded = next(
        pair
        for pair in ((LSTM, _RecordedLSTM), (nn.LSTM, _RecordedTorchLSTM), (nn.LSTMCell, _RecordedCell))
        if issubclass(kind, pair[0])
    )
    bases = (recorded,) if kind is base else (kind, recorded)
    return type(kind.__name__, bases, {"tape_call": staticmethod(call)})
