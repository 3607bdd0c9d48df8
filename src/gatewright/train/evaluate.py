"""An honest evaluation: the untouched test part, and the baselines on the same windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.data import series
from gatewright.data.text import encode_text, streams
from gatewright.model import Model
from gatewright.spec import QuantileHead, SeriesEncoder
from gatewright.train.baselines import ngram_nats, persistence, seasonal_naive
from gatewright.train.forecasting import SeriesData
from gatewright.train.language import TextData, score, score_streams
from gatewright.windows import Windows, predict

Values = NDArray[np.float64]

#: Names of what is compared, in the order of tables.
METHODS = ("model", "persistence", "seasonal-naive")


@dataclass(frozen=True)
class TestForecasts:
    """All forecasts of the test part, in units.

    Attributes:
        names: the series.
        origins: of each series, the last known row of each forecast.
        truth: of each series (origins, horizon, targets), NaN where missing.
        forecasts: by method, of each series (origins, horizon, targets, quantiles or 1).
    """

    names: list[str]
    origins: list[NDArray[np.int64]]
    truth: list[Values]
    forecasts: dict[str, list[Values]]


def forecast_test_part(model: Model, data: SeriesData) -> TestForecasts:
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
    result = TestForecasts([], [], [], {name: [] for name in METHODS})
    ahead = np.arange(1, horizon + 1)
    device = next(model.parameters()).device
    for one, part in zip(data.table.series, data.parts, strict=True):
        encoded = series.encode(one, encoder, model.scaler, data.options.fill)
        origins = series.origins(encoded.target, encoder.context, horizon, part.test, part.end)
        if len(origins) == 0:
            continue
        values = one.values[:, :targets]
        windows = Windows([encoded], encoder, horizon, device)
        answer = predict(model, windows, origins) * scale[:, None] + mean[:, None]
        past = np.where(np.isnan(series.last_observed(values)), mean, values)
        result.names.append(one.name)
        result.origins.append(origins)
        result.truth.append(values[origins[:, None] + ahead])
        result.forecasts["model"].append(answer)
        result.forecasts["persistence"].append(persistence(past, origins, horizon)[..., None])
        naive = seasonal_naive(past, origins, horizon, data.options.season)
        result.forecasts["seasonal-naive"].append(naive[..., None])
    rows = [part.end - part.test for part in data.parts]
    series.require_windows(sum(map(len, result.origins)), "test", horizon, rows)
    return result


def evaluate_forecast(model: Model, data: SeriesData, tested: TestForecasts) -> dict[str, Any]:
    """Measure the forecasts of the test part.

    Returns:
        For each target and method: the measures of `measure` over all steps ahead (``overall``), for each step
        (``by_step``), and for each series if there are several (``by_series``).
    """
    encoder, head = model.spec.encoder, model.spec.head
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    assert model.scaler is not None
    targets: dict[str, Any] = {}
    for index, target in enumerate(encoder.targets):

        def part(method: str, steps: slice, which: slice, index: int = index) -> dict[str, float | None]:
            truth = [one[:, steps, index] for one in tested.truth[which]]
            forecast = [one[:, steps, index] for one in tested.forecasts[method][which]]
            assert model.scaler is not None
            return measure(truth, forecast, head.quantiles, model.scaler.scale[index])

        whole = slice(None)
        targets[target] = {
            method: {
                "overall": part(method, whole, whole),
                "by_step": [part(method, slice(k, k + 1), whole) for k in range(head.horizon)],
                "by_series": {
                    name: part(method, whole, slice(number, number + 1))
                    for number, name in enumerate(tested.names)
                    if len(tested.names) > 1
                },
            }
            for method in METHODS
        }
    return {
        "kind": "forecast",
        "part": "test",
        "windows": sum(map(len, tested.origins)),
        "context": encoder.context,
        "horizon": head.horizon,
        "season": data.options.season,
        "quantiles": list(head.quantiles),
        "targets": targets,
    }


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
        MAE, RMSE and MSE in units; MAE and MSE in standard deviations; NSE (Nash & Sutcliffe 1970), the median
        over series; quantile loss, the mean over levels; coverage of the interval between the outermost
        levels, with the share it should have.  None where a measure does not exist.
    """
    observed = [np.isfinite(one) for one in truth]
    flat = np.concatenate([one[seen] for one, seen in zip(truth, observed, strict=True)])
    answers = np.concatenate([one[seen] for one, seen in zip(forecast, observed, strict=True)])
    if len(flat) == 0:
        return dict.fromkeys(MEASURES)
    levels = np.array(quantiles)
    several = answers.shape[-1] > 1
    point = answers[:, quantiles.index(0.5)] if several else answers[:, 0]
    error = flat - point
    pinball = np.maximum(levels * (flat[:, None] - answers), (levels - 1) * (flat[:, None] - answers))
    inside = (answers[:, 0] <= flat) & (flat <= answers[:, -1])
    mae, mse = float(np.abs(error).mean()), float((error**2).mean())
    return {
        "mae": mae,
        "rmse": mse**0.5,
        "mse": mse,
        "mae_standardised": mae / scale,
        "mse_standardised": mse / scale**2,
        "nse": _median_nse(truth, forecast, quantiles.index(0.5) if several else 0),
        "quantile_loss": float(pinball.mean()),
        "coverage": float(inside.mean()) if several else None,
        "coverage_expected": quantiles[-1] - quantiles[0] if several else None,
    }


MEASURES = (
    "mae", "rmse", "mse", "mae_standardised", "mse_standardised", "nse", "quantile_loss", "coverage",
    "coverage_expected",
)  # fmt: skip


def _median_nse(truth: list[Values], forecast: list[Values], point: int) -> float | None:
    efficiencies = []
    for one, answer in zip(truth, forecast, strict=True):
        seen = np.isfinite(one)
        spread = float(((one[seen] - one[seen].mean()) ** 2).sum()) if seen.any() else 0.0
        if spread > 0:
            efficiencies.append(1 - float(((one[seen] - answer[..., point][seen]) ** 2).sum()) / spread)
    return float(np.median(efficiencies)) if efficiencies else None


def evaluate_language(model: Model, data: TextData) -> dict[str, Any]:
    """Score the test part of a text: nats and bits a character, beside n-gram models of the training part."""
    assert model.vocabulary is not None
    train = encode_text(data.parts.train, model.vocabulary)
    test = encode_text(data.parts.test, model.vocabulary)
    count = score_streams(test)
    symbols = len(model.vocabulary.symbols)

    def ngram(order: int) -> float:
        # The same symbols as the model's: all but the first of each stream.
        return float(streams(ngram_nats(train, test, symbols, order), count)[1:].mean())

    methods: dict[str, Callable[[], float]] = {
        "model": lambda: score(model, test),
        "unigram": lambda: ngram(1),
        "5-gram": lambda: ngram(5),
    }
    nats = {name: method() for name, method in methods.items()}
    return {
        "kind": "language",
        "part": "test",
        "characters": len(test) // count * count - count,
        "unknown": int((test == 0).sum()),
        "nats_per_character": nats,
        "bits_per_character": {name: value / float(np.log(2)) for name, value in nats.items()},
    }
