"""The catalog of a page: recordings by id, made when the page requests them."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gatewright.errors import GatewrightError
from gatewright.insight import intervention
from gatewright.insight.changes import Plan
from gatewright.insight.diagnosis import diagnose
from gatewright.insight.recorder import record
from gatewright.insight.recording import Recording
from gatewright.inspector import payload
from gatewright.inspector.payload import Payload
from gatewright.inspector.what_if import WhatIf
from gatewright.nn import LSTM
from gatewright.nn.model import Model
from gatewright.tasks.inputs import InputBatch
from gatewright.train.plain_rnn import PlainModel, with_peer

#: Maximum number of recordings in memory; others are made again.
MAX_RECORDINGS = 6
#: Maximum number of results of "what if" in the catalog.
MAX_WHAT_IFS = 20


@dataclass(frozen=True, eq=False)
class Subject:
    """A model with its inputs; or a recording alone, which cannot be made again.

    Attributes:
        model: the model, or None.
        batch: its inputs, or None.
        recording: the recording, if there is no model to make it.
        plain: a plain RNN for comparison with the model, or None.
        changes: changes inside the model, or None.
    """

    model: Model | LSTM | None = None
    batch: InputBatch | None = None
    recording: Recording | None = None
    plain: PlainModel | None = None
    changes: Plan | None = None

    def record(self) -> Recording:
        """Return the recording: that of the model on its inputs, or the one without a model."""
        if self.model is None or self.batch is None:
            assert self.recording is not None
            return self.recording
        if self.changes is not None:
            # Without the model: figures that are measured on the model would not be those of the changed one.
            return dataclasses.replace(intervention.run(self.model, self.batch, self.changes), model=None)
        recording = record(self.model, self.batch)
        if self.plain is None or not isinstance(self.model, Model):
            return recording
        return with_peer(recording, self.model, self.batch, self.plain)


@dataclass(frozen=True)
class Entry:
    """An entry in the page's list of recordings (`Entry` in `inspector/src/data/types.ts`).

    Attributes:
        id: id of the recording.
        note: the difference from the other recordings, such as "step 200".
        step: training step of a snapshot, or None.
        score: its validation score, or None.
        unit: unit of the score.
        first: whether the page shows it first.
        intro: an introduction of a few sentences, or "".
        place: the part to show first, as in the address of the page ("t=12&units=5"), or "".
        name: name of the recorded layers in a caller's module, or "".
        layers: units of each of these layers; empty without a name.
    """

    id: str
    note: str = ""
    step: int | None = None
    score: float | None = None
    unit: str = ""
    first: bool = False
    intro: str = ""
    place: str = ""
    name: str = ""
    layers: tuple[int, ...] = ()


class Catalog:
    """Recordings by id.  It is thread-safe; one recording and one diagnosis are made at a time.

    >>> import torch
    >>> from gatewright.insight.recorder import prepare
    >>> lstm, batch = prepare(LSTM(3, 4), torch.ones(5, 1, 3))
    >>> catalog = Catalog()
    >>> catalog.add(Entry("a"), lambda: Subject(lstm, batch))
    >>> catalog.payload("a").meta()["kind"]
    'layers'
    """

    def __init__(self) -> None:
        self._making = threading.RLock()
        # Acquired before `_making`, never after it: a long diagnosis does not block requests for numbers.
        self._diagnosing = threading.Lock()
        self._entries: dict[str, tuple[Entry, Callable[[], Subject], str]] = {}
        self._payloads: OrderedDict[str, tuple[Subject, Payload]] = OrderedDict()
        self._diagnoses: dict[str, dict[str, Any]] = {}
        self._what_ifs = 0
        self._plans: dict[str, tuple[str, Plan]] = {}
        #: Increases with every change of the entries.
        self.version = 0
        #: Whether a page has requested the entries.
        self.requested = False

    def add(self, entry: Entry, make: Callable[[], Subject], origin: str = "") -> None:
        """Add a recording, or replace that of the same id.

        Args:
            entry: its entry.
            make: returns its subject; called when the recording is requested.
            origin: id of the recording that it is a "what if" of, or "".
        """
        with self._making:
            self._forget(entry.id)
            self._entries[entry.id] = (entry, make, origin)
            self.version += 1

    def remove(self, name: str) -> None:
        """Remove a recording, if it is there."""
        with self._making:
            if self._entries.pop(name, None):
                self._forget(name)
                self.version += 1

    def entries(self) -> list[dict[str, Any]]:
        """Return the page's list of recordings."""
        self.requested = True
        with self._making:
            return [dataclasses.asdict(entry) for entry, _, _ in self._entries.values()]

    def shown(self) -> str:
        """Return the id of the recording that the page shows first."""
        with self._making:
            entries = [entry for entry, _, _ in self._entries.values()]
            return next((entry.id for entry in entries if entry.first), entries[-1].id)

    def payload(self, name: str) -> Payload:
        """Return a recording in the page's format.

        Raises:
            KeyError: if there is no recording of that name.
            GatewrightError: if it cannot be made.
        """
        return self._get(name)[1]

    def diagnosis(self, name: str) -> dict[str, Any]:
        """Return the diagnosis of a recording; errors as for `payload`."""
        with self._diagnosing:
            with self._making:
                if name in self._diagnoses:
                    return self._diagnoses[name]
                subject, shown = self._get(name)
                entry = self._entries[name]
            plain = subject.plain.rnn if subject.plain is not None and subject.changes is None else None
            diagnosis = payload.diagnosis(diagnose(shown.recording, plain=plain))
            with self._making:
                if self._entries.get(name) is entry:
                    self._diagnoses[name] = diagnosis
            return diagnosis

    def what_if(self, name: str, request: WhatIf) -> str:
        """Run a recording's model again with changes; return the id of the result, which may exist already.

        The changes apply to the unchanged run, even if ``name`` is a changed one.

        Args:
            name: id of the recording.
            request: the changes.

        Raises:
            KeyError: if there is no recording of that name.
            GatewrightError: if it has no model, or the changes do not fit it.
        """
        with self._making:
            name = self._entries[name][2] or name
            subject, _ = self._get(name)
            if subject.model is None or subject.batch is None:
                raise GatewrightError("recording", "a recording with its model", "one from a file")
            plan = request.plan(subject.model, subject.batch.lengths)
            for existing, (origin, earlier) in self._plans.items():
                if origin == name and earlier == plan:
                    return existing
            changed = dataclasses.replace(subject, changes=plan)
            recording = changed.record()
            self._what_ifs += 1
            new = f"whatif-{self._what_ifs}"
            self.add(Entry(new, recording.about.note), lambda: changed, origin=name)
            self._plans[new] = name, plan
            self._keep(new, changed, recording)
            what_ifs = [entry for entry, (_, _, origin) in self._entries.items() if origin]
            for oldest in what_ifs[:-MAX_WHAT_IFS]:
                self.remove(oldest)
            return new

    def _get(self, name: str) -> tuple[Subject, Payload]:
        with self._making:
            _, make, _ = self._entries[name]
            if name not in self._payloads:
                subject = make()
                self._keep(name, subject, subject.record())
            self._payloads.move_to_end(name)
            return self._payloads[name]

    def _keep(self, name: str, subject: Subject, recording: Recording) -> None:
        self._payloads[name] = subject, Payload(recording, name, self._entries[name][2])
        while len(self._payloads) > MAX_RECORDINGS:
            self._payloads.popitem(last=False)

    def _forget(self, name: str) -> None:
        for by_name in (self._payloads, self._diagnoses, self._plans):
            by_name.pop(name, None)
