"""Intervals that are honest from the first row on: a few units that count the rows since the state began.

The loss of a forecaster is that of the second half of its windows, where it knows what it will know in use.  A
stream forecasts from its first row on, and knows less then.  To learn both by gradients costs accuracy in use: the
first steps err most and pull most (`benchmarks/NOTES.md`).  Here the two are kept apart:

- The last units of the last layer are *clocks*.  Their weights are set and do not learn.  One closes the input
  gates of the others after the first step; these decay from there, at rates of their own: ``h_t = tanh(r^(t-1))``.
  Other cells than the plain one have other clocks (`clock_weights.py`); where these approach a number in place of
  0, the head's weight of the first clock, which is constant, takes it away.
- The head's weights of the clocks are fitted at each validation, so that after *t* rows each quantile lies above
  its share of the training part, or a distribution has the location and the scale of what came.  Late in a window
  the clocks are 0, and so is what they add.

All of it is LSTM and head: streams, servers and C code need nothing for it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.nn.model import Model
from gatewright.spec import QuantileHead, SeriesEncoder, StackSpec
from gatewright.tasks.base import ALONE, Share
from gatewright.tasks.forecast import clock_weights
from gatewright.tasks.forecast.distribution_fit import counts_of, lacking, scaler_numbers
from gatewright.tasks.forecast.start import summary
from gatewright.tasks.forecast.windows import Windows, absolute
from gatewright.tasks.processes import computed

#: The rates of decay, as powers of the slowest.
POWERS = (1, 4, 16)

#: A last layer with a narrower output has no units to spare.
LEAST_WIDTH = 16

#: Most windows that the head's weights are fitted to.
FITTED_WINDOWS = 512


def without_clocks(stack: StackSpec) -> str:
    """Return why a forecaster has no clocks; empty for one that has them.

    >>> without_clocks(StackSpec(8))
    'fewer than 16 units'
    """
    return clock_weights.without_clocks(stack, len(POWERS) + 1, LEAST_WIDTH)


class FirstSteps:
    """The clocks of a forecaster, and what its head adds by them.

    A model with fewer than `LEAST_WIDTH` outputs of its last layer has none, nor have some cells.

    Args:
        model: its last units become clocks, in place.
        windows: of the series that it learns.
        origins: of the training windows.
        settled: number of steps after which a forecast has all that it needs: half a window, or more of a model
            with a long season.
        share: which part of the windows that the head's weights are fitted to is this process's.
    """

    def __init__(
        self, model: Model, windows: Windows, origins: NDArray[np.int64], settled: int, share: Share = ALONE
    ) -> None:
        assert isinstance(model.spec.encoder, SeriesEncoder)
        self._model, self._windows, self._share = model, windows, share
        every = -(-len(origins) // FITTED_WINDOWS)
        self._origins = origins[::every]
        self._context = model.spec.encoder.context
        self._settled = max(1, settled)
        #: The slowest clock is at a hundredth where the forecasts settle.
        settles = max(self._context / 2, settled)
        self._decays = [0.01 ** (power / settles) for power in POWERS]
        self._whole: Tensor | None = None
        self.clocks = 0 if without_clocks(model.spec.lstm) else len(POWERS) + 1
        if self.clocks:
            self._set()

    @torch.no_grad()
    def _set(self) -> None:
        """Give the clocks their weights, and keep gradients away from them."""
        lstm, n = self._model.lstm, self.clocks
        layer = lstm.num_layers - 1
        H, P = lstm.hidden_sizes[-1], self._model.spec.lstm.output_size
        gates, G = lstm.cell.gates(), len(lstm.cell.gates())
        W_ih, W_hh = lstm.get_parameter(f"weight_ih_l{layer}"), lstm.get_parameter(f"weight_hh_l{layer}")
        b_ih, b_hh = lstm.get_parameter(f"bias_ih_l{layer}"), lstm.get_parameter(f"bias_hh_l{layer}")
        weights = clock_weights.clock_weights(lstm.cell, self._decays)
        for gate, biases in weights.biases.items():
            b_ih.view(G, H)[gates.index(gate), H - n :] = torch.tensor(biases, device=b_ih.device)
        b_hh.view(G, H)[:, H - n :] = 0.0
        W_ih.view(G, H, -1)[:, H - n :] = 0.0
        read = W_hh.shape[1]  # by an sLSTM, the units of a head
        recurrent = W_hh.view(G, H, read)
        others = H - read if lstm.cell.is_slstm else 0  # units of other heads, which do not read the clocks
        recurrent[:, others:, read - n :] = 0.0
        recurrent[:, H - n :] = 0.0
        for gate, of_first in weights.recurrent.items():
            recurrent[gates.index(gate), H - n + 1 :, read - n] = torch.tensor(of_first, device=W_hh.device)
        self._model.head.weight[:, P - n :] = 0.0
        for parameter in (W_ih, b_ih, b_hh):
            _learn_before(parameter, G, H - n)
        _learn_before(W_hh, G, H - n, read - n, others)
        _learn_before(self._model.head.weight, 1, self._model.head.out_features, P - n)
        if lstm.cell.peephole:
            w_ch = lstm.get_parameter(f"weight_ch_l{layer}")
            w_ch.view(G - 1, H)[:, H - n :] = 0.0
            _learn_before(w_ch, G - 1, H - n)
        if lstm.proj_size:
            W_hr = lstm.get_parameter(f"weight_hr_l{layer}")
            W_hr[P - n :] = 0.0
            W_hr[:, H - n :] = 0.0
            W_hr[P - n :, H - n :] = torch.eye(n, device=W_hr.device)
            _learn_before(W_hr, 1, P - n, H - n)

    @torch.no_grad()
    def fit(self) -> None:
        """Fit the head's weights of the clocks to the training part, for the model as it is now."""
        if not self.clocks:
            return
        weight = self._model.head.weight
        weight[:, -self.clocks :] = 0.0
        steps = self._steps()
        offsets = self._offsets(steps)
        clocks, of_first = self._values(steps)
        # A little of ridge: decays that are alike could cancel each other in large weights.
        square = clocks.T @ clocks + 1e-4 * len(steps) * torch.eye(
            len(clocks.T), dtype=torch.float64, device="cpu"
        )
        fitted = torch.linalg.solve(square, clocks.T @ offsets)
        weight[:, 1 - self.clocks :] = fitted.T.to(weight)
        if of_first is not None:
            weight[:, -self.clocks] = -(fitted.T @ of_first).to(weight)

    def _values(self, steps: list[int]) -> tuple[Tensor, Tensor | None]:
        """Return the values of the clocks after the first at each step, less their limits.

        Returns:
            The values, (steps, clocks), float64, and the limits as multiples of the first clock, (clocks,); None
            for 0.
        """
        lstm = self._model.lstm
        if not lstm.cell.features():
            decays = torch.tensor(self._decays, dtype=torch.float64, device="cpu")
            values = torch.tanh(decays ** (torch.tensor(steps, device="cpu")[:, None] - 1))
            return values, None
        if self._whole is None:
            training, late = lstm.training, 5 * max(self._context, self._settled)  # 1e-10 of the slowest is left
            x = self._model.head.weight.new_zeros(late, 1, lstm.input_size)
            y, _ = lstm.eval()(x.transpose(0, 1) if lstm.batch_first else x)
            lstm.train(training)
            self._whole = y.reshape(late, -1)[:, -self.clocks :].cpu().double()
        first, others = self._whole[:, :1], self._whole[:, 1:]
        of_first = others[-1] / first[-1]
        return (others - of_first * first)[torch.tensor(steps, device="cpu") - 1], of_first

    def _steps(self) -> list[int]:
        """Return the steps that are fitted, counted from 1: until the forecasts settle, ever farther apart."""
        last = self._settled
        return sorted({round(1.3**power) for power in range(64) if round(1.3**power) <= last} | {last})

    def _offsets(self, steps: list[int]) -> Tensor:
        """Return the amount that each output lacks at each step to exceed its share: (steps, outputs), float64."""
        model, head = self._model, self._model.spec.head
        assert isinstance(head, QuantileHead)
        rows = torch.tensor(steps, device=model.head.weight.device) - 1
        found = computed(self._share, self._origins, lambda origins: self._outputs_and_targets(origins, rows))
        # (steps, windows, horizon, targets), NaN where missing, and one more axis of the outputs.
        came, outputs = found[..., -1].transpose(0, 1).contiguous(), found[..., :-1].transpose(0, 1).contiguous()
        if head.family is not None:
            assert model.scaler is not None
            scale, mean = scaler_numbers(model.scaler.scale, model.scaler.mean, came.shape[-1])
            came = counts_of(head, came, scale, mean)
            each = [lacking(head, *step, scale) for step in zip(outputs.double(), came, strict=True)]
            return torch.stack(each).flatten(1)
        every = (came.unsqueeze(-1) - outputs).double()
        offsets = [
            torch.stack([summary(step[..., n], level, head.point) for n, level in enumerate(head.quantiles)], -1)
            for step in every
        ]
        return torch.nan_to_num(torch.stack(offsets).flatten(1))

    def _outputs_and_targets(self, origins: NDArray[np.int64], rows: Tensor) -> Tensor:
        """Return the outputs at some steps, and what came: (windows, steps, horizon, targets, outputs + 1)."""
        model, found = self._model, []
        training = model.training
        model.eval()
        for first in range(0, len(origins), 64):
            inputs, level, target, differences, _ = self._windows.batch(origins[first : first + 64], self._context)
            forecast = absolute(model, model(inputs, differences=differences).y[rows], level[rows])
            found.append(torch.cat([forecast, target[rows].unsqueeze(-1)], dim=-1).transpose(0, 1).cpu())
        model.train(training)
        return torch.cat(found)


def _learn_before(parameter: Tensor, blocks: int, row: int, column: int | None = None, first: int = 0) -> None:
    """Keep gradients from parts of a parameter that do not learn.

    Args:
        parameter: the parameter.
        blocks: number of its blocks of rows.
        row: in each block, no row from this one on learns.
        column: no column from this one on learns; None for all that do.
        first: row of each block from which that holds for columns.
    """
    learned = torch.ones_like(parameter)
    blocked = learned.view(blocks, len(parameter) // blocks, -1)
    blocked[:, row:] = 0.0
    if column is not None:
        blocked[:, first:, column:] = 0.0
    parameter.register_hook(lambda gradient: gradient * learned)
