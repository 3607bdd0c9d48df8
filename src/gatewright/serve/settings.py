"""Settings and limits of a server; the command line reads them without importing the server."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gatewright.errors import GatewrightError

if TYPE_CHECKING:
    from gatewright.runtime.packed_model import WeightFormat

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
        for limit in fields(self):
            value = getattr(self, limit.name)
            if limit.name == "max_token_steps" and value is None:
                continue
            maximum = 2**62 if limit.name == "max_token_bytes" else 2**31 - 1
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= maximum:
                name = f"--{limit.name}".replace("_", "-")
                raise GatewrightError(name, f"a whole number from 1 to {maximum}", repr(value)[:80])


#: Default limits.
LIMITS = Limits()
#: Form of the name of a replica: it is sent in a header.
_REPLICA = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class Settings:
    """Settings of a server.

    Attributes:
        models: by name, the directory of a run, or a model file; the first is that of requests that name none.
        host: address to listen on.
        port: port to listen on; 0 for any.
        store: file of the sessions, or URL of a Valkey or Redis server; None for a file in the run.
        durability: what is stored before an answer is sent.
        max_delay: maximum wait of a request for others of its batch, in seconds.
        weights: format of the weights in memory.
        threads: maximum number of threads for a batch.
        token_file: file of names and tokens, or None.
        hosts: names of the server, in addition to its addresses.
        origins: allowed origins of web pages.
        limits: resource limits.
        log_level: minimum level of log messages.
        drain: seconds for which requests are served after the signal to stop, while `/readyz` is 503.
        replica: name of this server among its replicas; empty for none.
        certificate: file of the certificate chain of TLS, or None.
        key: file of its private key, or None if the certificate's file has it.
    """

    models: dict[str, Path]
    host: str = "127.0.0.1"
    port: int = 8765
    store: str | None = None
    durability: Durability = "batch"
    max_delay: float = 0.002
    weights: WeightFormat = "float32"
    threads: int = 1
    token_file: Path | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    log_level: str = "info"
    drain: float = 0.0
    replica: str = ""
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.max_delay < 60:
            raise GatewrightError("--max-delay", "milliseconds from 0 to 60000", f"{self.max_delay * 1000:g}")
        if not 0 <= self.drain <= 3600:
            raise GatewrightError("--drain", "seconds from 0 to 3600", f"{self.drain:g}")
        if self.replica and not _REPLICA.fullmatch(self.replica):
            expected = "a name of 1 to 64 letters, digits and . _ -"
            raise GatewrightError("--replica-id", expected, repr(self.replica)[:80])
        if len(self.models) > 1 and self.store is None and self.durability != "memory":
            raise GatewrightError("--store", "a file for the sessions of several models, or a URL", "none")
        if self.key is not None and self.certificate is None:
            raise GatewrightError("--ssl-certfile", "the certificate of --ssl-keyfile", "none")
