"""The choice of the scale of targets: by the model at the start, as transforms are, and by short trainings.

At the start a panel of unlike series shows that it needs the scale of a window.  Where a series becomes calmer or
wilder, small models that were trained for a few steps show it.  A target that often stands still, such as rain, is
left out of this: short trainings rank its scales otherwise than whole ones do (`benchmarks/NOTES.md`).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from gatewright.data.target_units import Transform
from gatewright.nn.model import Model
from gatewright.tasks.base import Share
from gatewright.tasks.forecast import dataset
from gatewright.tasks.forecast.auto_transform import few_series, losses, start_losses
from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.forecast.task import ForecastTask
from gatewright.tasks.options import AUTO, DataOptions, ModelOptions, Options

#: Share of its loss that a forecast has to lose by the scale of a window, at the start and after a short training:
#: less may be chance.
GAIN, GAIN_TRAINED = 0.06, 0.02

#: Horizons in the validation part, of all series together, from which short trainings are compared there.
LEAST_HORIZONS = 30

#: Share of rows in which a target may stand still for short trainings.
STILL = 0.1

#: Steps, windows of a step, and learning rate of a short training; random seeds.
STEPS, BATCH, RATE, SEEDS = 100, 64, 4e-3, (0, 1)

_MODEL = ModelOptions(hidden=16, layers=1, dropout=0.1, proj=0, forget_bias=1.0)


def with_scale(data: SeriesData, given: DataOptions) -> SeriesData:
    """Return data with the scale of its targets.

    The scale of a window does what a logarithm does, too: it is also tried without transforms that were chosen.

    Args:
        data: the table, split, with its transforms.
        given: the options; they leave the scale open, and perhaps transforms.
    """
    few, chosen = few_series(data), data.units.transforms
    before = start_losses(few, chosen)
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
    gain = _trained_gain(few)
    if gain >= GAIN_TRAINED:
        return _with(data, "window", chosen, f"{gain:.0%} better after {STEPS} steps of a small model")
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


def _trained_gain(data: SeriesData) -> float:
    """Return the gain by the scale of a window after a short training; 0 where it is not beyond chance.

    Every training with it has to be better than every one without it.
    """
    horizons = sum(part.test - part.valid for part in data.parts) / data.settings.horizon
    if horizons < LEAST_HORIZONS or _stands_still(data):
        return 0.0
    ratios = []
    scores = np.empty((2, len(SEEDS)))
    unit = None
    for place, seed in enumerate(SEEDS):
        trained = [
            _trained_losses(_with(data, scale, data.units.transforms, ""), seed) for scale in ("global", "window")
        ]
        unit = trained[0] if unit is None else unit
        if not all(bool((each > 0).all()) for each in trained):
            return 0.0
        scores[:, place] = [1 - _gain(each, unit) for each in trained]
        ratios.append(scores[1, place] / scores[0, place])
        if 1 - float(np.mean(ratios)) < GAIN_TRAINED:
            return 0.0
    return 1 - float(np.mean(ratios)) if scores[1].max() < scores[0].min() else 0.0


def _stands_still(data: SeriesData) -> bool:
    """Whether a target often has the value of the row before it."""
    targets = len(data.table.roles.targets)
    changes = [
        np.diff(series.values[: part.valid, :targets], axis=0)
        for series, part in zip(data.table.series, data.parts, strict=True)
    ]
    return bool((np.concatenate(changes) == 0).mean(axis=0).max() > STILL)


def _trained_losses(data: SeriesData, seed: int) -> NDArray[np.float64]:
    """Return the losses of the validation part after a short training of a small model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        spec, scaler = dataset.build(data, Options(model=_MODEL))
        model = Model(spec, scaler=scaler)
        task = ForecastTask(model, data, BATCH, seed, Share(0, 1), torch.device("cpu"), "data")
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
        model.train()
        for step in range(STEPS):
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(1.0, (step + 1) / 15) * (1 + math.cos(math.pi * step / STEPS)) / 2
            loss = task.loss(model, step)
            optimizer.zero_grad()
            (loss.total / max(loss.predictions, 1)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    model.eval()
    return losses(task, data, training=False)
