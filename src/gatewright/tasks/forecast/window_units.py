"""Windows in the units of their own scale: what the model reads of the targets, and what it is to forecast."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.data.window_scale import Window
from gatewright.spec import Scaler, SeriesEncoder

Values = NDArray[np.float64]


class Place(NamedTuple):
    """The zero and the unit of forecasts: ``last + scale * y`` is a transformed value.

    Attributes:
        last: the last observed targets (steps, B, targets), float64.
        scale: the scales of their windows, likewise.
    """

    last: Tensor
    scale: Tensor


class WindowUnits:
    """Targets in the units of windows.

    Args:
        values: the transformed targets of all series, NaN where missing (rows, targets).
        encoder: of a model with the scale of a window.
        horizon: steps ahead.
        scaler: of the model.
    """

    def __init__(self, values: Values, encoder: SeriesEncoder, horizon: int, scaler: Scaler) -> None:
        self._encoder, self._horizon, self._scaler = encoder, horizon, scaler
        self._values = values
        # Row r of this view holds rows r+1 ... r+horizon: (rows, targets, horizon).
        self._ahead = np.lib.stride_tricks.sliding_window_view(values[1:], horizon, axis=0)

    def batch(
        self, inputs: Tensor, rows: NDArray[np.int64], supervised: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Place]:
        """Return the parts of a `gatewright.tasks.forecast.windows.Batch`.

        Args:
            inputs: as for the scale of the training part (context, B, D); change and level are replaced, in place.
            rows: the rows of the windows, as places in ``values`` (context, B).
            supervised: steps at the end of the window to give targets for.
        """
        device = inputs.device
        window = Window.of(self._values[rows], self._encoder, self._scaler)
        replace_targets(inputs, window, self._encoder)
        last, scale = window.last[-supervised:], window.scale[-supervised:]
        target = (self._ahead[rows[-supervised:]] - last[..., None]) / scale[..., None]
        differences = None
        if self._encoder.seasons:
            parts = in_window(window, self._encoder, self._horizon, self._scaler, supervised)
            differences = torch.from_numpy(parts).to(device)
        level = torch.zeros(last.shape, device=device)
        came = torch.from_numpy(target.astype(np.float32)).to(device).transpose(-1, -2)
        place = Place(torch.from_numpy(last), torch.from_numpy(scale))
        return inputs, level, came, differences, place


def replace_targets(inputs: Any, window: Window, encoder: SeriesEncoder) -> None:
    """Put change and level in the units of windows in place of those in the scaler's.

    Args:
        inputs: tensor or array (T, B, D).
        window: of the targets.
        encoder: of the model.
    """
    targets, column = len(encoder.targets), 0
    for name, values in (("change", window.change), ("level", window.level)):
        if encoder.reads in (name, "both"):
            own = torch.from_numpy(values).to(inputs.device) if isinstance(inputs, Tensor) else values
            inputs[..., column : column + targets] = own
            column += targets


def in_window(
    window: Window, encoder: SeriesEncoder, horizon: int, scaler: Scaler, supervised: int
) -> NDArray[np.float32]:
    """Return the seasonal differences of the last steps (supervised, B, seasons, horizon, targets).

    They are those of `gatewright.tasks.forecast.seasonal_differences`, in units of the window's scale, to the bits
    of the native stream.
    """
    recent = window.recent
    steps = np.arange(len(recent) - supervised, len(recent))
    unit = np.array(scaler.scale[: recent.shape[-1]]) / window.scale[-supervised:]
    ahead = np.arange(horizon)
    of_seasons = []
    for season in encoder.seasons:
        before = recent[np.maximum(steps - season, 0)]
        # Beyond a season its rows come again.
        after = recent[np.maximum(steps[:, None] - season + 1 + ahead % season, 0)]
        difference = after - before[:, None]
        seen = (steps >= season)[:, None, None, None] & np.isfinite(before)[:, None]
        of_seasons.append(np.where(seen, difference, np.float32(0)) * unit[:, None])
    return np.stack(of_seasons, axis=2).transpose(0, 3, 2, 1, 4).astype(np.float32)
