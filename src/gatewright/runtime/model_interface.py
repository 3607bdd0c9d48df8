"""Input and output of a stream's model, as its callers see them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatewright.data.tokens import Tokenizer
from gatewright.native_module import _kernels
from gatewright.runtime.signature import Signature
from gatewright.runtime.state import Shape


class ModelInterface:
    """What a model reads and returns: columns, times, symbols, classes; and what it is known by.

    Args:
        model: the model, packed.
        signature: what a step reads and returns.
        shape: of a session's state.
    """

    def __init__(self, model: _kernels.Model, signature: Signature, shape: Shape) -> None:
        self._model, self._signature, self._shape = model, signature, shape

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model, in hexadecimal."""
        return self._shape.fingerprint

    @property
    def weight_bytes(self) -> int:
        """Memory of the weights of the gates, in bytes."""
        return self._model.weight_bytes

    @property
    def columns(self) -> tuple[str, ...]:
        """Input columns of a model that reads a table, in order; one known in advance as ``name+1``, ..."""
        return self._signature.columns

    @property
    def categories(self) -> dict[str, tuple[str, ...]]:
        """Columns of categories of a forecaster, and their values: the first has index 1, an unknown one 0."""
        return {category.name: category.values for category, _ in self._signature.categories}

    @property
    def category_columns(self) -> frozenset[int]:
        """Places in a row of the columns of categories."""
        places = (range(place.start, place.stop) for _, place in self._signature.categories)
        return frozenset(column for columns in places for column in columns)

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels of a classifier or a tagger, in the order of its output."""
        return self._signature.classes

    @property
    def reads_calendar(self) -> bool:
        """Whether a step needs its time, for calendar inputs or holidays."""
        return self._signature.reads_time

    @property
    def time_zone(self) -> str:
        """The time zone that times are converted to.

        A place, an offset or "UTC"; "local" for dates of any zone, "" for times without a zone.
        """
        return self._signature.time_zone

    @property
    def context(self) -> int:
        """Number of rows that a forecaster was trained to read before a forecast; 0 for other models.

        A session that has read fewer (`steps_read`) has less information, and returns wider quantiles.
        """
        return self._signature.context

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets of a forecaster, in the order of its output."""
        return self._signature.targets

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Quantile levels of a forecaster, in the order of its output."""
        return self._signature.quantiles

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols of a language model, in order: characters, the first for unknown ones; or bytes or tokens.

        Bytes that are no whole characters of UTF-8 are written as such, in hexadecimal digits after a backslash.
        """
        return self._signature.symbols

    @property
    def tokenizer(self) -> Tokenizer | None:
        """How a language model cuts a text into tokens, and puts them together; None for other models."""
        return self._signature.tokenizer

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one step's output: (horizon, targets, quantiles), (symbols,), (classes,) or (P,)."""
        return self._signature.output_shape

    @property
    def output_dtype(self) -> np.dtype[Any]:
        """Type of the output: float64 for a forecaster, a classifier and a tagger, else float32."""
        return self._signature.output_dtype
