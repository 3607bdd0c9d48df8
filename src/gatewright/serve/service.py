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


class Service:
    """Operations on a server's sessions.

    Attributes:
        limits: resource limits.
        metrics: metrics of the operations.
        stopping: whether new requests are refused.
    """

    def __init__(
        self, sessions: Sessions, batcher: Batcher, store: Store, limits: Limits, metrics: Metrics, *, piece: int
    ) -> None:
        self._sessions, self._batcher, self._store = sessions, batcher, store
        self.limits, self.metrics, self.stopping = limits, metrics, False
        self._step_limiter = RateLimiter(limits.max_token_steps, limits.max_steps)
        self._write_limiter = RateLimiter(
            limits.max_token_steps, limits.max_steps
        )  # creates, forks, resets and restores
        self._piece = piece
        self._calls = 0
        metrics.add_gauge("sessions", "Sessions in the store.", self._count)
        metrics.add_gauge("sessions_resident", "Sessions in memory.", sessions.resident)
        metrics.add_gauge("waiting", "Requests waiting for a batch.", lambda: batcher.waiting)

    def _count(self) -> float:
        try:
            return self._sessions.count()
        except StoreError:
            return float("nan")

    def model(self) -> dict[str, Any]:
        """Return the inputs and outputs of the model of new sessions."""
        stream = self._sessions.stream
        return {
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

    async def create(self, owner: str, name: str | None = None) -> dict[str, Any]:
        """Create a session."""
        self._write_limiter.acquire(owner, 1)
        return await self._call(lambda: self._described(self._sessions.create(owner, name), owner))

    async def fork(self, owner: str, session: str, name: str | None = None) -> dict[str, Any]:
        """Create a session with the state of another one."""
        self._write_limiter.acquire(owner, 1)
        return await self._call(lambda: self._described(self._sessions.fork(session, owner, name), owner))

    async def reset(self, owner: str, session: str) -> dict[str, Any]:
        """Reset a session's state."""
        self._write_limiter.acquire(owner, 1)

        def reset() -> dict[str, Any]:
            self._sessions.reset(session, owner)
            return self._described(session, owner)

        return await self._call(reset)

    async def delete(self, owner: str, session: str) -> dict[str, Any]:
        """Delete a session."""
        await self._call(lambda: self._sessions.delete(session, owner))
        return {"session": session}

    async def read(self, owner: str, session: str) -> dict[str, Any]:
        """Return a session and its state."""

        def read() -> dict[str, Any]:
            steps, state = self._sessions.read(session, owner)
            model = self._sessions.model_of(session, owner).fingerprint
            arrays = {name: getattr(state, name).tolist() for name in ("hidden", "cell", "last", "recent")}
            return {"session": session, "model": model, "steps": steps, "state_steps": state.steps, **arrays}

        return await self._call(read)

    async def snapshot(self, owner: str, session: str) -> bytes:
        """Return a session's state as bytes."""
        _, snapshot = await self._call(lambda: self._sessions.snapshot(session, owner))
        return snapshot

    async def restore(self, owner: str, session: str, snapshot: bytes) -> dict[str, Any]:
        """Restore a session's state from a snapshot."""
        self._write_limiter.acquire(owner, 1)

        def restore() -> dict[str, Any]:
            try:
                self._sessions.reset(session, owner, snapshot)
            except StateError as error:  # damaged input, not a damaged store
                raise GatewrightError(error.argument, error.expected, error.got) from None
            return self._described(session, owner)

        return await self._call(restore)

    async def names(self, owner: str, after: str, most: int) -> dict[str, Any]:
        """Return names of an owner's sessions, and the start of the next page."""
        names = await self._call(lambda: self._sessions.names(owner, after, most))
        return {"sessions": names, "next": names[-1] if len(names) == most else None}

    async def advance(self, owner: str, session: str, body: AdvanceBody) -> dict[str, Any]:
        """Advance a session."""
        # The tokens are those of the model that new sessions get; only its thread knows that of a session.
        now = self._sessions.stream.tokenizer
        self._admit(owner, await _tokens(body.x, now) if isinstance(body.x, str) else len(body.x), "x")
        request = Advance(session, _rows(body.x), body.first, owner, body.times)
        answer = await self._batcher.submit(request)
        if not answer.repeated:
            self.metrics.steps.inc(len(answer.y))
        y = {"all": answer.y, "last": answer.y[-1:], "none": answer.y[:0]}[body.outputs]
        progress = {"steps": answer.steps, "state_steps": answer.state_steps, "repeated": answer.repeated}
        return {"y": y, **progress}

    async def generate(self, owner: str, session: str, body: GenerateBody) -> AsyncIterator[dict[str, Any]]:
        """Generate text piece by piece; each is stored before it is yielded."""
        prompt = await _tokens(body.prompt, self._sessions.stream.tokenizer)
        self._admit(owner, prompt + body.length, "prompt and length")
        seed = _seed(session) if body.seed is None else body.seed
        tokenizer = (await self._call(lambda: self._sessions.model_of(session, owner))).tokenizer
        if tokenizer is not None:  # a model without one refuses the request below
            prompt = await _tokens(body.prompt, tokenizer)
        decoder = None if tokenizer is None else tokenizer.decoder()
        first, done = body.first, 0
        while True:
            length = min(done + self._piece, body.length)
            # The same request with a greater length continues it, so that a client can retry the whole request.
            answer = await self._batcher.submit(
                Generate(session, length, body.prompt, first, body.temperature, seed, owner)
            )
            if not answer.repeated:
                self.metrics.steps.inc(length - done + (0 if done else prompt))
            assert decoder is not None
            text = "".join(decoder.add(int(number)) for number in answer.y[done:])
            text += decoder.end() if length == body.length else ""
            progress = {"steps": answer.steps, "state_steps": answer.state_steps, "repeated": answer.repeated}
            yield {"text": text, **progress}
            first, done = answer.steps - length - prompt, length
            if done == body.length:
                return

    async def ready(self) -> bool:
        """Return whether requests are accepted and the store is available."""
        try:
            await self._call(self._store.ping)
        except (StoreError, BusyError):
            return False
        return not self.stopping

    async def drop_idle(self) -> None:
        """Remove idle sessions from memory."""
        await self._call(lambda: self._sessions.drop_idle(self.limits.idle))

    async def drain(self) -> None:
        """Refuse new requests and answer the waiting ones."""
        self.stopping = True
        await self._batcher.close()

    async def _call(self, function: Callable[[], T]) -> T:
        maximum = self.limits.max_waiting
        if self._calls >= maximum:
            raise BusyError("request", f"fewer than {maximum} waiting", str(self._calls), retry_after=1.0)
        self._calls += 1
        try:
            return await self._batcher.call(function)
        finally:
            self._calls -= 1

    def _admit(self, owner: str, steps: int, argument: str) -> None:
        if steps > self.limits.max_steps:
            raise GatewrightError(argument, f"at most {self.limits.max_steps} steps", str(steps))
        self._step_limiter.acquire(owner, steps)

    def _described(self, session: str, owner: str) -> dict[str, Any]:
        steps, snapshot = self._sessions.snapshot(session, owner)
        model = self._sessions.model_of(session, owner)
        read = model.require(snapshot).steps
        return {"session": session, "model": model.fingerprint, "steps": steps, "state_steps": read}

    def describe_error(self, error: Exception) -> tuple[int, dict[str, Any], float | None]:
        """Return the status, the body and, for temporary errors, the delay before a retry in seconds.

        Details of internal errors are logged and not sent.
        """
        retry_after = None
        if isinstance(error, BusyError):
            status, retry_after = (503 if self.stopping else 429), error.retry_after
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
        self.metrics.requests.labels(op, status).inc()
        self.metrics.seconds.labels(op).observe(time.perf_counter() - began)


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


def _seed(session: str) -> int:
    return int.from_bytes(hashlib.blake2b(session.encode(), digest_size=8).digest(), "little") >> 1
