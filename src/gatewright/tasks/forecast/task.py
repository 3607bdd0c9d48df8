"""Learning to forecast: windows in random order, quantile loss at every step of a window's second half."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.data import preprocessing
from gatewright.data.data_warnings import missing_targets, repeated_targets, suspects
from gatewright.data.table import Series
from gatewright.data.time_zones import LOCAL
from gatewright.data.window_checks import listed
from gatewright.files.model_file import ModelFile
from gatewright.nn.model import Model, State
from gatewright.spec import QuantileHead, SeriesEncoder, StackSpec
from gatewright.tasks.base import Loss, Share
from gatewright.tasks.forecast.calibration import (
    applied,
    calibrated,
    calibration_of,
    folded,
    independent,
    mean_ratio,
    recency,
)
from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.forecast.dependence import DEPENDENCE_LEVELS, with_dependence, with_dependence_of
from gatewright.tasks.forecast.losses import POINT_LOSSES, LikelihoodLoss, PointLoss, quantile_loss
from gatewright.tasks.forecast.start import DataStart, Startable
from gatewright.tasks.forecast.step_counters import FirstSteps, without_clocks
from gatewright.tasks.forecast.windows import (
    Batch,
    Windows,
    absolute,
    predict,
    predict_scaled,
    scaled_quantiles,
)
from gatewright.tasks.processes import computed
from gatewright.tasks.settings import LossSettings
from gatewright.tasks.unknown_categories import UnknownCategories

#: Quantile loss, and quantiles as they were trained.
AS_TRAINED = LossSettings()

#: Maximum number of windows that one validation looks at, evenly spaced over the validation part.
VALIDATION_WINDOWS = 4096


class ForecastTask:
    """A forecaster and its windows.

    Args:
        model: the model, on its device.
        data: the table.
        batch: windows a step, over all processes.
        seed: of the order of the windows.
        share: which part of each batch is this process's.
        device: where the batches are made.
        start_from: "data" for a new model that starts from the training part (`DataStart`), or "zero".
        settings: what the training minimises, and how the quantiles of the best model are calibrated.
    """

    carries = False

    def __init__(
        self,
        model: Model,
        data: SeriesData,
        batch: int,
        seed: int,
        share: Share,
        device: torch.device,
        start_from: str = "zero",
        settings: LossSettings = AS_TRAINED,
    ) -> None:
        assert isinstance(model.spec.encoder, SeriesEncoder)
        assert isinstance(model.spec.head, QuantileHead)
        assert model.scaler is not None
        encoder, head = model.spec.encoder, model.spec.head
        self.model, self.batch, self._calibrate = model, batch, settings.calibrate
        self._seed, self._share, self._series = seed, share, data.table.series
        # Every step of the second half forecasts: its context is at least half as long as in use, and has the row
        # one season before it.
        longest = encoder.seasons[-1] if encoder.seasons else 0
        self._supervised = min((encoder.context + 1) // 2, encoder.context - longest)
        encoded = [preprocessing.encode(one, encoder, model.scaler, data.settings.fill) for one in self._series]
        self._windows = Windows(encoded, encoder, head.horizon, device, model.scaler)
        self._quantiles = torch.tensor(head.quantiles, device=device)
        self._point: PointLoss | None = None
        if settings.loss in POINT_LOSSES:
            self._point = PointLoss(settings.loss, encoded, [part.valid for part in data.parts], data.sizes.season)
        self._likelihood: LikelihoodLoss | None = None
        if head.family is not None:
            self._likelihood = LikelihoodLoss(head, model.scaler, len(encoder.targets))
        self.unit = settings.unit
        train, valid = [], []
        sizes = (encoder.context, head.horizon)
        for one, part, start in zip(encoded, data.parts, self._windows.starts, strict=True):
            train.append(start + preprocessing.origins(one.target, *sizes, 0, part.valid, self._supervised))
            valid.append(start + preprocessing.origins(one.target, *sizes, part.valid, part.test))
        self._train = np.concatenate(train)
        self._valid = np.concatenate(valid)
        every = max(1, -(-len(self._valid) // VALIDATION_WINDOWS))
        self._valid = self._valid[::every]
        self._learned = self._validation_learned(encoded, data)
        self._validated: tuple[Tensor, NDArray[np.float64]] | None = None
        rows = np.searchsorted(self._valid, self._windows.starts[1:])
        valid_rows = np.split(self._valid, rows)
        self._independent, self._recency = independent(valid_rows, head.horizon), recency(valid_rows)
        settled = encoder.context - self._supervised
        self._first_steps = FirstSteps(model, self._windows, self._train, settled, share)
        self.starts_ready = start_from == "data"
        self._start: DataStart | None = None
        if self.starts_ready and model.is_new:
            units = model.spec.lstm.output_size - self._first_steps.clocks
            self._start = self._new_start(model, partial(_hidden, model), units)
            self.start(forecasting=False)
        self.steps_per_epoch = -(-len(self._train) // batch)
        self._epoch, self._order = -1, self._train
        self._unknown = UnknownCategories(encoder, head.horizon, seed, share)
        self.summary = _summary(data, encoder, head.horizon, model.spec.lstm)

    def _validation_learned(self, encoded: Sequence[preprocessing.Encoded], data: SeriesData) -> NDArray[np.int64]:
        """Return some windows, evenly spaced, of the validation part that a refit learns too."""
        encoder, head = self.model.spec.encoder, self.model.spec.head
        assert isinstance(encoder, SeriesEncoder)
        rows = [np.zeros(0, np.int64)]
        series = zip(encoded, self._windows.starts, data.validated, data.parts, strict=False)
        for one, start, first, part in series:
            found = preprocessing.origins(one.target, encoder.context, head.horizon, first, part.test)
            rows.append(start + found)
        origins = np.concatenate(rows)
        return origins[:: max(1, -(-len(origins) // VALIDATION_WINDOWS))]

    def _new_start(self, network: Startable, states: Callable[[Tensor], Tensor], units: int) -> DataStart:
        spec, scaler = self.model.spec, self.model.scaler
        assert scaler is not None
        return DataStart(spec, scaler, network, states, self._windows, self._train, self._supervised, units)

    def start(self, *, forecasting: bool) -> None:
        """Set the weights that a new model starts with; a model that is trained already keeps its own."""
        if self._start is not None:
            self._start.set(forecasting=forecasting)

    def start_peer(self, peer: Startable, states: Callable[[Tensor], Tensor]) -> None:
        """Start another network from the same data, if the model starts from it."""
        if self._start is not None:
            self._new_start(peer, states, peer.head.in_features).set(forecasting=False)

    def _batch(self, step: int) -> Batch:
        """Return the windows of a step, some of them with unknown categories."""
        rows = self._rows(step)
        batch = self._windows.batch(rows[self._share.of(len(rows))], self._supervised)
        self._unknown.hide(batch.inputs, step, len(rows))
        return batch

    def _rows(self, step: int) -> NDArray[np.int64]:
        """Return the origins of the windows of a step, of all processes."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng((self._seed, epoch)).permutation(self._train)
            self._epoch = epoch
        return self._order[place * self.batch : (place + 1) * self.batch]

    def _origins(self, step: int) -> NDArray[np.int64]:
        """Return the origins of the windows of this process."""
        rows = self._rows(step)
        return rows[self._share.of(len(rows))]

    def loss(self, model: torch.nn.Module, step: int) -> Loss:
        """Loss over observed values of this process's windows."""
        inputs, level, target, differences, _ = self._batch(step)
        y = model(inputs, last=self._supervised, differences=differences).y
        forecast = absolute(self.model, y, level)
        rows = self._rows(step)
        return self._loss(forecast, target, rows[self._share.of(len(rows))])

    def _loss(self, forecast: Tensor, target: Tensor, origins: NDArray[np.int64]) -> Loss:
        """Return the loss of forecasts (steps, B, horizon, targets, outputs) from windows with these origins."""
        if self._likelihood is not None:
            return self._likelihood(forecast, target)
        if self._point is None:
            return quantile_loss(forecast, target, self._quantiles.to(forecast.device))
        return self._point(forecast, target, self._series_of(origins))

    def _series_of(self, origins: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of the series of windows."""
        return np.searchsorted(self._windows.starts, origins, side="right") - 1

    def validate(self) -> float:
        """Fit the first steps, and return the mean loss of the forecasts in the validation part."""
        self._first_steps.fit()
        found = computed(self._share, self._valid, self._outputs_and_targets)
        forecast, target = found[..., :-1].contiguous(), found[..., -1].contiguous()
        self._validated = forecast, target.double().numpy()
        loss = self._loss(forecast[None], target[None], self._valid)
        return float(loss.total) / loss.predictions

    def _outputs_and_targets(self, origins: NDArray[np.int64]) -> Tensor:
        """Return the outputs for windows and, last, what came: (windows, horizon, targets, outputs + 1)."""
        forecast, _ = predict_scaled(self.model, self._windows, origins)
        target = self._windows.batch(origins).target[0].cpu()
        return torch.cat([forecast, target.unsqueeze(-1)], dim=-1)

    def measures(self, score: float) -> dict[str, float | None]:  # noqa: ARG002
        """Return no other measures."""
        return {}

    def file(self) -> ModelFile:
        """Return the file of the model: quantiles calibrated by the last validation, and their dependence."""
        file, head = self.model.file(), self.model.spec.head
        if self._validated is None:
            return file
        assert isinstance(head, QuantileHead)
        outputs, target = self._validated
        quantiles = scaled_quantiles(self.model, outputs)
        if self._likelihood is not None:
            target = self._likelihood.values(target)
        if self._calibrate != "none":
            seen = (self._independent, self._recency)
            found = calibrated(self._calibrate, quantiles, target, head.quantiles, *seen)
            file, changed = folded(file, found), applied(found, head, outputs.double().numpy())
            quantiles = scaled_quantiles(self.model, torch.from_numpy(changed))
        levels = head.quantiles
        if head.family is not None and len(levels) == 1:  # the distribution has others
            levels = DEPENDENCE_LEVELS
            quantiles = scaled_quantiles(self.model, outputs, levels)
        return with_dependence(file, quantiles, target, self._independent, levels)

    def refitted(self, best: ModelFile) -> ModelFile:
        """Fit the first steps; return the file of the model, with calibration and dependence of the best one.

        A model that has learned the validation part is too sure of it.  There its intervals get the widths of the
        best model's, which are calibrated: in the geometric mean, so that each series counts alike.
        """
        self._first_steps.fit()
        file, found = self.model.file(), calibration_of(best.spec, best.table)
        if found is not None and self._calibrate == "width":
            first = copy.deepcopy(self.model)
            first.load_state_dict({name: torch.from_numpy(value) for name, value in best.tensors.items()})
            found = replace(found, widths=mean_ratio(self._widths(first), self._widths(self.model)))
        return with_dependence_of(file if found is None else folded(file, found), best)

    def _widths(self, model: Model) -> NDArray[np.float64]:
        """Return the widths of the outermost intervals in the validation part, (windows, horizon, targets)."""
        outputs = computed(self._share, self._learned, lambda rows: predict_scaled(model, self._windows, rows)[0])
        quantiles = scaled_quantiles(model, outputs)
        widths: NDArray[np.float64] = quantiles[..., -1] - quantiles[..., 0]
        return widths

    def inputs(self, step: int) -> tuple[Tensor, State | None]:
        """Return the windows of a step."""
        return self._batch(step).inputs, None

    def rows(self, step: int, rows: NDArray[np.int64]) -> str:
        """Name series and time of windows of the batch of a step."""
        return ", ".join(self._name(origin) for origin in self._origins(step)[rows[:5]])

    def _name(self, origin: int) -> str:
        which = int(self._series_of(np.array([origin]))[0])
        one: Series = self._series[which]
        row = int(origin - self._windows.starts[which])
        when = f"row {row + 1}" if one.times is None else one.when(row)
        return f"{one.title} up to {when}"

    def forecast(
        self, most: int, *, training: bool = True
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Forecast some windows of the training and of the validation part, evenly spaced.

        Args:
            most: maximum number of windows of each part.
            training: whether to forecast those of the training part.

        Returns:
            The series and the last row of each window, and `predict`.
        """
        some = [part[:: max(1, -(-len(part) // most))] for part in (self._train, self._valid)[not training :]]
        origins = np.concatenate(some)
        which = np.searchsorted(self._windows.starts, origins, side="right") - 1
        return which, origins - self._windows.starts[which], predict(self.model, self._windows, origins)

    @property
    def carried(self) -> State | None:
        """Windows start from zero states."""
        return None

    def carry(self, state: State | None) -> None:
        """Nothing to go on from."""


def _hidden(model: Model, x: Tensor) -> Tensor:
    """Return the hidden states of inputs, without random choices of the cell: a regression would learn them."""
    layers, training = model.lstm, model.lstm.training
    layers.train(training and not model.spec.lstm.is_random)
    try:
        return cast("Tensor", layers(model.encoder(x))[0])
    finally:
        layers.train(training)


def _summary(data: SeriesData, encoder: SeriesEncoder, horizon: int, stack: StackSpec) -> str:
    """Say which column is what, and how much there is of it."""
    parts, several = data.parts, len(data.parts) > 1
    rows = (sum(part.valid for part in parts), sum(part.test - part.valid for part in parts),
            sum(part.end - part.test for part in parts))  # fmt: skip
    of_series = f" of {_plus((data.windows > 0).sum(axis=0))} series" if several else ""
    every = "in order, without timestamps" if encoder.step == "row" else f"every {encoder.step}"
    zone = "" if encoder.time_zone in ("", LOCAL) else f", on the clock of {encoder.time_zone}"
    split = f"training + validation + test{f', {len(parts):,} series' if several else ''}"
    lines = [
        f"{_plus(rows)} rows ({split}), {every}{zone}",
        f"{_plus(data.windows.sum(axis=0))} windows{of_series}",
        f"forecast {', '.join(encoder.targets)}, {horizon} ahead, from {encoder.context} steps",
    ]
    inputs = {"past": encoder.past, "known": encoder.known, "static": encoder.static, "calendar": encoder.calendar}
    lines += [f"{role} inputs: {', '.join(names)}" for role, names in inputs.items() if names]
    categories = [f"{each.column} ({len(each.values):,})" for each in encoder.categories]
    if categories:
        lines.append(f"categories, with the number of their values: {', '.join(categories)}")
    lines += [line for line in (data.seasons, data.units.note, data.units.scale_note) if line]
    lines += data.table.notes
    if data.table.unused:
        lines.append(f"columns not used: {', '.join(data.table.unused)}")
    if data.table.empty:
        lines.append(f"left out, no observed target: {listed(data.table.empty)}")
    if reason := without_clocks(stack):
        lines.append(f"intervals are too narrow after the first rows of a stream: {reason}")
    if data.settings.distribution and not data.settings.counts:
        lines += repeated_targets(data.table)
    return "\n".join([*lines, *missing_targets(data.table), *data.notes, *suspects(data.table)])


def _plus(sizes: Iterable[int]) -> str:
    return " + ".join(f"{size:,}" for size in sizes)
