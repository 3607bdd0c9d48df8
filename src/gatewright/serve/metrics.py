"""Prometheus metrics of the server."""

from __future__ import annotations

import functools
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Counters and histograms of one server.

    Attributes:
        steps: executed steps.
        requests: requests by operation and status.
        seconds: latency of requests, by operation.
        batch: requests per batch.
        store: duration of commits, in seconds.
        connections: open WebSocket connections.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        counter = functools.partial(Counter, registry=registry, namespace="gatewright")
        histogram = functools.partial(Histogram, registry=registry, namespace="gatewright")
        self._gauge = functools.partial(Gauge, registry=registry, namespace="gatewright")
        self.steps = counter("steps", "Executed steps.")
        self.requests = counter("requests", "Requests by operation and status.", ["op", "status"])
        self.seconds = histogram("request_seconds", "Latency of requests in seconds.", ["op"], buckets=_SECONDS)
        self.batch = histogram("batch_size", "Requests per batch.", buckets=_SIZES)
        self.store = histogram("store_seconds", "Duration of commits in seconds.", buckets=_SECONDS)
        self.connections = self._gauge("connections", "Open WebSocket connections.")

    def add_gauge(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Register a gauge that is evaluated at scrape time."""
        self._gauge(name, description).set_function(value)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
