"""Models that are served, and those whose sessions are not done yet: all of them are in the store."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from gatewright.errors import ModelFileError, StoreError, unusable
from gatewright.files import regular
from gatewright.runtime.stream import Stream, WeightFormat
from gatewright.serve.sessions.store import Store, StoredModel

#: A store keeps the whole file: the longest value of Valkey, and half of what SQLite takes.
MOST_BYTES = 1 << 29


def load_file(path: Path, *, weights: WeightFormat, sessions: int, threads: int) -> tuple[StoredModel, Stream]:
    """Read a model, and return it as it is kept, and a stream of it.

    Args:
        path: of a run's directory, or a model file.
        weights: how its weights are kept in memory, as for `Stream.load`.
        sessions: how many states to keep in memory.
        threads: at most so many work on a call.

    Raises:
        ModelFileError: if the file is not there, damaged, foreign or too new.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    try:
        with regular.open_file(file) as opened_file:
            size = os.fstat(opened_file.fileno()).st_size
            if size > MOST_BYTES:
                raise ModelFileError(str(file), f"a model file of at most {MOST_BYTES} bytes", f"{size} bytes")
            data = opened_file.read(MOST_BYTES)
    except OSError as error:
        raise unusable(ModelFileError, file, error) from None
    stream = _stream(data, str(file), weights, sessions, threads)
    return StoredModel(stream.fingerprint, weights, data), stream


def load_stored(store: Store, fingerprint: str, *, sessions: int, threads: int) -> Stream | None:
    """Return a stream of a model that the store has, or None if it has it not.

    Raises:
        StoreError: if it cannot be read, or is damaged.
    """
    found = store.load_model(fingerprint)
    if found is None:
        return None
    weights: WeightFormat
    for weights in ("float32", "bf16", "int8"):
        if found.weights == weights:
            return _stream(found.file, f"the store's model {fingerprint[:12]}...", weights, sessions, threads)
    raise StoreError("store", "a model in 'float32', 'bf16' or 'int8'", repr(found.weights)[:80])


def _stream(data: bytes, name: str, weights: WeightFormat, sessions: int, threads: int) -> Stream:
    """Read from a file of our own, so that what is stored is what is served, whatever replaces it meanwhile.

    Raises:
        ModelFileError: if it is damaged; it bears the name that is given here.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(data)
        try:
            return Stream.load(path, sessions=sessions, threads=threads, weights=weights)
        except ModelFileError as error:
            argument = error.argument.replace(str(path), name)
            raise ModelFileError(argument, error.expected, error.got) from None
