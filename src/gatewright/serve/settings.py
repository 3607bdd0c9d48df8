"""What a server is told of what there may be; known to the command line without loading the server."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from gatewright.errors import GatewrightError

#: What is stored before an answer goes out; see `docs/serve.md`.
Durability = Literal["memory", "batch", "step"]


@dataclass(frozen=True)
class Limits:
    """How much there may be of what.

    Attributes:
        max_sessions: Most sessions in the store (default: 1000000).
        max_token_sessions: Most sessions of one token (default: 1000000).
        max_token_bytes: Most bytes that the sessions of one token take in the store
            (default: 17179869184).
        max_token_steps: Most steps a second of one token, on average; also most sessions a second that it makes,
            forks, resets or restores (default: no limit).
        max_resident: Most sessions in memory; the others are in the store (default: 4096).
        idle: Seconds after which a session that nobody uses leaves memory (default: 300).
        max_steps: Most steps of one request (default: 1000).
        max_body: Most bytes of a request's body, or of a frame (default: 1048576).
        max_connections: Most WebSocket connections at once (default: 10000).
        max_clients: Most connections at once, of whatever kind; when another one comes, one that is idle is closed
            (default: 12000).
        max_in_flight: Most frames of one connection that are worked on at once
            (default: 64).
        max_waiting: Most requests that wait for a batch (default: 10000).
        max_batch: Most requests in a batch (default: 256).
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
            most = 2**62 if field.name == "max_token_bytes" else 2**31 - 1
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                name = f"--{field.name}".replace("_", "-")
                raise GatewrightError(name, f"a whole number from 1 to {most}", repr(value)[:80])


#: What a server allows that is told nothing.
LIMITS = Limits()
