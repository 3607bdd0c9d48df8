"""What a recording was made from, to run it again with changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gatewright.errors import GatewrightError
from gatewright.insight.changed_pass import changed
from gatewright.insight.changes import Plan, describe, joined
from gatewright.insight.passes import Pass
from gatewright.nn import LSTM, layer_sizes
from gatewright.spec.recording import Edit


@dataclass(frozen=True, eq=False)
class Origin:
    """A model with its inputs, and the changes of the run that was recorded.

    Attributes:
        lstm: its layers.
        run: records a run of the model, with a pass of the layers in place of the usual one.
        fingerprint: returns the SHA-256 of the model as it is now.
        plan: the changes.
    """

    lstm: LSTM
    run: Callable[[Pass], Any]
    fingerprint: Callable[[], str]
    plan: Plan = field(default_factory=dict)

    def changed(self, plan: Plan) -> Any:
        """Return the recording of a run with changes, next to those of this one.

        Args:
            plan: the further changes.
        """
        edits: list[Edit] = []
        whole = joined(self.plan, plan)
        recording = self.run(changed(whole, edits))
        note = describe(whole, recording.lengths, layer_sizes.hidden_sizes(self.lstm))
        about = dataclasses.replace(recording.about, note=note, edits=tuple(edits))
        return dataclasses.replace(recording, about=about, origin=dataclasses.replace(self, plan=whole))


def origin_of(recording: Any) -> Origin:
    """Return what a recording was made from.

    Raises:
        GatewrightError: if it comes from a file or is a part of one, or its model has changed.
    """
    origin: Origin | None = recording.origin
    if origin is None:
        raise GatewrightError("recording", "a whole recording of `look`", "a part of one, or one from a file")
    if origin.fingerprint() != recording.about.fingerprint:
        raise GatewrightError("recording", "one of the model as it is", "one from before its weights changed")
    return origin
