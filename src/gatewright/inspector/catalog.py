"""What a page can show: recordings that are made when they are asked for, and what becomes of them."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gatewright.errors import GatewrightError
from gatewright.insight import intervention
from gatewright.insight.diagnosis import diagnose
from gatewright.insight.recorder import record
from gatewright.insight.recording import Recording
from gatewright.inspector import payload
from gatewright.inspector.payload import Payload
from gatewright.inspector.what_if import Asked
from gatewright.nn import LSTM
from gatewright.nn.model import Model
from gatewright.tasks.inputs import InputBatch
from gatewright.train.plain_rnn import PlainModel, with_peer

#: Recordings that are kept in memory; others are made again.
MOST_MADE = 6
#: Answers to "what if" that are kept.
MOST_ANSWERS = 20


@dataclass(frozen=True, eq=False)
class Subject:
    """A model with what it reads; or a recording alone, of which nothing can be run again.

    Attributes:
        model: the model, or None.
        material: what it reads, or None.
        recording: the recording, where there is nothing to make one of.
        plain: a plain RNN that stands beside the model, or None.
        changes: what is changed inside the model.
    """

    model: Model | LSTM | None = None
    material: InputBatch | None = None
    recording: Recording | None = None
    plain: PlainModel | None = None
    changes: intervention.Plan | None = None

    def record(self) -> Recording:
        """Make the recording."""
        if self.model is None or self.material is None:
            assert self.recording is not None
            return self.recording
        if self.changes is not None:
            # Not that of the model as it is: what is measured of the model would not be of the changed one.
            return dataclasses.replace(intervention.run(self.model, self.material, self.changes), model=None)
        made = record(self.model, self.material)
        if self.plain is None or not isinstance(self.model, Model):
            return made
        return with_peer(made, self.model, self.material, self.plain)


@dataclass(frozen=True)
class Entry:
    """What the page lists of a recording (`Entry` of the contract).

    Attributes:
        id: its name.
        note: what sets it apart.
        step: training step of a checkpoint, or None.
        score: its validation score, or None.
        unit: what the score is measured in.
        first: whether the page shows it first.
        intro: what a person should know before looking, in a few sentences.
        place: where to look first, as in the address of the page ("t=12&units=5").
    """

    id: str
    note: str = ""
    step: int | None = None
    score: float | None = None
    unit: str = ""
    first: bool = False
    intro: str = ""
    place: str = ""


class Shelf:
    """Recordings by id.  Any thread may use it; one recording is made at a time, and beside it one diagnosis.

    >>> import torch
    >>> from gatewright.insight.recorder import prepare
    >>> lstm, material = prepare(LSTM(3, 4), torch.ones(5, 1, 3))
    >>> shelf = Shelf()
    >>> shelf.add(Entry("a"), lambda: Subject(lstm, material))
    >>> shelf.payload("a").meta()["kind"]
    'layers'
    """

    def __init__(self) -> None:
        self._making = threading.RLock()
        # Held before the other one, never after it: a long diagnosis keeps nobody from the numbers.
        self._diagnosing = threading.Lock()
        self._entries: dict[str, tuple[Entry, Callable[[], Subject], str]] = {}
        self._made: OrderedDict[str, tuple[Subject, Payload]] = OrderedDict()
        self._diagnoses: dict[str, dict[str, Any]] = {}
        self._answers = 0
        self._plans: dict[str, tuple[str, intervention.Plan]] = {}
        #: Grows whenever there is something new.
        self.version = 0
        #: Whether anybody has looked.
        self.asked = False

    def add(self, entry: Entry, make: Callable[[], Subject], origin: str = "") -> None:
        """Put a recording on the shelf, in the place of one of the same id."""
        with self._making:
            self._forget(entry.id)
            self._entries[entry.id] = (entry, make, origin)
            self.version += 1

    def remove(self, name: str) -> None:
        """Take a recording off the shelf, if it is there."""
        with self._making:
            if self._entries.pop(name, None):
                self._forget(name)
                self.version += 1

    def entries(self) -> list[dict[str, Any]]:
        """Return what the page lists."""
        self.asked = True
        with self._making:
            return [dataclasses.asdict(entry) for entry, _, _ in self._entries.values()]

    def shown(self) -> str:
        """Return the id of the recording that a page shows first."""
        with self._making:
            entries = [entry for entry, _, _ in self._entries.values()]
            return next((entry.id for entry in entries if entry.first), entries[-1].id)

    def payload(self, name: str) -> Payload:
        """Return a recording as the page reads it.

        Raises:
            KeyError: if there is none of that name.
            GatewrightError: if it cannot be made.
        """
        return self._get(name)[1]

    def diagnosis(self, name: str) -> dict[str, Any]:
        """Return the diagnosis of a recording; errors as for `payload`."""
        with self._diagnosing:
            with self._making:
                if name in self._diagnoses:
                    return self._diagnoses[name]
                subject, made = self._get(name)
                entry = self._entries[name]
            plain = subject.plain.rnn if subject.plain is not None and subject.changes is None else None
            found = payload.diagnosis(diagnose(made.recording, plain=plain))
            with self._making:
                if self._entries.get(name) is entry:
                    self._diagnoses[name] = found
            return found

    def what_if(self, name: str, asked: Asked) -> str:
        """Run a recording's model again with changes; return the id of what came of them, also if that is there.

        Changes are of the untouched run, also where they are asked of one that was changed already.

        Raises:
            KeyError: if there is no recording of that name.
            GatewrightError: if it has no model, or the changes do not fit it.
        """
        with self._making:
            name = self._entries[name][2] or name
            subject, _ = self._get(name)
            if subject.model is None or subject.material is None:
                raise GatewrightError("recording", "one whose model is at hand", "one from a file")
            plan = asked.plan(subject.model, subject.material.lengths)
            for known, (origin, before) in self._plans.items():
                if origin == name and before == plan:
                    return known
            changed = dataclasses.replace(subject, changes=plan)
            recording = changed.record()
            self._answers += 1
            new = f"whatif-{self._answers}"
            self.add(Entry(new, recording.about.note), lambda: changed, origin=name)
            self._plans[new] = name, plan
            self._keep(new, changed, recording)
            for old in [one for one, (_, _, origin) in self._entries.items() if origin][:-MOST_ANSWERS]:
                self.remove(old)
            return new

    def _get(self, name: str) -> tuple[Subject, Payload]:
        with self._making:
            _, make, _ = self._entries[name]
            if name not in self._made:
                subject = make()
                self._keep(name, subject, subject.record())
            self._made.move_to_end(name)
            return self._made[name]

    def _keep(self, name: str, subject: Subject, recording: Recording) -> None:
        self._made[name] = subject, Payload(recording, name, self._entries[name][2])
        while len(self._made) > MOST_MADE:
            self._made.popitem(last=False)

    def _forget(self, name: str) -> None:
        for kept in (self._made, self._diagnoses, self._plans):
            kept.pop(name, None)
