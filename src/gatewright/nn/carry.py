"""States of sequences by id, for batches that hold other sequences at each step of a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.errors import GatewrightError
from gatewright.nn import layer_sizes
from gatewright.nn.initial_state import State, described, of_rows, pair, tensors_of, types_of, zeros

#: What identifies a sequence.
Id = int | str
Ids = Tensor | NDArray[np.integer[Any]] | Sequence[Id]


class Carry:
    """The states of an LSTM at the end of what it has read so far, by the id of a sequence.

    A stateful layer that keeps its last state needs the same sequences in the same rows of every batch.  A carry
    lets batches be shuffled: `gather` returns the states of the sequences in a batch, `store` keeps those that
    they lead to, detached.  A sequence without a state starts as the layer does, from zeros or from what it
    learned.

    States are kept on the device and in the type of the layer's weights, and follow them when the layer moves.

    Args:
        layer: a `gatewright.LSTM` or `torch.nn.LSTM` in one direction.

    Raises:
        GatewrightError: if it is none.

    >>> from gatewright import LSTM
    >>> lstm = LSTM(3, 4)
    >>> carry = Carry(lstm)
    >>> for ids in (["a", "b"], ["c", "a"]):
    ...     y, state = lstm(torch.ones(5, 2, 3), carry.gather(ids))
    ...     carry.store(ids, state)
    >>> carry.ids()
    ['a', 'b', 'c']
    """

    def __init__(self, layer: torch.nn.RNNBase) -> None:
        if not isinstance(layer, torch.nn.RNNBase) or layer.mode != "LSTM":
            raise GatewrightError("layer", "an LSTM", type(layer).__name__)
        if layer.bidirectional:
            raise GatewrightError(
                "layer", "one that reads forward only, which can go on where it was", "a bidirectional one"
            )
        self._layer = layer
        self._places: dict[Id, int] = {}
        self._free: list[int] = []
        #: h (L, places, P) and c (L, places, H); tuples of each layer's where their sizes differ.
        self._states = self._zeros(0)

    def __len__(self) -> int:
        """Return the number of sequences with a state."""
        return len(self._places)

    def __contains__(self, sequence: Id) -> bool:
        """Return whether a sequence has a state."""
        return sequence in self._places

    def __repr__(self) -> str:
        return f"Carry({len(self)} states)"

    def ids(self) -> list[Id]:
        """Return the ids of the sequences with a state, those stored first first."""
        return list(self._places)

    def gather(self, ids: Ids) -> State:
        """Return the states (h, c), (L, B, P) and (L, B, H), from which sequences go on.

        Args:
            ids: one for each row of the batch: whole numbers, in a tensor or an array too, or text.

        Raises:
            GatewrightError: if an id is none, or occurs twice.
        """
        rows = _ids(ids)
        self._follow()
        places = [self._places.get(each, -1) for each in rows]
        if max(places, default=-1) < 0:
            return self._start(len(rows))
        place = torch.tensor(places, device=self._first.device)
        new, known = (place < 0)[:, None], place.clamp(min=0)
        kept = _changed(lambda states: states.index_select(1, known), self._states)
        if min(places) >= 0:
            return kept
        return _changed(lambda state, start: torch.where(new, start, state), kept, self._start(len(rows)))

    def store(self, ids: Ids, state: State) -> None:
        """Keep the states (h_n, c_n) of a batch, without their graph.

        Args:
            ids: as for `gather`.
            state: as the layer returned it.

        Raises:
            GatewrightError: if ids or shapes do not fit; nothing is kept then.
        """
        rows = _ids(ids)
        shapes = layer_sizes.state_shapes(self._layer, (len(rows),))
        pair = isinstance(state, tuple | list) and len(state) == 2
        if not pair or tuple(map(layer_sizes.shape_of, state)) != shapes:
            raise GatewrightError("state", f"tensors of the shapes {list(shapes)}", described(state))
        with torch.inference_mode(False), torch.no_grad():
            self._follow()
            place = torch.tensor(self._allocated(rows), dtype=torch.int64, device=self._first.device)
            for kept, new in zip(tensors_of(self._states), tensors_of(state), strict=True):
                kept.index_copy_(1, place, new.to(kept))

    def drop(self, ids: Ids | None = None) -> None:
        """Forget the states of sequences, those of all if None; ids without a state are passed over.

        Raises:
            GatewrightError: if an id is none, or occurs twice.
        """
        for each in self.ids() if ids is None else _ids(ids):
            place = self._places.pop(each, None)
            if place is not None:
                self._free.append(place)

    def state_dict(self) -> dict[str, Any]:
        """Return ids and copies of their states, ``h`` (L, sequences, P) and ``c`` (L, sequences, H).

        With layers of unequal size ``h`` and ``c`` are tuples of the states of each.
        """
        self._follow()
        place = torch.tensor(list(self._places.values()), dtype=torch.int64, device=self._first.device)
        h, c = _changed(lambda states: states.index_select(1, place), self._states)
        return {"ids": self.ids(), "h": h, "c": c}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Replace all states by those of a `state_dict`.

        Raises:
            GatewrightError: if it is none, or of other layers; nothing has changed then.
        """
        if not isinstance(state_dict, dict) or set(state_dict) != {"ids", "h", "c"}:
            raise GatewrightError(
                "state_dict", "ids, h and c, as Carry.state_dict returns them", repr(state_dict)[:80]
            )
        new = Carry(self._layer)
        new.store(state_dict["ids"], (state_dict["h"], state_dict["c"]))
        self._places, self._free, self._states = new._places, new._free, new._states

    @property
    def _weight(self) -> Tensor:
        """A weight, for type and device."""
        return next(self._layer.parameters())

    def _start(self, rows: int) -> State:
        """Return the state of the layer's start, for each row."""
        if getattr(self._layer, "initial_state", "zeros") != "zeros":
            h, c = pair(self._layer)
            return of_rows(h, rows), of_rows(c, rows)
        return self._zeros(rows)

    def _zeros(self, rows: int) -> State:
        shapes = layer_sizes.state_shapes(self._layer, (rows,))
        return zeros(self._layer, self._weight, shapes)

    @property
    def _first(self) -> Tensor:
        """One tensor of the states, for their place."""
        return tensors_of(self._states)[0]

    def _follow(self) -> None:
        """Move the states to where the weights are."""
        W, state = self._weight, self._first
        if state.device != W.device or state.dtype != W.dtype:
            of_h, of_c = types_of(self._layer, W.dtype)
            h, c = self._states
            h = layer_sizes.each(lambda part: part.to(W.device, of_h), h)
            self._states = h, layer_sizes.each(lambda part: part.to(W.device, of_c), c)

    def _allocated(self, rows: list[Id]) -> list[int]:
        """Return the places of sequences, with room for those that have none yet."""
        new = [each for each in rows if each not in self._places]
        missing, room = len(new) - len(self._free), self._first.shape[1]
        if missing > 0:
            more = max(missing, room)  # twice as much at least, so that few calls copy
            self._states = _changed(lambda *both: torch.cat(both, 1), self._states, self._zeros(more))
            self._free += range(room + more - 1, room - 1, -1)
        for each in new:
            self._places[each] = self._free.pop()
        return [self._places[each] for each in rows]


def _changed(change: Callable[..., Tensor], *states: State) -> State:
    """Return states with each of their tensors changed, together with those of further states."""

    def changed(*parts: Any) -> Any:
        if isinstance(parts[0], Tensor):
            return change(*parts)
        return tuple(change(*layers) for layers in zip(*parts, strict=True))

    h, c = (changed(*parts) for parts in zip(*states, strict=True))
    return h, c


def _ids(ids: Any) -> list[Id]:
    """Return ids as a list.

    Raises:
        GatewrightError: if one is neither a whole number nor text, or occurs twice.
    """
    rows = ids.tolist() if isinstance(ids, Tensor | np.ndarray) else ids
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise GatewrightError("ids", "one for each row, in a list or a tensor", repr(ids)[:80])
    seen: set[Id] = set()
    for each in rows:
        if not isinstance(each, int | str) or isinstance(each, bool):
            raise GatewrightError("ids", "whole numbers or text", repr(each)[:80])
        if each in seen:
            raise GatewrightError("ids", "each id once in a batch", f"{each!r} twice")
        seen.add(each)
    return list(rows)
