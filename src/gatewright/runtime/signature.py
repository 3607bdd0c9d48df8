"""Input and output of a step of a model, and the conversion of a caller's values to that input."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.data import frequency
from gatewright.data.datetimes.patterns import ClockError, on_clock, read_time, require_shown
from gatewright.data.public_holidays import ahead
from gatewright.data.tokens import Tokenizer, tokenizer_of
from gatewright.errors import GatewrightError
from gatewright.runtime.category_index import CategoryIndex
from gatewright.spec import FeatureEncoder, ModelSpec, QuantileHead, SeriesEncoder, Vocabulary

Array = NDArray[Any]

_SINGLE, _DOUBLE, _WHOLE = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)


class Signature(NamedTuple):
    """Types, shapes and names of the input and output of a step.

    Attributes:
        dtype: type of the input.
        shape: shape of the input of one step; () for a symbol.
        output_dtype: type of the output.
        output_shape: shape of the output of one step.
        columns: names of the input columns of a forecaster, a classifier or a tagger.
        calendar: calendar inputs.
        phases_at: position of their sines and cosines in a row.
        symbols: symbols of a language model, in order, as a person reads them.
        classes: labels of a classifier or a tagger, in the order of its output.
        targets: names of the targets.
        quantiles: quantile levels.
        time_zone: clock of the calendar inputs.
        context: number of rows that a forecaster was trained to read before a forecast; 0 for other models.
        categories: the input columns that hold categories, and their places in a row.
        tokenizer: how a language model cuts a text; None for other models.
        holidays: regions whose holidays in the next steps are the last inputs of a row.
        step: time between two rows of a forecaster.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    output_dtype: np.dtype[Any]
    output_shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    phases_at: int = 0
    symbols: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()
    time_zone: str = ""
    context: int = 0
    classes: tuple[str, ...] = ()
    categories: tuple[tuple[CategoryIndex, slice], ...] = ()
    tokenizer: Tokenizer | None = None
    holidays: tuple[str, ...] = ()
    step: str = ""

    @classmethod
    def of_layers(cls, D: int, P: int) -> Signature:
        """LSTM layers: numbers in, the hidden state of the last layer out."""
        return cls(_SINGLE, (D,), _SINGLE, (P,))

    @classmethod
    def of(cls, spec: ModelSpec, vocabulary: Vocabulary | None) -> Signature:
        """The signature of a whole model."""
        if spec.forecaster is not None:
            return cls.of_series(*spec.forecaster)
        if spec.labeller is not None:
            encoder, head = spec.labeller
            return cls.of_classes(encoder, head.classes)
        assert vocabulary is not None
        return cls.of_symbols(vocabulary)

    @classmethod
    def of_symbols(cls, vocabulary: Vocabulary) -> Signature:
        """A language model: a symbol in, a score for each symbol out."""
        tokenizer = tokenizer_of(vocabulary)
        shape = (len(vocabulary.symbols),)
        return cls(_WHOLE, (), _SINGLE, shape, symbols=tokenizer.names, tokenizer=tokenizer)

    @classmethod
    def of_classes(cls, encoder: FeatureEncoder, classes: tuple[str, ...]) -> Signature:
        """A classifier or a tagger: a row of columns in, the probability of each class out."""
        sizes = (_DOUBLE, (len(encoder.columns),), _DOUBLE, (len(classes),))
        categories = tuple((CategoryIndex(each), place) for each, place in encoder.category_places())
        return cls(*sizes, encoder.columns, classes=classes, categories=categories)

    @classmethod
    def of_series(cls, encoder: SeriesEncoder, head: QuantileHead) -> Signature:
        """A forecaster: a row of a table in, quantiles of the next values out."""
        steps = range(1, head.horizon + 1)
        known = tuple(f"{name}+{ahead}" for name in encoder.known_in_table for ahead in steps)
        before = encoder.targets + encoder.past + encoder.static
        columns = before + known
        shape = (head.horizon, len(encoder.targets), len(head.quantiles))
        # A row of a stream has one number of each target, and the calendar is inserted later.
        ahead = len(encoder.targets) - encoder.numbers_of_targets
        places = []
        for category, place in encoder.category_places(head.horizon):
            moved = ahead - (2 * len(encoder.calendar) if category.column in encoder.known else 0)
            places.append((CategoryIndex(category), slice(place.start + moved, place.stop + moved)))
        return cls(
            *(_DOUBLE, (len(columns),), _DOUBLE, shape, columns, encoder.calendar, len(before)),
            targets=encoder.targets,
            quantiles=head.quantiles,
            time_zone=encoder.time_zone,
            context=encoder.context,
            categories=tuple(places),
            holidays=encoder.holidays,
            step=encoder.step,
        )

    @property
    def reads_time(self) -> bool:
        """Whether a step needs the time of its row."""
        return bool(self.calendar or self.holidays)

    def array(self, x: Any, leading: tuple[int | None, ...], indexed: bool = False) -> Array:
        """Return input as a contiguous array of the type of the model's input.

        Python numbers are converted; typed arrays only if the conversion loses nothing.

        Args:
            x: numbers, symbols or text.
            leading: sizes of the axes before those of one step; None for any.
            indexed: whether categories are indices already, and not the values of a table.

        Raises:
            GatewrightError: if shape or type do not fit.
        """
        if self.categories and not indexed:
            x = self._indexed(x, leading)
        if self.tokenizer is not None:
            x = self._numbered(x, len(leading), self.tokenizer)
        typed = hasattr(x, "__array__")
        try:
            array = np.asarray(x)
        except (ValueError, TypeError, RuntimeError) as error:
            got = (
                "rows of unequal length" if "inhomogeneous" in str(error) else f"{type(x).__name__}: {error}"[:200]
            )
            raise GatewrightError("x", self._shape_text(leading), got) from None
        if array.dtype.kind not in "fiub" and not typed and (wrong := first_wrong(x)) is not None:
            place, value = wrong
            raise GatewrightError(f"x{place}", "a number", repr(value)[:80])
        if array.size == 0 and not typed:
            array = array.astype(self.dtype)
        if not self._fits(array.shape, leading):
            got = f"shape {array.shape}" if array.dtype != object else f"a {type(x).__name__}"
            raise GatewrightError("x", self._shape_text(leading), got)
        kind = "iu" if self.dtype == _WHOLE else "fiu"
        if array.dtype.kind not in kind or (typed and not np.can_cast(array.dtype, self.dtype, "safe")):
            raise GatewrightError("x", str(self.dtype), str(array.dtype))
        with np.errstate(over="ignore"):  # an infinity is refused later, as such
            return np.ascontiguousarray(array, self.dtype).reshape(array.shape)

    def _fits(self, shape: tuple[int, ...], leading: tuple[int | None, ...]) -> bool:
        expected = (*leading, *self.shape)
        return len(shape) == len(expected) and all(
            size in (None, actual) for size, actual in zip(expected, shape, strict=True)
        )

    def _indexed(self, x: Any, leading: tuple[int | None, ...]) -> list[Any]:
        """Return rows with the index of each category in place of its value, as lists."""
        cells = np.array(x, dtype=object)  # a copy
        if not self._fits(cells.shape, leading):
            shape = f"shape {cells.shape}"
            got = "rows of unequal length" if cells.ndim == len(leading) > 0 and isinstance(x, list) else shape
            raise GatewrightError("x", self._shape_text(leading), got)
        for category, place in self.categories:
            column = cells[..., place]
            cells[..., place] = np.array([category.index(value) for value in column.flat], object).reshape(
                column.shape
            )
        rows: list[Any] = cells.tolist()
        return rows

    def _numbered(self, x: Any, axes: int, tokenizer: Tokenizer) -> Any:
        """Return the numbers of symbols in a text."""
        if isinstance(x, str):
            numbers = tokenizer.encode(x).tolist()
            if axes > 0:
                return numbers
            if len(numbers) != 1:
                raise GatewrightError(
                    "x", f"one {'symbol' if tokenizer.unit == 'char' else tokenizer.unit}", repr(x)[:80]
                )
            return numbers[0]
        if isinstance(x, list | tuple):
            return [self._numbered(each, axes - 1, tokenizer) for each in x]
        return x

    def times(self, time: Any, shape: tuple[int, ...], name: str = "time") -> NDArray[np.datetime64]:
        """Return times in microseconds on the clock of the model's zone: one, or ``shape`` of them.

        Args:
            time: `datetime` objects, `numpy.datetime64`, or text such as ISO 8601; without a zone, times on that
                clock.  Numbers are refused, because their unit is unknown.
            shape: see `with_calendar`.
            name: name of the argument in errors.

        Raises:
            GatewrightError: if the model has no calendar inputs, or the times do not fit.
        """
        if not self.reads_time:
            raise GatewrightError(name, "none: this model reads no calendar", repr(time)[:80])
        values, sizes = _listed(time)
        try:
            times = _on_clock(values, self.time_zone)
        except ClockError as error:
            got = repr(values[error.place])[:80]
            raise GatewrightError(name, error.expected or self._times_text(shape), got) from None
        times = times.reshape(sizes)
        if times.shape not in (shape, ()):
            raise GatewrightError(name, self._times_text(shape), f"shape {times.shape}")
        return times

    def _times_text(self, shape: tuple[int, ...]) -> str:
        many = f"{shape[0]} times" if shape else "a time"
        return f"{many} such as '2024-05-01T13:00', for {', '.join(self.calendar + self.holidays)}"

    def with_calendar(self, rows: Array, time: Any, shape: tuple[int, ...], name: str) -> Array:
        """Insert sine and cosine of the calendar into rows, at `phases_at`.

        Args:
            rows: (T, B, columns).
            time: one for all, or ``shape`` of them.
            shape: (T,), the same for all sessions; (B,), for a single step; or ().
            name: name of the argument in errors.

        Raises:
            GatewrightError: if the model has no calendar inputs, or the times do not fit.
        """
        times = self.times(time, shape, name)
        T, B, _ = rows.shape
        phases = frequency.calendar(times.reshape(-1), self.calendar)
        width = phases.shape[-1]
        if self.holidays:
            found = ahead(times.reshape(-1), self.time_zone, self.step, self.output_shape[0], self.holidays)
            phases = np.concatenate([phases, found], axis=1)
        axes = (T, 1) if times.size == T else (1, B)
        if times.size != 1 or times.shape == shape:
            phases = phases.reshape(*axes, phases.shape[-1])
        laid = np.empty((T, B, rows.shape[-1] + phases.shape[-1]))
        first, last = self.phases_at, self.phases_at + width
        end = last + rows.shape[-1] - first  # of the inputs known in advance; holidays come last
        laid[..., :first], laid[..., last:end] = rows[..., :first], rows[..., first:]
        laid[..., first:last], laid[..., end:] = phases[..., :width], phases[..., width:]
        return laid

    def _shape_text(self, leading: tuple[int | None, ...]) -> str:
        sizes = ["T" if size is None else str(size) for size in (*leading, *self.shape)]
        return f"shape ({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _listed(time: Any) -> tuple[Array | list[Any], tuple[int, ...]]:
    """Return times as a flat sequence, and their shape; a list keeps the zone of a pandas or polars column."""
    if hasattr(time, "to_list"):
        time = time.to_list()
    if isinstance(time, np.ndarray):
        flat = time.reshape(-1)
        return flat if time.dtype.kind == "M" else flat.tolist(), time.shape
    return (list(time), (len(time),)) if isinstance(time, list | tuple) else ([time], ())


def _on_clock(values: Array | list[Any], zone: str) -> NDArray[np.datetime64]:
    """Return times on the clock of a zone.

    Raises:
        ClockError: if one does not exist on that clock; with an empty ``expected``, if it is not a time.
    """
    if isinstance(values, np.ndarray):
        times: NDArray[np.datetime64] = values.astype("datetime64[us]")
        if np.isnat(times).any():
            raise ClockError("", int(np.isnat(times).argmax()))
        require_shown(times, zone)
        return times
    moments = []
    for place, each in enumerate(values):
        time = read_time(each)
        if time is None:
            raise ClockError("", place)
        moments.append(time)
    return on_clock(moments, zone)


def first_wrong(x: Any, place: str = "") -> tuple[str, object] | None:
    """Return the first value that is not a number, and its place; None if all are numbers.

    NumPy would convert all of them to text, and the error would blame the first one.

    >>> first_wrong([[12.8, 5, 0, "x"]])
    ('[0][3]', 'x')
    """
    if isinstance(x, list | tuple):
        inner = (first_wrong(value, f"{place}[{number}]") for number, value in enumerate(x))
        return next((wrong for wrong in inner if wrong is not None), None)
    return (place, x) if place and (x is None or isinstance(x, str | bytes | dict | set)) else None
