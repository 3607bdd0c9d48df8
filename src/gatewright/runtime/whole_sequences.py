"""Classifiers and taggers over whole sequences of any lengths, in both directions, by the kernels and NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright import kernels
from gatewright.files.model_file import ModelFile
from gatewright.runtime.native_args import sorted_by_layer
from gatewright.spec import ClassHead

Array = NDArray[Any]

#: Numbers of the layers' outputs that are kept at once, 32 MB.
BLOCK = 8_000_000

_REVERSE = "_reverse"


class WholeSequences:
    """A classifier or a tagger.

    Args:
        file: the model.
        threads: maximum number of threads for a call.
    """

    def __init__(self, file: ModelFile, threads: int = 1) -> None:
        assert file.spec.labeller is not None
        (self._encoder, self._head), self._spec = file.spec.labeller, file.spec.lstm
        self._tensors, self._threads = file.tensors, threads
        self._cell = self._spec.cell.in_evaluation()
        arrays = {name[5:]: array for name, array in file.tensors.items() if name.startswith("lstm.")}
        ahead = {name: array for name, array in arrays.items() if not name.endswith(_REVERSE)}
        back = {name.removesuffix(_REVERSE): array for name, array in arrays.items() if name.endswith(_REVERSE)}
        directions = [ahead, back] if self._spec.bidirectional else [ahead]
        self._layers = list(zip(*(sorted_by_layer(each, self._cell) for each in directions), strict=True))

    def probabilities(self, encoded: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float64]]:
        """Return the probability of each class, (classes,) of each sequence, or (T, classes) by a tagger.

        Args:
            encoded: rows (T, columns) of each sequence, at least one, scaled, with the index of each category.
        """
        found: list[Any] = [None] * len(encoded)
        for numbers in self._batches([len(each) for each in encoded]):
            rows = [encoded[number] for number in numbers]
            lengths = np.array([len(each) for each in rows], np.int64)
            x = np.zeros((int(lengths.max()), len(rows), rows[0].shape[1]), np.float32)
            for place, each in enumerate(rows):
                x[: len(each), place] = each
            hidden = self._hidden(self._with_vectors(x), lengths)
            if isinstance(self._head, ClassHead):
                hidden = self._pooled(hidden, lengths)
            scores = _product(hidden, self._tensors["head.weight"], self._tensors["head.bias"])
            shares = _softmax(scores.astype(np.float32).astype(np.float64))
            for place, number in enumerate(numbers):
                whole = isinstance(self._head, ClassHead)
                found[number] = shares[place] if whole else shares[: lengths[place], place]
        return found

    def _batches(self, lengths: list[int]) -> Iterator[list[int]]:
        """Yield numbers of sequences of similar length."""
        order = np.argsort(lengths, kind="stable").tolist()
        width = self._spec.output_size
        while order:
            longest = lengths[order[-1]]
            rows = max(1, BLOCK // (longest * width))
            yield order[-rows:]
            del order[-rows:]

    def _with_vectors(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return rows with the vector of each category in place of its index."""
        parts, begin = [], 0
        for number, category in enumerate(self._encoder.categories):
            place = self._encoder.columns.index(category.column)
            vectors = self._tensors[f"encoder.category.{number}.weight"]
            parts += [x[..., begin:place], vectors[x[..., place].astype(np.int64)]]
            begin = place + 1
        return np.ascontiguousarray(np.concatenate([*parts, x[..., begin:]], axis=-1))

    def _hidden(self, x: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the hidden states of the last layer, of both directions (T, B, width)."""
        steps = None if bool((lengths == len(x)).all()) else kernels.Steps(lengths=lengths)
        for number, directions in enumerate(self._layers):
            ys = []
            for reverse, weights in enumerate(directions):
                args = kernels.SequenceArgs(
                    reverse=bool(reverse), threads=self._threads, steps=steps, cell=self._cell.code(),
                    rates=self._cell.rates(),
                )  # fmt: skip
                ys.append(kernels.forward(x, None, None, weights, args).y)
            y = np.concatenate(ys, axis=-1) if len(ys) > 1 else ys[0]
            x = y + x if number and self._spec.residual else y
        return x

    def _pooled(self, hidden: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return one vector of the steps of each sequence, (B, width), as `gatewright.nn.pooling.Pool`."""
        assert isinstance(self._head, ClassHead)
        pooling, rows = self._head.pooling, np.arange(len(lengths))
        if pooling == "last":
            last = hidden[lengths - 1, rows]
            if self._spec.bidirectional:  # the reverse direction has read the whole sequence at its first step
                half = last.shape[-1] // 2
                last = np.concatenate([last[:, :half], hidden[0, :, half:]], axis=-1)
            return last
        there = (np.arange(len(hidden))[:, None] < lengths)[..., None]
        if pooling == "max":
            return np.where(there, hidden, -np.inf).max(axis=0).astype(np.float32)
        wide = np.where(there, hidden, 0.0).astype(np.float64)
        if pooling == "mean":
            return (_sum(wide) / lengths[:, None]).astype(np.float32)
        scores = np.where(there, _product(wide, self._tensors["pool.weight"], np.zeros(1)), -np.inf)
        shares = np.exp(scores - scores.max(axis=0))
        return (_sum(shares * wide) / _sum(shares)).astype(np.float32)


def _product(x: Array, W: Array, b: Array) -> NDArray[np.float64]:
    """Return x W' + b in float64, one chain of sums for each number: the bits of a row do not depend on others."""
    y = np.broadcast_to(b.astype(np.float64), (*x.shape[:-1], len(b))).copy()
    for k, column in enumerate(W.T.astype(np.float64)):
        y += x[..., k, None].astype(np.float64) * column
    return y


def _sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum over the steps in order, whatever stands behind the end of a row is 0."""
    return np.asarray(np.cumsum(values, axis=0)[-1])


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))
