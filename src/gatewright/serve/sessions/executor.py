"""Steps of many sessions together: read what is to be read, write what is to be written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError
from gatewright.runtime.sampling import draw
from gatewright.runtime.stream import Stream
from gatewright.serve.sessions.cache import Resident, Residents
from gatewright.serve.sessions.requests import Generate, Request, to_bytes
from gatewright.serve.sessions.store import Saved, sealed

Array = NDArray[Any]


@dataclass
class Taken:
    """A request under way.

    Attributes:
        place: its place among the others.
        request: the request.
        model: whose session it is of.
        resident: the session.
        x: what is to be read.
        times: and when it was observed.
        digest: of the request.
        written: what it wrote before, where it is the last request that goes on.
        y: in the end, the outputs.
        scores: in the end, the last of them; before, those of the step before.
    """

    place: int
    request: Request
    model: Residents
    resident: Resident
    x: Array
    times: Array | None
    digest: bytes
    written: Array | None
    y: Array
    scores: Array


def take(taken: list[Taken], answers: list[Any]) -> list[tuple[Taken, Saved]]:
    """Take steps, as many requests at once as have the same number of them.

    Args:
        taken: requests, each of another session.
        answers: where the errors of those go that do not fit; their sessions have not moved.

    Returns:
        The others, and what is to be stored of their sessions.
    """
    groups: dict[Any, list[Taken]] = {}
    for one in taken:
        when = () if one.times is None else (one.times.shape, one.times.tobytes())
        groups.setdefault((id(one.model), len(one.x), when), []).append(one)
    done = []
    for group in groups.values():
        try:
            done += _run(group)
        except GatewrightError:  # nothing has changed: find out whose fault it is
            for one in group:
                try:
                    done += _run([one])
                except GatewrightError as error:
                    answers[one.place] = error
    for model in {id(one.model): one.model for one in done}.values():
        _write(model.stream, [one for one in done if one.model is model])
    return [(one, _after(one)) for one in done]


def _run(group: list[Taken]) -> list[Taken]:
    """Read what the requests of a group have to read, all of the same length."""
    if len(group[0].x):
        numbers = [one.resident.number for one in group]
        xs = np.stack([one.x for one in group], axis=1)
        ys = group[0].model.stream.run(xs, sessions=numbers, times=group[0].times)
        for place, one in enumerate(group):
            one.y = ys[:, place]
            one.scores = one.y[-1]
    return group


def _write(stream: Stream, done: list[Taken]) -> None:
    """Write the text that is asked for, all requests a symbol at a time."""
    writing = [(one, one.request) for one in done if isinstance(one.request, Generate)]
    drawn: list[list[int]] = [[] for _ in writing]
    while True:
        group = [
            place for place, (one, request) in enumerate(writing) if len(drawn[place]) < _missing(one, request)
        ]
        if not group:
            break
        for place in group:
            one, request = writing[place]
            at = one.resident.saved.steps + len(one.x) + len(drawn[place])
            drawn[place].append(draw(one.scores, request.temperature, request.seed, at))
        numbers = [writing[place][0].resident.number for place in group]
        scores = stream.step(np.array([drawn[place][-1] for place in group]), sessions=numbers)
        for row, place in enumerate(group):
            writing[place][0].scores = scores[row]
    for (one, _), symbols in zip(writing, drawn, strict=True):
        new = np.array(symbols, np.int64)
        one.y = new if one.written is None else np.concatenate([one.written, new])


def _missing(one: Taken, request: Generate) -> int:
    """Return how many symbols are to be written."""
    return request.length - (0 if one.written is None else len(one.written))


def _after(one: Taken) -> Saved:
    """Return what is to be stored of a session that has taken its steps."""
    saved = one.resident.saved
    wrote = _missing(one, one.request) if isinstance(one.request, Generate) else 0
    return saved.then(
        steps=saved.steps + len(one.x) + wrote,
        snapshot=one.model.stream.snapshot(one.resident.number),
        first=saved.steps if one.written is None else saved.first,
        request=one.digest,
        answer=sealed(to_bytes(one.request, one.y, one.scores)),
    )
