"""Python client of the server, with NumPy arrays; lost answers are retried safely."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection

from gatewright.errors import BusyError, GatewrightError, SessionError, StepError
from gatewright.runtime.signature import first_wrong
from gatewright.runtime.state import State
from gatewright.serve.connect import Target, Verify

Array = NDArray[Any]

#: Numbers in one frame, to stay below the server's limit.
_NUMBERS = 50_000
_GONE = (ConnectionClosed, InvalidHandshake, OSError, EOFError)


class Client:
    """A connection to ``gatewright serve``.

    After a broken connection or a restart of the server, unanswered requests are retried; the server recognizes
    retries and takes no step twice.  Not thread-safe.

    Args:
        address: URL of the server.
        token: bearer token; if omitted, the environment variable GATEWRIGHT_TOKEN.
        model: name of the model; if omitted, the server's default one.
        patience: maximum time of retries, in seconds.
        affinity: key that load balancers choose a replica by, such as the name of a device; a random one for each
            client if omitted.  Any replica gives the same answers.
        verify: for HTTPS: True for certificates of the system's authorities, False for any, or the PEM file of an
            authority, or an `ssl.SSLContext`.

    Raises:
        GatewrightError: if an argument is invalid.

    >>> with Client("http://127.0.0.1:8765") as client:  # doctest: +SKIP
    ...     session = client.create()
    ...     session.step([21.4, 3.2])
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8765",
        token: str | None = None,
        *,
        model: str | None = None,
        patience: float = 30.0,
        affinity: str | None = None,
        verify: Verify = True,
    ) -> None:
        token = os.environ.get("GATEWRIGHT_TOKEN") if token is None else token
        self._target = Target(address, token=token, model=model, affinity=affinity, verify=verify)
        self._patience = patience
        self._socket: ClientConnection | None = None
        self._open = contextlib.ExitStack()  # closes the connection
        self._ids = itertools.count()
        self._sent_count = 0  # number of frames that were sent, or may have been
        self._early: dict[int, deque[dict[str, Any]]] = {}  # answers received before they were awaited

    def model(self) -> dict[str, Any]:
        """Return the inputs and outputs of the model of new sessions: ``columns``, ``symbols``, ``output``, ..."""
        return self._ask({"op": "model"})

    @property
    def replica(self) -> str:
        """Name of the replica that the last connection was made to; empty if the server has none."""
        return self._target.replica

    def create(self) -> Session:
        """Create a session."""
        # The client chooses the name, so that a retry creates no second session.
        return self._session(self._ask({"op": "create", "name": secrets.token_urlsafe(24)}))

    def session(self, name: str) -> Session:
        """Return an existing session.

        Raises:
            SessionError: if the session does not exist.
        """
        return self._session(self._ask({"op": "read", "session": name}))

    def sessions(self) -> Iterator[str]:
        """Yield the names of the caller's sessions, in order."""
        after: str | None = ""
        while after is not None:
            page = self._ask({"op": "list", "after": after})
            yield from page["sessions"]
            after = page["next"]

    def close(self) -> None:
        """Close the connection; sessions stay."""
        self._socket = None
        self._open.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def _session(self, description: dict[str, Any]) -> Session:
        return Session(self, description, self.model())

    def _ask(self, frame: dict[str, Any]) -> dict[str, Any]:
        return next(self._frames(frame))

    def _frames(self, frame: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Send a frame and yield its answers; retry until the first answer arrives.

        Raises:
            GatewrightError: if the server returns an error.
            ConnectionError: if the server is unavailable for longer than ``patience``.
        """
        until = time.monotonic() + self._patience
        frame = {"id": next(self._ids), **frame}
        while True:
            try:
                answer = self._sent(frame)
            except InvalidStatus:
                self._wait(0.5, until)
            except _GONE:
                self._wait(0.1, until)
            else:
                if answer.get("status") in (429, 503) and time.monotonic() + answer["retry_after"] < until:
                    time.sleep(answer["retry_after"])
                    continue
                break
        socket, number = self._socket, frame["id"]
        self._early[number] = deque()
        try:
            while True:
                if "error" in answer:
                    raise _error(answer["status"], answer["error"], answer.get("retry_after", 1.0))
                yield answer
                if self._socket is not socket:  # another request has replaced a broken connection
                    raise _BrokenError
                answer = self._next(number)
        finally:
            del self._early[number]

    def _sent(self, frame: dict[str, Any]) -> dict[str, Any]:
        if self._socket is None:
            self._socket = self._open.enter_context(self._target.connect())
        self._sent_count += 1
        self._socket.send(msgpack.packb(frame))
        return self._next(frame["id"])

    def _next(self, number: int) -> dict[str, Any]:
        if self._early.get(number):
            return self._early[number].popleft()
        assert self._socket is not None
        while True:
            answer: dict[str, Any] = msgpack.unpackb(self._socket.recv())
            if answer["id"] == number:
                return answer
            if answer["id"] in self._early:  # an answer to another request, a text in progress
                self._early[answer["id"]].append(answer)

    def _wait(self, seconds: float, until: float) -> None:
        self.close()
        if time.monotonic() + seconds > until:
            raise ConnectionError(f"{self._target.address}: no answer for {self._patience:g} s")
        time.sleep(seconds)


class Session:
    """A session on a server; returned by `Client.create` and `Client.session`.

    Attributes:
        name: name of the session; a secret, like the token.
        steps: number of steps that the session has taken.
        state_steps: number of steps in its state: those since the last reset.
        context: number of steps that a forecaster was trained to read before it forecasts; 0 for others.
    """

    def __init__(self, client: Client, description: dict[str, Any], model: dict[str, Any]) -> None:
        self.name, self.steps, self.state_steps = (
            description["session"],
            description["steps"],
            description["state_steps"],
        )
        self.context: int = model["context"]
        self._client, self._most = client, model["most_steps"]
        self._dtype = np.float32 if model["symbols"] else np.float64
        self._token: str = model["token"]
        self._behind = False  # whether the server may have taken steps unknown here

    def step(self, x: Any, time: Any = None) -> Array:
        """Advance by one step; see `gatewright.Stream.step`.

        Raises:
            GatewrightError: if the input is invalid; the session has not changed then.
            ConnectionError: if the server is unavailable.
        """
        return self.run(x if isinstance(x, str) else [x], None if time is None else [time])[0]

    def run(self, xs: Any, times: Any = None) -> Array:
        """Advance by many steps; see `gatewright.Stream.run`.

        Long input is sent in several requests, each of which is atomic.

        Raises:
            StepError: if the session is at another step: another client has advanced it, or the store lost
                steps in a failover.  `state` updates `steps`.
            GatewrightError: if the input is invalid; `steps` counts the steps taken before.
            ConnectionError: if the server is unavailable.
        """
        self._catch_up()
        rows = xs if isinstance(xs, str) else _plain(xs)
        when = None if times is None else [str(time) for time in times]
        width = len(rows[0]) if rows and isinstance(rows[0], list) else 1
        most = max(1, min(self._most, _NUMBERS // max(1, width)))
        if isinstance(rows, str) and self._token == "byte":
            most = max(1, most // 4)  # bytes of a character
        if isinstance(rows, str) and self._token == "token" and len(rows) > most:
            got = f"{len(rows)}: the tokens of its parts would be others than those of the whole"
            raise GatewrightError("xs", f"a text of at most {most} characters", got)
        outputs = []
        for begin in range(0, max(1, len(rows)), most):
            part = slice(begin, begin + most)
            frame = {"op": "advance", "session": self.name, "x": rows[part], "first": self.steps}
            answer = self._client._ask(frame if when is None else {**frame, "times": when[part]})
            self.steps, self.state_steps = answer["steps"], answer["state_steps"]
            outputs.append(np.array(answer["y"], self._dtype))
        return np.concatenate(outputs)

    def generate(
        self, length: int, prompt: str = "", *, temperature: float = 1.0, seed: int | None = None
    ) -> Iterator[str]:
        """Generate text and yield it piece by piece; the session reads it too.

        The server completes the text even if the caller stops iterating.

        Args:
            length: number of symbols to generate.
            prompt: text to read first.
            temperature: below 1 prefers likely symbols; 0 takes the likeliest.
            seed: random seed for sampling; if omitted, derived from the session's name.

        Raises:
            GatewrightError: if the model is not a language model, or an argument is out of range.
            ConnectionError: if the server is unavailable.
        """
        self._catch_up()
        self._behind = True
        frame = {"op": "generate", "session": self.name, "prompt": prompt, "length": length, "first": self.steps}
        frame |= {"temperature": temperature, "seed": seed}
        yielded = 0
        while True:
            received = 0
            try:
                for piece in self._client._frames(frame):
                    if "done" in piece:
                        self._behind = False
                        return
                    received, self.steps = received + len(piece["text"]), piece["steps"]
                    self.state_steps = piece["state_steps"]
                    if received > yielded:  # else it was yielded before the connection broke
                        new = piece["text"][len(piece["text"]) - (received - yielded) :]
                        yielded = received
                        yield new
            except (ConnectionClosed, _BrokenError):
                self._client.close()

    def _catch_up(self) -> None:
        """Update `steps` after a text that was not read to its end."""
        if self._behind:
            self.state()

    def state(self) -> State:
        """Return the session's state."""
        answer = self._client._ask({"op": "read", "session": self.name})
        self.steps, self.state_steps, self._behind = answer["steps"], answer["state_steps"], False
        hidden, cell = (np.array(answer[name], np.float32) for name in ("hidden", "cell"))
        rows = answer["recent"]
        recent = np.array(rows, np.float32).reshape(len(rows), -1 if rows else 0)
        return State(hidden, cell, np.array(answer["last"], np.float64), answer["state_steps"], recent)

    def reset(self) -> None:
        """Reset the state; `steps` does not change."""
        self.state_steps = self._client._ask({"op": "reset", "session": self.name})["state_steps"]

    def fork(self) -> Session:
        """Create a session with the same state."""
        description = self._client._ask({"op": "fork", "session": self.name, "name": secrets.token_urlsafe(24)})
        return self._client._session(description)

    def delete(self) -> None:
        """Delete the session.

        Raises:
            SessionError: if the session does not exist.
        """
        sent_count = self._client._sent_count
        try:
            self._client._ask({"op": "delete", "session": self.name})
        except SessionError:
            if self._client._sent_count == sent_count + 1:
                raise
            # The answer of an earlier attempt, which succeeded, was lost.

    def __repr__(self) -> str:
        return f"Session(steps={self.steps})"  # the name is a secret


class _BrokenError(Exception):
    """The connection broke while a text was being read."""


def _plain(xs: Any) -> list[Any]:
    """Return rows as lists, with None in place of NaN.

    Raises:
        GatewrightError: names the first value that is not a number.
    """
    if isinstance(xs, list | tuple) and any(isinstance(row, list | tuple) for row in xs):
        rows = [list(row) if isinstance(row, list | tuple) else row for row in xs]
        if any(isinstance(row, list) and _has_values(row) for row in rows):
            return [list(map(_value, row)) if isinstance(row, list) else row for row in rows]
    array = np.asarray(xs)
    if array.dtype.kind not in "fiub" and (wrong := first_wrong(xs)) is not None and wrong[1] is not None:
        place, value = wrong  # else NumPy would convert all numbers to text
        raise GatewrightError(f"x{place}", "a number", repr(value)[:80])
    if array.dtype.kind == "O" and array.ndim == 2:
        array = np.asarray(xs, np.float64)  # None among numbers
    if np.issubdtype(array.dtype, np.floating) and np.isnan(array).any():
        return [[None if value != value else value for value in row] for row in array.tolist()]
    return array.tolist() if array.ndim else [array.item()]


def _has_values(row: list[Any]) -> bool:
    """Whether a row has a text or a truth value: one of a category."""
    return any(isinstance(value, str | bool | np.bool_) for value in row)


def _value(value: Any) -> Any:
    """Return a value of a row as JSON and msgpack have it, None in place of NaN."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and value != value else value


def _error(status: int, part: dict[str, str], retry_after: float) -> GatewrightError:
    details = (part["argument"], part["expected"], part["got"])
    if status in (429, 503):
        return BusyError(*details, retry_after=retry_after)
    kind = {404: SessionError, 409: StepError}.get(status, GatewrightError)
    return kind(*details)
