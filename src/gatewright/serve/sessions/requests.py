"""Requests to sessions, their answers, and digests that identify a retried request."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, StoreError, shorten
from gatewright.runtime.sampling import require_drawable
from gatewright.runtime.stream import Stream

Array = NDArray[Any]


class Advance(NamedTuple):
    """A request to advance a session.

    Attributes:
        session: name of the session.
        x: input of the steps, as for `Stream.run`: (T, ...), or a text.
        first: number of steps that the session has taken before these; None for any.  A request with ``first``
            may be retried: if it was executed already, the same answer is returned and no step is taken.
        owner: owner of the session.
        times: times of the steps, if the model reads a calendar.
    """

    session: str
    x: Any
    first: int | None = None
    owner: str = ""
    times: Any = None


class Generate(NamedTuple):
    """A request to read a prompt and generate text; the session reads the text it generates.

    Attributes:
        session: name of the session.
        length: number of symbols to generate.
        prompt: text to read first; may be empty if the session is not.
        first: as for `Advance`.  The last request may be retried with a greater length, which continues it.
        temperature: as for `gatewright.runtime.sampling.generate`.
        seed: random seed for sampling.  A draw depends on the seed and the step alone, so that a text generated
            in parts is the same text.
        owner: owner of the session.
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
    """The answer to a request.

    Attributes:
        y: outputs, as from `Stream.run`; for `Generate` the indices of the symbols.
        steps: number of steps that the session has taken, these included.
        repeated: whether the request was a retry of steps already taken.
        state_steps: number of steps in the state: those since the last reset.
    """

    y: Array
    steps: int
    repeated: bool
    state_steps: int


def require_request(request: object) -> None:
    """Raise if an object is not a request, or a field has a wrong type.

    Raises:
        GatewrightError: names the field.
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


#: What a value of a row has to be, unless it is one of a category.
EXPECTED_NUMBER = "a number, or null where none was observed"


def require_numbers(x: Any, stream: Stream) -> None:
    """Raise if a row has a text or a truth value in a column that is no category.

    NumPy would read true as 1.

    Raises:
        GatewrightError: names the step and the column.
    """
    if not isinstance(x, list) or not isinstance(x[0] if x else None, list):
        return
    columns = stream.category_columns
    for t, row in enumerate(x):
        if {str, bool}.isdisjoint(map(type, row)):
            continue
        for place, value in enumerate(row):
            if isinstance(value, str | bool) and place not in columns:
                raise GatewrightError(f"x.{t}.{place}", EXPECTED_NUMBER, shorten(value))


def digest(request: Request, x: Array, times: Array | None) -> bytes:
    """Return a digest that is equal only for equal requests.

    Args:
        request: the request.
        x: its input in the model's form.
        times: its times, or None.
    """
    parts = [f"{x.shape} ".encode(), x.tobytes()]
    if times is not None:
        parts += [f"{times.shape} ".encode(), times.tobytes()]
    if isinstance(request, Generate):
        parts.append(f"{float(request.temperature)!r} {request.seed}".encode())
    return hashlib.blake2b(b"".join(parts), digest_size=16, person=type(request).__name__.encode()).digest()


def creation_digest(*words: str) -> bytes:
    """Return a digest that is equal only for equal requests to create a session."""
    return hashlib.blake2b(" ".join(words).encode(), digest_size=16, person=b"make").digest()


def to_bytes(request: Request, y: Array, scores: Array) -> bytes:
    """Return an answer's outputs as bytes; those of a text model end with the last scores."""
    if isinstance(request, Generate):
        return y.astype("<i8").tobytes() + scores.tobytes()
    return y.tobytes()


def from_bytes(request: Request, data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Return the outputs of a stored answer.

    Args:
        request: the request.
        data: bytes from `to_bytes`.
        dtype: dtype of the model's output.
        shape: shape of one step's output.

    Raises:
        StoreError: if the bytes are not such an answer.
    """
    step = dtype.itemsize * int(np.prod(shape))
    if isinstance(request, Generate):
        written = np.frombuffer(data[:-step], "<i8") if len(data) >= step and (len(data) - step) % 8 == 0 else None
        if written is None or not ((written >= 0) & (written < shape[0])).all():
            raise StoreError("store", "a text of the model's symbols", f"{len(data)} other bytes")
        return written.astype(np.int64)
    if len(data) % step:
        raise StoreError("store", f"an answer of {step} bytes for each step", f"{len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(-1, *shape).copy()
