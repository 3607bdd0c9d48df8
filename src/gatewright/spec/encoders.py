"""Encoders: what a model reads at each step - columns of a series, symbols of a text, features of a sequence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from gatewright.spec.categories import Category
from gatewright.spec.json import Spec, left_out, require, require_size, require_text

#: Parts of a timestamp that a model can read, each as the sine and cosine of its phase.
CALENDAR = ("hour_of_day", "day_of_week", "day_of_year")

#: What a model can read of past targets.
READS = ("change", "level", "both", "nothing")

#: Transforms of a target; the number of one is its place here.
TRANSFORMS = ("none", "log", "log1p", "asinh", "boxcox")

#: Numbers that a session remembers of a target's window.
WINDOW_NUMBERS = 5

#: Scales of targets: of the training part, or of what a model has read since its first row.
SCALES = ("global", "window")

#: Maximum number of seasons of a forecaster, and of steps in one: a session of a stream remembers as many rows.
MOST_SEASONS, LONGEST_SEASON = 16, 1_000_000

#: Maximum number of regions whose holidays a forecaster reads, and of characters of one.
MOST_REGIONS, LONGEST_REGION = 16, 16

#: How missing inputs can be filled: not at all, with the last value, with the mean of the training part.
FILLS = ("", "forward", "mean")

#: A time zone: an offset, or the name of a zone or of a place.
_TIME_ZONE = re.compile(r"[+-]\d{2}:\d{2}(:\d{2})?|[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")


@dataclass(frozen=True)
class SeriesEncoder(Spec):
    """Columns of a table - numbers, standardised, and categories: what the model reads at step t.

    In this order: the targets' change since they were last observed and their level, as ``reads`` says; for
    each target 1 where it is observed, else 0 (left out where ``reads`` is "nothing"); the past inputs at t;
    the static inputs; sine and cosine of each calendar part of t; each input known in advance at t+1 ...
    t+horizon, input by input.  A missing target has change 0 and the level that was last observed.  In place of an
    input of ``categories`` stands the vector of its value.

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
        categories: the inputs that hold categories, in the order in which they are read: past, static, known.
        holidays: countries, or parts of them such as "DE-BY", whose public holidays are the last inputs of
            ``known``: their number on the dates of a row, under `holiday_column`.
        transform: transform of each target, out of `TRANSFORMS`, before anything else is computed; empty for none
            at all.  Its number is in the scaler.
        scale: units of targets, out of `SCALES`.  With "window" change and level, and the head's differences, are
            in units of the mean change from row to row since the first row that is read (`docs/model-file.md`);
            the level is that above the mean of these rows.
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
    categories: tuple[Category, ...] = left_out((), since=4)
    transform: tuple[str, ...] = left_out((), since=4)
    holidays: tuple[str, ...] = left_out((), since=4)
    scale: str = left_out("global", since=4)

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
        require(self.scale in SCALES, "scale", f"one of {SCALES}", self.scale)
        require(
            self.scale == "global" or self.reads_targets, "scale", 'global where reads is "nothing"', self.scale
        )
        zoned = len(self.time_zone) <= 64 and _TIME_ZONE.fullmatch(self.time_zone) is not None
        require(
            zoned or self.time_zone == "",
            "time_zone",
            "a zone such as UTC, +02:00 or Europe/Berlin",
            self.time_zone,
        )
        self._check_seasons()
        named = tuple(each.column for each in self.categories)
        inputs = tuple(name for name in self.past + self.static + self.known if name in set(named))
        require(len(self.holidays) <= MOST_REGIONS, "holidays", f"at most {MOST_REGIONS} regions", self.holidays)
        for region in self.holidays:
            require(1 <= len(region) <= LONGEST_REGION, "holidays", "regions such as DE or DE-BY", region)
        counted = tuple(map(holiday_column, self.holidays))
        last = self.known[len(self.known) - len(counted) :]
        require(last == counted and not set(counted) & set(named), "holidays", f"{counted} last in known", last)
        require(not counted or self.step != "row", "step", "a time, for holidays", self.step)
        require(named == inputs, "categories", "past, static and known inputs, in this order", named)
        for name in self.transform:
            require(name in TRANSFORMS, "transform", f"names out of {TRANSFORMS}", name)
        one_each = len(self.transform) == len(self.targets) and set(self.transform) != {"none"}
        expected = f"one for each of {len(self.targets)} targets, or none at all"
        require(one_each or not self.transform, "transform", expected, self.transform)

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
    def window(self) -> int:
        """Number of rows whose changes make the scale of the targets; 0 with that of the training part."""
        return self.context if self.scale == "window" else 0

    @property
    def recent(self) -> int:
        """Number of rows whose targets the seasonal differences of a forecast need: the last ones."""
        return self.seasons[-1] + 1 if self.seasons else 0

    @property
    def known_in_table(self) -> tuple[str, ...]:
        """The inputs known in advance that are columns of a table: all but holidays."""
        return self.known[: len(self.known) - len(self.holidays)]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of the table that is read, in the order of the scaler."""
        return self.targets + self.past + self.known + self.static

    def input_size(self, horizon: int) -> int:
        """Width of what the first layer reads of a row."""
        wider = {each.column: each.size - 1 for each in self.categories}
        return self.row_size(horizon) + sum(
            wider.get(name, 0) * count for name, count in self.input_columns(horizon)
        )

    def row_size(self, horizon: int) -> int:
        """Width of a row of inputs, with the index of a category in place of its vector."""
        return self.numbers_of_targets + 2 * len(self.calendar) + sum(n for _, n in self.input_columns(horizon))

    def input_columns(self, horizon: int) -> list[tuple[str, int]]:
        """Return the input columns in the order of a row, and the number of steps that a row has of each."""
        now = [(name, 1) for name in (*self.past, *self.static)]
        return now + [(name, horizon) for name in self.known]

    def category_places(self, horizon: int) -> list[tuple[Category, slice]]:
        """Return the categories in the order of a row of `row_size` numbers, and their places in it."""
        by_name = {each.column: each for each in self.categories}
        places, place = [], self.numbers_of_targets
        for number, (name, count) in enumerate(self.input_columns(horizon)):
            if number == len(self.past) + len(self.static):
                place += 2 * len(self.calendar)
            if name in by_name:
                places.append((by_name[name], slice(place, place + count)))
            place += count
        return places

    @property
    def numbers_of_targets(self) -> int:
        """Number of the inputs that are made of past targets, first in a row."""
        return {"nothing": 0, "change": 2, "level": 2, "both": 3}[self.reads] * len(self.targets)

    @property
    def reads_targets(self) -> bool:
        """Whether past targets are read, and the head gives differences from the last one."""
        return self.reads != "nothing"

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight: the vectors of each column of categories."""
        return category_tensors(self.categories)

    def season_tensors(self, horizon: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of the weights of seasonal differences: one for each season, step ahead and target."""
        return {"season.weight": (len(self.seasons), horizon, len(self.targets))} if self.seasons else {}


def category_tensors(categories: tuple[Category, ...]) -> dict[str, tuple[int, ...]]:
    """Return name and shape of the vectors of columns of categories."""
    return {f"encoder.category.{number}.weight": (each.count, each.size) for number, each in enumerate(categories)}


def holiday_column(region: str) -> str:
    """Return the name of the input with the number of holidays of a region.

    >>> holiday_column("DE-BY")
    'holidays DE-BY'
    """
    return f"holidays {region}"


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
    #: Transforms and windows of targets, and columns of categories: none.
    transform: ClassVar[tuple[str, ...]] = ()
    window: ClassVar[int] = 0
    categories: ClassVar[tuple[Category, ...]] = ()

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
class FeatureEncoder(Spec):
    """Columns of a table - numbers, standardised, and categories: what a classifier reads at each step.

    In this order: each column, 0 where it is missing; for each column in ``missing`` 1 where it is observed, or 0.
    In place of a column of ``categories`` stands the vector of its value, that of the unknown value where it is
    missing.

    Attributes:
        columns: names of the columns.
        missing: those of them that hold numbers and may be missing, in the same order.
        categories: the columns that hold categories, in the same order.

    >>> FeatureEncoder(("x", "y"), missing=("y",)).input_size(1)
    3
    """

    kind: ClassVar[str] = "features"
    #: What a model with this encoder has next to its weights.
    companion: ClassVar[str] = "scaler"
    #: Size of the vocabulary: none.
    symbols: ClassVar[int] = 0
    #: Columns to forecast: none.
    targets: ClassVar[tuple[str, ...]] = ()
    reads_targets: ClassVar[bool] = False
    #: Seasons, and rows that they need: none.
    seasons: ClassVar[tuple[int, ...]] = ()
    recent: ClassVar[int] = 0
    #: Transforms and windows of targets: none.
    transform: ClassVar[tuple[str, ...]] = ()
    window: ClassVar[int] = 0

    columns: tuple[str, ...]
    missing: tuple[str, ...] = ()
    categories: tuple[Category, ...] = left_out((), since=4)

    def __post_init__(self) -> None:
        require(len(self.columns) > 0, "columns", "at least one column", self.columns)
        require_text("columns", self.columns)
        require(len(set(self.columns)) == len(self.columns), "columns", "each column once", self.columns)
        named = tuple(each.column for each in self.categories)
        ordered = tuple(name for name in self.columns if name in set(named))
        require(named == ordered, "categories", "columns of the encoder, in their order", named)
        numeric = set(self.missing) - set(named)
        ordered = tuple(name for name in self.columns if name in numeric)
        require(self.missing == ordered, "missing", "numeric columns of the encoder, in their order", self.missing)

    def input_size(self, horizon: int) -> int:  # noqa: ARG002
        """Width of what the first layer reads of a row, whatever the horizon."""
        return self.row_size + sum(each.size - 1 for each in self.categories)

    @property
    def row_size(self) -> int:
        """Width of a row of inputs, with the index of a category in place of its vector."""
        return len(self.columns) + len(self.missing)

    def category_places(self, horizon: int = 1) -> list[tuple[Category, slice]]:  # noqa: ARG002
        """Return the categories in the order of a row of `row_size` numbers, and their places in it."""
        places = [self.columns.index(each.column) for each in self.categories]
        return [(each, slice(k, k + 1)) for each, k in zip(self.categories, places, strict=True)]

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight: the vectors of each column of categories."""
        return category_tensors(self.categories)

    def season_tensors(self, horizon: int) -> dict[str, tuple[int, ...]]:  # noqa: ARG002
        """Name and shape of the weights of seasonal differences: none."""
        return {}

    def version(self) -> int:
        """Return the version of the model file's format that has this encoder."""
        return max(3, super().version())


Encoder = SeriesEncoder | SymbolEncoder | FeatureEncoder
