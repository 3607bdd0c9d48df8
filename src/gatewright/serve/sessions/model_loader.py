"""Loading of models from files and from the store."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import get_args

from gatewright.errors import ModelFileError, StoreError, unusable
from gatewright.files import regular_file
from gatewright.runtime.packed_model import WEIGHT_FORMATS, WeightFormat
from gatewright.runtime.stream import Stream
from gatewright.serve.sessions.store import Store, StoredModel

#: Maximum size of a model file, in bytes: the longest value in Valkey, and half of that in SQLite.
MAX_BYTES = 1 << 29


def load_file(path: Path, *, weights: WeightFormat, sessions: int, threads: int) -> tuple[StoredModel, Stream]:
    """Load a model file; return it for the store, and a stream of it.

    Args:
        path: a run's directory, or a model file.
        weights: format of the weights in memory, as for `Stream.load`.
        sessions: number of sessions in memory.
        threads: maximum number of threads for a call.

    Raises:
        ModelFileError: if the file is missing, damaged, foreign or too new.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    try:
        with regular_file.open_file(file) as opened_file:
            size = os.fstat(opened_file.fileno()).st_size
            if size > MAX_BYTES:
                raise ModelFileError(str(file), f"a model file of at most {MAX_BYTES} bytes", f"{size} bytes")
            data = opened_file.read(MAX_BYTES)
    except OSError as error:
        raise unusable(ModelFileError, file, error) from None
    stream = _stream(data, str(file), weights, sessions, threads)
    return StoredModel(stream.fingerprint, weights, data), stream


def load_stored(store: Store, fingerprint: str, *, sessions: int, threads: int) -> Stream | None:
    """Return a stream of a stored model, or None if the model is not stored.

    Raises:
        StoreError: if the model cannot be read, or is damaged.
    """
    stored = store.load_model(fingerprint)
    if stored is None:
        return None
    weights: WeightFormat
    for weights in get_args(WeightFormat):
        if stored.weights == weights:
            return _stream(stored.file, f"the store's model {fingerprint[:12]}...", weights, sessions, threads)
    raise StoreError("store", f"a model in {WEIGHT_FORMATS}", repr(stored.weights)[:80])


def _stream(data: bytes, name: str, weights: WeightFormat, sessions: int, threads: int) -> Stream:
    """Load from a private copy, so that the stored bytes are those served even if the file is replaced.

    Raises:
        ModelFileError: if the data is damaged; the error names ``name``.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(data)
        try:
            return Stream.load(path, sessions=sessions, threads=threads, weights=weights)
        except ModelFileError as error:
            argument = error.argument.replace(str(path), name)
            raise ModelFileError(argument, error.expected, error.got) from None
