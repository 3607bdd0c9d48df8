"""A model as ``model.wasm``, ``model.js`` and ``index.html``."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

from gatewright.exchange.wasm.compiler import compiled, require_compiler, static
from gatewright.exchange.wasm.interface import as_json, interface
from gatewright.exchange.written import require_writable, written
from gatewright.files.model_file import ModelFile

#: What is written into the folder.
FILES = ("model.wasm", "model.js", "index.html")


def to_wasm(file: ModelFile, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write a model as WebAssembly, with a module of JavaScript that loads it and a page that runs it.

    The page holds all of it, and opens from the disk too.

    Args:
        file: the model.
        folder: where; made if need be.
        overwrite: whether files of these names may be replaced.

    Returns:
        Their paths.

    Raises:
        SpecError: if the model cannot be written as C99 (`gatewright.exchange.c99.export.to_c99`).
        GatewrightError: if there is no compiler, or files are there and may not be replaced, or cannot be written.
    """
    require_writable(folder, FILES, overwrite=overwrite)
    require_compiler()
    module = compiled(file)
    script = static("model.js").replace("__ABOUT__", as_json(interface(file)))
    contents = (module, script, page(file, module, script))
    return written(folder, dict(zip(FILES, contents, strict=True)), overwrite=overwrite)


def page(file: ModelFile, module: bytes, script: str) -> str:
    """Return the page of a model.

    Args:
        file: the model.
        module: its WebAssembly.
        script: its interface in JavaScript.
    """
    about = interface(file)
    names = about.get("targets") or about.get("classes") or []
    shown = f": {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" if names else ""
    wasm = f'const WASM = "{base64.b64encode(module).decode("ascii")}";\n'
    scripts = "".join(static(name) for name in ("table.js", "chart.js", "page.js"))
    parts = {
        "TITLE": html.escape(f"{about['kind'].capitalize()}{shown}"),
        "STYLE": static("page.css"),
        "SCRIPT": script + wasm + scripts,
    }
    return re.sub("__(TITLE|STYLE|SCRIPT)__", lambda found: parts[found[1]], static("page.html"))
