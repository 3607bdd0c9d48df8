"""A server's sessions from Python: NumPy in, NumPy out, and no step lost or taken twice on the way."""

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
from urllib.parse import urlsplit

import msgpack
import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from gatewright.errors import BusyError, GatewrightError, SessionError, StepError
from gatewright.runtime.signature import first_wrong
from gatewright.runtime.state import State

Array = NDArray[Any]

#: Numbers in one frame, so that it stays below what a server takes.
_NUMBERS = 50_000
_GONE = (ConnectionClosed, InvalidHandshake, OSError, EOFError)


class Client:
    """A connection to ``gatewright serve``.

    When it breaks, or the server is started again, what was not answered is asked again; the server sees that and
    takes no step twice.  For one thread at a time.

    Args:
        address: of the server.
        token: that it knows; left out, the environment's GATEWRIGHT_TOKEN, if there is one.
        patience: seconds to try again for.

    Raises:
        GatewrightError: if the address is none.

    >>> with Client("http://127.0.0.1:8765") as client:  # doctest: +SKIP
    ...     session = client.create()
    ...     session.step([21.4, 3.2])
    """

    def __init__(
        self, address: str = "http://127.0.0.1:8765", token: str | None = None, *, patience: float = 30.0
    ) -> None:
        parts = urlsplit(address if isinstance(address, str) else "")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise GatewrightError("address", "one such as http://127.0.0.1:8765", repr(address)[:80])
        self._url = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{parts.path.rstrip('/')}/v1/ws"
        self._address, self._patience = address, patience
        token = os.environ.get("GATEWRIGHT_TOKEN") if token is None else token
        self._headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        self._socket: ClientConnection | None = None
        self._open = contextlib.ExitStack()  # what is to be closed of it
        self._ids = itertools.count()
        self._asked = 0  # how many frames went out, or may have
        self._early: dict[int, deque[dict[str, Any]]] = {}  # frames that came before they were waited for

    def model(self) -> dict[str, Any]:
        """Return what the model of new sessions reads and gives: ``columns``, ``symbols``, ``output``, ..."""
        return self._ask({"op": "model"})

    def create(self) -> Session:
        """Make a session."""
        # The name is ours, so that a request whose answer got lost makes no second one.
        return self._session(self._ask({"op": "create", "name": secrets.token_urlsafe(24)}))

    def session(self, name: str) -> Session:
        """Return a session that was made before.

        Raises:
            SessionError: if it is not there.
        """
        return self._session(self._ask({"op": "read", "session": name}))

    def sessions(self) -> Iterator[str]:
        """Give the names of one's sessions, in order."""
        after: str | None = ""
        while after is not None:
            found = self._ask({"op": "list", "after": after})
            yield from found["sessions"]
            after = found["next"]

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

    def _session(self, found: dict[str, Any]) -> Session:
        return Session(self, found, self.model())

    def _ask(self, frame: dict[str, Any]) -> dict[str, Any]:
        return next(self._frames(frame))

    def _frames(self, frame: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Send a frame, and give the answers to it; ask again until the first of them is there.

        Raises:
            GatewrightError: if the server refuses it.
            ConnectionError: if it is gone for longer than we have patience.
        """
        until = time.monotonic() + self._patience
        frame = {"id": next(self._ids), **frame}
        while True:
            try:
                answer = self._sent(frame)
            except InvalidStatus as error:
                if error.response.status_code not in (429, 502, 503, 504):
                    raise _refused(error.response.status_code) from None
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
                if self._socket is not socket:  # something else was asked meanwhile, and found it broken
                    raise _BrokenError
                answer = self._next(number)
        finally:
            del self._early[number]

    def _sent(self, frame: dict[str, Any]) -> dict[str, Any]:
        if self._socket is None:
            try:
                connection = connect(
                    self._url,
                    subprotocols=[Subprotocol("gatewright.msgpack")],
                    additional_headers=self._headers,
                    compression=None,
                    max_size=None,
                )
                self._socket = self._open.enter_context(connection)
            except InvalidURI as error:
                raise GatewrightError("address", "one such as http://127.0.0.1:8765", str(error)) from None
        self._asked += 1
        self._socket.send(msgpack.packb(frame))
        return self._next(frame["id"])

    def _next(self, number: int) -> dict[str, Any]:
        if self._early.get(number):
            return self._early[number].popleft()
        assert self._socket is not None
        while True:
            found: dict[str, Any] = msgpack.unpackb(self._socket.recv())
            if found["id"] == number:
                return found
            if found["id"] in self._early:  # a text that is being read beside this
                self._early[found["id"]].append(found)

    def _wait(self, seconds: float, until: float) -> None:
        self.close()
        if time.monotonic() + seconds > until:
            raise ConnectionError(f"{self._address}: no answer for {self._patience:g} s")
        time.sleep(seconds)


class Session:
    """A session at a server; made by `Client.create` or `Client.session`.

    Attributes:
        name: by which it is found again; whoever knows it and has the token can use it.
        steps: steps that it has taken.
        state_steps: steps that are in its state: those since the last reset.
        context: steps that a forecaster was trained to read before it forecasts; 0 for other models.
    """

    def __init__(self, client: Client, found: dict[str, Any], model: dict[str, Any]) -> None:
        self.name, self.steps, self.state_steps = found["session"], found["steps"], found["state_steps"]
        self.context: int = model["context"]
        self._client, self._most = client, model["most_steps"]
        self._dtype = np.float32 if model["symbols"] else np.float64
        self._behind = False  # whether the server may have taken steps that we have not heard of

    def step(self, x: Any, time: Any = None) -> Array:
        """Advance by one step; see `gatewright.Stream.step`.

        Raises:
            GatewrightError: if input does not fit; the session has not changed then.
            ConnectionError: if the server is gone.
        """
        return self.run(x if isinstance(x, str) else [x], None if time is None else [time])[0]

    def run(self, xs: Any, times: Any = None) -> Array:
        """Advance by many steps; see `gatewright.Stream.run`.

        Long input goes in several requests, each of which is taken whole or not at all.

        Raises:
            StepError: if the session stands elsewhere: somebody else has advanced it, or the server's store has
                forgotten steps in a failover.  `state` finds out where, and `steps` says it then.
            GatewrightError: if input does not fit; `steps` says how many were taken before.
            ConnectionError: if the server is gone.
        """
        self._catch_up()
        rows = xs if isinstance(xs, str) else _plain(xs)
        when = None if times is None else [str(time) for time in times]
        width = len(rows[0]) if rows and isinstance(rows[0], list) else 1
        most = max(1, min(self._most, _NUMBERS // max(1, width)))
        found = []
        for begin in range(0, max(1, len(rows)), most):
            part = slice(begin, begin + most)
            frame = {"op": "advance", "session": self.name, "x": rows[part], "first": self.steps}
            answer = self._client._ask(frame if when is None else {**frame, "times": when[part]})
            self.steps, self.state_steps = answer["steps"], answer["state_steps"]
            found.append(np.array(answer["y"], self._dtype))
        return np.concatenate(found)

    def generate(
        self, length: int, prompt: str = "", *, temperature: float = 1.0, seed: int | None = None
    ) -> Iterator[str]:
        """Write text, and give it piece by piece; the session reads it too.

        While the connection is open it is written to its end, also if nobody listens any more.

        Args:
            length: symbols to write.
            prompt: text to read first.
            temperature: below 1 prefers likely symbols; 0 takes the likeliest.
            seed: of the draws; left out, one that the session's name gives.

        Raises:
            GatewrightError: if the model writes no text, or an argument is out of range.
            ConnectionError: if the server is gone.
        """
        self._catch_up()
        self._behind = True
        frame = {"op": "generate", "session": self.name, "prompt": prompt, "length": length, "first": self.steps}
        frame |= {"temperature": temperature, "seed": seed}
        given = 0
        while True:
            came = 0
            try:
                for piece in self._client._frames(frame):
                    if "done" in piece:
                        self._behind = False
                        return
                    came, self.steps = came + len(piece["text"]), piece["steps"]
                    self.state_steps = piece["state_steps"]
                    if came > given:  # else it was given before the connection broke
                        new = piece["text"][len(piece["text"]) - (came - given) :]
                        given = came
                        yield new
            except (ConnectionClosed, _BrokenError):
                self._client.close()

    def _catch_up(self) -> None:
        """Learn how many steps there are after a text that was not listened to until its end."""
        if self._behind:
            self.state()

    def state(self) -> State:
        """Return the session's state."""
        found = self._client._ask({"op": "read", "session": self.name})
        self.steps, self.state_steps, self._behind = found["steps"], found["state_steps"], False
        hidden, cell = (np.array(found[name], np.float32) for name in ("hidden", "cell"))
        return State(hidden, cell, np.array(found["last"], np.float64), found["state_steps"])

    def reset(self) -> None:
        """Put the state back to the beginning; `steps` goes on."""
        self.state_steps = self._client._ask({"op": "reset", "session": self.name})["state_steps"]

    def fork(self) -> Session:
        """Return another session that stands where this one does."""
        found = self._client._ask({"op": "fork", "session": self.name, "name": secrets.token_urlsafe(24)})
        return self._client._session(found)

    def delete(self) -> None:
        """Forget it.

        Raises:
            SessionError: if it is not there.
        """
        asked = self._client._asked
        try:
            self._client._ask({"op": "delete", "session": self.name})
        except SessionError:
            if self._client._asked == asked + 1:
                raise
            # An answer got lost, and it was the one that said so.

    def __repr__(self) -> str:
        return f"Session(steps={self.steps})"  # its name is a secret


class _BrokenError(Exception):
    """The connection of a text that is being read is not there any more."""


def _plain(xs: Any) -> list[Any]:
    """Return rows as plain lists, with None for what was not observed.

    Raises:
        GatewrightError: names what is no number among numbers.
    """
    array = np.asarray(xs)
    if array.dtype.kind not in "fiub" and (wrong := first_wrong(xs)) is not None and wrong[1] is not None:
        place, value = wrong  # else NumPy would make texts of all numbers
        raise GatewrightError(f"x{place}", "a number", repr(value)[:80])
    if array.dtype.kind == "O" and array.ndim == 2:
        array = np.asarray(xs, np.float64)  # None among numbers
    if array.dtype.kind == "f" and np.isnan(array).any():
        return [[None if value != value else value for value in row] for row in array.tolist()]
    return array.tolist() if array.ndim else [array.item()]


def _refused(status: int) -> GatewrightError:
    """Return the error of a handshake that was refused."""
    hints = {401: ("token", "one that the server knows", "none such"), 421: ("address", "a name of it", "another")}
    return GatewrightError(*hints.get(status, ("address", "a Gatewright server", f"status {status}")))


def _error(status: int, part: dict[str, str], retry_after: float) -> GatewrightError:
    told = (part["argument"], part["expected"], part["got"])
    if status in (429, 503):
        return BusyError(*told, retry_after=retry_after)
    kind = {404: SessionError, 409: StepError}.get(status, GatewrightError)
    return kind(*told)
