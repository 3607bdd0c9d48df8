"""The metadata of a recording: frozen dataclasses that go to JSON and back unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gatewright.spec.cell import CellSpec
from gatewright.spec.json import Spec, left_out

_PLAIN = CellSpec()


@dataclass(frozen=True)
class SeriesMetadata(Spec):
    """Metadata of a forecaster's recording.

    Attributes:
        targets: names of the columns that are forecast.
        columns: names of `Recording.columns`, the targets first.
        horizon: number of steps ahead.
        quantiles: levels of the forecasts.
        scale: standard deviation of each target in the training part.
        step: time between two rows, such as "1h"; "row" without timestamps.
    """

    kind: ClassVar[str] = "series"
    #: What the predictions are.
    output: ClassVar[str] = "forecast"

    targets: tuple[str, ...]
    columns: tuple[str, ...]
    horizon: int
    quantiles: tuple[float, ...]
    scale: tuple[float, ...]
    step: str


@dataclass(frozen=True)
class TextMetadata(Spec):
    """Metadata of a language model's recording.

    Attributes:
        symbols: the vocabulary as a person reads it; of characters, symbol 0 stands for every unknown one.
    """

    kind: ClassVar[str] = "text"
    #: What the predictions are.
    output: ClassVar[str] = "scores"

    symbols: tuple[str, ...]


@dataclass(frozen=True)
class ClassesMetadata(Spec):
    """Metadata of a classifier's recording.

    Attributes:
        classes: the labels, in the order of the predictions.
    """

    kind: ClassVar[str] = "classes"
    #: What the predictions are.
    output: ClassVar[str] = "output"

    classes: tuple[str, ...]


@dataclass(frozen=True)
class LayersMetadata(Spec):
    """Metadata of a recording of bare layers: numbers in, hidden states out."""

    kind: ClassVar[str] = "layers"
    #: What the predictions are.
    output: ClassVar[str] = "output"


@dataclass(frozen=True)
class Edit(Spec):
    """An edit of a cell state by hand, before a step.

    Attributes:
        layer: number of the layer.
        reverse: whether it is in the layer's reverse direction.
        row: row of the batch.
        t: the step that started from the edited state.
        unit: number of the unit.
        added: new value minus old value.
    """

    layer: int
    reverse: bool
    row: int
    t: int
    unit: int
    added: float


@dataclass(frozen=True)
class RecordingMetadata(Spec):
    """Metadata of a recording.

    Attributes:
        title: what was recorded, such as "seattle_weather, test part".
        note: the difference from other recordings of the same, such as "step 200"; may be empty.
        fingerprint: SHA-256 of the model, in hexadecimal.
        rows: name of each row of the batch; may be empty names.
        inputs: name of each column that the first layer reads.
        readouts: name of each output of the head; none without a head.
        peer: name of the model for comparison, such as "plain RNN"; empty for none.
        edits: edits of cell states by hand.
        data: metadata of its kind.
        cell: the cell of the layers as it is outside of training; its projection is none of it.
        residual: whether the output of each layer after the first has its input added to it.
    """

    title: str
    note: str
    fingerprint: str
    rows: tuple[str, ...]
    inputs: tuple[str, ...]
    readouts: tuple[str, ...]
    peer: str
    edits: tuple[Edit, ...]
    data: SeriesMetadata | TextMetadata | ClassesMetadata | LayersMetadata
    cell: CellSpec = left_out(_PLAIN, since=2)  # noqa: RUF009 - a frozen default
    residual: bool = left_out(False, since=2)
