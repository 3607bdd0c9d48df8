"""The choice of the scale of targets, by models at the start, as transforms are chosen.

A panel of unlike series shows already in the smallest model that it needs the scale of a window.  Where a series
becomes calmer or wilder, models of the usual size show it in the validation part, at the start of a training.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from gatewright.data.target_units import Transform, transformed
from gatewright.nn.model import Model
from gatewright.spec import SeriesEncoder
from gatewright.tasks.base import Share
from gatewright.tasks.forecast import dataset
from gatewright.tasks.forecast.auto_transform import StartLosses, few_series, losses, start_losses
from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.forecast.task import ForecastTask
from gatewright.tasks.options import AUTO, DataOptions, ModelOptions, Options

#: Share of its loss that a forecast has to lose by the scale of a window: less may be chance.
GAIN = 0.06

#: The same of larger models in the validation part.  Where changes of targets there have this many times the size
#: of those in the training part, or the inverse, any gain will do: a scale of the past does not fit.
GAIN_LARGE, DRIFT = 0.03, 1.15

#: Horizons in the validation part, of all series together, from which it may decide.
LEAST_HORIZONS = 30

#: Random seeds of the larger models: with each, that with the scale of a window has to be better.
SEEDS = (0, 1)

_LARGE = ModelOptions(hidden=64, layers=1, dropout=0.0, proj=0, forget_bias=1.0)


def with_scale(data: SeriesData, given: DataOptions, known: StartLosses | None = None) -> SeriesData:
    """Return data with the scale of its targets.

    The scale of a window does what a logarithm does, too: it is also tried without transforms that were chosen.

    Args:
        data: the table, split, with its transforms.
        given: the options; they leave the scale open, and perhaps transforms.
        known: losses with the global scale that the choice of transforms computed.
    """
    few, chosen = few_series(data), data.units.transforms
    before = known[chosen] if known and chosen in known else start_losses(few, chosen)
    if not (before > 0).all():  # no window to compare by
        return _with(data, "global", chosen, "")
    left_open = given.transform or ()
    left_open = left_open if len(left_open) == len(chosen) else left_open * len(chosen)
    plain = tuple(Transform("none") if name == AUTO else own for name, own in zip(left_open, chosen, strict=True))
    candidates = list(dict.fromkeys((chosen, plain)))
    gains = [_gain(start_losses(_with(few, "window", each, ""), each), before) for each in candidates]
    best = int(np.argmax(gains))
    if gains[best] >= GAIN:
        return _with(data, "window", candidates[best], f"{gains[best]:.0%} better at the start")
    gain, drift = _large_gain(few), _drift(few)
    if gain >= GAIN_LARGE:
        return _with(data, "window", chosen, f"{gain:.0%} better in the validation part, at the start")
    if gain > 0 and max(drift, 1 / drift) >= DRIFT:
        why = f"changes of {drift:.2f} times the size in the validation part, and {gain:.1%} better there"
        return _with(data, "window", chosen, why)
    return _with(data, "global", chosen, "")


def _with(data: SeriesData, scale: str, transforms: tuple[Transform, ...], why: str) -> SeriesData:
    """Return data with a scale, and with transforms that may be others than before."""
    units, options = data.units, replace(data.options, scale=scale)
    if transforms != units.transforms:
        units = replace(units, transforms=transforms, note="")
        options = replace(options, transform=tuple(map(str, transforms)))
    note = f"scale: of each window ({why})" if why else ""
    return replace(data, options=options, units=replace(units, scale=scale, scale_note=note))


def _gain(after: NDArray[np.float64], before: NDArray[np.float64]) -> float:
    """Return the share by which losses are lower, in the mean over the targets."""
    return 1 - float(np.exp(np.log(np.maximum(after / before, 1e-9)).mean()))


def _large_gain(data: SeriesData) -> float:
    """Return the gain of larger models by the scale of a window in the validation part; 0 if it may be chance."""
    if sum(part.test - part.valid for part in data.parts) < LEAST_HORIZONS * data.settings.horizon:
        return 0.0
    scores = []
    for seed in SEEDS:
        tried = [_with(data, scale, data.units.transforms, "") for scale in ("global", "window")]
        of_seed = np.array([_large_losses(each, seed) for each in tried])
        if not (of_seed > 0).all():
            return 0.0
        of_scales = np.exp(np.log(of_seed).mean(axis=-1))
        if not of_scales[1] < of_scales[0]:
            return 0.0
        scores.append(of_scales)
    of_global, of_window = np.mean(scores, axis=0)
    return 1 - float(of_window / of_global)


def _large_losses(data: SeriesData, seed: int) -> NDArray[np.float64]:
    """Return the losses in the validation part of a model of the usual size at the start."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        spec, scaler = dataset.build(data, Options(model=_LARGE))
        model = Model(spec, scaler=scaler)
    task = ForecastTask(model, data, 64, seed, Share(0, 1), torch.device("cpu"), "data")
    task.start(forecasting=True)
    return losses(task, data, training=False)


def _drift(data: SeriesData) -> float:
    """Return the mean change from row to row in the validation part over that in the training part.

    It is the median over targets, transformed, and series; 1 for none.
    """
    spec, scaler = dataset.build(data, Options(model=_LARGE))
    encoder = spec.encoder
    assert isinstance(encoder, SeriesEncoder)
    ratios = []
    for series, part in zip(data.table.series, data.parts, strict=True):
        own = transformed(series.values[:, : len(encoder.targets)], encoder, scaler)
        moves = np.abs(np.diff(own, axis=0))
        for column in moves.T:
            before, after = (
                each[np.isfinite(each)] for each in (column[: part.valid], column[part.valid : part.test])
            )
            if len(before) and len(after) and before.mean() > 0 and after.mean() > 0:
                ratios.append(np.log(after.mean() / before.mean()))
    return float(np.exp(np.median(ratios))) if ratios else 1.0
