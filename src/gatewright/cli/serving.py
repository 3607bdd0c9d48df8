"""The command that starts the server: serve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from gatewright.cli.app import app, flat, say
from gatewright.serve.settings import LIMITS, Durability, Limits, Settings


@app.command
def serve(
    *models: str,
    host: str = "127.0.0.1",
    port: int = 8765,
    store: str | None = None,
    durability: Durability = "batch",
    max_delay: float = 2.0,
    weights: Literal["float32", "bf16", "bf16-float32", "int8", "int8-float32"] = "float32",
    threads: int = 1,
    token_file: Path | None = None,
    allow_host: Sequence[str] = (),
    allow_origin: Sequence[str] = (),
    drain: float = 0.0,
    replica_id: str = "",
    ssl_certfile: Path | None = None,
    ssl_keyfile: Path | None = None,
    log_level: Literal["debug", "info", "warning", "error"] = "info",
    limits: Annotated[Limits, flat("Limits", 1)] = LIMITS,
) -> None:
    """Serve models to many clients over HTTP and WebSocket; acknowledged steps are never lost.

    Example: gatewright serve runs/load --port 8765

    Example: gatewright serve load=runs/load wind=runs/wind --store sessions.db

    GATEWRIGHT_TOKEN or --token-file set the access tokens; without them only clients on this machine are served.
    SIGHUP loads the model files and the certificate again; SIGTERM answers pending requests and stops.

    Args:
        models: RUN, the directory of a run or a model file; or NAME=RUN for each of several models, the first of
            which is that of requests without a name.
        host: Address to listen on (default: 127.0.0.1).
        port: Port to listen on; 0 for any free port (default: 8765).
        store: File of the session store, or URL of a Valkey or Redis server for several replicas (default:
            sessions.db in the run; required with several models).
        durability: What is stored before an answer is sent. "memory": nothing; "batch": a batch of requests,
            in one commit; "step": each request, in its own commit (default: batch).
        max_delay: Milliseconds that a request waits for others to share its batch (default: 2).
        weights: Storage type of the weights: "float32"; "bf16", for products in bfloat16; "int8", for products of
            integers; "bf16-float32" or "int8-float32", which round the weights alone (default: float32).
        threads: Number of threads for a batch (default: 1).
        token_file: File with one line "name: token" for each user.
        allow_host: Host names of this server that clients use, in addition to its addresses.
        allow_origin: Origins of web pages that may connect, such as https://example.org.
        drain: Seconds for which requests are served after SIGTERM while /readyz is 503; a second SIGTERM ends them
            (default: 0).
        replica_id: Name of this server among its replicas, in the header Gatewright-Replica of each answer.
        ssl_certfile: PEM file of a certificate chain, for HTTPS; SIGHUP loads it again.
        ssl_keyfile: PEM file of its private key, unless ssl_certfile has it.
        log_level: Minimum level to log: "debug", "info", "warning" or "error" (default: info).
        limits: Resource limits.
    """
    from gatewright.serve.models import parse_models
    from gatewright.serve.server import serve as run_server

    run_server(
        Settings(
            models=parse_models(models),
            host=host,
            port=port,
            store=store,
            durability=durability,
            max_delay=max_delay / 1000,
            weights=weights,
            threads=threads,
            token_file=token_file,
            hosts=tuple(allow_host),
            origins=tuple(allow_origin),
            limits=limits,
            log_level=log_level,
            drain=drain,
            replica=replica_id,
            certificate=ssl_certfile,
            key=ssl_keyfile,
        ),
        started=lambda address: say(f"serving {' '.join(models)} at {address}"),
    )
