"""What a model is: frozen dataclasses that go to JSON and back unchanged.

A model is an encoder (numeric columns, or an embedding of symbols), a stack of LSTM layers, and a head
(quantiles of the next values, the next symbol, or one label for the sequence).  The numbers that a model needs in
addition to its weights - the scaler of its columns, or its vocabulary - are here too.  Encoder and head of a
classifier are in `gatewright.spec.classify`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from gatewright.errors import shorten
from gatewright.spec.cell import CellSpec
from gatewright.spec.classify import ClassHead, FeatureEncoder
from gatewright.spec.json import Spec, left_out, require, require_size, require_text

#: Parts of a timestamp that a model can read, each as the sine and cosine of its phase.
CALENDAR = ("hour_of_day", "day_of_week", "day_of_year")

#: What a model can read of past targets.
READS = ("change", "level", "both", "nothing")

#: Maximum number of seasons of a forecaster, and of steps in one: a session of a stream remembers as many rows.
MOST_SEASONS, LONGEST_SEASON = 16, 1_000_000

#: How missing inputs can be filled: not at all, with the last value, with the mean of the training part.
FILLS = ("", "forward", "mean")

#: What a step keeps of the rows that are gathered into it; "" stands for the mean.
AGGREGATES = ("", "mean", "sum", "last")

#: Stands for every symbol that the training part did not have; always symbol 0 of a vocabulary.
UNKNOWN = "\N{REPLACEMENT CHARACTER}"

#: A time zone: an offset, or the name of a zone or of a place.
_TIME_ZONE = re.compile(r"[+-]\d{2}:\d{2}(:\d{2})?|[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")


@dataclass(frozen=True)
class SeriesEncoder(Spec):
    """Numeric columns, standardised: what the model reads at step t.

    In this order: the targets' change since they were last observed and their level, as ``reads`` says; for
    each target 1 where it is observed, else 0 (left out where ``reads`` is "nothing"); the past inputs at t;
    the static inputs; sine and cosine of each calendar part of t; each input known in advance at t+1 ...
    t+horizon, input by input.  A missing target has change 0 and the level that was last observed.

    Attributes:
        targets: columns to forecast.
        past: columns known only up to now.
        known: columns known ``horizon`` steps in advance.
        static: columns with one value a series.
        calendar: parts of the timestamp, out of `CALENDAR`.
        step: time between two rows, such as "1h", "15m" or "1mo"; "row" for a table without timestamps.
        context: steps that the model reads before it forecasts.
        reads: what is read of past targets, out of `READS`.  Changes let a model carry over to levels that
            it was not trained on; levels matter where the dynamics depend on them.
        time_zone: whose clock the calendar is read from: "" where timestamps name no zone, "local" for dates whose
            offset from UTC changes and is dropped, "UTC", an offset such as "+02:00", or a place such as
            "Europe/Berlin".
        seasons: lengths in steps of the seasons whose differences are added to the forecast (`seasonal_rows`), in
            rising order; none without past targets.
    """

    kind: ClassVar[str] = "series"
    #: What a model with this encoder has next to its weights.
    companion: ClassVar[str] = "scaler"
    #: Size of the vocabulary: none.
    symbols: ClassVar[int] = 0

    targets: tuple[str, ...]
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    step: str = "row"
    context: int = 1
    reads: str = "change"
    time_zone: str = ""
    seasons: tuple[int, ...] = left_out((), since=3)

    def __post_init__(self) -> None:
        require(len(self.targets) > 0, "targets", "at least one column", self.targets)
        columns = self.columns
        require_text("columns", columns)
        require_text("step", (self.step,))
        require(len(set(columns)) == len(columns), "columns", "each column in one role", columns)
        for part in self.calendar:
            require(part in CALENDAR, "calendar", f"parts out of {CALENDAR}", part)
        require(self.reads in READS, "reads", f"one of {READS}", self.reads)
        require_size("context", self.context)
        zoned = len(self.time_zone) <= 64 and _TIME_ZONE.fullmatch(self.time_zone) is not None
        require(
            zoned or self.time_zone == "",
            "time_zone",
            "a zone such as UTC, +02:00 or Europe/Berlin",
            self.time_zone,
        )
        self._check_seasons()

    def _check_seasons(self) -> None:
        seasons = self.seasons
        require(len(seasons) <= MOST_SEASONS, "seasons", f"at most {MOST_SEASONS} lengths", seasons)
        for season in seasons:
            require(1 <= season <= LONGEST_SEASON, "seasons", f"lengths from 1 to {LONGEST_SEASON}", season)
        rising = all(a < b for a, b in pairwise(seasons))
        require(rising, "seasons", "lengths in rising order", seasons)
        if seasons:
            require(self.reads_targets, "seasons", 'none where reads is "nothing"', seasons)
            require(
                self.context > seasons[-1],
                "context",
                f"at least {seasons[-1] + 1}, a row more than the longest season",
                self.context,
            )

    @property
    def recent(self) -> int:
        """Number of rows whose targets the seasonal differences of a forecast need: the last ones."""
        return self.seasons[-1] + 1 if self.seasons else 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of the table that is read, in the order of the scaler."""
        return self.targets + self.past + self.known + self.static

    def input_size(self, horizon: int) -> int:
        """Width of one input row."""
        targets = {"nothing": 0, "change": 2, "level": 2, "both": 3}[self.reads] * len(self.targets)
        known = horizon * len(self.known)
        return targets + len(self.past) + known + len(self.static) + 2 * len(self.calendar)

    @property
    def reads_targets(self) -> bool:
        """Whether past targets are read, and the head gives differences from the last one."""
        return self.reads != "nothing"

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight: none."""
        return {}

    def season_tensors(self, horizon: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of the weights of seasonal differences: one for each season, step ahead and target."""
        return {"season.weight": (len(self.seasons), horizon, len(self.targets))} if self.seasons else {}


def seasonal_rows(season: int, horizon: int) -> tuple[int, ...]:
    """Return the row, counted from the last one, that each step ahead is compared with: one season before it.

    The seasonal difference of step *j* after row *t* is ``y[t + seasonal_rows(m, horizon)[j - 1]] - y[t - m]``, in
    the units of the scaler, with the last observed value where y is missing.  A forecast adds it, times its
    weight.  Steps beyond one season repeat the rows of that season.

    >>> seasonal_rows(season=4, horizon=6)
    (-3, -2, -1, 0, -3, -2)
    """
    return tuple(j % season + 1 - season for j in range(horizon))


@dataclass(frozen=True)
class SymbolEncoder(Spec):
    """An embedding of symbols.

    Attributes:
        symbols: size of the vocabulary, the unknown symbol included.
        embedding_size: width of a symbol's vector.
    """

    kind: ClassVar[str] = "symbols"
    #: What a model with this encoder has next to its weights.
    companion: ClassVar[str] = "vocabulary"
    #: Columns to forecast, and all that are read: none.
    targets: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ()
    reads_targets: ClassVar[bool] = False
    #: Seasons, and rows that they need: none.
    seasons: ClassVar[tuple[int, ...]] = ()
    recent: ClassVar[int] = 0

    symbols: int
    embedding_size: int

    def __post_init__(self) -> None:
        require_size("symbols", self.symbols, least=2)
        require_size("embedding_size", self.embedding_size)

    def input_size(self, horizon: int) -> int:  # noqa: ARG002
        """Width of a symbol's vector, whatever the horizon."""
        return self.embedding_size

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight."""
        return {"encoder.weight": (self.symbols, self.embedding_size)}

    def season_tensors(self, horizon: int) -> dict[str, tuple[int, ...]]:  # noqa: ARG002
        """Name and shape of the weights of seasonal differences: none."""
        return {}


@dataclass(frozen=True)
class StackSpec(Spec):
    """A stack of LSTM layers, as in `torch.nn.LSTM`; that of a classifier may run in both directions.

    Attributes:
        hidden_size: units of each layer.
        num_layers: layers.
        dropout: rate between layers and before the head, while training.
        proj_size: width of the projected hidden state; 0 for none.
        bidirectional: whether each layer also runs in reverse, over whole sequences.
    """

    hidden_size: int
    num_layers: int = 1
    dropout: float = 0.0
    proj_size: int = 0
    bidirectional: bool = left_out(False, since=3)

    def __post_init__(self) -> None:
        require_size("hidden_size", self.hidden_size)
        require_size("num_layers", self.num_layers)
        require(0.0 <= self.dropout < 1.0, "dropout", "a rate from 0 up to, but not, 1", self.dropout)
        require(0 <= self.proj_size < self.hidden_size, "proj_size", "0 or less than hidden_size", self.proj_size)

    @property
    def output_size(self) -> int:
        """Width of the stack's output: that of the hidden state, in each direction."""
        return (self.proj_size or self.hidden_size) * (2 if self.bidirectional else 1)

    @property
    def cell(self) -> CellSpec:
        """What the cell of every layer is; in JSON its features are fields of the stack."""
        return CellSpec(proj_size=self.proj_size)

    def tensors(self, input_size: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, in order, for an input of this width."""
        widths = (input_size, *[self.output_size] * (self.num_layers - 1))
        directions = ("", "_reverse") if self.bidirectional else ("",)
        return {
            f"lstm.{name}_l{layer}{direction}": shape
            for layer, D in enumerate(widths)
            for direction in directions
            for name, shape in self.cell.weights(D, self.hidden_size).items()
        }


@dataclass(frozen=True)
class QuantileHead(Spec):
    """Quantiles of each target's next values: an output of shape (horizon, targets, quantiles) a step.

    Where the encoder reads targets, the head gives the difference from the last observed value.

    Attributes:
        horizon: steps ahead.
        quantiles: levels in rising order, with 0.5 (the point forecast) among them.
    """

    kind: ClassVar[str] = "quantiles"

    horizon: int = 1
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)

    def __post_init__(self) -> None:
        require_size("horizon", self.horizon)
        rising = all(a < b for a, b in zip((0.0, *self.quantiles), (*self.quantiles, 1.0), strict=True))
        require(
            rising and 0.5 in self.quantiles,
            "quantiles",
            "rising levels between 0 and 1 with 0.5 among them",
            self.quantiles,
        )

    def output_shape(self, encoder: Encoder) -> tuple[int, ...]:
        """Shape of the output of one step."""
        return self.horizon, len(encoder.targets), len(self.quantiles)


@dataclass(frozen=True)
class SymbolHead(Spec):
    """Scores (logits) of the next symbol: an output of shape (symbols,) a step."""

    kind: ClassVar[str] = "next_symbol"
    #: Steps ahead.
    horizon: ClassVar[int] = 1

    def output_shape(self, encoder: Encoder) -> tuple[int, ...]:
        """Shape of the output of one step."""
        return (encoder.symbols,)


Encoder = SeriesEncoder | SymbolEncoder | FeatureEncoder
Head = QuantileHead | SymbolHead | ClassHead

#: The head that belongs to each encoder.
_HEADS: dict[type[Encoder], type[Head]] = {
    SeriesEncoder: QuantileHead,
    SymbolEncoder: SymbolHead,
    FeatureEncoder: ClassHead,
}


@dataclass(frozen=True)
class ModelSpec(Spec):
    """A whole model: encoder, LSTM stack, head.

    Raises:
        SpecError: if the parts do not fit together.

    >>> spec = ModelSpec(SymbolEncoder(symbols=66, embedding_size=32), StackSpec(128), SymbolHead())
    >>> ModelSpec.from_json(spec.to_json()) == spec
    True
    >>> spec.tensors()["lstm.weight_hh_l0"]
    (512, 128)
    """

    encoder: SeriesEncoder | SymbolEncoder | FeatureEncoder
    lstm: StackSpec
    head: QuantileHead | SymbolHead | ClassHead

    def __post_init__(self) -> None:
        require(
            type(self.encoder) in _HEADS, "encoder", f"one of {[each.__name__ for each in _HEADS]}", self.encoder
        )
        head = _HEADS[type(self.encoder)]
        require(isinstance(self.head, head), "head", f"kind {head.kind!r} for this encoder", self.head)
        # Forecasts and texts go on step by step, and cannot see ahead.
        one_way = not self.lstm.bidirectional or isinstance(self.head, ClassHead)
        require(one_way, "lstm.bidirectional", f"false with a head of kind {self.head.kind!r}", "true")
        require_size("input_size", self.input_size)
        require_size("output_size", self.output_size)

    @property
    def input_size(self) -> int:
        """Width of what the first LSTM layer reads."""
        return self.encoder.input_size(self.head.horizon)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output: (horizon, targets, quantiles) or (symbols,) a step, or (classes,) a sequence."""
        return self.head.output_shape(self.encoder)

    @property
    def output_size(self) -> int:
        """Width of what the head gives."""
        return math.prod(self.output_shape)

    @property
    def forecaster(self) -> tuple[SeriesEncoder, QuantileHead] | None:
        """Encoder and head of a model that reads columns and gives quantiles; None for other models."""
        if isinstance(self.encoder, SeriesEncoder) and isinstance(self.head, QuantileHead):
            return self.encoder, self.head
        return None

    @property
    def classifier(self) -> tuple[FeatureEncoder, ClassHead] | None:
        """Encoder and head of a model that reads columns and gives one label a sequence; None for other models."""
        if isinstance(self.encoder, FeatureEncoder) and isinstance(self.head, ClassHead):
            return self.encoder, self.head
        return None

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, in order."""
        width = self.lstm.output_size
        pool = self.head.tensors(width) if isinstance(self.head, ClassHead) else {}
        head = {"head.weight": (self.output_size, width), "head.bias": (self.output_size,)}
        seasons = self.encoder.season_tensors(self.head.horizon)
        return {**self.encoder.tensors(), **self.lstm.tensors(self.input_size), **pool, **head, **seasons}


@dataclass(frozen=True)
class Scaler(Spec):
    """The numbers that standardise columns, taken from the training part.

    Attributes:
        columns: names, the targets first.
        mean: mean of each column.
        scale: standard deviation of each column.
        change_scale: standard deviation of each target's change from row to row.

    >>> Scaler(columns=("load",), mean=(20.0,), scale=(4.0,), change_scale=(0.5,)).scale
    (4.0,)
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    change_scale: tuple[float, ...]

    def __post_init__(self) -> None:
        require_text("scaler.columns", self.columns)
        same = len(self.columns) == len(self.mean) == len(self.scale) >= len(self.change_scale)
        require(same, "scaler", "one mean and one scale a column", self.columns)
        require(all(map(math.isfinite, self.mean)), "scaler.mean", "finite numbers", self.mean)
        good = all(math.isfinite(scale) and scale > 0 for scale in (*self.scale, *self.change_scale))
        require(good, "scaler.scale", "finite numbers above 0", (self.scale, self.change_scale))

    def misfit(self, encoder: Encoder) -> tuple[str, str, str] | None:
        """Return what does not fit an encoder (argument, expected, got), or None if all does."""
        if self.columns != encoder.columns:
            return "scaler.columns", f"those of the encoder, {shorten(encoder.columns)}", shorten(self.columns)
        if len(self.change_scale) != len(encoder.targets):
            expected = f"one number for each of {len(encoder.targets)} targets"
            return "scaler.change_scale", expected, f"{len(self.change_scale)}"
        return None


@dataclass(frozen=True)
class Vocabulary(Spec):
    """The symbols of a text model, in order; symbol 0 is `UNKNOWN`.

    >>> Vocabulary((UNKNOWN, "a", "b")).symbols.index("b")
    2
    """

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        require(self.symbols[:1] == (UNKNOWN,), "vocabulary", f"{UNKNOWN!r} as symbol 0", self.symbols[:1])
        require_text("vocabulary", self.symbols)
        for symbol in self.symbols:
            require(len(symbol) == 1, "vocabulary", "single characters", symbol)
        require(len(set(self.symbols)) == len(self.symbols), "vocabulary", "no symbol twice", "a repetition")

    def misfit(self, encoder: Encoder) -> tuple[str, str, str] | None:
        """Return what does not fit an encoder (argument, expected, got), or None if all does."""
        if len(self.symbols) != encoder.symbols:
            return "vocabulary", f"the {encoder.symbols} symbols of the encoder", f"{len(self.symbols)}"
        return None
