"""What a session can be asked for, what comes of it, and what tells a repeated request from another one."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, StoreError
from gatewright.runtime.sampling import require_drawable

Array = NDArray[Any]


class Advance(NamedTuple):
    """Steps that a session is to take.

    Attributes:
        session: its name.
        x: what the steps read, as for `Stream.run`: (T, ...), or a text.
        first: how many steps the session has taken before these; None for however many.  A request that names it
            may be repeated: if it was taken already, the same answer comes again and no step is taken.
        owner: whose session it is.
        times: when the steps were observed, where the model reads a calendar.
    """

    session: str
    x: Any
    first: int | None = None
    owner: str = ""
    times: Any = None


class Generate(NamedTuple):
    """Text that a session is to read and then to write on; it reads what it writes.

    Attributes:
        session: its name.
        length: symbols to write.
        prompt: text to read first; may be empty if the session has read something before.
        first: as for `Advance`.  The last request may also come again with a greater length: it goes on then.
        temperature: as for `gatewright.runtime.sampling.generate`.
        seed: of the draws.  With where a symbol stands it says which one is drawn, so that a text that was asked
            for in parts is the same text.
        owner: whose session it is.
    """

    session: str
    length: int
    prompt: str = ""
    first: int | None = None
    temperature: float = 1.0
    seed: int = 0
    owner: str = ""


Request = Advance | Generate


class Answer(NamedTuple):
    """What came of a request.

    Attributes:
        y: the outputs, as `Stream.run` gives them; of `Generate` the numbers of the symbols.
        steps: steps that the session has taken now.
        repeated: whether these steps had been taken before.
        state_steps: steps that are in the state now: those since the last reset.
    """

    y: Array
    steps: int
    repeated: bool
    state_steps: int


def require_request(request: object) -> None:
    """Raise if something is no request, or its names and numbers are of another type.

    Raises:
        GatewrightError: says what is wrong.
    """
    if not isinstance(request, Advance | Generate):
        raise GatewrightError("request", "an Advance or a Generate", f"a {type(request).__name__}")
    texts = ("session", "owner") if isinstance(request, Advance) else ("session", "owner", "prompt")
    for name in texts:
        if not isinstance(getattr(request, name), str):
            raise GatewrightError(name, "text", repr(getattr(request, name))[:80])
    if request.first is not None and (isinstance(request.first, bool) or not isinstance(request.first, int)):
        raise GatewrightError("first", "a whole number, or None", repr(request.first)[:80])
    if isinstance(request, Generate):
        require_drawable(request.length, request.temperature, request.seed)


def digest(request: Request, x: Array, times: Array | None) -> bytes:
    """Return what two requests have in common only if they ask for the same.

    Args:
        request: the request.
        x: what it reads, as the model takes it.
        times: and when.
    """
    parts = [f"{x.shape} ".encode(), x.tobytes()]
    if times is not None:
        parts += [f"{times.shape} ".encode(), times.tobytes()]
    if isinstance(request, Generate):
        parts.append(f"{float(request.temperature)!r} {request.seed}".encode())
    return hashlib.blake2b(b"".join(parts), digest_size=16, person=type(request).__name__.encode()).digest()


def creation_digest(*words: str) -> bytes:
    """Return what two requests to make a session have in common only if they ask for the same."""
    return hashlib.blake2b(" ".join(words).encode(), digest_size=16, person=b"make").digest()


def to_bytes(request: Request, y: Array, scores: Array) -> bytes:
    """Return an answer's outputs as they are kept; those of a text model always end with the last scores."""
    if isinstance(request, Generate):
        return y.astype("<i8").tobytes() + scores.tobytes()
    return y.tobytes()


def from_bytes(request: Request, kept: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Return the outputs of an answer that was kept.

    Args:
        request: what was asked for.
        kept: as `to_bytes` gave them.
        dtype: of the model's output.
        shape: of one step's.

    Raises:
        StoreError: if it is no such answer.
    """
    step = dtype.itemsize * int(np.prod(shape))
    if isinstance(request, Generate):
        written = np.frombuffer(kept[:-step], "<i8") if len(kept) >= step and (len(kept) - step) % 8 == 0 else None
        if written is None or not ((written >= 0) & (written < shape[0])).all():
            raise StoreError("store", "a text of the model's symbols", f"{len(kept)} other bytes")
        return written.astype(np.int64)
    if len(kept) % step:
        raise StoreError("store", f"an answer of {step} bytes for each step", f"{len(kept)} bytes")
    return np.frombuffer(kept, dtype).reshape(-1, *shape).copy()
