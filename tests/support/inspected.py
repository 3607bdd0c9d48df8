"""What the tests of the inspector look at: one recording of each kind, and what a page is to be given of it."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pack_sequence

from gatewright import LSTM
from gatewright.insight.recorder import prepare
from gatewright.insight.recording import Recording
from gatewright.inspector.catalog import Catalog, Entry, Subject
from gatewright.inspector.server import PageServer
from gatewright.train.plain_rnn import PlainModel
from tests.support.small_models import forecaster, language_model, write_sites

#: What would end an element of a page, or a line of a script.
HOSTILE = "</script><!--<script>\"'&\u2028\u2029]]>\\ab"
KINDS = ("series", "text", "layers", "paired")

#: A question that changes something in `small`, and its empty form.
ASKED: dict[str, Any] = {
    "row": 0, "layer": 1, "direction": "forward", "clamp": [], "ablate": [1, 3], "edit_cell": [],
}  # fmt: skip


def subjects(folder: Path) -> dict[str, Subject]:
    """A forecaster of two series of unequal length, a text, bare layers, and a plain RNN beside a text."""
    read, model = forecaster(write_sites(folder / "sites.csv", rows=60))
    language = language_model(HOSTILE)
    torch.manual_seed(1)
    layers = LSTM(3, 5, num_layers=2, bidirectional=True, proj_size=2)
    ragged = pack_sequence([torch.randn(steps, 3) for steps in (9, 6, 2)])
    return {
        "series": Subject(*prepare(model, read.table)),
        "text": Subject(*prepare(language, HOSTILE * 2)),
        "layers": Subject(*prepare(layers, ragged)),
        "paired": Subject(*prepare(language, HOSTILE), plain=PlainModel(language).eval()),
    }


def small(steps: int = 12) -> Subject:
    """Bare layers of two rows, which are soon run."""
    torch.manual_seed(2)
    return Subject(*prepare(LSTM(3, 4, num_layers=2), torch.randn(steps, 2, 3)))


def shelf_of(**named: Subject) -> Catalog:
    catalog = Catalog()
    for name, subject in named.items():
        catalog.add(Entry(name), lambda subject=subject: subject)  # type: ignore[misc]
    return catalog


@contextlib.contextmanager
def served(catalog: Catalog, title: str = "a title", port: int = 0) -> Iterator[httpx.Client]:
    """Serve a catalog, and ask it; nothing may be logged, least of all a traceback."""
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("uvicorn.error").addHandler(handler)
    try:
        with (
            PageServer(catalog, title, port) as server,
            httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client,
        ):
            yield client
    finally:
        logging.getLogger("uvicorn.error").removeHandler(handler)
    assert not logged, logged


def get(client: httpx.Client, path: str) -> Any:
    """Return the JSON that a page is answered."""
    return strict(client.get(path).raise_for_status().content)


def strict(text: str | bytes) -> Any:
    """Read JSON as its standard says, and as browsers do."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def blocks_of(recording: Recording, row: int) -> dict[str, tuple[str, NDArray[Any]]]:
    """Type and numbers of every block of a row, as `inspector/src/data/types.ts` lists them."""
    T, kind = int(recording.lengths[row]), recording.about.data.kind
    found: dict[str, tuple[str, Any]] = {
        "inputs": ("<f4", recording.inputs[:T, row]),
        "error": ("<f4", recording.error()[:T, row]),
    }
    for number, layer in enumerate(recording.layers):
        for direction, record in layer._asdict().items():
            if record is not None:
                place = f"{number}/{direction}"
                for name in ("input_gate", "forget_gate", "candidate", "output_gate", "cell"):
                    found[f"{place}/{name}"] = ("<f4", getattr(record, name)[:T, row])
                for name in ("cell_initial", "hidden_initial"):
                    found[f"{place}/{name}"] = ("<f4", getattr(record, name)[row])
                if record.hidden.shape[-1] < record.cell.shape[-1]:
                    found[f"{place}/hidden"] = ("<f4", record.hidden[:T, row])
    said = {"series": "forecast", "text": "scores", "layers": "output"}[kind]
    found[said] = ("<f4", recording.predictions[:T, row])
    if kind != "layers":
        found["head"] = ("<f4", recording.readout_weight)
        found["head_bias"] = ("<f4", recording.readout_bias)
    if kind == "series":
        found["columns"] = ("<f4", recording.columns[:T, row])
        found["truth"] = ("<f4", recording.targets[:T, row])
        epoch = np.datetime64("1970-01-01", "us")
        found["times"] = ("<f8", (recording.times[:T, row] - epoch) / np.timedelta64(1, "ms"))
    if kind == "text":
        found["symbols"] = ("<i4", recording.symbols[:T, row])
    if recording.peer is not None:
        found["peer/hidden"] = ("<f4", recording.peer.hidden[:T, row])
        found[f"peer/{said}"] = ("<f4", recording.peer.predictions[:T, row])
        found["peer/error"] = ("<f4", np.array([np.nan, *(wrong(recording, t, row) for t in range(T - 1))]))
    return found


def wrong(recording: Recording, t: int, row: int) -> float:
    """How wrong the plain RNN's prediction at step t was; of one target."""
    said, data = recording.peer.predictions[t, row], recording.about.data
    if data.kind == "text":
        return -said[recording.symbols[t + 1, row]]
    return abs(said[0, 0, data.quantiles.index(0.5)] - recording.targets[t, row, 0, 0]) / data.scale[0]


def same(got: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Whether numbers are the same bits, but for the kind of a NaN."""
    return got.shape == expected.shape and np.array_equal(got, expected, equal_nan=got.dtype.kind == "f")
