"""Prometheus metrics of the server."""

from __future__ import annotations

import functools
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Counters and histograms of one server; those with a label ``model`` are counted for each of its models.

    Attributes:
        steps: executed steps, by model.
        requests: requests by model, operation and status.
        seconds: latency of requests, by model and operation.
        batch: requests per batch, by model.
        store: duration of commits, in seconds, by model.
        resident: sessions in memory, by model.
        waiting: requests waiting for a batch, by model.
        connections: open WebSocket connections.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        counter = functools.partial(Counter, registry=registry, namespace="gatewright")
        histogram = functools.partial(Histogram, registry=registry, namespace="gatewright")
        self._gauge = functools.partial(Gauge, registry=registry, namespace="gatewright")
        self.steps = counter("steps", "Executed steps.", ["model"])
        self.requests = counter("requests", "Requests by model, operation and status.", ["model", "op", "status"])
        self.seconds = histogram(
            "request_seconds", "Latency of requests in seconds.", ["model", "op"], buckets=_SECONDS
        )
        self.batch = histogram("batch_size", "Requests per batch.", ["model"], buckets=_SIZES)
        self.store = histogram("store_seconds", "Duration of commits in seconds.", ["model"], buckets=_SECONDS)
        self.resident = self._gauge("sessions_resident", "Sessions in memory.", ["model"])
        self.waiting = self._gauge("waiting", "Requests waiting for a batch.", ["model"])
        self.connections = self._gauge("connections", "Open WebSocket connections.")

    def add_gauge(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Register a gauge that is evaluated at scrape time."""
        self._gauge(name, description).set_function(value)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
