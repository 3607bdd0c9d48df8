"""An honest evaluation: the untouched test part, and the baselines on the same windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gatewright.data import preprocessing
from gatewright.data.target_units import means
from gatewright.data.window_checks import Sizes, require_windows
from gatewright.errors import GatewrightError
from gatewright.nn.model import Model
from gatewright.spec import QuantileHead, SeriesEncoder
from gatewright.tasks.forecast.baselines import Naive
from gatewright.tasks.forecast.calibration import UNCALIBRATED, calibration_of, undone
from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.forecast.likelihood_score import LikelihoodScore
from gatewright.tasks.forecast.reference_models import ReferenceModel
from gatewright.tasks.forecast.scores import Basis, Batch, Drawn, score
from gatewright.tasks.forecast.windows import Windows, predict_scaled, scaled_in_units

Rows = NDArray[np.int64]

#: Names of what is compared, in the order of tables.
METHODS = ("model", "persistence", "seasonal-naive", "drift")

#: No models of other packages.
NO_REFERENCES: Mapping[str, ReferenceModel] = {}

#: Numbers that a batch of windows may take, about.
BATCH_NUMBERS = 2**23


@dataclass(frozen=True)
class Chosen:
    """The windows of the test part that are evaluated.

    Attributes:
        origins: of each series, the last known row of each forecast.
        available: how many windows there are.
        without: names of the series that have no window.
        unsampled: names of the series whose windows were not drawn.
    """

    origins: list[Rows]
    available: int
    without: list[str]
    unsampled: list[str]

    @property
    def count(self) -> int:
        """How many windows are evaluated."""
        return sum(map(len, self.origins))


def _parts(model: Model) -> tuple[SeriesEncoder, QuantileHead]:
    encoder, head = model.spec.encoder, model.spec.head
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    return encoder, head


def choose(model: Model, data: SeriesData, windows: int | None = None) -> Chosen:
    """Find the windows of the test part.

    Args:
        model: the forecaster.
        data: the table.
        windows: how many of them to draw, evenly over all series; all if None or if there are fewer.

    Raises:
        DataError: if the test part has none.
        GatewrightError: if ``windows`` is less than 1.
    """
    encoder, head = _parts(model)
    _check(windows)
    targets = len(encoder.targets)
    candidates = [
        preprocessing.origins(one.values[:, :targets], encoder.context, head.horizon, part.test, part.end)
        for one, part in zip(data.table.series, data.parts, strict=True)
    ]
    require_windows(data.table, data.parts, Sizes(head.horizon, data.sizes.season, encoder.context), ("test",))
    return draw(candidates, [one.name for one in data.table.series], windows)


def draw(candidates: list[Rows], names: Sequence[str], windows: int | None) -> Chosen:
    """Draw windows evenly over all series.

    Args:
        candidates: of each series, the last known row of each forecast.
        names: of the series.
        windows: how many; all if None or if there are fewer.

    Raises:
        GatewrightError: if ``windows`` is less than 1.
    """
    _check(windows)
    without = [name for name, origins in zip(names, candidates, strict=True) if not len(origins)]
    available = sum(map(len, candidates))
    if windows is None or windows >= available:
        return Chosen(candidates, available, without, [])
    ends = np.cumsum([len(origins) for origins in candidates])
    places = np.arange(windows) * (available - 1) // max(1, windows - 1)
    which = np.searchsorted(ends, places, side="right")
    drawn = [
        origins[places[which == number] - (end - len(origins))]
        for number, (origins, end) in enumerate(zip(candidates, ends, strict=True))
    ]
    unsampled = [
        name for name, origins, few in zip(names, candidates, drawn, strict=True) if len(origins) and not len(few)
    ]
    return Chosen(drawn, available, without, unsampled)


def _check(windows: int | None) -> None:
    if windows is not None and windows < 1:
        raise GatewrightError("--windows", "a whole number of at least 1", str(windows))


def forecast_batches(
    model: Model,
    data: SeriesData,
    chosen: Chosen,
    references: Mapping[str, ReferenceModel] = NO_REFERENCES,
    uncalibrated: bool = False,
    likelihood: LikelihoodScore | None = None,
) -> Iterator[Batch]:
    """Forecast from each chosen origin, by the model and the baselines, a bounded number of windows at a time.

    Args:
        model: the forecaster.
        data: the table.
        chosen: the windows.
        references: fitted models of other packages, by name.
        uncalibrated: whether to add the forecasts of a calibrated model as they were before (`UNCALIBRATED`).
        likelihood: scores the distributions of the model, if it has any.
    """
    encoder, head = _parts(model)
    assert model.scaler is not None
    calibration = calibration_of(model.spec, model.table) if uncalibrated else None
    targets, horizon = len(encoder.targets), head.horizon
    mean = means(encoder, model.scaler, head)
    ahead = np.arange(1, horizon + 1)
    device = next(model.parameters()).device
    numbers = encoder.context * model.spec.input_size + 4 * horizon * targets * len(head.quantiles)
    size = max(1, min(256, BATCH_NUMBERS // numbers))
    for number, (one, origins) in enumerate(zip(data.table.series, chosen.origins, strict=True)):
        if not len(origins):
            continue
        encoded = preprocessing.encode(one, encoder, model.scaler, data.settings.fill)
        windows = Windows([encoded], encoder, horizon, device, model.scaler)
        values = one.values[:, :targets]
        naive = Naive(values, data.sizes.season)
        for first in range(0, len(origins), size):
            some = origins[first : first + size]
            scaled, place = predict_scaled(model, windows, some, batch=size)
            forecasts = {"model": scaled_in_units(model, scaled, place)}
            if calibration is not None:
                before = torch.from_numpy(undone(calibration, head, scaled.double().numpy()))
                forecasts[UNCALIBRATED] = scaled_in_units(model, before, place)
            for name, baseline in zip(METHODS[1:], (naive.persistence, naive.seasonal, naive.drift), strict=True):
                steady = baseline(some, horizon)
                # Before the first observed value a baseline knows what the model knows: the training part's mean.
                forecasts[name] = np.where(np.isnan(steady), mean, steady)[..., None]
            for name, reference in references.items():
                answers = reference.forecast(number, some)
                forecasts[name] = np.where(np.isnan(answers), mean[:, None], answers)
            truth = values[some[:, None] + ahead]
            if likelihood is not None:
                likelihood.add(scaled, place, truth)
            yield Batch(number, some, truth, forecasts)


def evaluate_forecast(
    model: Model,
    data: SeriesData,
    chosen: Chosen,
    progress: Callable[[int], None] = lambda _: None,
    references: Mapping[str, ReferenceModel] = NO_REFERENCES,
) -> tuple[dict[str, Any], list[Drawn]]:
    """Measure the forecasts of the test part, in one pass and a memory that does not depend on its length.

    Args:
        model: the forecaster.
        data: the table.
        chosen: the windows.
        progress: is given the number of windows after each batch.
        references: fitted models of other packages, by name.

    Returns:
        What was evaluated, and for each target and method the figures of `tasks.forecast.scores.score`, for a
        model with distributions also their ``log_likelihood``; and what the plot shows.
    """
    assert model.scaler is not None
    basis = Basis.of_test_part(data, model.scaler.deviations)
    likelihood = None if _parts(model)[1].family is None else LikelihoodScore(model)
    batches = forecast_batches(model, data, chosen, references, uncalibrated=True, likelihood=likelihood)
    figures, drawn = score(batches, basis, progress)
    if likelihood is not None:
        for own, mean in zip(figures.values(), likelihood.means(), strict=True):
            own["model"]["log_likelihood"] = mean
    return described("test", model, data.sizes.season, chosen, figures), drawn


def described(part: str, model: Model, season: int, chosen: Chosen, figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of each target, with what was evaluated.

    Args:
        part: "test", or "origins" of a backtest.
        model: the forecaster.
        season: rows in a season.
        chosen: the windows.
        figures: of `tasks.forecast.scores.score`.
    """
    encoder, head = _parts(model)
    return {
        "kind": "forecast",
        "part": part,
        "windows": chosen.count,
        "windows_available": chosen.available,
        "series_without_windows": chosen.without,
        "series_not_sampled": chosen.unsampled,
        "context": encoder.context,
        "horizon": head.horizon,
        "season": season,
        "quantiles": list(head.quantiles),
        "targets": figures,
    }
