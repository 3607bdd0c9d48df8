"""The inspector in a notebook: Jupyter, marimo and whatever else takes an anywidget."""

from __future__ import annotations

from typing import Any

from gatewright.errors import GatewrightError
from gatewright.insight.recording import Recording
from gatewright.inspector.catalog import Entry, Shelf, Subject
from gatewright.inspector.html import bundle

try:
    import anywidget
except ModuleNotFoundError as error:
    needs = "gatewright.view needs anywidget: pip install 'gatewright[notebook]'"
    raise ModuleNotFoundError(needs, name=error.name) from None

_ID = "recording"


class View(anywidget.AnyWidget):
    """A recording in a notebook's cell.

    Blocks of numbers go to the page when it asks for them, as they are in memory.

    Args:
        recording: what is shown.
    """

    _esm = bundle("inspector.js")
    _css = bundle("inspector.css")

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self._shelf = Shelf()
        self._shelf.add(Entry(_ID, recording.about.note, first=True), lambda: Subject(recording=recording))
        self.on_msg(self._answer)

    def _answer(self, _: Any, message: Any, __: Any) -> None:
        try:
            content, buffers = self._asked(message)
        except GatewrightError as error:
            content, buffers = {"error": str(error)}, []
        except (KeyError, TypeError):
            content, buffers = {"error": "There is nothing of that name."}, []
        self.send({"id": message.get("id"), **content}, buffers)

    def _asked(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        ask = message["ask"]
        if ask == "entries":
            return {"json": self._shelf.entries()}, []
        payload = self._shelf.payload(message["recording"])
        if ask == "meta":
            return {"json": payload.meta()}, []
        if ask == "diagnosis":
            return {"json": self._shelf.diagnosis(message["recording"])}, []
        return {}, [payload.block(message["row"], message["name"])]


def view(recording: Recording) -> View:
    """Show a recording in a notebook.

    Needs ``gatewright[notebook]``.

    Args:
        recording: what `gatewright.look` returned.

    Raises:
        GatewrightError: if it is none.

    >>> import torch
    >>> from gatewright import LSTM, look
    >>> type(view(look(LSTM(3, 4), torch.ones(5, 1, 3)))).__name__
    'View'
    """
    if not isinstance(recording, Recording):
        raise GatewrightError("recording", "what gatewright.look returned", type(recording).__name__)
    return View(recording)
