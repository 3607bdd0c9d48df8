"""An honest evaluation: the untouched test part, and the baselines on the same windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.data import series
from gatewright.data.fitting import Sizes, require_windows
from gatewright.data.text import encode_text, streams
from gatewright.errors import DataError
from gatewright.model import Model
from gatewright.spec import QuantileHead, Scaler, SeriesEncoder
from gatewright.train.baselines import ngram_nats, persistence, seasonal_naive
from gatewright.train.forecasting import SeriesData
from gatewright.train.language import TextData, score, score_streams
from gatewright.windows import Windows, predict

Values = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Names of what is compared, in the order of tables.
METHODS = ("model", "persistence", "seasonal-naive")

#: What `measure` gives, in order.
MEASURES = (
    "observed", "mae", "rmse", "mse", "mae_standardised", "rmse_standardised", "mse_standardised", "nse",
    "quantile_loss", "coverage", "coverage_expected",
)  # fmt: skip


@dataclass(frozen=True)
class Tested:
    """All forecasts of the test part, in units.

    Attributes:
        names: the series that have a window there.
        without: the series that have none.
        origins: of each series, the last known row of each forecast.
        truth: of each series (origins, horizon, targets), NaN where missing.
        forecasts: by method, of each series (origins, horizon, targets, quantiles or 1).
    """

    names: list[str]
    without: list[str]
    origins: list[Rows]
    truth: list[Values]
    forecasts: dict[str, list[Values]]


def forecast_test_part(model: Model, data: SeriesData) -> Tested:
    """Forecast from every origin of the test part, by the model and by the baselines.

    Raises:
        DataError: if the test part has no window.
    """
    encoder, head = model.spec.encoder, model.spec.head
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    assert model.scaler is not None
    targets, horizon = len(encoder.targets), head.horizon
    mean, scale = np.array(model.scaler.mean[:targets]), np.array(model.scaler.scale[:targets])
    tested = Tested([], [], [], [], {name: [] for name in METHODS})
    ahead = np.arange(1, horizon + 1)
    device = next(model.parameters()).device
    for one, part in zip(data.table.series, data.parts, strict=True):
        encoded = series.encode(one, encoder, model.scaler, data.options.fill)
        origins = series.origins(encoded.target, encoder.context, horizon, part.test, part.end)
        if len(origins) == 0:
            tested.without.append(one.name)
            continue
        values = one.values[:, :targets]
        answer = predict(model, Windows([encoded], encoder, horizon, device), origins)
        tested.names.append(one.name)
        tested.origins.append(origins)
        tested.truth.append(values[origins[:, None] + ahead])
        tested.forecasts["model"].append(answer * scale[:, None] + mean[:, None])
        for name, naive in (
            ("persistence", persistence(values, origins, horizon)),
            ("seasonal-naive", seasonal_naive(values, origins, horizon, data.options.season)),
        ):
            # Before the first observed value a baseline knows what the model knows: the training part's mean.
            tested.forecasts[name].append(np.where(np.isnan(naive), mean, naive)[..., None])
    require_windows(data.table, data.parts, Sizes(horizon, data.options.season, encoder.context), ("test",))
    return tested


def evaluate_forecast(model: Model, data: SeriesData, tested: Tested) -> dict[str, Any]:
    """Measure the forecasts of the test part.

    Returns:
        For each target and method: the measures of `measure` over all steps ahead (``overall``), for each step
        (``by_step``), and for each series if the table has several (``by_series``).
    """
    encoder, head = model.spec.encoder, model.spec.head
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    assert model.scaler is not None
    several = len(data.table.series) > 1
    return {
        "kind": "forecast",
        "part": "test",
        "windows": sum(map(len, tested.origins)),
        "series_without_windows": tested.without,
        "context": encoder.context,
        "horizon": head.horizon,
        "season": data.options.season,
        "quantiles": list(head.quantiles),
        "targets": {
            target: {
                method: _measure_method(tested, method, index, head, model.scaler, several) for method in METHODS
            }
            for index, target in enumerate(encoder.targets)
        },
    }


def _measure_method(
    tested: Tested, method: str, target: int, head: QuantileHead, scaler: Scaler, several: bool
) -> dict[str, Any]:
    """Measure one method on one target: overall, by step, by series."""
    truth = [one[:, :, target] for one in tested.truth]
    forecast = [one[:, :, target] for one in tested.forecasts[method]]

    def part(steps: slice, which: slice) -> dict[str, float | None]:
        chosen = [one[:, steps] for one in truth[which]], [one[:, steps] for one in forecast[which]]
        return measure(*chosen, head.quantiles, scaler.scale[target])

    whole = slice(None)
    return {
        "overall": part(whole, whole),
        "by_step": [part(slice(step, step + 1), whole) for step in range(head.horizon)],
        "by_series": {
            name: part(whole, slice(number, number + 1)) for number, name in enumerate(tested.names) if several
        },
    }


@np.errstate(over="ignore", invalid="ignore")
def measure(
    truth: list[Values], forecast: list[Values], quantiles: tuple[float, ...], scale: float
) -> dict[str, float | None]:
    """Measure forecasts against what came, over observed values.

    Args:
        truth: of each series (...), NaN where missing.
        forecast: of each series (..., quantiles), or (..., 1) for a forecast of one value.
        quantiles: the levels; 0.5 is the point forecast.
        scale: standard deviation of the target in the training part.

    Returns:
        How many values were observed; MAE, RMSE and MSE in units and in standard deviations; NSE (Nash &
        Sutcliffe 1970), the median over series; quantile loss in units, the mean over levels, for which a
        forecast of one value stands at every level; coverage of the interval between the outermost levels, with
        the share it should have.  None where a measure does not exist or is not finite.

    >>> measure([np.array([1.0, 2.0, np.nan])], [np.array([[1.0], [3.0], [9.0]])], (0.5,), 2.0)["mae"]
    0.5
    """
    observed = [np.isfinite(one) for one in truth]
    flat = np.concatenate([one[seen] for one, seen in zip(truth, observed, strict=True)])
    answers = np.concatenate([one[seen] for one, seen in zip(forecast, observed, strict=True)])
    found: dict[str, float | None] = dict.fromkeys(MEASURES)
    found["observed"] = len(flat)
    if len(flat) == 0:
        return found
    levels, interval = np.array(quantiles), answers.shape[-1] > 1
    point = quantiles.index(0.5) if interval else 0
    error = flat - answers[:, point]
    over = flat[:, None] - answers
    mae, mse = float(np.abs(error).mean()), float((error**2).mean())
    rmse = mse**0.5
    found |= {
        "mae": mae,
        "rmse": rmse,
        "mse": mse,
        "mae_standardised": mae / scale,
        "rmse_standardised": rmse / scale,
        "mse_standardised": (rmse / scale) * (rmse / scale),
        "nse": _median_nse(truth, forecast, point),
        "quantile_loss": float(np.maximum(levels * over, (levels - 1) * over).mean()),
    }
    if interval:
        found["coverage"] = float(((answers[:, 0] <= flat) & (flat <= answers[:, -1])).mean())
        found["coverage_expected"] = quantiles[-1] - quantiles[0]
    return {name: None if value is None or not np.isfinite(value) else value for name, value in found.items()}


def _median_nse(truth: list[Values], forecast: list[Values], point: int) -> float | None:
    efficiencies = []
    for one, answer in zip(truth, forecast, strict=True):
        seen = np.isfinite(one)
        given = one[seen]
        spread = float(((given - given.mean()) ** 2).sum()) if len(given) else 0.0
        # A constant truth has no efficiency, even where rounding gives it a tiny spread.
        if spread > 0 and given.min() < given.max():
            efficiencies.append(1 - float(((given - answer[..., point][seen]) ** 2).sum()) / spread)
    return float(np.median(efficiencies)) if efficiencies else None


def evaluate_language(model: Model, data: TextData) -> dict[str, Any]:
    """Score the test part of a text: nats and bits a character, beside n-gram models of the training part.

    Raises:
        DataError: if the test part is too short to be scored.
    """
    assert model.vocabulary is not None
    train, valid, test = (
        encode_text(part, model.vocabulary) for part in (data.parts.train, data.parts.valid, data.parts.test)
    )
    if len(test) < 2:
        raise DataError("test part", "at least 2 characters", str(len(test)))
    count = score_streams(test)
    symbols = len(model.vocabulary.symbols)

    def ngram(order: int) -> float:
        # The text before the test part is the context of its first characters.
        before = valid[len(valid) - min(order - 1, len(valid)) :]
        nats = ngram_nats(train, np.concatenate([before, test]), symbols, order)[len(before) :]
        # The same symbols as the model's: all but the first of each stream.
        return float(streams(nats, count)[1:].mean())

    methods: dict[str, Callable[[], float]] = {
        "model": lambda: score(model, test),
        "unigram": lambda: ngram(1),
        "5-gram": lambda: ngram(5),
    }
    nats = {name: method() for name, method in methods.items()}
    scored = streams(test, count)[1:]
    return {
        "kind": "language",
        "part": "test",
        "characters": scored.size,
        "unknown": int((scored == 0).sum()),
        "nats_per_character": nats,
        "bits_per_character": {name: value / float(np.log(2)) for name, value in nats.items()},
    }
