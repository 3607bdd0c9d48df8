"""The cell of a model as C source, where it is not the plain one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatewright.files.model_file import ModelFile
from gatewright.runtime.native_args import sorted_by_layer
from gatewright.spec.cell import PLAIN_WEIGHTS, WEIGHTS, CellSpec, LayerWeights

_ACTIVATIONS = {
    "sigmoid": "GATEWRIGHT_SMOOTH",
    "tanh": "GATEWRIGHT_SMOOTH",
    "hard_sigmoid": "GATEWRIGHT_HARD",
    "hard_tanh": "GATEWRIGHT_HARD",
    "identity": "GATEWRIGHT_IDENTITY",
}

_CELL = """\
static const gatewright_cell_weights cell_weights[{layers}] = {{
{weights}
}};

static const gatewright_cell cell = {{
    .coupled = {coupled},
    .no_input_gate = {no_input_gate},
    .no_forget_gate = {no_forget_gate},
    .no_output_gate = {no_output_gate},
    .gate = {gate},
    .candidate = {candidate},
    .output = {output},
    .cell_clip = {cell_clip},
    .zoneout_cell = {zoneout_cell},
    .zoneout_hidden = {zoneout_hidden},
    .weights = cell_weights,
}};
"""

_SLSTM = """\
static const gatewright_cell cell = {{
    .kind = GATEWRIGHT_SLSTM,
    .heads = {heads},
    .exponential_forget_gate = {exponential},
}};
"""


def evaluated(file: ModelFile) -> CellSpec | None:
    """Return the cell of a model as it is after training; None for the plain one."""
    cell = file.spec.lstm.cell.in_evaluation()
    return cell if cell.features() else None


def tensors(file: ModelFile) -> Mapping[str, Any]:
    """Return the tensors of a model, with rows for all four gates: zeros for those that its cell does not have."""
    cell = evaluated(file)
    if cell is None:
        return file.tensors
    arrays = {name[5:]: array for name, array in file.tensors.items() if name.startswith("lstm.")}
    layers = sorted_by_layer(arrays, cell)
    own = {
        f"lstm.{name}_l{n}": W
        for n, layer in enumerate(layers)
        for name, W in zip(WEIGHTS, layer, strict=True)
        if W is not None
    }
    return {name: own.get(name, array) for name, array in file.tensors.items()}


def definition(file: ModelFile) -> list[str]:
    """Return the definition of a cell, or nothing of the plain one."""
    cell = evaluated(file)
    if cell is None:
        return []
    if cell.is_slstm:
        return [_SLSTM.format(heads=cell.heads, exponential=int(cell.forget_gate_activation == "exponential"))]
    present = cell.weights(1, 1)
    further = list(zip(WEIGHTS, LayerWeights._fields, strict=True))[len(PLAIN_WEIGHTS) :]

    def weights(layer: int) -> str:
        arrays = (
            f".{field} = {f'lstm_{name}_l{layer}' if name in present else 'NULL'}" for name, field in further
        )
        return f"    {{{', '.join(arrays)}}},"

    return [
        _CELL.format(
            layers=file.spec.lstm.num_layers,
            weights="\n".join(map(weights, range(file.spec.lstm.num_layers))),
            coupled=int(cell.coupled),
            no_input_gate=int(not cell.input_gate),
            no_forget_gate=int(not cell.forget_gate),
            no_output_gate=int(not cell.output_gate),
            gate=_ACTIVATIONS[cell.gate_activation],
            candidate=_ACTIVATIONS[cell.candidate_activation],
            output=_ACTIVATIONS[cell.output_activation],
            cell_clip=float(cell.cell_clip).hex(),
            zoneout_cell=float(cell.zoneout_cell).hex(),
            zoneout_hidden=float(cell.zoneout_hidden).hex(),
        )
    ]
