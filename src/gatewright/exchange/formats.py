"""The formats that `gatewright export` writes, each by one function."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from gatewright.files.model_file import ModelFile


class Writer(Protocol):
    """A function that writes a model in one format."""

    def __call__(
        self, file: ModelFile, folder: Path, *, overwrite: bool = False, **options: Any
    ) -> Sequence[Path]:
        """Write the files into a directory, made if need be, and return their paths, with a note in `Files`."""


class Format(NamedTuple):
    """A format of `gatewright export --to`.

    Attributes:
        summary: what it writes, in one line.
        home: the function that writes it, ``module:function``, imported when it is first used.
    """

    summary: str
    home: str

    def writer(self) -> Writer:
        """Return the function that writes it."""
        module, _, name = self.home.partition(":")
        writer: Writer = getattr(importlib.import_module(module), name)
        return writer


#: Formats by the name that `--to` takes; also the name of the directory that they are written into by default.
FORMATS = {
    "c": Format("model.h and model.c, for native/c/gatewright.h", "gatewright.exchange.c:to_c"),
    "c99": Format("model.h and model.c that need no library", "gatewright.exchange.c99.export:to_c99"),
    "c99-int8": Format("the same with weights in int8", "gatewright.exchange.c99.export:to_c99_int8"),
    "onnx": Format("model.onnx, checked by ONNX Runtime", "gatewright.exchange.onnx.writing:to_onnx"),
    "rtneural": Format(
        "model.json for RTNeural, of models with plain heads", "gatewright.exchange.rtneural:to_rtneural"
    ),
    "wasm": Format("model.wasm, model.js and a page that runs it", "gatewright.exchange.wasm.export:to_wasm"),
}
