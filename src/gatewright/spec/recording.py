"""What a recording is of, in words and names: frozen dataclasses that go to JSON and back unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gatewright.spec.json import Spec


@dataclass(frozen=True)
class SeriesAbout(Spec):
    """A forecaster's recording.

    Attributes:
        targets: columns that are forecast.
        columns: names of `Recording.columns`, the targets first.
        horizon: steps ahead.
        quantiles: levels of the forecasts.
        scale: standard deviation of each target in the training part.
        step: time between two rows, such as "1h"; "row" without timestamps.
    """

    kind: ClassVar[str] = "series"

    targets: tuple[str, ...]
    columns: tuple[str, ...]
    horizon: int
    quantiles: tuple[float, ...]
    scale: tuple[float, ...]
    step: str


@dataclass(frozen=True)
class TextAbout(Spec):
    """A language model's recording.

    Attributes:
        symbols: the vocabulary; symbol 0 stands for what it does not know.
    """

    kind: ClassVar[str] = "text"

    symbols: tuple[str, ...]


@dataclass(frozen=True)
class LayersAbout(Spec):
    """A recording of bare layers: numbers in, hidden states out."""

    kind: ClassVar[str] = "layers"


@dataclass(frozen=True)
class Edit(Spec):
    """A cell state that was changed by hand before a step was taken.

    Attributes:
        layer: number of the layer.
        reverse: whether it is the layer's reverse direction.
        row: row of the batch.
        t: the step that started from the changed state.
        unit: number of the unit.
        added: new value less old one.
    """

    layer: int
    reverse: bool
    row: int
    t: int
    unit: int
    added: float


@dataclass(frozen=True)
class About(Spec):
    """What a recording is of.

    Attributes:
        title: what was recorded, such as "seattle_weather, test part".
        note: what sets it apart from others of the same, such as "step 200"; may be empty.
        fingerprint: SHA-256 of the model, in hexadecimal.
        rows: name of each row of the batch; may be empty names.
        inputs: name of each column that the first layer reads.
        readouts: name of each output of the head; none without one.
        peer: name of the model beside it, such as "plain RNN"; empty for none.
        edits: changes of the cell state made by hand.
        data: what is particular to its kind.
    """

    title: str
    note: str
    fingerprint: str
    rows: tuple[str, ...]
    inputs: tuple[str, ...]
    readouts: tuple[str, ...]
    peer: str
    edits: tuple[Edit, ...]
    data: SeriesAbout | TextAbout | LayersAbout
