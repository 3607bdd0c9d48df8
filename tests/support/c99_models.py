"""Models of every kind and cell for exports to C99, and rows that a stream and the C source read alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from gatewright import Model, Stream
from gatewright.data import frequency
from gatewright.files.model_file import ModelFile
from gatewright.runtime.packed_model import WeightFormat
from gatewright.spec import Category, SeriesEncoder
from tests.support.class_models import class_model
from tests.support.stream_models import byte_model, series_model, text_model
from tests.support.variant_cells import TOGETHER

Array = np.ndarray[Any, Any]

CATEGORIES = (
    Category("rain", ("dry", "wet"), 2),
    Category("area", ("7", "12"), 3),
    Category("holiday", ("false", "true"), 1),
)


def _text(**stack: Any) -> Model:
    """A language model whose weights are no small numbers."""
    features = {"hidden_size": 9, "num_layers": 2, **stack}
    features.pop("bias", None)  # of a stack it is always there
    model = text_model(**features)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model


def _far() -> Model:
    """A forecaster of pressures in pascal, which a float does not hold well enough."""
    model = series_model(context=12)
    assert model.scaler is not None
    far = tuple(mean + 1e5 for mean in model.scaler.mean)
    model.scaler = type(model.scaler)(**{**vars(model.scaler), "mean": far})
    return model


_SEASONS: dict[str, Any] = {"seasons": (2, 11)}

#: Each makes a model.
MODELS: dict[str, Callable[[], Model]] = {
    "text": lambda: _text(num_layers=1),
    "bytes": byte_model,
    **{f"cell {k}": lambda cell=cell: _text(**cell) for k, cell in enumerate(TOGETHER)},
    "coupled": lambda: _text(coupled=True, layer_norm=True, gate_activation="hard_sigmoid"),
    "slstm": lambda: _text(kind="slstm", heads=3),
    "slstm exponential": lambda: _text(kind="slstm", forget_gate_activation="exponential", hidden_dropout=0.1),
    "unequal": lambda: _text(hidden_size=(9, 5)),
    "residual": lambda: _text(hidden_size=(6, 9, 7), num_layers=3, proj_size=5, residual=True),
    "forecaster": lambda: series_model(categories=CATEGORIES),
    "change": lambda: series_model(reads="change", calendar=(), past=(), known=()),
    "nothing": lambda: series_model(reads="nothing", bounds={"minimum": (-9.0, 0.0)}),
    "seasons": lambda: series_model(
        {"minimum": (0.0, -5.0), "maximum": (40.0, 60.0)}, **_SEASONS, transform=("log1p", "asinh")
    ),
    "transforms": lambda: series_model(transform=("log", "boxcox"), reads="level"),
    "window": lambda: series_model(**_SEASONS, scale="window", transform=("none", "asinh")),
    "normal": lambda: series_model(distribution="normal", **_SEASONS),
    "mixture": lambda: series_model(distribution="mixture", transform=("none", "asinh")),
    "far": _far,
    "last": lambda: class_model("last", proj=4),
    "mean": lambda: class_model("mean"),
    "max": lambda: class_model("max"),
    "attention": lambda: class_model("attention", categories=True),
    "tagger": lambda: class_model("", categories=True),
}  # fmt: skip


class Steps(NamedTuple):
    """Steps of two sessions.

    Attributes:
        records: session and input of each step as the driver reads them, (T, 1 + input).
        expected: what streams give, (T, output).
    """

    records: Array
    expected: Array


def steps_of(
    file: ModelFile, number: str, steps: int = 60, seed: int = 4, weights: WeightFormat = "float32"
) -> Steps:
    """Return random steps of two sessions in turn, one of which is reset on the way.

    Args:
        file: the model.
        number: type of the numbers of a row in C; a stream reads the same numbers.
        steps: how many.
        seed: of the input.
        weights: how the stream has them.
    """
    random = np.random.default_rng(seed)
    stream = Stream.of(file, sessions=2, weights=weights)
    rows, times = _input(file, stream, steps, random)
    if number == "float":
        rows = rows.astype(np.float32).astype(rows.dtype)
    sessions = random.integers(0, 2, steps)
    reset = steps // 2
    expected = []
    for k, session in enumerate(sessions.tolist()):
        if k == reset:
            stream.reset(session)
        time = {} if times is None else {"time": times[k]}
        indexed = {"indexed": True} if stream.columns else {}
        expected.append(np.ravel(stream.step(rows[k], sessions=session, **time, **indexed)))
    whole = _with_phases(file, rows, times)
    marks = np.where(np.arange(steps) == reset, -1 - sessions, sessions)
    return Steps(np.column_stack([marks, whole]).astype(np.float64), np.array(expected, np.float64))


def _input(file: ModelFile, stream: Stream, steps: int, random: np.random.Generator) -> tuple[Array, Array | None]:
    """Return rows or symbols, and their times for a model with a calendar."""
    if file.spec.encoder.symbols:
        return random.integers(0, file.spec.encoder.symbols, steps), None
    assert file.scaler is not None
    encoder, horizon = file.spec.encoder, file.spec.head.horizon
    names = list(encoder.columns)
    if isinstance(encoder, SeriesEncoder):
        ahead = [name for name in encoder.known for _ in range(horizon)]
        names = [*encoder.targets, *encoder.past, *encoder.static, *ahead]
    places = [file.scaler.columns.index(name) for name in names]
    rows = np.array(file.scaler.mean)[places] + random.normal(size=(steps, len(names))) * 2
    counts = {each.column: each.count for each in encoder.categories}
    for k, name in enumerate(names):
        if name in counts:
            rows[:, k] = random.integers(0, counts[name], steps)
    may_miss = encoder.targets if isinstance(encoder, SeriesEncoder) else encoder.missing
    for k, name in enumerate(names):
        if k < len(encoder.transform) and encoder.transform[k] != "none":
            rows[:, k] = np.exp(rows[:, k] / 3)
        if name in may_miss:
            rows[random.random(steps) < 0.25, k] = np.nan
            rows[:2, k] = np.nan
    if isinstance(encoder, SeriesEncoder) and encoder.calendar:
        return rows, np.datetime64("2023-12-30T22:30", "us") + np.arange(steps) * np.timedelta64(1, "h")
    return rows, None


def _with_phases(file: ModelFile, rows: Array, times: Array | None) -> Array:
    """Return rows with the sines and cosines of the calendar, which a caller in C works out."""
    if times is None:
        return rows
    encoder = file.spec.encoder
    assert isinstance(encoder, SeriesEncoder)
    at = len(encoder.targets) + len(encoder.past) + len(encoder.static)
    return np.concatenate([rows[:, :at], frequency.calendar(times, encoder.calendar), rows[:, at:]], axis=1)


#: Numbers below this are zero to a float that was clipped to a bound.
_LEAST = 1e-30


def difference(found: Array, expected: Array) -> float:
    """Return the largest difference, relative to how far what is expected is from its mean, or to its size."""
    scale = np.abs(expected - expected.mean()).max() or np.abs(expected).max()
    return float(np.abs(found - expected).max() / max(scale, _LEAST))
