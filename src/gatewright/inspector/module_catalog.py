"""The catalog of a module's recording: one recording for each name."""

from __future__ import annotations

import functools

from gatewright.insight.modules.recording import ModuleRecording
from gatewright.insight.recording import Recording
from gatewright.inspector.catalog import Catalog, Entry, Subject


def module_catalog(recording: ModuleRecording) -> Catalog:
    """Return the recordings of a module's layers as entries of a page.

    Args:
        recording: the recording of the module.

    >>> import torch
    >>> from gatewright import LSTM, look
    >>> module = torch.nn.Sequential(torch.nn.Linear(2, 3), LSTM(3, 4, num_layers=2))
    >>> [(entry["name"], entry["layers"]) for entry in module_catalog(look(module, torch.ones(5, 1, 2))).entries()]
    [('1', (4, 4))]
    """
    catalog = Catalog()
    for number, (name, each) in enumerate(recording.items()):
        sizes = tuple(layer.forward.cell.shape[-1] for layer in each.layers)
        entry = Entry(f"layers-{number}", each.about.note, first=number == 0, name=name, layers=sizes)
        catalog.add(entry, functools.partial(_subject, each))
    return catalog


def _subject(recording: Recording) -> Subject:
    return Subject(recording=recording)
