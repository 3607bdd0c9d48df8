"""Truncated backpropagation through time: a long sequence in chunks, with the state carried and detached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.errors import GatewrightError
from gatewright.nn.row_steps import require_values

#: Options that do not go along the steps of the input.
_OF_ROWS = ("lengths", "reset_to")


def tbptt(
    layer: Callable[..., Any],
    stream: Tensor | Iterable[Any],
    chunk: int,
    *along: Tensor,
    hx: Any = None,
    dim: int | None = None,
    **options: Any,
) -> Iterator[tuple[Any, ...]]:
    """Run a recurrent layer over a long sequence chunk by chunk, in a training loop of the caller's own.

    Each chunk starts from the state that the one before left, without its graph: values are those of the whole
    sequence, gradients reach back to the start of their chunk, and so does the memory.  A chunk runs when the loop
    asks for it, so that an optimizer may step in between; no state outlives the loop.  Williams & Peng 1990,
    Neural Computation 2(4).

    Args:
        layer: a `gatewright.LSTM`, a recurrent layer of torch, or a module of the caller's that returns an output
            and a state, ``layer(x, hx)``.  One direction: the other one would have to start from the end.
        stream: the whole input, or an iterable of its pieces in order of time, each an input or a tuple or list of
            an input and tensors along it, as a `torch.utils.data.DataLoader` returns them.  A piece is read when
            its turn comes, and cut where it is longer than a chunk.
        chunk: number of steps of a chunk; the last one, and that of a piece, may be shorter.
        *along: tensors along the whole input, such as targets, cut as it is.
        hx: state of the start; the layer's own start if None.
        dim: dimension of time in the input and in what is along it; None for that of the layer's input.
        **options: further arguments of the layer along the whole input, such as ``mask`` and ``reset``, cut
            likewise; ``lengths`` (B,) become those within each chunk, and ``reset_to`` is that of each.

    Yields:
        The output of a chunk, its state with its graph, and its part of each tensor along it.

    Raises:
        GatewrightError: if an argument does not fit, before anything runs; or a piece, when its turn comes.

    >>> from gatewright import LSTM
    >>> lstm, x, target = LSTM(3, 4), torch.ones(10, 2, 3), torch.zeros(10, 2, 4)
    >>> for y, (h, c), wanted in tbptt(lstm, x, 4, target):
    ...     (y - wanted).square().mean().backward()
    ...     print(len(y))
    4
    4
    2
    """
    if not isinstance(chunk, int) or isinstance(chunk, bool) or chunk < 1:
        raise GatewrightError("chunk", "a number of steps of at least 1", repr(chunk))
    if getattr(layer, "bidirectional", False):
        raise GatewrightError(
            "layer", "one that reads forward only, which can go on where it was", "a bidirectional one"
        )
    if isinstance(options.get("record"), bool) and options.pop("record"):
        expected = "False: a chunk gives its output and its state; for its record, call the layer on a chunk"
        raise GatewrightError("record", expected, "True")
    if isinstance(stream, PackedSequence):
        raise GatewrightError("stream", "a padded input, with lengths=", "a PackedSequence")
    if isinstance(stream, Tensor):
        time = _time(layer, stream, dim)
        _require_along(
            stream, {"along": along, **{name: [each] for name, each in _by_step(options).items()}}, time
        )
        options["lengths"] = _lengths(options.get("lengths"), stream, time)
        pieces: Iterable[Any] = [(stream, *along)]
    elif along or options:
        expected = "none with an iterable, whose pieces are tuples of an input and the tensors along it"
        raise GatewrightError("along", expected, ", ".join(["tensors"] * bool(along) + list(options)))
    else:
        pieces = stream
    return _chunks(layer, pieces, chunk, hx, dim, options)


def _chunks(
    layer: Callable[..., Any],
    pieces: Iterable[Any],
    chunk: int,
    hx: Any,
    dim: int | None,
    options: Mapping[str, Any],
) -> Iterator[tuple[Any, ...]]:
    lengths = options.get("lengths")
    for piece in pieces:
        x, *along = piece if isinstance(piece, tuple | list) else (piece,)
        if not isinstance(x, Tensor):
            raise GatewrightError(
                "stream", "pieces that are tensors, or tuples that begin with one", type(x).__name__
            )
        time = _time(layer, x, dim)
        _require_along(x, {"along": along}, time)
        for first in range(0, x.shape[time], chunk):
            steps = min(chunk, x.shape[time] - first)
            given = {name: each.narrow(time, first, steps) for name, each in _by_step(options).items()}
            if lengths is not None:
                given["lengths"] = (lengths - first).clamp(0, steps)
            if options.get("reset_to") is not None:
                given["reset_to"] = options["reset_to"]
            y, state = layer(x.narrow(time, first, steps), hx, **given)
            hx = _detached(state)
            yield (y, state, *(each.narrow(time, first, steps) for each in along))
            del y, state  # the caller's names alone keep the graph of a chunk


def _by_step(options: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the options that go along the steps of the input."""
    return {name: each for name, each in options.items() if name not in _OF_ROWS and each is not None}


def _lengths(lengths: Any, x: Tensor, time: int) -> Tensor | None:
    """Return lengths as int64, from which earlier steps can be subtracted, and checked, since chunks clamp them.

    Raises:
        GatewrightError: if they are not whole numbers from 0 to the steps of the input.
    """
    T = x.shape[time]
    if lengths is None:
        return None
    if not isinstance(lengths, Tensor) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        got = lengths.dtype if isinstance(lengths, Tensor) else type(lengths).__name__
        raise GatewrightError("lengths", "a tensor of whole numbers", str(got))
    require_values("lengths", lengths, x.device)
    lengths = lengths.to(torch.int64)
    if lengths.is_meta:  # as the input is: there is nothing to look at
        return lengths
    if lengths.numel() > 0 and not 0 <= int(lengths.min()) <= int(lengths.max()) <= T:
        got = f"{int(lengths.min())} to {int(lengths.max())}"
        raise GatewrightError("lengths", f"numbers from 0 to {T}, the steps of the input", got)
    return lengths


def _time(layer: Any, x: Tensor, dim: int | None) -> int:
    """Return the dimension of time in an input."""
    if dim is not None:
        if not -x.dim() <= dim < x.dim():
            raise GatewrightError("dim", f"a dimension of an input {tuple(x.shape)}", repr(dim))
        return dim % x.dim()
    if not getattr(layer, "batch_first", False):
        return 0
    if not isinstance(layer, torch.nn.RNNBase):
        raise GatewrightError("dim", "the dimension of time, for a layer that is none of torch's", "None")
    return 1 if x.dim() == 3 else 0


def _require_along(x: Tensor, along: Mapping[str, Iterable[Any]], time: int) -> None:
    """Require that all are tensors with the steps of the input; the keys name them in errors."""
    for name, tensors in along.items():
        for each in tensors:
            if not isinstance(each, Tensor):
                raise GatewrightError(name, "tensors along the input", type(each).__name__)
            if each.dim() <= time or each.shape[time] != x.shape[time]:
                expected = f"{x.shape[time]} steps in dimension {time}, as in the input"
                raise GatewrightError(name, expected, f"shape {tuple(each.shape)}")


def _detached(state: Any) -> Any:
    """Return a state without its graph: a tensor, or tuples, lists and mappings of such."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return state.detach()
    if isinstance(state, Mapping):
        return type(state)((name, _detached(each)) for name, each in state.items())  # type: ignore[call-arg]
    if isinstance(state, tuple | list):
        parts = [_detached(each) for each in state]
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    raise GatewrightError(
        "layer", "one whose state is of tensors, tuples, lists and mappings", type(state).__name__
    )
