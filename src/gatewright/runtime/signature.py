"""What a step of a model reads and gives, and the way there from what a caller has in hand."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.data import frequency
from gatewright.data.timestamp_patterns import ClockError, on_clock, read_time, require_shown
from gatewright.errors import GatewrightError
from gatewright.spec import ModelSpec, QuantileHead, SeriesEncoder, Vocabulary

Array = NDArray[Any]

_SINGLE, _DOUBLE, _WHOLE = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)


class Reading(NamedTuple):
    """What a step reads and gives.

    Attributes:
        dtype: of the input.
        shape: of one step's input; () for a symbol.
        output_dtype: of the output.
        output_shape: of one step's output.
        columns: names of the input, where it is a row of a table.
        calendar: parts of the time that the model reads.
        phases_at: where in a row their sines and cosines go.
        symbols: of a text model, in order.
        targets: names of what is forecast.
        quantiles: that a forecast gives.
        time_zone: whose clock the calendar is read from.
        context: rows that a forecaster was trained to read before it forecasts; 0 for other models.
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

    @classmethod
    def of_layers(cls, D: int, P: int) -> Reading:
        """Numbers in, the last layer's hidden state out."""
        return cls(_SINGLE, (D,), _SINGLE, (P,))

    @classmethod
    def of(cls, spec: ModelSpec, vocabulary: Vocabulary | None) -> Reading:
        """What a step of a whole model reads and gives."""
        if spec.forecaster is not None:
            return cls.of_series(*spec.forecaster)
        assert vocabulary is not None
        return cls.of_symbols(vocabulary.symbols)

    @classmethod
    def of_symbols(cls, symbols: tuple[str, ...]) -> Reading:
        """A symbol in, a score for each symbol out."""
        return cls(_WHOLE, (), _SINGLE, (len(symbols),), symbols=symbols)

    @classmethod
    def of_series(cls, encoder: SeriesEncoder, head: QuantileHead) -> Reading:
        """A row of a table in, quantiles of the next values out."""
        known = tuple(f"{name}+{ahead}" for name in encoder.known for ahead in range(1, head.horizon + 1))
        before = encoder.targets + encoder.past + encoder.static
        columns = before + known
        shape = (head.horizon, len(encoder.targets), len(head.quantiles))
        return cls(
            *(_DOUBLE, (len(columns),), _DOUBLE, shape, columns, encoder.calendar, len(before)),
            targets=encoder.targets,
            quantiles=head.quantiles,
            time_zone=encoder.time_zone,
            context=encoder.context,
        )

    def array(self, x: Any, leading: tuple[int | None, ...]) -> Array:
        """Return input as a contiguous array of the type that the model reads.

        Numbers without a type, as Python has them, are taken as they come; typed ones only if nothing is lost.

        Args:
            x: numbers, symbols or text.
            leading: sizes of the axes before those of one step; None for any.

        Raises:
            GatewrightError: if shape or type do not fit.
        """
        if self.symbols:
            x = self._numbered(x, len(leading))
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
        wanted = (*leading, *self.shape)
        if array.ndim != len(wanted) or any(
            size not in (None, came) for size, came in zip(wanted, array.shape, strict=True)
        ):
            got = f"shape {array.shape}" if array.dtype != object else f"a {type(x).__name__}"
            raise GatewrightError("x", self._shape_text(leading), got)
        kind = "iu" if self.dtype == _WHOLE else "fiu"
        if array.dtype.kind not in kind or (typed and not np.can_cast(array.dtype, self.dtype, "safe")):
            raise GatewrightError("x", str(self.dtype), str(array.dtype))
        with np.errstate(over="ignore"):  # an infinity is refused as what it is
            return np.ascontiguousarray(array, self.dtype).reshape(array.shape)

    def _numbered(self, x: Any, axes: int) -> Any:
        """Return the numbers of symbols that are given as text."""
        if isinstance(x, str):
            places = _places(self.symbols)
            if axes > 0:
                return [places.get(symbol, 0) for symbol in x]
            if len(x) != 1:
                raise GatewrightError("x", "one symbol", repr(x)[:80])
            return places.get(x, 0)
        if isinstance(x, list | tuple):
            return [self._numbered(each, axes - 1) for each in x]
        return x

    def times(self, time: Any, shape: tuple[int, ...], name: str = "time") -> NDArray[np.datetime64]:
        """Return times in microseconds on the clock of the model's zone: one, or as many as ``shape`` says.

        Args:
            time: `datetime` objects, `numpy.datetime64`, or text such as ISO 8601; without a zone, what the clock
                shows.  Numbers are refused, since nobody knows in what unit they are.
            shape: see `with_calendar`.
            name: of the argument, for errors.

        Raises:
            GatewrightError: if the model reads no calendar, or the times do not fit.
        """
        if not self.calendar:
            raise GatewrightError(name, "none: this model reads no calendar", repr(time)[:80])
        many = f"{shape[0]} times" if shape else "a time"
        expected = f"{many} such as '2024-05-01T13:00', for {', '.join(self.calendar)}"
        given, sizes = _listed(time)
        try:
            times = _on_clock(given, self.time_zone)
        except ClockError as error:
            got = repr(given[error.place])[:80]
            raise GatewrightError(name, error.expected or expected, got) from None
        times = times.reshape(sizes)
        if times.shape not in (shape, ()):
            raise GatewrightError(name, expected, f"shape {times.shape}")
        return times

    def with_calendar(self, rows: Array, time: Any, shape: tuple[int, ...], name: str) -> Array:
        """Return rows with sine and cosine of the calendar where the model reads them.

        Args:
            rows: (T, B, columns).
            time: one for all, or as many as ``shape`` says.
            shape: (T,), the same for all sessions; (B,), where there is one step; or ().
            name: of the argument, for errors.

        Raises:
            GatewrightError: if the model reads no calendar, or the times do not fit.
        """
        times = self.times(time, shape, name)
        T, B, _ = rows.shape
        phases = frequency.calendar(times.reshape(-1), self.calendar)
        axes = (T, 1) if times.size == T else (1, B)
        if times.size != 1 or times.shape == shape:
            phases = phases.reshape(*axes, phases.shape[-1])
        phases = np.broadcast_to(phases, (T, B, phases.shape[-1]))
        return np.concatenate([rows[..., : self.phases_at], phases, rows[..., self.phases_at :]], axis=-1)

    def _shape_text(self, leading: tuple[int | None, ...]) -> str:
        sizes = ["T" if size is None else str(size) for size in (*leading, *self.shape)]
        return f"shape ({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _listed(time: Any) -> tuple[Array | list[Any], tuple[int, ...]]:
    """Return times one by one, and their shape; as a list, a column of pandas or polars keeps its zone."""
    if hasattr(time, "to_list"):
        time = time.to_list()
    if isinstance(time, np.ndarray):
        flat = time.reshape(-1)
        return flat if time.dtype.kind == "M" else flat.tolist(), time.shape
    return (list(time), (len(time),)) if isinstance(time, list | tuple) else ([time], ())


def _on_clock(given: Array | list[Any], zone: str) -> NDArray[np.datetime64]:
    """Return times on the clock of a zone.

    Raises:
        ClockError: if one is none there; with nothing that was expected, if it is no time at all.
    """
    if isinstance(given, np.ndarray):
        times: NDArray[np.datetime64] = given.astype("datetime64[us]")
        if np.isnat(times).any():
            raise ClockError("", int(np.isnat(times).argmax()))
        require_shown(times, zone)
        return times
    found = []
    for place, each in enumerate(given):
        time = read_time(each)
        if time is None:
            raise ClockError("", place)
        found.append(time)
    return on_clock(found, zone)


def first_wrong(x: Any, place: str = "") -> tuple[str, object] | None:
    """Return the first of what is no number among numbers, and its place; None if there is none.

    NumPy makes texts of all of them, and then the first one would be to blame.

    >>> first_wrong([[12.8, 5, 0, "x"]])
    ('[0][3]', 'x')
    """
    if isinstance(x, list | tuple):
        found = (first_wrong(value, f"{place}[{number}]") for number, value in enumerate(x))
        return next((wrong for wrong in found if wrong is not None), None)
    return (place, x) if place and (x is None or isinstance(x, str | bytes | dict | set)) else None


@functools.lru_cache(maxsize=16)
def _places(symbols: tuple[str, ...]) -> dict[str, int]:
    return {symbol: place for place, symbol in enumerate(symbols)}
