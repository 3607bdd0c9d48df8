"""A whole model in ONNX, step by step by ONNX Runtime: what `gatewright.Stream` does with a model file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.data.public_holidays import ahead
from gatewright.errors import GatewrightError, shorten
from gatewright.exchange.onnx.interface import interface_of
from gatewright.files.model_file import ModelFile
from gatewright.runtime.signature import Signature

Array = NDArray[Any]

#: Outputs of the graphs of each kind of model.
_OUTPUTS = ("forecast", "logits", "probability")
_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}


def session_of(path: Path) -> Any:
    """Return a session of ONNX Runtime on one thread.

    Raises:
        GatewrightError: if ONNX Runtime is not installed, or the file is none that it runs.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        needed = "the package onnxruntime: pip install 'gatewright[onnx]'"
        raise GatewrightError("onnxruntime", needed, "none") from None
    if not path.is_file():
        raise GatewrightError(str(path), "an ONNX file", "no file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own classes
        got = shorten(str(error).splitlines()[0]).strip("'")
        raise GatewrightError(str(path), "an ONNX file that ONNX Runtime runs", got) from None


class OnnxSteps:
    """An ONNX file that `gatewright export` wrote, with the states of several sessions.

    Args:
        path: the file.
        file: the model whose input it reads.
        sessions: number of sessions.

    Raises:
        GatewrightError: if ONNX Runtime does not run it, another program wrote it, or its model reads other
            columns, or gives other outputs.
    """

    def __init__(self, path: Path, file: ModelFile, sessions: int) -> None:
        self._session, self._sessions = session_of(path), sessions
        self._signature = Signature.of(file.spec, file.vocabulary)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self._inputs = {each.name: each for each in self._session.get_inputs()}
        outputs = [each.name for each in self._session.get_outputs()]
        self._output = next((name for name in outputs if name in _OUTPUTS), "")
        if "gatewright.kind" not in metadata or not self._output:
            expected = "an ONNX file that gatewright export wrote; of others, arrays can be compared in Python"
            raise GatewrightError(str(path), expected, "another one")
        self._whole = metadata["gatewright.kind"] == "classifier"
        self._states = json.loads(metadata.get("gatewright.states", "[]"))
        _require_same(path, metadata, interface_of(file))
        self.reset()

    @property
    def reads_calendar(self) -> bool:
        """Whether a step needs its time."""
        return self._signature.reads_time

    def reset(self, sessions: Any = None) -> None:
        """Begin anew: all sessions, or those with these numbers."""
        if sessions is None:
            self._values = {each["input"]: self._start(each) for each in self._states}
            return
        rows = [sessions] if isinstance(sessions, int) else list(sessions)
        for each in self._states:
            name = each["input"]
            np.moveaxis(self._values[name], self._axis(name), 0)[rows] = float(each["start"])

    def _start(self, state: Mapping[str, Any]) -> Array:
        described = self._inputs[state["input"]]
        sizes = [self._sessions if isinstance(size, str) else size for size in described.shape]
        return np.full(sizes, float(state["start"]), _TYPES[described.type])

    def _axis(self, name: str) -> int:
        """Return the axis of a state that has a place for each session."""
        return next(k for k, size in enumerate(self._inputs[name].shape) if isinstance(size, str))

    def step(self, x: Any, sessions: Any = None, *, time: Any = None, indexed: bool = False) -> Array:
        """Advance by one step of several sessions; as `Stream.step`."""
        rows = range(self._sessions) if sessions is None else list(sessions)
        array = self._signature.array(x, (len(rows),), indexed)
        times = None if time is None else self._signature.times(time, (len(rows),))
        return self._advance(array[None], rows, times)[0]

    def run(self, xs: Any, sessions: Any = None, *, indexed: bool = False) -> Array:
        """Advance by many steps of one or several sessions, without times; as `Stream.run`."""
        alone = isinstance(sessions, int)
        rows = [sessions] if alone else list(range(self._sessions) if sessions is None else sessions)
        array = self._signature.array(xs, (None,) if alone else (None, len(rows)), indexed)
        array = array[:, None] if alone else array
        if self._whole and self._states:  # which gives what it thinks after the last step of a call
            y = np.concatenate([self._advance(row[None], rows, None) for row in array])
        else:
            y = self._advance(array, rows, None)
        return y[:, 0] if alone else y

    def _advance(self, x: Array, rows: Any, times: Array | None) -> Array:
        """Return the outputs (T, B, ...) of steps (T, B, ...) of the sessions of these numbers."""
        rows = list(rows)
        feeds = {"x": x, "lengths": np.full(x.shape[1], x.shape[0], np.int64)}
        if times is not None:
            feeds |= self._of_times(np.broadcast_to(times, x.shape[:2]))
        for each in self._states:
            feeds[each["input"]] = np.take(self._values[each["input"]], rows, self._axis(each["input"]))
        names = [self._output, *(each["output"] for each in self._states)]
        y, *states = self._session.run(names, {name: feeds[name] for name in self._inputs if name in feeds})
        for each, value in zip(self._states, states, strict=True):
            axis = self._axis(each["input"])
            np.moveaxis(self._values[each["input"]], axis, 0)[rows] = np.moveaxis(value, axis, 0)
        return y[None] if self._whole else y

    def _of_times(self, times: Array) -> dict[str, Array]:
        """Return what a graph reads of times (T, B)."""
        whole = times.astype("datetime64[us]").astype(np.int64)
        signature = self._signature
        found = {"time": whole}
        if signature.holidays:
            flat = ahead(
                times.reshape(-1),
                signature.time_zone,
                signature.step,
                signature.output_shape[0],
                signature.holidays,
            )
            found["holidays"] = flat.reshape(*times.shape, -1).astype(np.float64)
        return found


def _require_same(path: Path, metadata: Mapping[str, str], interface: Mapping[str, Any]) -> None:
    """Require input and output that stand for the same as those of the model.

    Raises:
        GatewrightError: names what differs.
    """
    for name, value in interface.items():
        own = json.loads(metadata.get(f"gatewright.{name}", "null"))
        if (own or None) != json.loads(json.dumps(value or None)):
            raise GatewrightError(str(path), f"the {name} {shorten(value)}", shorten(own))
