"""Weights and random choices of a layer whose cell is not the plain one."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gatewright import counter_random
from gatewright.errors import GatewrightError
from gatewright.nn import layer_sizes
from gatewright.nn.random_masks import Draws, new_seed
from gatewright.nn.variant_steps import Variant
from gatewright.spec.cell import CellSpec, LayerWeights

_GAINS = ("weight_ln_l", "weight_ln_cell_l")
_SHIFTS = ("bias_ln_cell_l",)


def merged(cell: Any, bias: bool, proj_size: int) -> CellSpec | None:
    """Return the cell of a layer, or None for the plain one.

    Args:
        cell: a `CellSpec`, or None.
        bias: of the layer; False there or in the cell means none.
        proj_size: of the layer; 0 leaves it to the cell.

    Raises:
        GatewrightError: if ``cell`` is none, or both have a projection, of different widths.
        SpecError: if the projection contradicts the cell.

    >>> merged(CellSpec(peephole=True), True, 2).proj_size
    2
    """
    if cell is None:
        return None
    if not isinstance(cell, CellSpec):
        raise GatewrightError("cell", "a gatewright.CellSpec", type(cell).__name__)
    if proj_size and cell.proj_size and proj_size != cell.proj_size:
        raise GatewrightError("proj_size", f"{cell.proj_size}, as the cell has it", str(proj_size))
    # The layer's own checks come first, in torch's words.
    size = proj_size if isinstance(proj_size, int) and proj_size > 0 else cell.proj_size
    return dataclasses.replace(cell, bias=bias is not False and cell.bias, proj_size=size)


def register(layer: Any, cell: CellSpec, device: Any, dtype: torch.dtype | None) -> None:
    """Put the weights of a cell, or of layers of unequal size, in the place of those of `torch.nn.RNNBase`."""
    for name in list(layer._parameters):
        del layer._parameters[name]
    layer._flat_weights_names, layer._all_weights = [], []
    directions = ("", "_reverse") if layer.bidirectional else ("",)
    width = layer.input_size
    for number, H in enumerate(layer_sizes.hidden_sizes(layer)):
        for direction in directions:
            shapes = cell.weights(width, H)
            names = [f"{name}_l{number}{direction}" for name in shapes]
            for name, shape in zip(names, shapes.values(), strict=True):
                weight = torch.empty(shape, device=device, dtype=dtype)
                layer.register_parameter(name, torch.nn.Parameter(weight))
            layer._flat_weights_names += names
            layer._all_weights.append(names)
        width = (cell.proj_size or H) * len(directions)
    layer._init_flat_weights()
    layer.reset_parameters()


@torch.no_grad()
def draw(layer: Any) -> None:
    """Draw the weights of layers of unequal size, those of each as torch draws them for its size."""
    directions = 2 if layer.bidirectional else 1
    for k, names in enumerate(layer._all_weights):
        bound = layer_sizes.hidden_sizes(layer)[k // directions] ** -0.5
        for name in names:
            torch.nn.init.uniform_(getattr(layer, name), -bound, bound)


@torch.no_grad()
def reset_norms(layer: Any) -> None:
    """Set the gains of layer normalisation to 1, and its shifts to 0."""
    for name, weight in layer._parameters.items():
        if name.startswith(_GAINS):
            weight.fill_(1.0)
        elif name.startswith(_SHIFTS):
            weight.zero_()


class Pass:
    """One call of a layer with such a cell.

    Attributes:
        cell: the cell.
        seed: of the random choices; None outside of training, and where the cell makes none.
    """

    def __init__(self, cell: CellSpec, training: bool) -> None:
        self.cell, self.seed = cell, new_seed() if training and cell.is_random else None

    def computed_as_plain(self) -> bool:
        """Whether all but the dropout of weights is that of the plain cell."""
        return not self.cell.rates() and set(self.cell.features()) <= {"weight_drop"}

    def draws(self, layer: int, direction: int, device: torch.device) -> Draws | None:
        """Return the random choices of one layer in one direction."""
        return None if self.seed is None else Draws(self.seed.to(device), layer, direction)

    def in_turn(
        self, run: Callable[..., Any], directions: int, row_ids: Tensor | None = None
    ) -> Callable[..., Any]:
        """Return a function that runs layers and directions in turn, in the order of hx, by ``run``.

        Args:
            run: the function of one layer in one direction.
            directions: 1 or 2.
            row_ids: numbers of the rows; None for 0 ... B-1.
        """
        number = itertools.count()

        def run_next(x: Tensor, *tensors: Any, **options: Any) -> Any:
            place = divmod(next(number), directions)
            draws = self.draws(*place, x.device)
            if draws is not None and row_ids is not None:
                draws = draws._replace(row_ids=row_ids)
            return run(x, *tensors, variant=Variant(self.cell, draws), **options)

        return run_next

    def dropped(self, stack: list[LayerWeights], directions: int) -> list[LayerWeights]:
        """Return the weights with elements of each W_hh dropped, in training.

        Source: Merity, Keskar & Socher 2018, arXiv:1708.02182, section 2.
        """
        if not self.cell.weight_drop or self.seed is None:
            return stack
        weights = []
        for k, layer in enumerate(stack):
            draws = self.draws(*divmod(k, directions), layer.W_hh.device)
            assert draws is not None
            rows, columns = layer.W_hh.shape
            purpose = counter_random.WEIGHT_DROP
            factor = draws.scaled(self.cell.weight_drop, purpose, rows, 1, columns, layer.W_hh)[:, 0]
            weights.append(layer._replace(W_hh=layer.W_hh * factor))
        return weights


def expanded(weights: LayerWeights, cell: CellSpec) -> LayerWeights:
    """Return the weights with rows for all four gates, zeros for those that the cell does not have.

    >>> weights = LayerWeights(torch.ones(6, 3), torch.ones(6, 2))
    >>> expanded(weights, CellSpec(coupled=True)).W_ih.shape
    torch.Size([8, 3])
    """
    present, H = cell.gates(), weights.hidden_size
    everything = CellSpec().gates()

    def of_gates(W: Tensor | None, names: tuple[str, ...], rows: tuple[str, ...]) -> Tensor | None:
        if W is None or names == rows:
            return W
        parts = dict(zip(names, W.split(H), strict=True))
        zeros = W.new_zeros(H, *W.shape[1:])
        return torch.cat([parts.get(name, zeros) for name in rows])

    reading, whole = (tuple(n for n in names if n != "candidate") for names in (present, everything))
    four = {
        field: of_gates(getattr(weights, field), present, everything)
        for field in ("W_ih", "W_hh", "b_ih", "b_hh", "w_ln")
    }
    return weights._replace(**four, w_ch=of_gates(weights.w_ch, reading, whole))
