"""What a server does, counted for Prometheus."""

from __future__ import annotations

import functools
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Counters and histograms of one server.

    Attributes:
        steps: steps that were taken.
        requests: requests by operation and status.
        seconds: from a request to its answer, by operation.
        batch: requests in a batch.
        store: seconds that a commit took.
        connections: WebSocket connections.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        counter = functools.partial(Counter, registry=registry, namespace="gatewright")
        histogram = functools.partial(Histogram, registry=registry, namespace="gatewright")
        self._gauge = functools.partial(Gauge, registry=registry, namespace="gatewright")
        self.steps = counter("steps", "Steps that sessions have taken.")
        self.requests = counter("requests", "Requests, by operation and status.", ["op", "status"])
        self.seconds = histogram("request_seconds", "From a request to its answer.", ["op"], buckets=_SECONDS)
        self.batch = histogram("batch_size", "Requests in a batch.", buckets=_SIZES)
        self.store = histogram("store_seconds", "What a commit took.", buckets=_SECONDS)
        self.connections = self._gauge("connections", "WebSocket connections.")

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Show a number that is looked up when somebody asks."""
        self._gauge(name, what).set_function(value)

    def text(self) -> bytes:
        """Return all of it in Prometheus' format."""
        return generate_latest(self._registry)
