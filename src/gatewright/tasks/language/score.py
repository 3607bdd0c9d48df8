"""The likelihood of a text under a language model."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from gatewright.data.text import streams
from gatewright.data.tokens import Symbols
from gatewright.nn.model import Model
from gatewright.tasks.base import ALONE, Share
from gatewright.tasks.processes import divides, summed

#: Parallel streams that a text is scored in; each begins without context.
SCORE_STREAMS = 16


def score_streams(symbols: Symbols) -> int:
    """Return how many parallel streams a text is scored in."""
    return min(SCORE_STREAMS, len(symbols) // 2)


def score(model: Model, symbols: Symbols, chunk: int = 256, share: Share = ALONE) -> float:
    """Return the mean negative log-likelihood of a text, in nats a symbol.

    Args:
        model: a language model.
        symbols: the text (symbols,); every symbol but the first of each stream is predicted.
        chunk: symbols that are run at once; the state is carried, so the result does not depend on it.
        share: which process of a training this is, if all of them score some of the streams.
    """
    count = score_streams(symbols)
    laid = streams(symbols, count)
    if not divides(share, count):
        return _total(model, laid, chunk) / laid[1:].size
    return summed(_total(model, laid[:, share.rank :: share.world], chunk)) / laid[1:].size


@torch.no_grad()
def _total(model: Model, streams: Symbols, chunk: int) -> float:
    """Return the negative log-likelihood of all symbols of some streams (length, streams), in nats."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    laid = torch.from_numpy(np.ascontiguousarray(streams)).to(device)
    total, state = torch.zeros((), dtype=torch.float64, device="cpu"), None
    for first in range(0, len(laid) - 1, chunk):
        part = laid[first : first + chunk + 1]
        output = model(part[:-1], state)
        state = output.state
        total += F.cross_entropy(output.y.flatten(0, 1), part[1:].flatten(), reduction="sum").double().cpu()
    model.train(training)
    return float(total)
