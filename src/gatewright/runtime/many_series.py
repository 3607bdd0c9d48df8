"""A forecaster over many series at once: one forecast after the last row of each.

The layers read all rows before the last with a head of their own, which gives one number for each step ahead and
target, or a single one; the states then go on in the whole model, for the last row.  A state does not depend on
the head, so that the forecasts have the bits of a `gatewright.Stream` that reads all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.files.model_file import ModelFile
from gatewright.native_module import _kernels
from gatewright.runtime import packed_model
from gatewright.runtime.state import Shape, State
from gatewright.spec import QuantileHead

Array = NDArray[Any]

#: Number of steps of a call of the native module; its output, which nothing reads, has as many.
STEPS = 64


class ManySeries:
    """A forecaster, and the states of as many series as a call has.

    Args:
        file: the forecaster.
        threads: maximum number of threads for a call.
    """

    def __init__(self, file: ModelFile, threads: int = 1) -> None:
        self._whole, self._signature, self._shape, _ = packed_model.of_file(file, "float32")
        self._reader = packed_model.of_file(_reading(file), "float32").native
        self._threads = threads

    @property
    def width(self) -> int:
        """Numbers in a row, sines and cosines of the calendar and holidays included."""
        return int(self._whole.input_width)

    @property
    def shape(self) -> Shape:
        """Shape of the state of a series."""
        return self._shape

    def forecast(
        self, rows: Array, lengths: NDArray[np.int64], states: Sequence[State | None] = (), *, keep: bool = False
    ) -> tuple[NDArray[np.float64], list[State]]:
        """Read the rows of each series, and forecast after the last.

        Args:
            rows: (T, B, width), as `Columns` of the native module has them, with the index of each category;
                those of a series after its end do not count.
            lengths: number of rows of each series, at least 1, (B,).
            states: from which each series goes on; None for its start.  Without any, all start.
            keep: whether to return the states after the last rows.

        Returns:
            Forecasts (B, horizon, targets, quantiles); and states, if they are to be kept.

        Raises:
            GatewrightError: at a number that the model cannot read.
        """
        B = rows.shape[1]
        reader, whole = _kernels.Stream(self._reader, B), _kernels.Stream(self._whole, B)
        for number, state in enumerate(states):
            if state is not None:
                _set(reader, number, state)
        self._read(reader, rows, lengths - 1)
        for number in range(B):
            hidden, cell, last, steps, recent = reader.state(number)
            whole.set_state(number, hidden, cell, last, steps, recent)
        final = np.ascontiguousarray(rows[lengths - 1, np.arange(B)])
        out = np.empty((B, *self._signature.output_shape))
        whole.run(final, out, np.arange(B), 1, B, None, self._threads)
        return out, [self._state(whole, number) for number in range(B)] if keep else []

    def _read(self, reader: _kernels.Stream, rows: Array, lengths: NDArray[np.int64]) -> None:
        """Read rows of each series, and forecast nothing: those that end earlier leave the batch."""
        order = np.argsort(-lengths, kind="stable")
        whole = bool((order == np.arange(len(order))).all())
        begin = 0
        for end in np.unique(lengths).tolist():
            sessions = order[: np.count_nonzero(lengths >= end)]
            while begin < end:
                steps = min(STEPS, end - begin)
                part = rows[begin : begin + steps]
                if not whole or len(sessions) < len(order):
                    part = part[:, sessions]
                out = np.empty((steps, len(sessions), self._reader.output_width))
                size = (steps, len(sessions))
                reader.run(np.ascontiguousarray(part), out, sessions, *size, None, self._threads)
                begin += steps

    def _state(self, native: _kernels.Stream, number: int) -> State:
        hidden, cell, last, steps, recent = native.state(number)
        shape = self._shape
        parts = (hidden.reshape(shape.hidden_shape), cell.reshape(shape.cell_shape), last, steps)
        return State(*parts, recent.reshape(shape.recent_shape))


def _set(native: _kernels.Stream, number: int, state: State) -> None:
    arrays = map(np.ascontiguousarray, (state.hidden, state.cell, state.last, state.recent))
    hidden, cell, last, recent = arrays
    native.set_state(number, hidden, cell, last, state.steps, recent)


def _reading(file: ModelFile) -> ModelFile:
    """Return a forecaster with the layers of another one and the smallest head, whose output nothing reads."""
    assert file.spec.forecaster is not None
    encoder, head = file.spec.forecaster
    horizon = head.horizon if encoder.known else 1  # of inputs known in advance, a row has one for each step
    spec = replace(file.spec, head=QuantileHead(horizon, (0.5,)))
    arrays = dict(file.tensors)
    if encoder.seasons:
        arrays["season.weight"] = np.ascontiguousarray(file.tensors["season.weight"][:, :horizon])
    for name, shape in spec.tensors().items():
        if name.startswith("head."):
            arrays[name] = np.zeros(shape, np.float32)
    return replace(file, spec=spec, tensors=arrays, table=None)
