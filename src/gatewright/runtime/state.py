"""The state of one session of a stream, to bytes and back.

The bytes are: the magic ``gwstate`` and the format's version; the fingerprint of the model; L, H, P, the number of
targets and the steps taken; h, c and the last observed targets; and a digest.  Version 2, for models with seasons
only, adds the number of recent rows after the steps, and the recent targets after the last observed ones.
Versions 3 and 4 are versions 1 and 2 for layers of unequal size, whose H and P are sums over the layers.
With the scale of a window the last observed targets are followed by five numbers of each (`State.last`).
Everything is little-endian.  The bytes are not trusted: sizes are checked against the model before anything is
read.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import StateError
from gatewright.spec.encoders import WINDOW_NUMBERS

_MAGIC = b"gwstate"  # the version is the next byte
_HEAD = struct.Struct("<7sB32sIIIIq")
_RECENT = struct.Struct("<I")  # after the head, in version 2
_DIGEST = 16


@dataclass(frozen=True, eq=False)
class State:
    """The state of a session; the arrays are copies.

    Attributes:
        hidden: h of each layer, (L, P), float32; of layers of unequal size those of all in a row, (sum of P,).
        cell: c of each layer, (L, H), or c, n and m of an sLSTM in a row, (L, 3H), float32; likewise.
        last: the last observed value of each target, in its own units, NaN before the first, (targets,), float64;
            of a classifier that pools by mean or maximum the sum or the maximum of the hidden states, (P,), and
            by attention their weighted sum, the sum of the weights, and the power of two that both are to be
            multiplied by, (P + 2,), NaN before the first step; empty for other models.  With the scale of a window
            these are followed by five numbers of each target, transformed, NaN before the first: its first value,
            the sums of the sizes of its changes and of its values, the sum of the differences of its values from
            the first, and their number.
        steps: steps taken.
        recent: of a forecaster with seasons, the targets of the last rows, the oldest first, as last observed and
            in the units of the scaler, NaN before the first observation, (longest season + 1, targets), float32;
            else empty.
    """

    hidden: NDArray[np.float32]
    cell: NDArray[np.float32]
    last: NDArray[np.float64]
    steps: int
    recent: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def __eq__(self, other: object) -> bool:
        """Whether all parts are equal, bit for bit."""
        return isinstance(other, State) and self._parts() == other._parts()

    __hash__ = None  # type: ignore[assignment]

    def _parts(self) -> tuple[object, ...]:
        arrays = (self.hidden, self.cell, self.last, self.recent)
        return self.steps, *((array.shape, array.tobytes()) for array in arrays)


@dataclass(frozen=True)
class Shape:
    """The required sizes and fingerprint of the states of a model.

    Attributes:
        layers: L.
        hidden: P, width of a layer's hidden state.
        cell: H, units of a layer.
        targets: size of ``last``: the number of targets, or of numbers that pooling keeps.
        fingerprint: SHA-256 of the model, in hexadecimal.
        recent: number of rows whose targets are part of the state; 0 without seasons.
        window: maximum number of rows that a target's scale is of; 0 with that of the training part.
        most_hidden: largest magnitude of a hidden state: 1 where it is multiplied in units of 1/127.
        cell_rows: parts of H numbers that a cell state has: 1, or 3 of an sLSTM.
        sizes: H of each layer where these differ; ``hidden`` and ``cell`` are then sums over the layers.
    """

    layers: int
    hidden: int
    cell: int
    targets: int
    fingerprint: str
    recent: int = 0
    window: int = 0
    most_hidden: float = math.inf
    cell_rows: int = 1
    sizes: tuple[int, ...] = ()

    @property
    def cell_size(self) -> int:
        """Width of a layer's cell state, or of all in a row."""
        return self.cell * self.cell_rows

    @property
    def hidden_shape(self) -> tuple[int, ...]:
        """Shape of `State.hidden`."""
        return (self.hidden,) if self.sizes else (self.layers, self.hidden)

    @property
    def cell_shape(self) -> tuple[int, ...]:
        """Shape of `State.cell`."""
        return (self.cell_size,) if self.sizes else (self.layers, self.cell_size)

    @property
    def units(self) -> tuple[int, ...]:
        """Axes of the units of all layers: (L, H), or those of layers of unequal size in a row."""
        return (self.cell,) if self.sizes else (self.layers, self.cell)

    def normalisers(self, cell: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return n of each layer of an sLSTM, the second H numbers of its cell state."""
        if not self.sizes:
            return [cell[:, self.cell : 2 * self.cell]]
        ends = np.cumsum([self.cell_rows * H for H in self.sizes])[:-1]
        return [part[H : 2 * H] for part, H in zip(np.split(cell, ends), self.sizes, strict=True)]

    @property
    def last_size(self) -> int:
        """Size of `State.last`."""
        return self.targets * (1 + WINDOW_NUMBERS if self.window else 1)

    @property
    def recent_shape(self) -> tuple[int, int]:
        """Shape of `State.recent`."""
        return (self.recent, self.targets) if self.recent else (0, 0)

    @property
    def _version(self) -> int:
        return (2 if self.recent else 1) + (2 if self.sizes else 0)

    @property
    def _head_size(self) -> int:
        return _HEAD.size + (_RECENT.size if self.recent else 0)

    @property
    def _size(self) -> int:
        layers = math.prod(self.hidden_shape) + math.prod(self.cell_shape)
        numbers = 4 * layers + 8 * self.last_size + 4 * self.recent * self.targets
        return self._head_size + numbers + _DIGEST

    def check(self, state: State) -> State:
        """Return the state if its shapes and types fit and its numbers are finite.

        Raises:
            StateError: otherwise.
        """
        if not isinstance(state, State):
            raise StateError("state", "a State", f"a {type(state).__name__}")
        shapes = {
            "hidden": (self.hidden_shape, np.float32),
            "cell": (self.cell_shape, np.float32),
            "last": ((self.last_size,), np.float64),
            "recent": (self.recent_shape, np.float32),
        }
        for name, (shape, dtype) in shapes.items():
            array = getattr(state, name)
            if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
                got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                raise StateError(f"state.{name}", f"{np.dtype(dtype)} {shape}", got)
            good = np.isfinite(array) | (np.isnan(array) & (name in ("last", "recent")))
            if not good.all():
                raise StateError(f"state.{name}", "finite numbers", "NaN or infinity")
        if self.most_hidden < np.abs(state.hidden).max(initial=0):
            got = str(np.abs(state.hidden).max())
            raise StateError("state.hidden", "numbers from -1 to 1, with weights of int8", got)
        if self.cell_rows > 1 and any((n < 0).any() for n in self.normalisers(state.cell)):
            raise StateError(
                "state.cell", "n of an sLSTM, its second H numbers, of at least 0", "a number below 0"
            )
        if self.window and not self._is_window(state.last):
            expected = "the last observed values, and for each what its window has seen"
            raise StateError("state.last", expected, "other numbers")
        # Far below the number at which counting would overflow.
        if not isinstance(state.steps, int) or not 0 <= state.steps < 2**62:
            raise StateError("state.steps", f"a whole number from 0 to {2**62 - 1}", repr(state.steps)[:80])
        unseen = np.isnan(state.recent)
        early = max(0, self.recent - state.steps)  # rows before the first step
        if not unseen[:early].all() or (unseen[1:] & ~unseen[:-1]).any():
            expected = "NaN in the rows before the first observation of a target, and there alone"
            raise StateError("state.recent", expected, "other rows")
        return state

    def _is_window(self, last: NDArray[np.float64]) -> bool:
        """Whether numbers may be those of a session with the scale of a window."""
        values, memory = last[: self.targets], last[self.targets :].reshape(-1, WINDOW_NUMBERS)
        _, moved, size, _, rows = memory.T
        counted = (rows >= 1) & (rows <= self.window) & (moved >= 0) & (size >= 0)
        seen = np.isfinite(memory).all(axis=1) & counted
        return bool(np.where(np.isnan(values), np.isnan(memory).all(axis=1), seen).all())

    def to_bytes(self, state: State) -> bytes:
        """Return a valid state as bytes."""
        sizes = (self.layers, self.cell_size, self.hidden, self.targets)
        head = _HEAD.pack(_MAGIC, self._version, bytes.fromhex(self.fingerprint), *sizes, state.steps)
        if self.recent:
            head += _RECENT.pack(self.recent)
        arrays = (
            state.hidden.astype("<f4"), state.cell.astype("<f4"), state.last.astype("<f8"),
            state.recent.astype("<f4"),
        )  # fmt: skip
        body = head + b"".join(array.tobytes() for array in arrays)
        return body + _digest(body)

    def from_bytes(self, data: bytes) -> State:
        """Return the state that `to_bytes` wrote for the same model.

        Raises:
            StateError: on any other bytes.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise StateError("snapshot", "bytes", f"a {type(data).__name__}")
        data = bytes(data)
        if len(data) < _HEAD.size + _DIGEST or data[:7] != _MAGIC:
            raise StateError("snapshot", "a state that Gatewright wrote", f"{len(data)} other bytes")
        if data[7] != self._version:
            got = f"version {data[7]}, of another model or a later Gatewright"
            raise StateError("snapshot", f"version {self._version}", got)
        if _digest(data[:-_DIGEST]) != data[-_DIGEST:]:
            raise StateError("snapshot", "a whole snapshot", "a damaged one: its digest does not fit")
        _, _, fingerprint, *sizes, steps = _HEAD.unpack_from(data)
        if fingerprint.hex() != self.fingerprint:
            got = f"one of the model {fingerprint.hex()[:12]}..."
            raise StateError("snapshot", f"a state of the model {self.fingerprint[:12]}...", got)
        if sizes != [self.layers, self.cell_size, self.hidden, self.targets] or len(data) != self._size:
            raise StateError("snapshot", f"{self._size} bytes", f"{len(data)}")
        if self.recent and _RECENT.unpack_from(data, _HEAD.size) != (self.recent,):
            raise StateError("snapshot", f"{self.recent} recent rows", "another number")
        at = self._head_size
        arrays = []
        for dtype, shape in (
            ("<f4", self.hidden_shape),
            ("<f4", self.cell_shape),
            ("<f8", (self.last_size,)),
            ("<f4", self.recent_shape),
        ):
            count = int(np.prod(shape))
            array = np.frombuffer(data, dtype, count, at).reshape(shape)
            arrays.append(array.astype(dtype[1:]))
            at += array.nbytes
        hidden, cell, last, recent = arrays
        return self.check(State(hidden, cell, last, steps, recent))


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST).digest()
