"""What a stream of a classifier or a tagger does around its layers: rows in, pooled states, probabilities out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright import kernels
from gatewright.errors import GatewrightError, SpecError, StateError, shorten
from gatewright.files.model_file import ModelFile
from gatewright.spec import ModelSpec

Array = NDArray[Any]

#: Poolings whose value so far is known at each step.
STEPWISE = ("last", "mean", "max")

#: Maximum of standard deviations that leaves float32 room to compute with.
_FARTHEST = 1e20


class ClassSteps:
    """The steps of a classifier or a tagger, and the pooled hidden states of the sessions of a stream.

    Args:
        file: the model.
        sessions: number of sessions.
    """

    def __init__(self, file: ModelFile, sessions: int) -> None:
        assert file.spec.labeller is not None
        assert file.scaler is not None
        self._encoder, self._head = file.spec.labeller
        self._mean, self._scale = np.array(file.scaler.mean), np.array(file.scaler.scale)
        self._may_miss = np.array([name in self._encoder.missing for name in self._encoder.columns])
        self._weight = np.ascontiguousarray(file.tensors["head.weight"])
        self._bias = np.ascontiguousarray(file.tensors["head.bias"])
        #: Width of the pooled state of a session, (sessions, width): the sum or the maximum of its hidden states.
        self.width = pooled_width(file.spec)
        self._pooled = np.full((sessions, self.width), np.nan)

    def rows(self, x: Array) -> Array:
        """Return rows (..., columns) as the first layer reads them, float32.

        Raises:
            GatewrightError: at an infinity, or at a NaN in a column that may not be missing.
        """
        missing = np.isnan(x)
        with np.errstate(over="ignore"):
            scaled = (x - self._mean) / self._scale
        wrong = (missing & ~self._may_miss) | (np.abs(scaled) > _FARTHEST)
        if wrong.any():
            place = tuple(map(int, np.argwhere(wrong)[0]))
            name = shorten(self._encoder.columns[place[-1]])
            gaps = f"; NaN for {', '.join(map(shorten, self._encoder.missing))}" if self._encoder.missing else ""
            expected = f"finite numbers, within {_FARTHEST:g} standard deviations{gaps}"
            raise GatewrightError("x", expected, f"{float(x[place])!r} in column {name}")
        observed = ~missing[..., self._may_miss]
        return np.concatenate([np.nan_to_num(scaled), observed], axis=-1, dtype=np.float32)

    def probabilities(self, outputs: Array, numbers: NDArray[np.int64], before: NDArray[np.int64]) -> Array:
        """Return probabilities at each step (T, B, classes), and advance the pooled states.

        Args:
            outputs: what the native module gave, (T, B, outputs).
            numbers: the sessions (B,).
            before: steps that each session had taken before (B,).
        """
        scores = self._scores(outputs, numbers, before) if self.width else outputs
        shares = scores.astype(np.float64)
        shares = np.exp(shares - shares.max(axis=-1, keepdims=True))
        return shares / shares.sum(axis=-1, keepdims=True)

    def _scores(self, hidden: Array, numbers: NDArray[np.int64], before: NDArray[np.int64]) -> Array:
        T, B, _ = hidden.shape
        wide, pooled = hidden.astype(np.float64), self._pooled[numbers]
        started = ~np.isnan(pooled)
        if self._head.pooling == "mean":
            sums = np.concatenate([np.where(started, pooled, 0.0)[None], wide]).cumsum(axis=0)[1:]
            counts = before[None, :, None] + np.arange(1, T + 1)[:, None, None]
            self._pooled[numbers], reads = sums[-1], sums / counts
        else:
            most = np.maximum.accumulate(np.concatenate([np.where(started, pooled, -np.inf)[None], wide]), axis=0)
            self._pooled[numbers], reads = most[-1], most[1:]
        flat = np.ascontiguousarray(reads.reshape(T * B, -1), dtype=np.float32)
        return kernels.linear(flat, self._weight, self._bias, threads=1).reshape(T, B, -1)

    def state(self, session: int) -> NDArray[np.float64]:
        """Return a copy of the pooled state of a session; NaN before its first step."""
        return self._pooled[session].copy()

    def require(self, pooled: NDArray[np.float64], steps: int) -> None:
        """Require a pooled state that fits the number of steps: numbers after the first one, NaN before it.

        Raises:
            StateError: otherwise.
        """
        if self.width and bool(np.isnan(pooled).any()) != (steps == 0):
            raise StateError(
                "state.last", "numbers after the first step, NaN before it", f"others after {steps} steps"
            )

    def set_state(self, session: int, pooled: NDArray[np.float64]) -> None:
        """Set the pooled state of a session."""
        self._pooled[session] = pooled

    def reset(self, session: int) -> None:
        """Reset the pooled state of a session."""
        self._pooled[session] = np.nan

    def copy(self) -> ClassSteps:
        """Return the same with copies of the pooled states."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__, _pooled=self._pooled.copy())
        return new


def pooled_width(spec: ModelSpec) -> int:
    """Return the width of the pooled state of a session; 0 for a model that does not pool."""
    return spec.lstm.output_size if spec.labeller is not None and spec.labeller[1].pools else 0


def require_stepwise(spec: ModelSpec) -> None:
    """Require a model that can predict at each step, as data arrive.

    Raises:
        SpecError: if it is a classifier or a tagger that needs the whole sequence.
    """
    if spec.labeller is None:
        return
    head = spec.labeller[1]
    if spec.lstm.bidirectional:
        expected = "one that reads forward only, as by train --directions forward, to go step by step"
        raise SpecError("model", expected, f"a bidirectional {'classifier' if spec.classifier else 'tagger'}")
    if head.pools and head.pooling not in STEPWISE:
        got = f"a classifier that pools by {head.pooling} over the whole sequence"
        raise SpecError("model", f"a classifier that pools by {', '.join(STEPWISE)}, to go step by step", got)
