"""Cells that are not plain: each feature alone, and features together."""

from __future__ import annotations

from typing import Any

from gatewright.spec import CellSpec

#: Each feature alone, and features together.
ALONE: list[dict[str, Any]] = [
    {"peephole": True},
    {"coupled": True},
    {"input_gate": False},
    {"forget_gate": False},
    {"output_gate": False},
    {"gate_activation": "hard_sigmoid"},
    {"candidate_activation": "hard_tanh"},
    {"candidate_activation": "identity"},
    {"output_activation": "hard_tanh"},
    {"output_activation": "identity"},
    {"layer_norm": True},
    {"cell_clip": 0.4},
    {"zoneout_cell": 0.3},
    {"zoneout_hidden": 0.3},
    {"hidden_dropout": 0.4},
    {"candidate_dropout": 0.4},
]
TOGETHER: list[dict[str, Any]] = [
    {"peephole": True, "coupled": True, "proj_size": 2, "cell_clip": 0.5, "zoneout_cell": 0.2},
    {"peephole": True, "output_gate": False, "layer_norm": True, "zoneout_hidden": 0.2, "hidden_dropout": 0.3},
    {"input_gate": False, "forget_gate": False, "output_gate": False, "layer_norm": True, "bias": False},
    {
        "peephole": True, "input_gate": False, "layer_norm": True, "proj_size": 3, "cell_clip": 0.6,
        "gate_activation": "hard_sigmoid", "candidate_activation": "identity", "output_activation": "hard_tanh",
        "zoneout_cell": 0.1, "hidden_dropout": 0.2, "candidate_dropout": 0.3,
    },
]  # fmt: skip
CELLS = [CellSpec(**features) for features in ALONE + TOGETHER]
CLIPPED = CellSpec(cell_clip=0.4, zoneout_cell=0.3, peephole=True, candidate_dropout=0.3)


def label(cell: CellSpec) -> str:
    return "-".join(cell.features())
