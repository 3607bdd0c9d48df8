"""Models and store of a server: loaded at its start, and models again on SIGHUP."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from gatewright.runtime.stream import Stream
from gatewright.serve.logs import log_event
from gatewright.serve.models import Models
from gatewright.serve.service import PIECE, Service, Shared
from gatewright.serve.sessions import model_loader
from gatewright.serve.sessions.batcher import Batcher
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.sqlite import SqliteStore, require_file_name
from gatewright.serve.sessions.store import Store, StoredModel
from gatewright.serve.settings import Settings


@dataclass(frozen=True)
class HostedModel:
    """A model of a server.

    Attributes:
        name: name that it is served by.
        sessions: its sessions.
        batcher: runs them, in a thread of its own.
    """

    name: str
    sessions: Sessions
    batcher: Batcher


def load_models(settings: Settings) -> dict[str, tuple[StoredModel, Stream]]:
    """Return each model as it is stored, and a stream of it.

    Raises:
        ModelFileError: if a file is missing, damaged, foreign or too new.
    """
    return {name: _load(settings, name) for name in settings.models}


def host(
    settings: Settings, loaded: dict[str, tuple[StoredModel, Stream]], store: Store, shared: Shared
) -> list[HostedModel]:
    """Return the models with their sessions in a store.

    Raises:
        StoreError: if a model cannot be stored.
    """
    limits, metrics = settings.limits, shared.metrics
    each = settings.durability == "step"
    hosted = []
    for name, (saved, stream) in loaded.items():
        store.save_model(saved, name)
        sessions = Sessions(
            stream,
            store,
            find=lambda fingerprint: model_loader.load_stored(
                store, fingerprint, sessions=limits.max_resident, threads=settings.threads
            ),
            most=limits.max_sessions,
            most_each=limits.max_token_sessions,
            most_bytes=limits.max_token_bytes,
            observe=metrics.store.labels(name).observe,
        )
        batcher = Batcher(
            sessions,
            max_batch=1 if each else limits.max_batch,
            max_delay=0 if each else settings.max_delay,
            max_waiting=limits.max_waiting,
            observe=metrics.batch.labels(name).observe,
        )
        hosted.append(HostedModel(name, sessions, batcher))
    return hosted


def models_of(settings: Settings, hosted: list[HostedModel], store: Store, shared: Shared) -> Models:
    """Return the operations on the sessions of the models."""
    piece = 1 if settings.durability == "step" else PIECE
    services = [
        Service(model.sessions, model.batcher, store, shared, piece=piece, name=model.name) for model in hosted
    ]
    return Models(services, store, shared)


class Reloader:
    """Reloads the model files on request; of an invalid one, the server keeps the current model."""

    def __init__(self, settings: Settings, store: Store, hosted: list[HostedModel]) -> None:
        self._settings, self._store, self._hosted = settings, store, hosted
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start a reload, after any that is in progress."""
        self._task = asyncio.create_task(self._reload(self._task))

    async def _reload(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        for model in self._hosted:
            try:
                # The file is read while batches run; only the exchange happens between two of them.
                saved, stream = await asyncio.to_thread(_load, self._settings, model.name)
                await model.batcher.call(self._store.save_model, saved, model.name)
                await model.batcher.call(model.sessions.serve, stream)
            except Exception as error:
                text = str(error) or type(error).__name__
                log_event("not reloaded", level=logging.ERROR, name=model.name, error=text)
            else:
                log_event("reloaded", name=model.name, model=stream.fingerprint[:12])


def _load(settings: Settings, name: str) -> tuple[StoredModel, Stream]:
    return model_loader.load_file(
        settings.models[name],
        weights=settings.weights,
        sessions=settings.limits.max_resident,
        threads=settings.threads,
    )


def open_store(settings: Settings) -> Store:
    """Return the store.

    Raises:
        GatewrightError: if it cannot be used, or would not be durable.
    """
    if settings.durability == "memory":
        return SqliteStore(":memory:")
    if settings.store is None:
        [run] = [run.absolute() for run in settings.models.values()]
        path = run / "sessions.db" if run.is_dir() else run.with_suffix(".sessions.db")
        return SqliteStore(require_file_name(str(path)))
    if "://" not in settings.store:
        return SqliteStore(require_file_name(settings.store))
    from gatewright.serve.sessions.valkey import ValkeyStore

    return ValkeyStore(settings.store, settings.replica)
