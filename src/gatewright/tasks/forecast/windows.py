"""Windows over encoded series as tensors, and a forecaster's answers for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.data.preprocessing import Encoded
from gatewright.data.target_units import in_table_units, quantiles_of
from gatewright.nn.model import Model
from gatewright.nn.seasonal_skip import moved_by
from gatewright.spec import QuantileHead, Scaler, SeriesEncoder
from gatewright.tasks.forecast.seasonal_differences import seasonal_differences, seen_ages
from gatewright.tasks.forecast.window_units import Place, WindowUnits


class Batch(NamedTuple):
    """Windows, and what they are to forecast, in the scaler's units; with the scale of a window in its units.

    Attributes:
        inputs: (context, B, D).
        level: the last observed targets at the supervised steps (supervised, B, targets), the zero of forecasts:
            0 with the scale of a window.
        target: the values to forecast (supervised, B, horizon, targets), NaN where missing.
        differences: seasonal differences (supervised, B, seasons, horizon, targets); None without seasons.
        place: what the units of the window are; None where they are those of the scaler.
    """

    inputs: Tensor
    level: Tensor
    target: Tensor
    differences: Tensor | None
    place: Place | None = None


class Windows:
    """All series laid end to end, so that a batch of windows is one gather.

    Between two series stand ``horizon`` rows of NaN: a window that reaches past the end of its series reads NaN,
    never another series.  What was carried forward from before a window is 0 in it: the window reads what a
    `gatewright.Stream` reads that begins with its first row, however long the series is.

    Args:
        encoded: the series.
        encoder: what the model reads.
        horizon: steps ahead.
        device: where batches are made.
        scaler: of the model; needed with the scale of a window.

    Attributes:
        starts: row at which each series begins.
    """

    def __init__(
        self,
        encoded: Sequence[Encoded],
        encoder: SeriesEncoder,
        horizon: int,
        device: torch.device | str,
        scaler: Scaler | None = None,
    ) -> None:
        self.starts = np.cumsum([0, *(len(one.inputs) + horizon for one in encoded)])[:-1]
        self._context, self._horizon, self._device = encoder.context, horizon, device
        self._inputs = self._joined([one.inputs for one in encoded])
        self._level = self._joined([one.level for one in encoded])
        # Row r of these views holds rows r+1 ... r+horizon: (rows, columns, horizon).
        self._target = self._ahead(self._joined([one.target for one in encoded]))
        self._known = self._ahead(self._joined([one.known for one in encoded]))
        # Most columns carry nothing forward: only the ages of those that do are kept.
        self._old_inputs, self._input_ages = self._aged([one.input_ages for one in encoded])
        self._old_known, known_ages = self._aged([one.known_ages for one in encoded])
        self._known_ages = self._ahead(known_ages)
        self._old_level, self._level_ages = self._aged([one.level_ages for one in encoded])
        self._seasons = encoder.seasons
        self._own_units: WindowUnits | None = None
        if encoder.window:
            assert scaler is not None
            transformed = self._joined([one.transformed for one in encoded]).cpu().numpy()
            self._own_units = WindowUnits(transformed, encoder, horizon, scaler)
        self._seen_ages = self._joined([seen_ages(one) for one in encoded]) if self._seasons else None

    def _joined(self, arrays: Sequence[NDArray[Any]]) -> Tensor:
        rows, dtype = sum(len(one) + self._horizon for one in arrays), arrays[0].dtype
        joined = np.full((rows, arrays[0].shape[1]), np.nan if dtype.kind == "f" else 0, dtype)
        for start, one in zip(self.starts, arrays, strict=True):
            joined[start : start + len(one)] = one
        return torch.from_numpy(joined).to(self._device)

    def _ahead(self, rows: Tensor) -> Tensor:
        return rows[1:].unfold(0, self._horizon, 1)

    def _aged(self, ages: Sequence[NDArray[np.int32]]) -> tuple[Tensor, Tensor]:
        """Return which columns carry something forward, and their ages."""
        joined = self._joined(ages)
        columns = joined.any(dim=0).nonzero().ravel()
        return columns, joined[:, columns]

    def batch(self, origins: NDArray[np.int64], supervised: int = 1) -> Batch:
        """Gather windows.

        Args:
            origins: the last row that each window reads (B,).
            supervised: steps at the end of the window to give targets for.
        """
        places = torch.arange(self._context, device=self._device).unsqueeze(1)
        rows = torch.from_numpy(origins).to(self._device) + places + (1 - self._context)
        inputs = self._inputs[rows]
        _forget(inputs, self._old_inputs, self._input_ages[rows] > places[..., None])
        if self._known.shape[1]:
            known = self._known[rows]
            ahead = torch.arange(1, self._horizon + 1, device=self._device)
            _forget(known, self._old_known, self._known_ages[rows] > places[..., None, None] + ahead)
            inputs = torch.cat([inputs, known.flatten(-2)], dim=-1)
        if self._own_units is not None:
            return Batch(*self._own_units.batch(inputs, rows.cpu().numpy(), supervised))
        ends, level = rows[-supervised:], self._level[rows[-supervised:]]
        _forget(level, self._old_level, self._level_ages[ends] > places[-supervised:, :, None])
        differences = None
        if self._seen_ages is not None:
            parts = (self._level, self._seen_ages, ends, places[-supervised:], self._seasons, self._horizon)
            differences = seasonal_differences(*parts)
        return Batch(inputs, level, self._target[ends].transpose(-1, -2), differences)


def _forget(values: Tensor, columns: Tensor, before: Tensor) -> None:
    """Set to 0 what comes from before the window: of (steps, B, columns, ...) some columns, where ``before``."""
    if len(columns):
        values[:, :, columns] = values[:, :, columns].masked_fill(before, 0.0)


def absolute(model: Model, y: Tensor, level: Tensor) -> Tensor:
    """Add the last observed values to a model's output where it gives differences from them.

    Args:
        model: whose output it is.
        y: (steps, B, horizon, targets, outputs).
        level: (steps, B, targets).
    """
    assert isinstance(model.spec.head, QuantileHead)
    moved = model.spec.head.moved
    return moved_by(y, level[:, :, None, :, None], moved) if model.spec.encoder.reads_targets and moved else y


def in_order(model: Model, y: Tensor) -> Tensor:
    """Return quantiles in order, where they cross (Chernozhukov, Fernandez-Val & Galichon 2010)."""
    assert isinstance(model.spec.head, QuantileHead)
    return y.sort(dim=-1).values if model.spec.head.family is None else y


def in_units(model: Model, output: Tensor, level: Tensor, place: Place | None = None) -> Tensor:
    """Return the output of a model as forecasts in the table's units, (steps, B, horizon, targets, quantiles).

    Args:
        model: whose output it is.
        output: (steps, B, horizon, targets, outputs).
        level: as in `Batch` (steps, B, targets).
        place: as in `Batch`.
    """
    y = in_order(model, absolute(model, output, level))
    return torch.from_numpy(scaled_in_units(model, y, place)).to(y.device)


def scaled_quantiles(model: Model, y: Tensor, levels: Sequence[float] | None = None) -> NDArray[np.float64]:
    """Return quantiles in the units of `Batch`, or of whole numbers in those of the table, (..., targets, levels).

    Args:
        model: whose output it is.
        y: of `predict_scaled`.
        levels: of a model with distributions, any between 0 and 1, rising; those of the model if None.
    """
    head = model.spec.head
    assert isinstance(head, QuantileHead)
    assert model.scaler is not None
    if head.family is None:
        return y.double().cpu().numpy()
    return quantiles_of(y.float().cpu().numpy(), head, model.scaler, head.quantiles if levels is None else levels)


def scaled_in_units(model: Model, y: Tensor, place: Place | None = None) -> NDArray[np.float64]:
    """Return quantiles (..., horizon, targets, quantiles) in the table's units, as the native stream does.

    Args:
        model: whose output it is.
        y: of `predict_scaled` (..., horizon, targets, outputs).
        place: likewise (..., targets).
    """
    return quantiles_in_units(model, scaled_quantiles(model, y), place)


def quantiles_in_units(model: Model, z: NDArray[np.float64], place: Place | None = None) -> NDArray[np.float64]:
    """Return quantiles in the table's units, within the bounds.

    Args:
        model: whose they are.
        z: result of `scaled_quantiles` (..., horizon, targets, levels).
        place: of them, (..., targets); None where they are in the scaler's units.
    """
    assert model.spec.forecaster is not None
    assert model.scaler is not None
    encoder, head = model.spec.forecaster
    targets = len(encoder.targets)
    if place is None:
        scale, mean = (np.array(numbers[:targets])[:, None] for numbers in (model.scaler.scale, model.scaler.mean))
    else:
        scale, mean = (each.cpu().numpy()[..., None, :, None] for each in (place.scale, place.last))
    return in_table_units(z if head.counts else z * scale + mean, encoder, model.scaler, head)


def predict(model: Model, windows: Windows, origins: NDArray[np.int64], batch: int = 256) -> NDArray[np.float64]:
    """Forecast from each origin: (origins, horizon, targets, quantiles) in the table's units, within bounds."""
    return scaled_in_units(model, *predict_scaled(model, windows, origins, batch))


@torch.no_grad()
def predict_scaled(
    model: Model, windows: Windows, origins: NDArray[np.int64], batch: int = 256
) -> tuple[Tensor, Place | None]:
    """Forecast as `predict` does, in the units of `Batch` and without bounds, float32 on the CPU.

    Returns:
        Quantiles in order, or the outputs of distributions, (origins, horizon, targets, outputs); and their place
        with the scale of a window.
    """
    training = model.training
    model.eval()
    answers, places = [torch.empty(0, *model.output_sizes, device="cpu")], []
    for first in range(0, len(origins), batch):
        inputs, level, _, differences, place = windows.batch(origins[first : first + batch])
        y = model(inputs, last=1, differences=differences).y
        answers.append(in_order(model, absolute(model, y, level)[0]).cpu())
        if place is not None:
            places.append(place)
    model.train(training)
    joined = Place(*(torch.cat(each, dim=1)[0].cpu() for each in zip(*places, strict=True))) if places else None
    return torch.cat(answers), joined
