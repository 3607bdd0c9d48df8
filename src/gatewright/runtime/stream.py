"""Streams: a trained model one step at a time, without torch.

A stream has one or several sessions, each with its own state.  Input and output of a step:

- a forecaster reads a row of its table, in the units of the table, and returns quantiles of the next values;
- a language model reads a symbol, and returns a score for each possible next symbol;
- a classifier reads a row of its columns, and returns the probability of each class, by the steps so far;
- a tagger reads a row of its columns, and returns the probability of each class of this very step;
- LSTM layers (`Stream.from_weights`) read numbers, and return the hidden state of the last layer.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, path_of
from gatewright.files import model_file
from gatewright.native_module import _kernels
from gatewright.runtime import packed_model, step_record
from gatewright.runtime.classes import ClassSteps
from gatewright.runtime.model_interface import ModelInterface
from gatewright.runtime.packed_model import WeightFormat
from gatewright.runtime.signature import Signature
from gatewright.runtime.state import Shape, State
from gatewright.spec.cell import CellSpec

_PLAIN = CellSpec()

Array = NDArray[Any]
#: One session, several sessions, or None for all.
Sessions = int | Sequence[int] | NDArray[np.integer[Any]] | None


class Stream(ModelInterface):
    """A model and the states of its sessions, advanced step by step.

    A step has the same bits as the whole sequence at once, alone or next to other sessions.  Created by `load`,
    `from_weights`, `gatewright.LSTM.stream` or `gatewright.Model.stream`.

    Refused input (a wrong shape or type, NaN, infinity, an unknown session) leaves every state unchanged.
    A stream serves one thread at a time; `copy` makes a stream for another thread.

    Attributes:
        sessions: number of sessions; their numbers start at 0.
        threads: maximum number of threads for a call.
        fingerprint: SHA-256 of the model, in hexadecimal.

    >>> zeros = np.zeros((4, 1), np.float32)
    >>> stream = Stream.from_weights({"weight_ih_l0": zeros, "weight_hh_l0": zeros})
    >>> stream.set_state(State(np.zeros((1, 1), "f4"), np.ones((1, 1), "f4"), np.zeros(0), steps=0))
    >>> y = stream.step(np.zeros(1, np.float32))
    >>> stream.state().cell
    array([[0.5]], dtype=float32)
    """

    def __init__(
        self,
        model: _kernels.Model,
        signature: Signature,
        shape: Shape,
        cell: CellSpec = _PLAIN,
        *,
        sessions: int = 1,
        threads: int = 1,
    ) -> None:
        for name, value in (("sessions", sessions), ("threads", threads)):
            if not isinstance(value, int) or not 1 <= value < 2**31:
                raise GatewrightError(name, f"a whole number from 1 to {2**31 - 1}", repr(value)[:80])
        super().__init__(model, signature, shape)
        self.sessions, self.threads = sessions, threads
        self._cell = cell
        self._classes: ClassSteps | None = None
        self._start: State | None = None
        self._set_native(_kernels.Stream(model, sessions))

    def _set_native(self, native: _kernels.Stream) -> None:
        """Set the states, and say which calls may go straight to the native module (`_kernels.native_step`)."""
        self._native = native
        signature = self._signature
        into = self.sessions == 1 and not (signature.reads_time or signature.classes)
        step = into and not (signature.symbols or signature.categories)
        self._direct = _kernels.direct_steps(native, signature.output_shape, step, into) if into else None

    @classmethod
    def load(
        cls, path: Path | str, *, sessions: int = 1, threads: int = 1, weights: WeightFormat = "float32"
    ) -> Stream:
        """Create a stream from a model file or a run directory.

        Args:
            path: the file or the directory.
            sessions: number of sessions.
            threads: maximum number of threads for a call; a call with little work takes one.
            weights: storage type of the weights of the gates: "float32"; "bf16", in half the memory, for products
                in bfloat16 (inputs, hidden states and a projection are rounded, too; sums are of float32);
                "int8", in a quarter, with a scale for each row, for products of integers (hidden states are
                rounded to 1/127, inputs to 1/127 of the largest in their row; at most 133,144 numbers in a sum);
                "bf16-float32" or "int8-float32",
                in the same memory, for products in float32.  `gatewright quantize` compares accuracy and time.
                Gates, states, biases, embedding, pooling and head stay in float32.  A cell other than the plain
                one has "float32" and "bf16".

        Raises:
            ModelFileError: if the file is damaged, foreign or too new.
            SpecError: if it needs whole sequences: a bidirectional classifier or tagger.
            GatewrightError: if ``sessions`` or ``threads`` is not a whole number of at least 1, or ``weights`` is
                unknown or not for the model's cell.
        """
        if not isinstance(path, str | os.PathLike):
            raise GatewrightError("path", "a run's directory or a model file", repr(path)[:80])
        path = path_of(path, "path", "the path of a model file or of a run's directory")
        file = model_file.read(path / "model.safetensors" if path.is_dir() else path)
        return cls.of(file, sessions=sessions, threads=threads, weights=weights)

    @classmethod
    def of(
        cls, file: model_file.ModelFile, *, sessions: int = 1, threads: int = 1, weights: WeightFormat = "float32"
    ) -> Stream:
        """Create a stream from the content of a model file; see `load`."""
        stream = cls(*packed_model.of_file(file, weights), sessions=sessions, threads=threads)
        if file.spec.labeller is not None:
            stream._classes = ClassSteps(file)
        return stream

    @classmethod
    def from_weights(
        cls,
        arrays: Mapping[str, Any],
        *,
        cell: CellSpec = _PLAIN,
        residual: bool = False,
        sessions: int = 1,
        threads: int = 1,
        weights: WeightFormat = "float32",
    ) -> Stream:
        """Create a stream from the weights of LSTM layers.

        Args:
            arrays: float32 arrays or CPU tensors under the names that `torch.nn.LSTM` gives them:
                ``weight_ih_l0`` (4H, D), ``weight_hh_l0`` (4H, H), ``bias_ih_l0`` and ``bias_hh_l0`` (4H,), with a
                projection ``weight_hr_l0`` (P, H), and so on for each layer, such as its ``state_dict()``.  With
                ``h_0`` (L, P) and ``c_0`` (L, H) too, sessions start from these, also after `reset`; of layers of
                unequal size these are ``h_0_l0`` (1, P), ``c_0_l0`` (1, H) and so on.
            cell: of these layers, if it is not the plain one; arrays are then under the names, and in the shapes,
                of `CellSpec.weights`.  It steps as after training: zoneout by its rate, and no dropout.  Its bias
                and projection are those of the arrays.  A ``state_dict()`` of `gatewright.LSTM` names its cell.
            residual: whether each layer after the first adds its input to its output; a ``state_dict()`` of such
                a `gatewright.LSTM` says so itself.
            sessions: number of sessions.
            threads: maximum number of threads for a call.
            weights: storage type, as for `load`.

        Raises:
            GatewrightError: if names, shapes or types do not fit, a weight is not finite, or the cell does not
                have the storage type.
            SpecError: if the cell has no sense with a projection.

        >>> ones = np.ones((1, 1), np.float32)
        >>> absent = {"input_gate": False, "forget_gate": False, "output_gate": False}
        >>> cell = CellSpec(**absent, candidate_activation="identity")
        >>> layer = {"weight_ih_l0": ones, "weight_hh_l0": 0 * ones}
        >>> stream = Stream.from_weights(layer, cell=cell)  # a sum
        >>> _ = stream.run(np.float32([[1.0], [2.0], [3.0]]))
        >>> stream.state().cell
        array([[6.]], dtype=float32)
        """
        model = packed_model.of_arrays(arrays, weights, cell, residual)
        stream = cls(*model, sessions=sessions, threads=threads)
        stream._start = packed_model.start_of(arrays, model.shape)
        if stream._start is not None:
            stream.reset()
        return stream

    def read(self, xs: Any, times: Any = None) -> tuple[Array, NDArray[np.datetime64] | None]:
        """Convert the input of many steps of one session, and their times, without running them.

        Categories become indices: `run` takes the result with ``indexed=True``.

        Args:
            xs: as for `run`.
            times: as for `run`.

        Raises:
            GatewrightError: if their shape or type does not fit; NaN and infinity are found when the steps run.
        """
        array = self._signature.array(xs, (None,))
        if times is None and not self._signature.reads_time:
            return array, None
        return array, self._signature.times(times, (len(array),), "times")

    @_kernels.native_step
    def step(
        self, x: Any, sessions: Sessions = None, *, time: Any = None, record: bool = False, indexed: bool = False
    ) -> Any:
        """Advance by one step.

        Args:
            x: for one session a row (columns,) or numbers (D,), or a symbol or its number; for several an array
                (B, ...) or a list of these.  A missing target is NaN, and a value of a classifier's or tagger's
                column that was missing in its training too; no other value may be.  A category is its value as in
                a table: text, true or false, or a whole number; None, and one that the training did not have, are
                unknown.
            sessions: the number of one session, or those of several, each once; None for all.
            time: time of the row, for a model with calendar inputs: a `datetime`, a `numpy.datetime64` or text,
                such as ISO 8601.  Without a zone it is a time on the clock of `time_zone`.  One for all sessions,
                or one for each.
            record: whether to return the gates of the step, too.
            indexed: whether ``x`` has the index of a category (`categories`; 0 for an unknown one), not its value.

        Returns:
            The output, with a leading axis B for several sessions; and a `StepRecord` with ``record=True``.

        Raises:
            GatewrightError: if input does not fit; the states are then unchanged.
        """
        return self._advance(x, sessions, time, record, steps=False, indexed=indexed)

    @_kernels.native_step_into
    def step_into(self, x: Array, out: Array) -> None:
        """Advance the only session by one step, and write the output into an array; allocates no memory.

        Args:
            x: exactly the type and shape of the model's input: float32 (D,), float64 (columns,), or int64 ().  A
                category is its index (`categories`), 0 for an unknown one.
            out: contiguous, of `output_shape`; float64 for a forecaster, else float32.

        Raises:
            GatewrightError: if they do not fit, there are several sessions, or the model has calendar inputs.
        """
        if self.sessions > 1 or self._signature.reads_time or self._classes is not None:
            got = f"{self.sessions} sessions" if self.sessions > 1 else "one that reads a calendar"
            got = got if self._classes is None else "a classifier or a tagger"
            raise GatewrightError("stream", "one session of a model that reads no calendar", got)
        if not self._native.step(x, out):
            dtype, shape = self._signature.dtype, self._signature.shape
            expected = f"contiguous {dtype} {shape}, and {self._signature.output_dtype} {self.output_shape}"
            raise GatewrightError("x, out", expected, f"{_described(x)}, and {_described(out)}")

    def run(
        self, xs: Any, sessions: Sessions = None, *, times: Any = None, record: bool = False, indexed: bool = False
    ) -> Any:
        """Advance by many steps.

        Args:
            xs: as for `step`, with time as the first axis: (T, ...), or (T, B, ...) for several sessions; a text
                for one session of a text model.
            sessions: as for `step`.
            times: for a model with calendar inputs, one for each step, the same for all sessions.
            record: whether to return the gates of every step, too.
            indexed: as for `step`.

        Returns:
            The outputs (T, ...) or (T, B, ...); and a `StepRecord` with ``record=True``.

        Raises:
            GatewrightError: if input does not fit; the states are then unchanged.
        """
        return self._advance(xs, sessions, times, record, steps=True, indexed=indexed)

    def steps_read(self, session: int = 0) -> int:
        """Return the number of steps that a session has read since its start or its last `reset`.

        The number is part of `state` and `snapshot`.
        """
        return int(self._native.state(_number("session", session))[3])

    def state(self, session: int = 0) -> State:
        """Return a copy of the state of a session."""
        hidden, cell, last, steps, recent = self._native.state(_number("session", session))
        shape = self._shape
        recent = recent.reshape(shape.recent_shape)
        return State(hidden.reshape(shape.hidden_shape), cell.reshape(shape.cell_shape), last, steps, recent)

    def set_state(self, state: State, session: int = 0) -> None:
        """Set the state of a session.

        Raises:
            StateError: if it does not fit the model, or holds NaN or infinity; with weights of int8 and no
                projection also if a hidden state is outside of -1 to 1.
        """
        state = self._shape.check(state)
        arrays = (state.hidden, state.cell, state.last, state.recent)
        hidden, cell, last, recent = (np.ascontiguousarray(array) for array in arrays)
        if self._classes is not None:
            self._classes.require(state.last, state.steps)
        self._native.set_state(_number("session", session), hidden, cell, last, state.steps, recent)

    def reset(self, sessions: Sessions = None) -> None:
        """Reset sessions to the state of their start, zeros unless the layers learned another; None for all."""
        numbers = self._numbers(range(self.sessions) if sessions is None else sessions)[0]
        for number in numbers:
            self._native.require(int(number))
        for number in numbers:
            self._native.reset(int(number))
            if self._start is not None:
                self.set_state(self._start, int(number))

    def snapshot(self, session: int = 0) -> bytes:
        """Return the state of a session as bytes, for `restore` on a stream of the same model on any machine."""
        return self._shape.to_bytes(self.state(session))

    def require(self, snapshot: bytes) -> State:
        """Return the state in a snapshot, or raise if `restore` would refuse it; no session changes.

        Raises:
            StateError: if it is damaged, or of another model.
        """
        return self._shape.from_bytes(snapshot)

    def restore(self, snapshot: bytes, session: int = 0) -> None:
        """Set the state of a session from a `snapshot`.

        Raises:
            StateError: if it is damaged, or of another model.
        """
        self.set_state(self._shape.from_bytes(snapshot), session)

    def copy(self) -> Stream:
        """Return another stream with the same weights and copies of all states."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new._set_native(self._native.copy())
        return new

    __copy__ = copy

    def __deepcopy__(self, memo: object) -> Stream:
        return self.copy()

    def __reduce__(self) -> Any:
        raise TypeError("a Stream cannot be pickled; take snapshot() of its sessions")

    def __repr__(self) -> str:
        L, H = self._shape.layers, list(self._shape.sizes) or self._shape.cell
        return (
            f"Stream(layers={L}, hidden_size={H}, sessions={self.sessions}, fingerprint={self.fingerprint[:12]})"
        )

    def _advance(
        self, x: Any, sessions: Sessions, time: Any, record: bool, *, steps: bool, indexed: bool = False
    ) -> Any:
        numbers, several = self._numbers(sessions)
        signature, B = self._signature, len(numbers)
        array = signature.array(x, (None,) * steps + (B,) * several, indexed)
        T = array.shape[0] if steps else 1
        leading = (T,) * steps + (B,) * several
        if signature.reads_time or time is not None:
            times, name = ((T,), "times") if steps else ((B,) * several, "time")
            array = signature.with_calendar(array.reshape(T, B, *signature.shape), time, times, name)
        if not record:
            return self._outputs(array, T, leading, numbers, None)
        shape = self._shape
        before = self._cells(numbers) if step_record.reads_state(self._cell) else None
        size = T * B * math.prod(shape.units)
        gates, cell = np.empty(4 * size, np.float32), np.empty(size, np.float32)
        out = self._outputs(array, T, leading, numbers, (gates, cell))
        by_step = (step_record.by_step(each, shape, n, T, B) for each, n in ((gates, 4), (cell, 1)))
        of_gates, [cells] = by_step
        steps_taken = step_record.of_steps(of_gates, cells, before, self._cell)
        return out, steps_taken.reshaped((*leading, *shape.units))

    def _outputs(
        self,
        array: Array,
        T: int,
        leading: tuple[int, ...],
        numbers: NDArray[np.int64],
        record: tuple[Array, Array] | None,
    ) -> Array:
        """Run the native module, and return the outputs; nothing has changed if it refuses the input."""
        signature, classes, B = self._signature, self._classes, len(numbers)
        if classes is None:
            out = np.empty((*leading, *signature.output_shape), signature.output_dtype)
            self._native.run(array, out, numbers, T, B, record, self.threads)
            return out
        rows = classes.rows(array)
        out = np.empty((T, B, self._model.output_width), np.float32)
        self._native.run(rows, out, numbers, T, B, record, self.threads)
        return classes.probabilities(out).reshape(*leading, *signature.output_shape)

    def _cells(self, numbers: NDArray[np.int64]) -> Array:
        """Return the cell states of sessions, (B, L, H); zeros of one that is not there, which a call refuses."""
        shape = self._shape.units
        there = (self._native.state(int(n))[1] if 0 <= n < self.sessions else np.zeros(shape) for n in numbers)
        return np.array([cell.reshape(shape) for cell in there], np.float32).reshape(-1, *shape)

    def _numbers(self, sessions: Sessions | range) -> tuple[NDArray[np.int64], bool]:
        """Return the numbers of the sessions, and whether input has an axis for them."""
        if sessions is None:
            return np.arange(self.sessions), self.sessions > 1
        several = not isinstance(sessions, int | np.integer)
        numbers = np.asarray(sessions)
        if (numbers.size and numbers.dtype.kind not in "iu") or numbers.ndim != several:
            raise GatewrightError("sessions", "the number of a session, or a list of such", repr(sessions)[:80])
        return np.ascontiguousarray(numbers, np.int64).reshape(-1), several


def _number(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not -(2**63) <= value < 2**63:
        raise GatewrightError(name, "the number of a session", repr(value)[:80])
    return int(value)


def _described(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
