"""What a stream of a classifier or a tagger does around its layers: rows in, probabilities out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, SpecError, StateError, shorten
from gatewright.files.model_file import ModelFile
from gatewright.spec import ModelSpec

Array = NDArray[Any]

#: Maximum of standard deviations that leaves float32 room to compute with.
_FARTHEST = 1e20


class ClassSteps:
    """The input and output of the steps of a classifier or a tagger.

    Args:
        file: the model.
    """

    def __init__(self, file: ModelFile) -> None:
        assert file.spec.labeller is not None
        assert file.scaler is not None
        self._encoder, self._head = file.spec.labeller
        self._mean, self._scale = np.array(file.scaler.mean), np.array(file.scaler.scale)
        self._may_miss = np.array([name in self._encoder.missing for name in self._encoder.columns])
        self._width = pooled_width(file.spec)

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

    def probabilities(self, scores: Array) -> Array:
        """Return the probabilities (..., classes) of scores."""
        shares = scores.astype(np.float64)
        shares = np.exp(shares - shares.max(axis=-1, keepdims=True))
        return shares / shares.sum(axis=-1, keepdims=True)

    def require(self, pooled: NDArray[np.float64], steps: int) -> None:
        """Require what pooling keeps to fit the number of steps: numbers after the first one, NaN before it.

        Raises:
            StateError: otherwise.
        """
        if not self._width:
            return
        if bool(np.isnan(pooled).any()) != (steps == 0):
            raise StateError(
                "state.last", "numbers after the first step, NaN before it", f"others after {steps} steps"
            )
        if self._head.pools and self._head.pooling == "attention" and steps:
            total, exponent = pooled[-2:]
            if not (total >= _LEAST_TOTAL and exponent == np.rint(exponent)):
                expected = "a sum of weights of at least 0.7, and a whole exponent, at the end"
                raise StateError("state.last", expected, f"{total:g} and {exponent:g}")


#: The largest weight is at least the root of 1/2, so their sum is.
_LEAST_TOTAL = 0.7


def pooling_of(spec: ModelSpec) -> str:
    """Return the pooling that a stream keeps a state for: "mean", "max" or "attention"; "" for none."""
    if spec.labeller is None or not spec.labeller[1].pools:
        return ""
    return spec.labeller[1].pooling


def pooled_width(spec: ModelSpec) -> int:
    """Return the width of what pooling keeps of a session; 0 for a model that does not pool.

    That is the sum of the hidden states or their maximum; for attention their weighted sum, the sum of the
    weights, and the power of two that both are to be multiplied by.
    """
    pooling = pooling_of(spec)
    return spec.lstm.output_size + (2 if pooling == "attention" else 0) if pooling else 0


def require_stepwise(spec: ModelSpec) -> None:
    """Require a model that can predict at each step, as data arrive.

    Raises:
        SpecError: if it is a classifier or a tagger that needs the whole sequence.
    """
    if spec.labeller is None:
        return
    if spec.lstm.bidirectional:
        expected = "one that reads forward only, as by train --directions forward, to go step by step"
        raise SpecError("model", expected, f"a bidirectional {'classifier' if spec.classifier else 'tagger'}")
