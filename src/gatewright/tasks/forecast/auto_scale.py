"""The choice of the scale of targets, by the model at the start as transforms are (`auto_transform`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gatewright.data.target_units import Transform
from gatewright.tasks.forecast.auto_transform import few_series, start_losses
from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.options import AUTO, DataOptions

#: Share of its loss that a forecast has to lose by the scale of a window: less may be chance.
GAIN = 0.06


def with_scale(data: SeriesData, given: DataOptions) -> SeriesData:
    """Return data with the scale of its targets.

    The scale of a window does what a logarithm does, too: it is also tried without transforms that were chosen.

    Args:
        data: the table, split, with its transforms.
        given: the options; they leave the scale open, and perhaps transforms.
    """
    few, chosen = few_series(data), data.units.transforms
    before = start_losses(few, chosen)
    windows = replace(few, units=replace(few.units, scale="window"))
    left_open = given.transform or ()
    left_open = left_open if len(left_open) == len(chosen) else left_open * len(chosen)
    plain = tuple(Transform("none") if name == AUTO else own for name, own in zip(left_open, chosen, strict=True))
    gains = []
    for transforms in dict.fromkeys((chosen, plain)):
        ratios = start_losses(windows, transforms) / np.where(before > 0, before, np.inf)
        gains.append((1 - float(np.exp(np.log(np.maximum(ratios, 1e-9)).mean())), transforms))
    gain, transforms = max(gains, key=lambda each: each[0])
    if not (before > 0).all() or gain < GAIN:
        return replace(data, options=replace(data.options, scale="global"))
    units = data.units
    note = f"scale: of each window ({gain:.0%} better at the start)"
    units = replace(
        units,
        scale="window",
        scale_note=note,
        transforms=transforms,
        note=units.note if transforms == chosen else "",
    )
    options = replace(data.options, scale="window")
    if AUTO in left_open:
        options = replace(options, transform=tuple(map(str, transforms)))
    return replace(data, options=options, units=units)
