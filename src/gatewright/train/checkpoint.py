"""A checkpoint: everything that a run needs to go on to the same bits, in one safetensors file.

Weights, optimizer state and carried states are its tensors; the step, the best validation so far and the rest
of the loop's numbers are JSON in its metadata.  The learning rate, the order of the data and every random draw
are functions of the seed and the step, so there is nothing else to keep.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from gatewright import atomic
from gatewright.errors import RunError

FORMAT = "1"


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: optimizer steps taken.
        best: lowest validation score so far.
        best_step: step at which it was reached.
        validations_since_best: for early stopping.
        seconds: time spent training.
        loss_sum: training loss summed since the last line of metrics.
        loss_steps: steps in that sum.
        finished: why the run ended ("steps", "patience"), or "".
    """

    step: int = 0
    best: float = float("inf")
    best_step: int = 0
    validations_since_best: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_steps: int = 0
    finished: str = ""


def save(
    path: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    carried: Mapping[str, Tensor],
    progress: Progress,
) -> None:
    """Write a checkpoint; a process killed at any moment leaves the old one or the new one."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    tensors |= {f"carried.{name}": value for name, value in carried.items()}
    ready = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {"gatewright_checkpoint": FORMAT, "progress": json.dumps(dataclasses.asdict(progress))}
    atomic.write_bytes(path, safetensors.torch.save(ready, metadata))


def load(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], Progress]:
    """Put a checkpoint into model and optimizer; return the carried states and the progress.

    Raises:
        RunError: if it cannot be read or belongs to another model; nothing is changed then.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if metadata.get("gatewright_checkpoint") != FORMAT:
            raise RunError(
                str(path), f"a checkpoint of format {FORMAT}", repr(metadata.get("gatewright_checkpoint"))
            )
        progress = Progress(**json.loads(metadata["progress"]))
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(str(path), "a checkpoint", str(error)) from None
    weights = _below("model", tensors)
    expected = {name: value.shape for name, value in model.state_dict().items()}
    if {name: value.shape for name, value in weights.items()} != expected:
        raise RunError(str(path), "the weights of this run's model", "other names or shapes")
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _below("optimizer", tensors).items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    model.load_state_dict(weights)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return _below("carried", tensors), progress


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")
    }
