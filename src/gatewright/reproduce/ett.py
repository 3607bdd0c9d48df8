"""ETTh1, all columns, 96 hours ahead: an LSTM over segments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatewright.nn import LSTM
from gatewright.progress import Waits
from gatewright.reproduce.best_model import Schedule, fit_best
from gatewright.reproduce.data import ETTH1
from gatewright.reproduce.experiment import Experiment, Measure, Outcome, Paper
from gatewright.reproduce.until_correct import seeded

PAPER = Paper(
    "Lin et al.", 2023, "SegRNN: Segment Recurrent Neural Network for Long-Term Time Series Forecasting",
    "https://arxiv.org/abs/2308.11200",
)  # fmt: skip

#: Rows of a month of 30 days, and the first row of the validation and of the test part.
MONTH = 30 * 24
VALID, TEST, END = 12 * MONTH, 16 * MONTH, 20 * MONTH


@dataclass(frozen=True)
class Settings:
    """Sizes and training.

    Attributes:
        epochs: number of epochs.
        context: rows that a forecast reads.
        horizon: rows that it forecasts.
        segment: rows of a segment.
        hidden: H, units.
        batch: windows in an update, of all columns.
        lr: maximum learning rate.
        dropout: dropout rate before the head.
        stride: rows between two training windows; all windows are tested.
        patience: epochs without a better validation before the training stops.
    """

    epochs: int
    context: int = 720
    horizon: int = 96
    segment: int = 48
    hidden: int = 64
    batch: int = 32
    lr: float = 0.001
    dropout: float = 0.5
    stride: int = 1
    patience: int = 3


class Segments(nn.Module):
    """SegRNN with an LSTM in place of the GRU: columns are series of their own, a step is a segment.

    The window less its last value is cut into segments; the LSTM reads them.  From its state each segment of the
    forecast is decoded by one more step of its own, whose input says which segment and which column it is.
    """

    def __init__(self, settings: Settings, columns: int) -> None:
        super().__init__()
        H, self.size = settings.hidden, settings.segment
        self.number = settings.horizon // settings.segment
        self.embed = nn.Sequential(nn.Linear(self.size, H), nn.ReLU())
        self.lstm = LSTM(H, H)
        self.place = nn.Parameter(torch.randn(self.number, H // 2))
        self.column = nn.Parameter(torch.randn(columns, H - H // 2))
        self.head = nn.Sequential(nn.Dropout(settings.dropout), nn.Linear(H, self.size))

    def forward(self, x: Tensor) -> Tensor:
        """Return the forecasts (B, horizon, columns) of windows (B, context, columns)."""
        B, _, C = x.shape
        last = x[:, -1:]
        series = (x - last).transpose(1, 2).reshape(B * C, -1, self.size).transpose(0, 1)
        _, (h, c) = self.lstm(self.embed(series))
        where = self.place.expand(C, -1, -1), self.column[:, None].expand(-1, self.number, -1)
        start = torch.cat(where, dim=-1).reshape(1, C * self.number, -1).repeat(1, B, 1)
        states = (state.repeat_interleave(self.number, dim=1) for state in (h, c))
        y, _ = self.lstm(start, tuple(states))
        return self.head(y[0]).reshape(B, C, -1).transpose(1, 2) + last


def read() -> NDArray[np.float32]:
    """Return all columns (rows, 7), standardized by mean and standard deviation of the training part."""
    values = pl.read_csv(ETTH1.path()).drop("date").to_numpy()[:END]
    train = values[:VALID]
    return ((values - train.mean(0)) / train.std(0)).astype(np.float32)


def windows(values: NDArray[np.float32], first: int, end: int, settings: Settings, stride: int = 1) -> Tensor:
    """Return windows (n, context + horizon, columns) whose forecasts lie in the rows from ``first`` to ``end``."""
    begin = max(0, first - settings.context)
    length = settings.context + settings.horizon
    rows = torch.from_numpy(values[begin:end])
    return rows.unfold(0, length, stride).transpose(1, 2)


@torch.no_grad()
def errors(network: nn.Module, cut: Tensor, settings: Settings) -> tuple[float, float]:
    """Return MSE and MAE over all windows, hours and columns."""
    square = absolute = 0.0
    for part in cut.split(256):
        error = network(part[:, : settings.context]) - part[:, settings.context :]
        square += float(error.square().sum(dtype=torch.float64))
        absolute += float(error.abs().sum(dtype=torch.float64))
    count = len(cut) * settings.horizon * cut.shape[2]
    return square / count, absolute / count


def train(settings: Settings, seed: int, waits: Waits) -> Outcome:
    """Train on the first year, choose by the next four months, test once on the four months after them."""
    rng = seeded(seed, 0)
    values = read()
    learn = windows(values, 0, VALID, settings, settings.stride)
    valid, test = windows(values, VALID, TEST, settings), windows(values, TEST, END, settings)
    network = Segments(settings, values.shape[1])

    def losses() -> Iterator[Tensor]:
        for rows in torch.from_numpy(rng.permutation(len(learn))).split(settings.batch):
            batch = learn[rows]
            yield (network(batch[:, : settings.context]) - batch[:, settings.context :]).abs().mean()

    schedule = Schedule(settings.epochs, settings.lr, patience=settings.patience)
    curve = fit_best(network, losses, lambda: errors(network, valid, settings)[1], schedule, waits, "LSTM")
    mse, mae = errors(network, test, settings)
    return Outcome({"mse": mse, "mae": mae}, {"LSTM": curve})


def _experiment(settings: Settings) -> Experiment:
    of = "SegRNN (GRU), ETTh1, horizon 96"
    return Experiment(
        name="etth1-96",
        title="ETTh1, seven columns, 96 hours ahead",
        paper=PAPER,
        task="Seven columns of hourly data, standardized by the training part: 12 months of 30 days to learn "
        "from, 4 to choose by, 4 to test (all windows); the next 96 hours of all columns.",
        training=f"SegRNN with a `gatewright.LSTM` of {settings.hidden} units in place of a GRU of 512: "
        f"{settings.context} hours in segments of {settings.segment}, one network for all columns, mean absolute "
        f"error, AdamW at {settings.lr} with cosine decay, {settings.batch} windows in an update, one "
        f"beginning every {settings.stride} hours, dropout "
        f"{settings.dropout}.",
        stopping=f"At most {settings.epochs} epochs, or {settings.patience} without a better validation; the "
        "weights of the best validation error.",
        measures={
            "mse": Measure("test mean squared error", "lower", 0.341, of, 0.40, digits=3),
            "mae": Measure("test mean absolute error", "lower", 0.376, of, digits=3),
        },
        settings=settings,
        short=Settings(1, context=96, hidden=8, batch=64, lr=0.01, stride=96),
        train=train,
        axes=("epochs", "validation mean absolute error"),
    )


EXPERIMENTS = (_experiment(Settings(6, stride=2)),)
