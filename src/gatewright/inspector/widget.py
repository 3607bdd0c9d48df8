"""The inspector in a notebook: Jupyter, marimo and other hosts of anywidget."""

from __future__ import annotations

from typing import Any

from gatewright.errors import GatewrightError
from gatewright.insight.modules.recording import ModuleRecording
from gatewright.insight.recording import Recording
from gatewright.inspector.catalog import Catalog, Entry, Subject
from gatewright.inspector.html import bundle
from gatewright.inspector.module_catalog import module_catalog

try:
    import anywidget
except ModuleNotFoundError as error:
    needs = "gatewright.view needs anywidget: pip install 'gatewright[notebook]'"
    raise ModuleNotFoundError(needs, name=error.name) from None

_ID = "recording"


class View(anywidget.AnyWidget):
    """The inspector of a recording in a notebook's cell.

    Blocks of numbers go to the page on request, as binary buffers.

    Args:
        recording: the recording.
    """

    _esm = bundle("inspector.js")
    _css = bundle("inspector.css")

    def __init__(self, recording: Recording | ModuleRecording) -> None:
        super().__init__()
        if isinstance(recording, ModuleRecording):
            self._catalog = module_catalog(recording)
        else:
            self._catalog = Catalog()
            self._catalog.add(Entry(_ID, recording.about.note, first=True), lambda: Subject(recording=recording))
        self.on_msg(self._answer)

    def _answer(self, _: Any, message: Any, __: Any) -> None:
        try:
            content, buffers = self._response(message)
        except GatewrightError as error:
            content, buffers = {"error": str(error)}, []
        except (KeyError, TypeError):
            content, buffers = {"error": "There is no data of that name."}, []
        self.send({"id": message.get("id"), **content}, buffers)

    def _response(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        request = message["ask"]
        if request == "entries":
            return {"json": self._catalog.entries()}, []
        payload = self._catalog.payload(message["recording"])
        if request == "meta":
            return {"json": payload.meta()}, []
        if request == "diagnosis":
            return {"json": self._catalog.diagnosis(message["recording"])}, []
        return {}, [payload.block(message["row"], message["name"])]


def view(recording: Recording | ModuleRecording) -> View:
    """Show a recording in a notebook.

    Needs ``gatewright[notebook]``.

    Args:
        recording: a recording that `gatewright.look` returned; of a module, its layers are a menu of the page.

    Raises:
        GatewrightError: if it is something else.

    >>> import torch
    >>> from gatewright import LSTM, look
    >>> type(view(look(LSTM(3, 4), torch.ones(5, 1, 3)))).__name__
    'View'
    """
    if not isinstance(recording, Recording | ModuleRecording):
        raise GatewrightError("recording", "a recording of gatewright.look", type(recording).__name__)
    return View(recording)
