"""One file that shows recordings without a server: the page, its data and nothing else."""

from __future__ import annotations

import base64
import html
import json
import re
import zlib
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from gatewright.files import atomic
from gatewright.inspector.catalog import Shelf
from gatewright.inspector.payload import printable

_END = re.compile(r"</(script)", re.IGNORECASE)


def page(title: str, *, base: str = "", data: str = "", nonce: str = "") -> str:
    """Return the HTML of the inspector.

    Args:
        title: of the document.
        base: where its numbers are asked for; empty where they are in the page.
        data: elements that hold them.
        nonce: of the content security policy, for the page's own script and style.
    """
    # In a script an end tag would end it, wherever it stands.
    script, style = _END.sub(r"<\\/\1", bundle("inspector.js")), bundle("inspector.css")
    mark = f' nonce="{nonce}"' if nonce else ""
    where = f' data-base="{html.escape(base)}"' if base else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(printable(title))}</title>\n"
        f"<style{mark}>html,body{{margin:0;height:100%}}\n{style}</style>\n</head>\n<body>\n"
        f'<div id="gatewright-page"{where}></div>\n{data}'
        f'<script type="module"{mark}>{script}</script>\n</body>\n</html>\n'
    )


def bundle(name: str) -> str:
    """Return the text of a file of the page, as it was built from `inspector/`."""
    return (resources.files("gatewright.inspector") / "static" / name).read_text("utf-8")


def export(path: Path, shelf: Shelf, name: str) -> int:
    """Write a page that opens by itself, whole or not at all; return its size in bytes.

    Args:
        path: the file.
        shelf: that has the recording.
        name: the id of the recording.

    Raises:
        OSError: if it cannot be written.
    """
    payload = shelf.payload(name)
    meta = payload.meta()
    listed = [entry for entry in shelf.entries() if entry["id"] == name]
    parts = [
        _json("entries", listed),
        _json(f"{name}/meta", meta),
        _json(f"{name}/diagnosis", shelf.diagnosis(name)),
    ]
    for row, shapes in enumerate(meta["blocks"]):
        for block, shape in shapes.items():
            packed = _packed(payload.block(row, block), int(shape["dtype"][1]))
            parts.append(f'<script type="text/plain" data-name="{name}/rows/{row}/{block}">{packed}</script>\n')
    title = " - ".join(filter(None, (meta["title"], "Gatewright")))
    text = page(title, data="".join(parts)).encode()
    atomic.write_bytes(path, text)
    return len(text)


def _json(name: str, value: Any) -> str:
    # A text may hold anything, also what would end the element.
    text = json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" data-name="{name}">{text}</script>\n'


def _packed(block: bytes, size: int) -> str:
    """Deflate the bytes of numbers in planes, all first ones, then all second ones: exponents are much alike."""
    planes = np.frombuffer(block, np.uint8).reshape(-1, size).T
    return base64.b64encode(zlib.compress(np.ascontiguousarray(planes).tobytes(), 6)).decode("ascii")
