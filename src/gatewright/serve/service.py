"""Operations of the server, independent of the protocol: limits, metrics, batches."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from gatewright.data.tokens import Characters, Tokenizer
from gatewright.errors import (
    BusyError,
    GatewrightError,
    LimitError,
    ModelFileError,
    SessionError,
    StateError,
    StepError,
    StoreError,
)
from gatewright.serve.http.parsing import Bounds
from gatewright.serve.logs import log_event
from gatewright.serve.metrics import Metrics
from gatewright.serve.rate_limit import RateLimiter
from gatewright.serve.schemas import AdvanceBody, GenerateBody
from gatewright.serve.sessions.batcher import Batcher
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.requests import Advance, Generate
from gatewright.serve.sessions.store import Store
from gatewright.serve.settings import Limits

T = TypeVar("T")
#: Number of symbols of a text generated, stored and sent at a time.
PIECE = 16
#: Beginning of the session names of sequences of the Open Inference Protocol.
SEQUENCE_PREFIX = "inference-"
#: Name of a model that is given none.
DEFAULT = "default"


class Shared:
    """What the models of a server have in common.

    Args:
        limits: resource limits.  The rates and the numbers of sessions and connections are those of all models
            together; waiting requests, sessions in memory and the quotas of a token are counted for each model.
        metrics: metrics of the operations.
        replica: name of this server among its replicas; empty for none.

    Attributes:
        step_limiter: rate of steps, by token.
        write_limiter: rate of sessions created, forked, reset and restored, by token.
        draining: whether `/readyz` tells load balancers to send nothing more.
        closing: whether connections are closed after their current requests.
        stopping: whether new requests are refused.
    """

    def __init__(self, limits: Limits, metrics: Metrics, replica: str = "") -> None:
        self.limits, self.metrics, self.replica = limits, metrics, replica
        self.step_limiter = RateLimiter(limits.max_token_steps, limits.max_steps)
        self.write_limiter = RateLimiter(limits.max_token_steps, limits.max_steps)
        self.draining = self.closing = self.stopping = False


class Service:
    """Operations on the sessions of one of a server's models.

    The name of the model is part of the owner that the store knows: no request reaches a session by another name.

    Args:
        sessions: the sessions.
        batcher: runs them.
        store: the store of all sessions.
        shared: limits and metrics.
        piece: number of symbols of a text generated, stored and sent at a time.
        name: name that the model is served by.

    Attributes:
        limits: resource limits.
        shared: what all models of the server have in common.
        name: name that the model is served by.
        running: number of operations in progress.
    """

    def __init__(
        self,
        sessions: Sessions,
        batcher: Batcher,
        store: Store,
        shared: Shared,
        *,
        piece: int,
        name: str = DEFAULT,
    ) -> None:
        self._sessions, self._batcher, self._store = sessions, batcher, store
        self.shared, self.limits, self.name = shared, shared.limits, name
        self._scope = "" if name == DEFAULT else f"{name}:"  # no name of a token has a colon
        self._piece = piece
        self._calls = self.running = 0
        gauges = shared.metrics
        gauges.resident.labels(name).set_function(sessions.resident)
        gauges.waiting.labels(name).set_function(lambda: batcher.waiting)

    def model(self) -> dict[str, Any]:
        """Return the inputs and outputs of the model of new sessions."""
        stream = self._sessions.stream
        return {
            "name": self.name,
            "model": stream.fingerprint,
            "columns": stream.columns,
            "calendar": stream.reads_calendar,
            "time_zone": stream.time_zone,
            "targets": stream.targets,
            "quantiles": stream.quantiles,
            "categories": stream.categories,
            "symbols": stream.symbols,
            "token": "" if stream.tokenizer is None else stream.tokenizer.unit,
            "classes": stream.classes,
            "output": stream.output_shape,
            "context": stream.context,
            "most_steps": self.limits.max_steps,
        }

    def bounds(self) -> Bounds:
        """Return the limits of a message."""
        return Bounds(self.limits.max_steps, len(self._sessions.stream.columns))

    @property
    def output_bytes(self) -> int:
        """Approximate size of a step's output on the wire, in bytes."""
        return 20 * math.prod(self._sessions.stream.output_shape)

    async def create(self, owner: str, name: str | None = None, *, sequence: bool = False) -> dict[str, Any]:
        """Create a session, by a reserved name only for a sequence."""
        if not sequence:
            _require_unreserved(name)
        self.shared.write_limiter.acquire(owner, 1)
        key = self._key(owner)
        return await self._call(lambda: self._described(self._sessions.create(key, name), key))

    async def fork(
        self, owner: str, session: str, name: str | None = None, *, sequence: bool = False
    ) -> dict[str, Any]:
        """Create a session with the state of another one, by a reserved name only for a sequence."""
        if not sequence:
            _require_unreserved(name)
        self.shared.write_limiter.acquire(owner, 1)
        key = self._key(owner)
        return await self._call(lambda: self._described(self._sessions.fork(session, key, name), key))

    async def reset(self, owner: str, session: str) -> dict[str, Any]:
        """Reset a session's state."""
        self.shared.write_limiter.acquire(owner, 1)
        key = self._key(owner)

        def reset() -> dict[str, Any]:
            self._sessions.reset(session, key)
            return self._described(session, key)

        return await self._call(reset)

    async def delete(self, owner: str, session: str) -> dict[str, Any]:
        """Delete a session."""
        await self._call(lambda: self._sessions.delete(session, self._key(owner)))
        return {"session": session}

    async def read(self, owner: str, session: str) -> dict[str, Any]:
        """Return a session and its state."""
        key = self._key(owner)

        def read() -> dict[str, Any]:
            steps, state = self._sessions.read(session, key)
            model = self._sessions.model_of(session, key).fingerprint
            replica = self._sessions.replica_of(session, key) or None if self._store.shared else None
            arrays = {name: getattr(state, name).tolist() for name in ("hidden", "cell", "last", "recent")}
            return {
                "session": session,
                "model": model,
                "steps": steps,
                "state_steps": state.steps,
                **arrays,
                "replica": replica,
            }

        return await self._call(read)

    async def snapshot(self, owner: str, session: str) -> bytes:
        """Return a session's state as bytes."""
        _, snapshot = await self._call(lambda: self._sessions.snapshot(session, self._key(owner)))
        return snapshot

    async def restore(self, owner: str, session: str, snapshot: bytes) -> dict[str, Any]:
        """Restore a session's state from a snapshot."""
        self.shared.write_limiter.acquire(owner, 1)
        key = self._key(owner)

        def restore() -> dict[str, Any]:
            try:
                self._sessions.reset(session, key, snapshot)
            except StateError as error:  # damaged input, not a damaged store
                raise GatewrightError(error.argument, error.expected, error.got) from None
            return self._described(session, key)

        return await self._call(restore)

    async def names(self, owner: str, after: str, most: int) -> dict[str, Any]:
        """Return names of an owner's sessions, and the start of the next page."""
        names = await self._call(lambda: self._sessions.names(self._key(owner), after, most))
        return {"sessions": names, "next": names[-1] if len(names) == most else None}

    async def advance(self, owner: str, session: str, body: AdvanceBody) -> dict[str, Any]:
        """Advance a session."""
        # The tokens are those of the model that new sessions get; only its thread knows that of a session.
        now = self._sessions.stream.tokenizer
        self._admit(owner, await _tokens(body.x, now) if isinstance(body.x, str) else len(body.x), "x")
        request = Advance(session, _rows(body.x), body.first, self._key(owner), body.times)
        self.running += 1
        try:
            answer = await self._batcher.submit(request)
        finally:
            self.running -= 1
        if not answer.repeated:
            self.shared.metrics.steps.labels(self.name).inc(len(answer.y))
        y = {"all": answer.y, "last": answer.y[-1:], "none": answer.y[:0]}[body.outputs]
        progress = {"steps": answer.steps, "state_steps": answer.state_steps, "repeated": answer.repeated}
        return {"y": y, **progress}

    async def generate(self, owner: str, session: str, body: GenerateBody) -> AsyncIterator[dict[str, Any]]:
        """Generate text piece by piece; each is stored before it is yielded."""
        self.running += 1
        try:
            async for piece in self._pieces(owner, session, body):
                yield piece
        finally:
            self.running -= 1

    async def _pieces(self, owner: str, session: str, body: GenerateBody) -> AsyncIterator[dict[str, Any]]:
        key = self._key(owner)
        prompt = await _tokens(body.prompt, self._sessions.stream.tokenizer)
        self._admit(owner, prompt + body.length, "prompt and length")
        seed = _seed(session) if body.seed is None else body.seed
        tokenizer = (await self._call(lambda: self._sessions.model_of(session, key))).tokenizer
        if tokenizer is not None:  # a model without one refuses the request below
            prompt = await _tokens(body.prompt, tokenizer)
        decoder = None if tokenizer is None else tokenizer.decoder()
        first, done = body.first, 0
        while True:
            length = min(done + self._piece, body.length)
            # The same request with a greater length continues it, so that a client can retry the whole request.
            answer = await self._batcher.submit(
                Generate(session, length, body.prompt, first, body.temperature, seed, key)
            )
            if not answer.repeated:
                self.shared.metrics.steps.labels(self.name).inc(length - done + (0 if done else prompt))
            assert decoder is not None
            text = "".join(decoder.add(int(number)) for number in answer.y[done:])
            text += decoder.end() if length == body.length else ""
            progress = {"steps": answer.steps, "state_steps": answer.state_steps, "repeated": answer.repeated}
            yield {"text": text, **progress}
            first, done = answer.steps - length - prompt, length
            if done == body.length:
                return

    async def is_available(self) -> bool:
        """Return whether the store is available."""
        try:
            await self._call(self._store.ping)
        except (StoreError, BusyError):
            return False
        return True

    async def drop_idle(self) -> None:
        """Remove idle sessions from memory."""
        await self._call(lambda: self._sessions.drop_idle(self.limits.idle))

    async def close(self, *, answer: bool = True) -> None:
        """Refuse new requests, and answer the waiting ones unless they are to be refused, too."""
        await self._batcher.close(answer=answer)

    async def _call(self, function: Callable[[], T]) -> T:
        maximum = self.limits.max_waiting
        if self._calls >= maximum:
            raise BusyError("request", f"fewer than {maximum} waiting", str(self._calls), retry_after=1.0)
        self._calls += 1
        self.running += 1
        try:
            return await self._batcher.call(function)
        finally:
            self._calls -= 1
            self.running -= 1

    def _key(self, owner: str) -> str:
        """Return the owner of a user's sessions in the store: those of this model."""
        return self._scope + owner

    def _admit(self, owner: str, steps: int, argument: str) -> None:
        if steps > self.limits.max_steps:
            raise GatewrightError(argument, f"at most {self.limits.max_steps} steps", str(steps))
        self.shared.step_limiter.acquire(owner, steps)

    def _described(self, session: str, key: str) -> dict[str, Any]:
        steps, snapshot = self._sessions.snapshot(session, key)
        model = self._sessions.model_of(session, key)
        read = model.require(snapshot).steps
        return {"session": session, "model": model.fingerprint, "steps": steps, "state_steps": read}

    def describe_error(self, error: Exception) -> tuple[int, dict[str, Any], float | None]:
        """Return the status, the body and, for temporary errors, the delay before a retry in seconds.

        Details of internal errors are logged and not sent.
        """
        retry_after = None
        if isinstance(error, BusyError):
            status, retry_after = (503 if self.shared.stopping else 429), error.retry_after
        elif isinstance(error, LimitError):
            status, retry_after = 429, 60.0
        elif isinstance(error, StepError):
            status = 409
        elif isinstance(error, SessionError):
            status = 404
        elif isinstance(error, StoreError | ModelFileError | StateError):  # unavailable or damaged
            log_event("store failed", level=logging.ERROR, error=str(error))
            status, retry_after = 503, 1.0
            error = StoreError("store", "an available session store", "none; retry with the same first")
        elif isinstance(error, GatewrightError):
            status = 422
        else:
            logging.getLogger("gatewright.serve").error("failed", exc_info=error)
            status, error = 500, GatewrightError("server", "an answer", "an internal error; see the log")
        part = {"argument": error.argument, "expected": error.expected, "got": error.got}
        return status, {"error": part}, retry_after

    def count(self, op: str, status: int, began: float) -> None:
        """Record an answered request."""
        metrics = self.shared.metrics
        metrics.requests.labels(self.name, op, status).inc()
        metrics.seconds.labels(self.name, op).observe(time.perf_counter() - began)


def _rows(x: str | list[Any]) -> Any:
    """Return rows with NaN in place of None."""
    if isinstance(x, str) or not any(isinstance(row, list) and None in row for row in x):
        return x
    return [[float("nan") if value is None else value for value in row] for row in x]


async def _tokens(text: str, tokenizer: Tokenizer | None) -> int:
    """Return how many tokens a text has; neither the event loop nor the sessions' thread waits for a long one."""
    if tokenizer is None or tokenizer.unit == Characters.unit:
        return len(text)
    return len(await asyncio.to_thread(tokenizer.encode, text))


def _require_unreserved(name: str | None) -> None:
    """Raise if a name is of the form of those of sequences, which can be guessed."""
    if name is not None and name.startswith(SEQUENCE_PREFIX):
        raise GatewrightError("name", f"one that does not begin with {SEQUENCE_PREFIX}", repr(name)[:80])


def _seed(session: str) -> int:
    return int.from_bytes(hashlib.blake2b(session.encode(), digest_size=8).digest(), "little") >> 1
