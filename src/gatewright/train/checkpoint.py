"""A checkpoint: everything that a run needs to go on to the same bits, in one safetensors file.

Weights, optimizer state and carried states are its tensors; the step, the best validation so far and the rest
of the loop's numbers are JSON in its metadata.  The learning rate, the order of the data and every random draw
are functions of the seed and the step, so there is nothing else to keep.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from gatewright.errors import RunError, shorten, unusable
from gatewright.files import atomic, regular_file
from gatewright.nn import stored_cell

FORMAT = "2"
#: Steps up to which AdamW counts: a float32 does not get any further by adding 1.
_LAST_COUNTED = 2**24
_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


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
    options_digest: str,
) -> None:
    """Write a checkpoint; a process killed at any moment leaves the old one or the new one.

    Args:
        path: of the checkpoint.
        model: the run's model.
        optimizer: the AdamW of its parameters.
        carried: the states that go on into the next step.
        progress: how far the run is.
        options_digest: digest of the run's options.
    """
    tensors = {f"model.{name}": value for name, value in stored_cell.without(model.state_dict()).items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    tensors |= {f"carried.{name}": value for name, value in carried.items()}
    ready = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {
        "gatewright_checkpoint": FORMAT,
        "progress": json.dumps(dataclasses.asdict(progress)),
        "options": options_digest,
        "digest": digest(ready),
    }
    atomic.write_bytes(path, safetensors.torch.save(ready, metadata))


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a digest of the numbers of tensors on the CPU, which safetensors does not check."""
    sha256 = hashlib.sha256()
    for name in sorted(tensors):
        sha256.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def load(
    path: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    carried: Mapping[str, tuple[int, ...]],
    options_digest: str,
) -> tuple[dict[str, Tensor], Progress]:
    """Put a checkpoint into model and optimizer; return the carried states and the progress.

    All of it is checked before any of it is used: a fused optimizer reads past the end of a state that is too
    short.

    Args:
        path: of the checkpoint.
        model: the run's model.
        optimizer: the AdamW of its parameters.
        carried: names and shapes of the states that the run carries from its first step on.
        options_digest: digest of the run's options.

    Raises:
        RunError: if it cannot be read, is damaged or belongs to another model; nothing is changed then.
    """
    metadata, entries = _read_header(path)
    if metadata.get("gatewright_checkpoint") != FORMAT:
        got = shorten(metadata.get("gatewright_checkpoint"))
        raise RunError(str(path), f"a checkpoint of format {FORMAT}", got)
    progress = _checked_progress(path, metadata.get("progress"))
    if metadata.get("options") != options_digest:
        raise RunError(str(path), "the options of config.toml, with which this run began", "other options")
    expected = _weights(model)
    if progress.step:
        expected |= _optimizer_state(optimizer)
        expected |= {f"carried.{name}": ("F32", shape) for name, shape in carried.items()}
    _check_entries(path, expected, entries)
    tensors = _read_tensors(path)
    if metadata.get("digest") != digest(tensors):
        raise RunError(str(path), "the numbers that were written", "others: the file is damaged or was edited")
    _check_values(path, tensors, progress)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _below("optimizer", tensors).items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    model.load_state_dict(_below("model", tensors))
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return _below("carried", tensors), progress


_Entry = tuple[str, tuple[int, ...]]


def _read_header(path: Path) -> tuple[dict[str, str], dict[str, _Entry]]:
    """Return the metadata, and dtype and shape of each tensor."""
    try:
        regular_file.require(path)
        with safetensors.safe_open(path, framework="pt") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            entries = {name: (str(part.get_dtype()), tuple(part.get_shape())) for name, part in parts.items()}
            return file.metadata() or {}, entries
    except OSError as error:
        raise unusable(RunError, path, error) from None
    except (safetensors.SafetensorError, ValueError):
        raise RunError(str(path), "a checkpoint", "a damaged or foreign file") from None


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except OSError as error:
        raise unusable(RunError, path, error) from None
    except (safetensors.SafetensorError, ValueError):
        raise RunError(str(path), "a checkpoint", "a damaged or foreign file") from None


def _weights(model: torch.nn.Module) -> dict[str, _Entry]:
    """Return what the checkpoint must have of a model."""
    return {f"model.{name}": _entry(value) for name, value in stored_cell.without(model.state_dict()).items()}


def _optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, _Entry]:
    """Return what the checkpoint must have of AdamW once it has taken a step."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    expected: dict[str, _Entry] = {}
    for index, parameter in enumerate(parameters):
        expected[f"optimizer.{index}.step"] = ("F32", ())
        for moment in ("exp_avg", "exp_avg_sq"):
            expected[f"optimizer.{index}.{moment}"] = _entry(parameter)
    return expected


def _entry(value: Tensor) -> _Entry:
    return _DTYPES.get(value.dtype, str(value.dtype)), tuple(value.shape)


def _check_entries(path: Path, expected: Mapping[str, _Entry], entries: Mapping[str, _Entry]) -> None:
    """Hold that all tensors are there and no others, of the dtypes and shapes that the run needs."""
    for names, word in ((expected.keys() - entries.keys(), "without"), (entries.keys() - expected.keys(), "with")):
        if names:
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            got = f"one {word} {shorten(min(names))}{others}"
            raise RunError(str(path), f"the {len(expected)} tensors of this run", got)
    for name, (dtype, shape) in expected.items():
        if entries[name] != (dtype, shape):
            got = f"{entries[name][0]} {entries[name][1]}"
            raise RunError(f"{path}: {name}", f"{dtype} {shape}, as in this run", got)


def _check_values(path: Path, tensors: Mapping[str, Tensor], progress: Progress) -> None:
    """Hold that the numbers are such as a run leaves."""
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise RunError(f"{path}: {name}", "finite numbers", "NaN or infinity")
        if name.endswith(".exp_avg_sq") and bool((value < 0).any()):
            raise RunError(f"{path}: {name}", "mean squares, none below 0", f"{float(value.min()):g}")
        if name.startswith("optimizer.") and name.endswith(".step"):
            steps = min(progress.step, _LAST_COUNTED)
            if float(value) != steps:
                raise RunError(f"{path}: {name}", f"the run's {steps} steps", f"{float(value):g}")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_number(value: object) -> bool:
    return type(value) is float and math.isfinite(value)


_Rule = tuple[Callable[[Any], bool], str]
_FIELDS: dict[str, _Rule] = {
    "step": (_is_count, "a number of steps"),
    "best": (lambda value: type(value) is float and value == value and value != -math.inf, "a score"),
    "best_step": (_is_count, "a number of steps"),
    "validations_since_best": (_is_count, "a number of validations"),
    "seconds": (lambda value: _is_number(value) and value >= 0, "seconds"),
    "loss_sum": (_is_number, "a finite number"),
    "loss_steps": (_is_count, "a number of steps"),
    "finished": (lambda value: value in ("", "steps", "patience"), "'', 'steps' or 'patience'"),
}


def _checked_progress(path: Path, text: str | None) -> Progress:
    """Read how far a run is.

    Raises:
        RunError: if a field is missing, unknown, of another type, or contradicts another one.
    """
    where = f"{path}: progress"
    try:
        fields = json.loads(text or "")
    except (ValueError, RecursionError):
        raise RunError(where, "JSON with the progress of a run", shorten(text)) from None
    if not isinstance(fields, dict) or set(fields) != set(_FIELDS):
        got = sorted(fields) if isinstance(fields, dict) else fields
        raise RunError(where, f"the fields {', '.join(_FIELDS)}", shorten(got))
    for name, (fits, expected) in _FIELDS.items():
        if not fits(fields[name]):
            raise RunError(f"{where}.{name}", expected, shorten(fields[name]))
    progress = Progress(**fields)
    for argument, expected, got in _contradictions(progress):
        raise RunError(f"{where}.{argument}", expected, got)
    return progress


def _contradictions(progress: Progress) -> Iterator[tuple[str, str, str]]:
    """Give what cannot be true together: field, what was expected, what came."""
    step, best_step = progress.step, progress.best_step
    since = step - best_step
    if best_step > step:
        yield "best_step", f"at most the {step} steps of the run", str(best_step)
    if best_step > 0 and progress.best == math.inf:
        expected = f"the score of step {best_step}"
        yield "best", expected, str(progress.best)
    if progress.validations_since_best > since:
        yield "validations_since_best", f"at most {since}", str(progress.validations_since_best)
    if progress.loss_steps > step:
        yield "loss_steps", f"at most the {step} steps of the run", str(progress.loss_steps)


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")
    }
