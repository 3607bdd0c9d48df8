"""The data of a recording: its arrays and their description, which checks, slices and files work on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gatewright.equations import Record
from gatewright.errors import GatewrightError
from gatewright.insight.layers import DIRECTIONS, Layer, Peer
from gatewright.insight.prediction_errors import errors_of
from gatewright.spec.recording import RecordingMetadata

if TYPE_CHECKING:
    import torch

    from gatewright.insight.origin import Origin

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class RecordingData:
    """The fields of a `gatewright.insight.Recording`, which documents them, and what follows from these alone."""

    about: RecordingMetadata
    layers: tuple[Layer, ...]
    lengths: NDArray[np.int64]
    inputs: Array
    predictions: Array
    targets: Array | None = None
    columns: Array | None = None
    times: NDArray[np.datetime64] | None = None
    symbols: NDArray[np.int64] | None = None
    readout_weight: Array | None = None
    readout_bias: Array | None = None
    peer: Peer | None = None
    model: torch.nn.Module | None = None
    origin: Origin | None = None

    @property
    def steps(self) -> int:
        """T, steps of the longest row."""
        return len(self.inputs)

    def records(self) -> Iterator[tuple[str, Record]]:
        """Yield name and record of every layer and direction."""
        for number, layer in enumerate(self.layers):
            for direction, record in zip(DIRECTIONS, layer, strict=True):
                if record is not None:
                    yield f"layer {number} {direction}", record

    def record(self, layer: int, direction: str = "forward") -> Record:
        """Return gates and states of a layer in one direction.

        Args:
            layer: number of the layer.
            direction: "forward" or "reverse".

        Raises:
            GatewrightError: if there is no such layer or direction.
        """
        whole = isinstance(layer, int | np.integer) and not isinstance(layer, bool)
        if not whole or not 0 <= layer < len(self.layers):
            raise GatewrightError("layer", f"a whole number from 0 to {len(self.layers) - 1}", repr(layer)[:80])
        pairs = zip(DIRECTIONS, self.layers[layer], strict=True)
        records = [(name, record) for name, record in pairs if record is not None]
        for name, record in records:
            if direction == name:
                return record
        raise GatewrightError("direction", " or ".join(name for name, _ in records), repr(direction)[:80])

    def error(self) -> NDArray[np.float64]:
        """Return the error of each step's prediction, which was made one step before (T, B); NaN without a target.

        The error of a text is -log p of the true symbol, in nats.  That of a forecast is the distance of its
        median one step ahead from the true value, in standard deviations of the target, averaged over targets.
        """
        errors = errors_of(self.predictions, self.targets, self.about)
        # The last target of a row comes after its end.
        errors[np.arange(len(errors))[:, None] >= self.lengths] = np.nan
        return errors
