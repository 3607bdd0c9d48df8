"""A plain RNN beside an LSTM: of the same size, trained on the same batches, to see what the gates are worth.

h' = tanh(W x + b + U h + d)        Elman 1990, Cognitive Science 14(2)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from gatewright.errors import ModelFileError, shorten, unusable
from gatewright.files import atomic, regular
from gatewright.insight.layers import Peer
from gatewright.insight.recorder import forecasts
from gatewright.insight.recording import Recording
from gatewright.nn.linear import Linear
from gatewright.nn.model import Model, Output, State
from gatewright.runs.options import TrainingOptions
from gatewright.tasks.base import Task
from gatewright.tasks.inputs import InputBatch
from gatewright.train.trainer import learning_rate, new_optimizer

NAME = "plain RNN"
FORMAT = "1"


class PlainModel(nn.Module):
    """The encoder, the head and the sizes of a model, around a plain RNN.

    Args:
        beside: a model whose place it takes in training; its weights are neither read nor changed.
        fingerprint: of the trained model that it is to stand beside; that of ``beside`` if empty.

    Attributes:
        fingerprint: of the model that it stands beside.
    """

    def __init__(self, beside: Model, fingerprint: str = "") -> None:
        super().__init__()
        spec = beside.spec
        stack = spec.lstm
        self.fingerprint = fingerprint or beside.fingerprint
        self.encoder: nn.Module = nn.Identity()
        if beside.vocabulary is not None:
            self.encoder = nn.Embedding(len(beside.vocabulary.symbols), spec.input_size)
        self.rnn = nn.RNN(spec.input_size, stack.hidden_size, stack.num_layers)
        self.head = Linear(stack.hidden_size, spec.output_size)
        if beside.scaler is not None:  # a difference from the last value: training starts from persistence
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        self._sizes = beside.output_sizes

    def forward(self, x: Tensor, state: State | None = None, *, last: int | None = None) -> Output:
        """Run it over a sequence, as `gatewright.Model` does; its state is there twice."""
        hidden, h_n = self.rnn(self.encoder(x), None if state is None else state[0])
        y = self.head(hidden if last is None else hidden[-last:]).unflatten(-1, self._sizes)
        return Output(y, (h_n, h_n), None)


def train_beside(
    task: Task,
    options: TrainingOptions,
    steps: int,
    *,
    fingerprint: str = "",
    progress: Callable[[int, float], None] = lambda *_: None,
) -> PlainModel:
    """Train a plain RNN on the very batches that an LSTM was trained on.

    Args:
        task: what the LSTM learned, made anew.
        options: how it was trained: seed, learning rate, schedule, clipping.
        steps: how many batches.
        fingerprint: of the trained LSTM.
        progress: called with each step and its loss.

    Returns:
        The plain RNN, in evaluation mode.
    """
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        plain = PlainModel(task.model, fingerprint).to(next(task.model.parameters()).device)
    optimizer = new_optimizer(list(plain.parameters()), options)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, options)
        total, count = task.loss(plain, step)
        loss = total / count
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(plain.parameters(), options.clip or float("inf"))
        optimizer.step()
        progress(step + 1, float(loss.detach()))
    return plain.eval()


def save(path: Path, plain: PlainModel) -> None:
    """Write it to a safetensors file, with the fingerprint of the model that it stands beside.

    Raises:
        OSError: if the file cannot be written.
    """
    metadata = {"gatewright_plain_rnn": FORMAT, "beside": plain.fingerprint}
    tensors = {name: value.detach().cpu().contiguous() for name, value in plain.state_dict().items()}
    atomic.write_bytes(path, safetensors.torch.save(tensors, metadata))


def load(path: Path, beside: Model) -> PlainModel:
    """Read what `save` wrote.

    Raises:
        ModelFileError: if it is damaged, or stands beside another model.
    """
    with torch.random.fork_rng():
        plain = PlainModel(beside)
    try:
        regular.require(path)
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if metadata.get("gatewright_plain_rnn") != FORMAT:
            got = metadata.get("gatewright_plain_rnn")
            named = "another file" if got is None else f"format {got!r}"
            raise ModelFileError(str(path), f"a plain RNN of format {FORMAT}", named)
        if metadata.get("beside") != plain.fingerprint:
            raise ModelFileError(str(path), "a plain RNN trained beside this model", "one of another model")
    except OSError as error:
        raise unusable(ModelFileError, path, error) from None
    except safetensors.SafetensorError:
        raise ModelFileError(str(path), "a plain RNN", "a damaged or foreign file") from None
    expected = {name: (value.dtype, tuple(value.shape)) for name, value in plain.state_dict().items()}
    for name in sorted(expected.keys() | tensors.keys()):
        kind = (tensors[name].dtype, tuple(tensors[name].shape)) if name in tensors else None
        if kind is None or kind != expected.get(name) or not tensors[name].isfinite().all():
            wanted = f"finite {_named(expected[name])}" if name in expected else "no such tensor"
            got = "none" if kind is None else _named(kind)
            raise ModelFileError(f"{path}, {shorten(name)}", wanted, got)
    plain.load_state_dict(tensors)
    return plain.eval()


def _named(kind: tuple[torch.dtype, tuple[int, ...]]) -> str:
    return f"numbers of shape {kind[1]} in {str(kind[0]).removeprefix('torch.')}"


def with_peer(recording: Recording, model: Model, batch: InputBatch, plain: PlainModel) -> Recording:
    """Return a recording with what the plain RNN did and said of the same data beside it."""
    with torch.no_grad():
        hidden, _ = plain.rnn(plain.encoder(batch.x))
        predictions = forecasts(model, batch, plain.head(hidden))
    there = np.arange(len(hidden))[:, None] < batch.lengths
    peer = Peer(_masked(hidden, there), _masked(predictions, there))
    return replace(recording, about=replace(recording.about, peer=NAME), peer=peer)


def _masked(values: Tensor, there: Any) -> Any:
    array = values.cpu().numpy()
    return np.where(there.reshape(*there.shape, *[1] * (array.ndim - 2)), array, 0)
