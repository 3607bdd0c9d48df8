"""Server limits; the command line reads them without importing the server."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from gatewright.errors import GatewrightError

#: What is stored before an answer is sent; see `docs/serve.md`.
Durability = Literal["memory", "batch", "step"]


@dataclass(frozen=True)
class Limits:
    """Resource limits.

    Attributes:
        max_sessions: Maximum number of sessions in the store (default: 1000000).
        max_token_sessions: Maximum number of sessions of one token (default: 1000000).
        max_token_bytes: Maximum size of one token's sessions in the store, in bytes
            (default: 17179869184).
        max_token_steps: Maximum average number of steps per second of one token; also of sessions created, forked,
            reset or restored (default: no limit).
        max_resident: Maximum number of sessions in memory; the others are in the store (default: 4096).
        idle: Seconds after which an unused session is removed from memory (default: 300).
        max_steps: Maximum number of steps in one request (default: 1000).
        max_body: Maximum size of a request body or a frame, in bytes (default: 1048576).
        max_connections: Maximum number of WebSocket connections (default: 10000).
        max_clients: Maximum number of connections of any kind; a new one beyond that closes an idle one
            (default: 12000).
        max_in_flight: Maximum number of frames of one connection processed at once
            (default: 64).
        max_waiting: Maximum number of requests waiting for a batch (default: 10000).
        max_batch: Maximum number of requests in a batch (default: 256).
    """

    max_sessions: int = 1_000_000
    max_token_sessions: int = 1_000_000
    max_token_bytes: int = 1 << 34
    max_token_steps: int | None = None
    max_resident: int = 4096
    idle: int = 300
    max_steps: int = 1000
    max_body: int = 1_048_576
    max_connections: int = 10_000
    max_clients: int = 12_000
    max_in_flight: int = 64
    max_waiting: int = 10_000
    max_batch: int = 256

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "max_token_steps" and value is None:
                continue
            maximum = 2**62 if field.name == "max_token_bytes" else 2**31 - 1
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= maximum:
                name = f"--{field.name}".replace("_", "-")
                raise GatewrightError(name, f"a whole number from 1 to {maximum}", repr(value)[:80])


#: Default limits.
LIMITS = Limits()
