"""A plain RNN for comparison with an LSTM: of the same size and trained on the same batches, but without gates.

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
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatewright.errors import GatewrightError, ModelFileError, shorten, unusable
from gatewright.files import atomic, regular_file
from gatewright.insight.layers import Peer
from gatewright.insight.recording import Recording
from gatewright.nn.category_encoder import encoder_of
from gatewright.nn.linear import Linear
from gatewright.nn.model import Model, Output, State, new_skip, pool_of, with_seasons
from gatewright.tasks import registry
from gatewright.tasks.base import Task
from gatewright.tasks.inputs import InputBatch
from gatewright.tasks.settings import TrainingSettings
from gatewright.train.optimizer import learning_rate, new_optimizer, set_rate

NAME = "plain RNN"
FORMAT = "1"


class PlainModel(nn.Module):
    """A plain RNN with an encoder and a head like those of a model.

    Args:
        model: the model whose sizes it takes; the model's weights are neither read nor changed.
        fingerprint: fingerprint of the trained model that it is compared with; that of ``model`` if empty.

    Attributes:
        fingerprint: fingerprint of the model that it is compared with.
    """

    def __init__(self, model: Model, fingerprint: str = "") -> None:
        super().__init__()
        spec = model.spec
        stack = spec.lstm
        self.fingerprint = fingerprint or model.fingerprint
        self.encoder = encoder_of(spec)
        if isinstance(stack.hidden_size, tuple):
            got = shorten(list(stack.hidden_size))
            raise GatewrightError("hidden_size", "one size for all layers, for a plain RNN", got)
        width = (2 if stack.bidirectional else 1) * stack.hidden_size
        self.rnn = nn.RNN(spec.input_size, stack.hidden_size, stack.num_layers, bidirectional=stack.bidirectional)
        self.head = Linear(width, spec.output_size)
        self.pool = pool_of(spec, width)
        if spec.forecaster is not None:  # it predicts differences: training starts from persistence
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        self.season = new_skip(spec)
        self._sizes = model.output_sizes

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        last: int | None = None,
        differences: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> Output:
        """Run over a sequence, as `gatewright.Model` does; the state (h, h) has the form of an LSTM's (h, c)."""
        hidden, h_n = self.hidden(x, None if state is None else state[0], lengths)
        if self.pool is not None:
            hidden = self.pool(hidden, lengths)[None]
        elif last is not None:
            hidden = hidden[-last:]
        return Output(self.readout(hidden, differences), (h_n, h_n), None)

    def readout(self, hidden: Tensor, differences: Tensor | None = None) -> Tensor:
        """Return the output of steps, as `gatewright.Model` does."""
        return with_seasons(self.season, self.head(hidden).unflatten(-1, self._sizes), differences)

    def hidden(
        self, x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the hidden states (T, B, S*H) of the last layer, and the last states of all layers."""
        if lengths is None:
            return self.rnn(self.encoder(x), state)
        packed = pack_padded_sequence(self.encoder(x), lengths, enforce_sorted=False)
        hidden, h_n = self.rnn(packed, state)
        return pad_packed_sequence(hidden)[0], h_n

    def pooled(self, hidden: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return what the head reads at each step, as `gatewright.Model.pooled` does."""
        return hidden if self.pool is None else self.pool.at_steps(hidden, lengths)


def train_plain_rnn(
    task: Task,
    settings: TrainingSettings,
    steps: int,
    *,
    fingerprint: str = "",
    progress: Callable[[int, float], None] = lambda *_: None,
) -> PlainModel:
    """Train a plain RNN on the very batches that an LSTM was trained on.

    Args:
        task: the task of the LSTM, newly built.
        settings: those of the LSTM: seed, learning rate, schedule, clipping.
        steps: number of batches.
        fingerprint: fingerprint of the trained LSTM.
        progress: called with each step and its loss.

    Returns:
        The plain RNN, in evaluation mode.
    """
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        plain = PlainModel(task.model, fingerprint).to(next(task.model.parameters()).device)
    task.start_peer(plain, lambda x: plain.hidden(x)[0])
    optimizer = new_optimizer(plain, settings)
    for step in range(steps):
        set_rate(optimizer, learning_rate(step, steps, settings))
        total, count = task.loss(plain, step)
        loss = total / count
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(plain.parameters(), settings.clip or float("inf"))
        optimizer.step()
        progress(step + 1, float(loss.detach()))
    return plain.eval()


def save(path: Path, plain: PlainModel) -> None:
    """Write a plain RNN to a safetensors file, with the fingerprint of the model that it is compared with.

    Raises:
        OSError: if the file cannot be written.
    """
    metadata = {"gatewright_plain_rnn": FORMAT, "beside": plain.fingerprint}
    tensors = {name: value.detach().cpu().contiguous() for name, value in plain.state_dict().items()}
    atomic.write_bytes(path, safetensors.torch.save(tensors, metadata))


def load(path: Path, model: Model) -> PlainModel:
    """Read a plain RNN that `save` wrote.

    Args:
        path: the file.
        model: the model that it is compared with.

    Raises:
        ModelFileError: if the file is damaged, or the plain RNN was trained for another model.
    """
    with torch.random.fork_rng():
        plain = PlainModel(model)
    try:
        regular_file.require(path)
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if metadata.get("gatewright_plain_rnn") != FORMAT:
            version = metadata.get("gatewright_plain_rnn")
            got = "another file" if version is None else f"format {version!r}"
            raise ModelFileError(str(path), f"a plain RNN of format {FORMAT}", got)
        if metadata.get("beside") != plain.fingerprint:
            raise ModelFileError(str(path), "a plain RNN trained for this model", "one of another model")
    except OSError as error:
        raise unusable(ModelFileError, path, error) from None
    except safetensors.SafetensorError:
        raise ModelFileError(str(path), "a plain RNN", "a damaged or foreign file") from None
    expected = {name: (value.dtype, tuple(value.shape)) for name, value in plain.state_dict().items()}
    for name in sorted(expected.keys() | tensors.keys()):
        kind = (tensors[name].dtype, tuple(tensors[name].shape)) if name in tensors else None
        if kind is None or kind != expected.get(name) or not tensors[name].isfinite().all():
            required = f"finite {_described(expected[name])}" if name in expected else "no such tensor"
            got = "none" if kind is None else _described(kind)
            raise ModelFileError(f"{path}, {shorten(name)}", required, got)
    plain.load_state_dict(tensors)
    return plain.eval()


def _described(kind: tuple[torch.dtype, tuple[int, ...]]) -> str:
    return f"numbers of shape {kind[1]} in {str(kind[0]).removeprefix('torch.')}"


def with_peer(recording: Recording, model: Model, batch: InputBatch, plain: PlainModel) -> Recording:
    """Return a recording together with the hidden states and predictions of a plain RNN on the same inputs.

    Args:
        recording: the recording.
        model: its model.
        batch: its inputs.
        plain: the plain RNN.
    """
    with torch.no_grad():
        lengths = torch.from_numpy(batch.lengths)
        uneven = bool((batch.lengths != len(batch.x)).any())
        hidden, _ = plain.hidden(batch.x, lengths=lengths if uneven and plain.pool is not None else None)
        output = plain.readout(plain.pooled(hidden, lengths), batch.differences)
        predictions = registry.kind(batch.kind).predictions(model, batch, output)
    in_row = np.arange(len(hidden))[:, None] < batch.lengths
    peer = Peer(_masked(hidden, in_row), _masked(predictions, in_row))
    return replace(recording, about=replace(recording.about, peer=NAME), peer=peer)


def _masked(values: Tensor, in_row: Any) -> Any:
    """Return values (T, B, ...) as an array, with zeros past the end of each row."""
    array = values.cpu().numpy()
    return np.where(in_row.reshape(*in_row.shape, *[1] * (array.ndim - 2)), array, 0)
