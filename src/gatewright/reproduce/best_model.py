"""Training over epochs that keeps the best model by validation."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gatewright.progress import Waits
from gatewright.reproduce.experiment import Curve


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a network learns.

    Attributes:
        epochs: number of epochs.
        lr: maximum learning rate of AdamW; it decays to zero by a cosine over the epochs.
        weight_decay: decoupled weight decay.
        clip: maximum norm of the gradient.
        patience: epochs without a better validation before the training stops; 0 for no limit.
    """

    epochs: int
    lr: float
    weight_decay: float = 0.0
    clip: float = 1.0
    patience: int = 0


def fit_best(
    network: nn.Module,
    losses: Callable[[], Iterable[Tensor]],
    validate: Callable[[], float],
    schedule: Schedule,
    waits: Waits,
    label: str,
) -> Curve:
    """Train a network, and leave it with the weights of its best validation.

    Args:
        network: the network.
        losses: function that starts an epoch and yields the loss of each batch.
        validate: function that returns the score of the validation part; lower is better.
        schedule: epochs and learning rate.
        waits: progress.
        label: description for the progress.

    Returns:
        The validation score by epoch.
    """
    optimizer = torch.optim.AdamW(network.parameters(), schedule.lr, weight_decay=schedule.weight_decay)
    curve, best, state = Curve([], []), math.inf, copy.deepcopy(network.state_dict())
    since = 0
    with waits.counting(label, schedule.epochs, "epochs") as advance:
        for epoch in range(schedule.epochs):
            for group in optimizer.param_groups:
                group["lr"] = schedule.lr * 0.5 * (1 + math.cos(math.pi * epoch / schedule.epochs))
            network.train()
            for loss in losses():
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
                optimizer.step()
            network.eval()
            with torch.no_grad():
                score = validate()
            curve.x.append(epoch + 1)
            curve.y.append(score)
            advance(1)
            since += 1
            if score < best:
                best, since, state = score, 0, copy.deepcopy(network.state_dict())
            if schedule.patience and since == schedule.patience:
                break
    network.load_state_dict(state)
    network.eval()
    return curve
