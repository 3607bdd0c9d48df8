"""The HTML of the page, also as one file that shows a recording without a server."""

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
from gatewright.inspector.catalog import Catalog
from gatewright.inspector.payload import printable

_END = re.compile(r"</(script)", re.IGNORECASE)


def page(title: str, *, base: str = "", data: str = "", nonce: str = "") -> str:
    """Return the HTML of the inspector.

    Args:
        title: title of the document.
        base: path of the server's data; empty if the data is in the page.
        data: HTML elements with the data.
        nonce: nonce of the content security policy, for the page's own script and style.
    """
    # The end tag would end the script, even inside a string.
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
    """Return the text of a file of the page, which `make page` builds from `inspector/`."""
    return (resources.files("gatewright.inspector") / "static" / name).read_text("utf-8")


def export(path: Path, catalog: Catalog, name: str) -> int:
    """Write a page that needs no server, whole or not at all; return its size in bytes.

    Args:
        path: the file.
        catalog: the catalog that has the recording.
        name: id of the recording; of a module's layers, all of them are written.

    Raises:
        OSError: if the file cannot be written.
    """
    entries = [entry for entry in catalog.entries() if entry["id"] == name or entry["name"]]
    parts = [_json("entries", entries)]
    for entry in entries:
        parts += _data_of(catalog, entry["id"])
    title = " - ".join(filter(None, (catalog.payload(name).meta()["title"], "Gatewright")))
    text = page(title, data="".join(parts)).encode()
    atomic.write_bytes(path, text)
    return len(text)


def _data_of(catalog: Catalog, name: str) -> list[str]:
    """Return the elements with the data of a recording."""
    payload = catalog.payload(name)
    meta = payload.meta()
    parts = [_json(f"{name}/meta", meta), _json(f"{name}/diagnosis", catalog.diagnosis(name))]
    for row, shapes in enumerate(meta["blocks"]):
        for block, shape in shapes.items():
            packed = _packed(payload.block(row, block), int(shape["dtype"][1]))
            parts.append(f'<script type="text/plain" data-name="{name}/rows/{row}/{block}">{packed}</script>\n')
    return parts


def _json(name: str, value: Any) -> str:
    # A text may contain anything, even the end tag of the element.
    text = json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" data-name="{name}">{text}</script>\n'


def _packed(block: bytes, size: int) -> str:
    """Compress numbers byte plane by byte plane: all first bytes, then all second bytes.

    Bytes of one plane are similar, the exponents above all, so that they compress better next to each other.
    """
    planes = np.frombuffer(block, np.uint8).reshape(-1, size).T
    return base64.b64encode(zlib.compress(np.ascontiguousarray(planes).tobytes(), 6)).decode("ascii")
