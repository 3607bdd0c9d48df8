"""The models of a server, by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gatewright.errors import GatewrightError, SessionError, StoreError
from gatewright.serve.service import DEFAULT, Service, Shared
from gatewright.serve.sessions.store import Store

#: Form of a model's name.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: Number of names in an error.
_SHOWN = 20


class UnknownModelError(SessionError):
    """The server has no model of that name."""


class Models:
    """The models of a server; each has its own thread, batches and sessions in memory.

    Args:
        services: operations on the sessions of each model; the first is that of requests that name none.
        store: the store of all sessions.
        shared: what the models have in common.
    """

    def __init__(self, services: Sequence[Service], store: Store, shared: Shared) -> None:
        self._by_name = {service.name: service for service in services}
        self.default, self.shared, self._store = services[0], shared, store
        shared.metrics.add_gauge("sessions", "Sessions in the store.", self._count)

    def __iter__(self) -> Iterator[Service]:
        return iter(self._by_name.values())

    def named(self, name: str) -> Service:
        """Return the operations on the sessions of a model.

        Raises:
            UnknownModelError: if there is no model of that name.
        """
        service = self._by_name.get(name)
        if service is None:
            names = ", ".join(list(self._by_name)[:_SHOWN])
            raise UnknownModelError("model", f"a model of this server: {names}", repr(name)[:80])
        return service

    def describe(self) -> list[dict[str, Any]]:
        """Return name and fingerprint of each model."""
        return [
            {"name": service.name, "model": service.model()["model"], "default": service is self.default}
            for service in self
        ]

    @property
    def running(self) -> int:
        """Number of operations in progress."""
        return sum(service.running for service in self)

    async def ready(self) -> bool:
        """Return whether requests are accepted, for longer than a drain, and the store is available."""
        available = [await service.is_available() for service in self]
        return all(available) and not (self.shared.draining or self.shared.stopping)

    async def drop_idle(self) -> None:
        """Remove idle sessions from memory."""
        for service in self:
            await service.drop_idle()

    async def close(self, *, answer: bool = True) -> None:
        """Refuse new requests, and answer the waiting ones unless they are to be refused, too."""
        self.shared.draining = self.shared.closing = self.shared.stopping = True
        for service in self:
            await service.close(answer=answer)

    def _count(self) -> float:
        try:
            return self._store.count()
        except StoreError:
            return float("nan")


def parse_models(arguments: Sequence[str]) -> dict[str, Path]:
    """Return the runs to serve by name, from ``RUN`` or from ``NAME=RUN`` for each.

    Raises:
        GatewrightError: if no run is given, or a name is malformed, given twice, or missing next to others.

    >>> {name: str(run) for name, run in parse_models(["load=runs/load", "wind=runs/wind"]).items()}
    {'load': 'runs/load', 'wind': 'runs/wind'}
    >>> list(parse_models(["runs/load"]))
    ['default']
    """
    if not arguments:
        raise GatewrightError("RUN", "the directory of a run, or a model file", "none")
    runs: dict[str, Path] = {}
    for argument in arguments:
        name, equals, run = argument.partition("=")
        if not equals or "/" in name or "\\" in name:  # a path
            name, run = DEFAULT, argument
            if len(arguments) > 1:
                raise GatewrightError("RUN", "NAME=RUN for each of several models", repr(argument)[:80])
        elif not NAME.fullmatch(name):
            raise GatewrightError("NAME=RUN", "a name of 1 to 64 letters, digits and . _ -", repr(name)[:80])
        elif Path(argument).exists():
            raise GatewrightError(
                "NAME=RUN", "a name and a run, or a path such as ./a=b", f"{argument}, a file"[:80]
            )
        elif not run:
            raise GatewrightError("NAME=RUN", "the directory of a run, or a model file, after =", "none")
        if name in runs:
            raise GatewrightError("NAME=RUN", "a name for each model", f"{name} twice")
        runs[name] = Path(run)
    return runs
