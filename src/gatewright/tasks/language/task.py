"""Learning to continue a text: parallel streams, the state carried from chunk to chunk.

Truncated backpropagation through time (Williams & Peng 1990): gradients stop at a chunk's start, the state does
not.  Now and then a stream begins a chunk without a state: a model that starts from zeros only once an epoch does
not learn to, and can be caught in a strange state for good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gatewright.data.text import byte_sizes, encode_text, streams
from gatewright.data.tokens import tokenizer_of
from gatewright.errors import DataError
from gatewright.files.model_file import ModelFile
from gatewright.nn import layer_sizes
from gatewright.nn.initial_state import tensors_of
from gatewright.nn.model import Model, State
from gatewright.tasks.base import Loss, Share
from gatewright.tasks.language.dataset import TextData
from gatewright.tasks.language.measures import measures, plural, scored_bytes
from gatewright.tasks.language.score import score, score_streams
from gatewright.tasks.options import Options
from gatewright.tasks.settings import Settings, TrainingSettings


@dataclass(frozen=True)
class StreamSettings(Settings):
    """How streams are cut into chunks, and how often one starts afresh."""

    context: int
    reset: float


class LanguageTask:
    """A language model and its text.

    Args:
        model: the model, on its device.
        data: the text.
        options: the run's; of them batch, context, reset and seed.
        share: which streams are this process's.
        device: where the text is kept.

    Raises:
        DataError: if the text is too short for one chunk.
    """

    #: Set from the tokens of the model, unless a subclass has a score of its own.
    unit = ""
    carries = True
    starts_ready = False

    def __init__(self, model: Model, data: TextData, options: Options, share: Share, device: torch.device) -> None:
        assert model.vocabulary is not None
        streaming, training = StreamSettings.of(options.data), TrainingSettings.of(options.training)
        batch, context, tokenizer = training.batch, streaming.context, tokenizer_of(model.vocabulary)
        self._names = plural(tokenizer.unit)
        self.unit = self.unit or f"nats/{tokenizer.unit}"
        self.model, self.batch = model, batch
        self._context, self._share = context, share
        self._reset, self._seed = streaming.reset, training.seed
        train, valid, test = (
            encode_text(part, model.vocabulary) for part in (data.parts.train, data.parts.valid, data.parts.test)
        )
        laid = streams(train, batch)
        if len(laid) <= context:
            needed = f"at least {batch * (context + 1)} {self._names} ({batch} streams of {context} + 1)"
            raise DataError("training part", needed, f"{len(train)}")
        self._streams = torch.from_numpy(np.ascontiguousarray(laid[:, share.of(batch)])).to(device)
        self._valid = valid
        if len(valid) < 2:
            raise DataError("validation part", f"at least 2 {self._names}", str(len(valid)))
        count = score_streams(valid)
        self._scored = streams(valid, count)[1:].size
        self._scored_bytes = scored_bytes(byte_sizes(data.parts.valid, model.vocabulary), count)
        self.steps_per_epoch = (len(laid) - 1) // context
        sizes = " + ".join(f"{len(part):,}" for part in (train, valid, test))
        self.summary = (
            f"{sizes} {self._names} (training + validation + test), {len(model.vocabulary.symbols)} symbols"
        )
        self._state: State | None = None
        self._before: State | None = None

    def loss(self, model: torch.nn.Module, step: int) -> Loss:
        """Cross entropy of the next symbols of this process's streams; the state goes on to the next step."""
        chunk = self._chunk(step)
        self._before = self._going_on(step)
        output = model(chunk[:-1], self._before)
        h, c = (layer_sizes.each(Tensor.detach, state) for state in output.state)
        self._state = h, c
        total = F.cross_entropy(output.y.flatten(0, 1), chunk[1:].flatten(), reduction="sum")
        return Loss(total, chunk[1:].numel())

    def _going_on(self, step: int) -> State | None:
        """Return the states to begin a chunk with: those carried here, but for the streams that begin afresh."""
        if self._state is None or step % self.steps_per_epoch == 0:
            return None
        keep = np.random.default_rng((self._seed, step)).random(self.batch) >= self._reset
        h, c = self._state
        mask = torch.from_numpy(keep[self._share.of(self.batch)]).to(tensors_of(self._state)[0])[:, None]
        return layer_sizes.each(lambda state: state * mask, h), layer_sizes.each(lambda state: state * mask, c)

    def _chunk(self, step: int) -> Tensor:
        first = step % self.steps_per_epoch * self._context
        return self._streams[first : first + self._context + 1]

    def start(self, *, forecasting: bool) -> None:
        """Start from random weights."""

    def start_peer(self, peer: torch.nn.Module, states: Callable[[Tensor], Tensor]) -> None:
        """Start from random weights."""

    def validate(self) -> float:
        """Nats a symbol over the validation part."""
        return score(self.model, self._valid, share=self._share)

    def measures(self, score: float) -> dict[str, float | None]:
        """Return bits per byte and perplexity of a validation."""
        return measures(score, self._scored, self._scored_bytes)

    def file(self) -> ModelFile:
        """Return the file of the model as it is."""
        return self.model.file()

    def refitted(self, best: ModelFile) -> ModelFile:  # noqa: ARG002
        """Return the file of the model as it is."""
        return self.model.file()

    def inputs(self, step: int) -> tuple[Tensor, State | None]:
        """Return the chunk of the last step, and the states that it went on from."""
        return self._chunk(step)[:-1], self._before

    def rows(self, step: int, rows: NDArray[np.int64]) -> str:
        """Name the places of streams in the training part."""
        length = len(self._streams)
        first = step % self.steps_per_epoch * self._context
        streams_ = np.arange(self.batch)[self._share.of(self.batch)][rows[:5]]
        return ", ".join(f"the text from {self._names[:-1]} {stream * length + first}" for stream in streams_)

    @property
    def carried(self) -> State | None:
        """States of this process's streams after the last step."""
        return self._state

    def carry(self, state: State | None) -> None:
        """Go on from these states."""
        self._state = state
