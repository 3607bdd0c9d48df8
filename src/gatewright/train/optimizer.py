"""The optimizer of a training, and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from gatewright.tasks.settings import TrainingSettings


def _plain(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of torch's optimizers without the decorators that keep `torch.compile` out of it.

    Where a release of torch has none, that is the method itself.
    """
    while hasattr(method, "__wrapped__"):
        method = method.__wrapped__
    return method


class AdamW(torch.optim.AdamW):
    """`torch.optim.AdamW`, whose steps nobody compiles.

    The decorators of torch's own import its compiler, which takes longer than many a training.
    """

    add_param_group = _plain(torch.optim.Optimizer.add_param_group)
    zero_grad = _plain(torch.optim.Optimizer.zero_grad)
    state_dict = _plain(torch.optim.Optimizer.state_dict)
    load_state_dict = _plain(torch.optim.Optimizer.load_state_dict)
    step = torch.no_grad()(_plain(torch.optim.AdamW.step))


#: Learning rate of the weights of seasonal differences, as a factor.  What a calendar input explains they have to
#: give up, by more than AdamW moves a weight in a few hundred steps.
SEASON_RATE = 10.0


def new_optimizer(model: torch.nn.Module, settings: TrainingSettings) -> AdamW:
    """Return the optimizer of a model's parameters: biases do not decay, weights of seasons learn faster."""
    parameters = list(model.parameters())
    season = getattr(model, "season", None)
    fast = {id(parameter) for parameter in season.parameters()} if season is not None else set[int]()
    decaying = [p for p in parameters if p.dim() > 1]
    groups = [
        {"params": [p for p in decaying if id(p) not in fast], "weight_decay": settings.weight_decay},
        {"params": [p for p in decaying if id(p) in fast], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    factors = (1.0, SEASON_RATE, 1.0)
    used = [{**group, "factor": factor} for group, factor in zip(groups, factors, strict=True) if group["params"]]
    return AdamW(used, lr=settings.lr, fused=parameters[0].device.type in ("cpu", "cuda"))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step, for each group of parameters times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def learning_rate(step: int, total: int, settings: TrainingSettings) -> float:
    """Return the learning rate of a step: a linear rise, then the schedule down to 0 at ``total``.

    >>> from gatewright.tasks import registry
    >>> from dataclasses import replace
    >>> defaults = registry.kind("forecast").defaults.training
    >>> settings = TrainingSettings.of(replace(defaults, lr=1.0, warmup=50, schedule="cosine"))
    >>> [round(learning_rate(step, 1000, settings), 3) for step in (0, 50, 500, 999)]
    [0.02, 0.994, 0.5, 0.0]
    """
    part = step / total
    fall = {
        "cosine": (1 + math.cos(math.pi * part)) / 2,
        "linear": 1 - part,
        "constant": 1.0,
    }[settings.schedule]
    return settings.lr * min(1.0, (step + 1) / max(settings.warmup, 1)) * fall
