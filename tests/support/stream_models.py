"""Whole models for streams, what they read of a table, and what torch's modules make of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gatewright import Model
from gatewright.data.preprocessing import encode
from gatewright.data.table import Series
from gatewright.spec import (
    BYTE_NAMES,
    UNKNOWN,
    ModelSpec,
    QuantileHead,
    Scaler,
    SeriesEncoder,
    StackSpec,
    SymbolEncoder,
    SymbolHead,
    Vocabulary,
)
from gatewright.spec.vocabulary import tokens_of
from gatewright.tasks.forecast.inputs import Excerpt, of_series
from gatewright.tasks.forecast.window_units import Place
from gatewright.tasks.forecast.windows import Windows, in_units

SYMBOLS = (UNKNOWN, *"abcdefgh \n")
CALENDAR = ("hour_of_day", "day_of_week", "day_of_year")


def text_model(**stack: Any) -> Model:
    torch.manual_seed(0)
    spec = ModelSpec(SymbolEncoder(len(SYMBOLS), 5), StackSpec(**{"hidden_size": 24, **stack}), SymbolHead())
    return Model(spec, vocabulary=Vocabulary(SYMBOLS)).eval()


def byte_model(tokens: str = "bytes", merges: tuple[str, ...] = ()) -> Model:
    """A model of bytes, or of a byte pair encoding, whose text has characters of several bytes."""
    torch.manual_seed(0)
    symbols = BYTE_NAMES if tokens == "bytes" else tokens_of(merges)
    spec = ModelSpec(SymbolEncoder(len(symbols), 5), StackSpec(24), SymbolHead())
    model = Model(spec, vocabulary=Vocabulary(symbols, tokens, merges)).eval()
    with torch.no_grad():  # mostly bytes of "日本é" and "ab", not always in an order that UTF-8 has
        model.head.bias[:] = -5.0
        model.head.bias[list("日本é".encode() + b"ab")] = 3.0
    return model


#: A number for each transform that has one.
NUMBERS = {"log1p": 3.0, "asinh": 0.5, "boxcox": 0.4}


def series_model(
    bounds: dict[str, tuple[float, ...]] | None = None, distribution: str = "", **changes: Any
) -> Model:
    torch.manual_seed(0)
    roles: dict[str, Any] = {
        "targets": ("flow", "level"),
        "past": ("rain",),
        "known": ("holiday", "price"),
        "static": ("area",),
        "calendar": CALENDAR,
        "step": "1h",
        "context": 12,
        "reads": "both",
    }
    encoder = SeriesEncoder(**{**roles, **changes})
    columns = encoder.columns
    rng = np.random.default_rng(1)
    mean, scale = rng.normal(size=len(columns)) * 30, rng.uniform(0.5, 9, len(columns))
    for category in encoder.categories:
        place = columns.index(category.column)
        mean[place], scale[place] = 0, 1
    changes_scale = rng.uniform(0.1, 2, len(encoder.targets))
    of_transforms = tuple(NUMBERS.get(name, 0.0) for name in encoder.transform), (1.0,) * len(encoder.transform)
    if encoder.transform:  # numbers as those of logarithms
        mean[: len(encoder.targets)], scale[: len(encoder.targets)] = 2.0, 1.5
    of_windows = tuple((number,) * len(encoder.targets) if encoder.window else () for number in (0.5, 0.2, 3.0))
    scaler = Scaler(columns, tuple(mean), tuple(scale), tuple(changes_scale), *of_transforms, *of_windows)
    levels = (0.05, 0.5, 0.6, 0.999) if distribution else (0.1, 0.5, 0.9)
    head = QuantileHead(horizon=3, quantiles=levels, distribution=distribution, **(bounds or {}))
    spec = ModelSpec(encoder, StackSpec(20, num_layers=2), head)
    model = Model(spec, scaler=scaler).eval()
    torch.nn.init.normal_(model.head.weight)
    if model.season is not None:
        torch.nn.init.normal_(model.season.weight)
    return model


def table(model: Model, rows: int, seed: int = 2) -> Series:
    """A series with gaps in its targets."""
    encoder = model.spec.encoder
    assert isinstance(encoder, SeriesEncoder)
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, len(encoder.columns))) * 40
    targets = values[:, : len(encoder.targets)]
    targets[rng.random(targets.shape) < 0.2] = np.nan
    targets[0] = np.nan
    for category in encoder.categories:
        place = encoder.columns.index(category.column)
        values[:, place] = rng.integers(0, category.count, rows)  # 0 is an unknown value
        values[rng.random(rows) < 0.2, place] = np.nan
    times = np.datetime64("2023-12-30T22:30", "us") + np.arange(rows) * np.timedelta64(1, "h")
    return Series("basin", times, values, np.arange(rows))


def rows_of(model: Model, series: Series, rows: int) -> np.ndarray[Any, Any]:
    """What a stream reads of a series: inputs known in advance come with the row before them."""
    encoder, head = model.spec.encoder, model.spec.head
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    first = len(encoder.targets) + len(encoder.past)
    known = series.values[:, first : first + len(encoder.known)]
    ahead = [known[1 + t : 1 + t + head.horizon].T.ravel() for t in range(rows)]
    row = np.concatenate(
        [series.values[:rows, :first], series.values[:rows, first + len(encoder.known) :], np.array(ahead)], axis=1
    )
    row[:, len(encoder.targets) :] = np.nan_to_num(row[:, len(encoder.targets) :])  # missing categories
    return row


def whole_forecast(model: Model, series: Series, rows: int) -> np.ndarray[Any, Any]:
    """The whole series at once, through torch's modules, as a recording has it."""
    encoder, head, scaler = model.spec.encoder, model.spec.head, model.scaler
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    assert scaler is not None
    if encoder.window:  # also where there are more rows than in a window
        parts = of_series(model, series, Excerpt(slice(0, rows)), "")
        x, level, _, _, differences, last, scale = (torch.from_numpy(part[:, None].copy()) for part in parts)
        with torch.no_grad():
            y = model(x, differences=differences if encoder.seasons else None).y
        return in_units(model, y, level, Place(last, scale))[:, 0].numpy()
    encoded = encode(series, encoder, scaler)
    reader = SeriesEncoder(**{**vars(encoder), "context": rows})
    windows = Windows([encoded], reader, head.horizon, "cpu")
    inputs, level, _, differences, _ = windows.batch(np.array([rows - 1]), rows)
    with torch.no_grad():
        y = model(inputs, differences=differences).y
    return in_units(model, y, level)[:, 0].numpy()
