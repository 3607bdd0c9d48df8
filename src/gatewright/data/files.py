"""Files that hold UTF-8 text, plain or packed."""

from __future__ import annotations

import codecs
import gzip
import zlib
from pathlib import Path

from gatewright.errors import DataError


def read_utf8(path: Path) -> bytes:
    """Read a file of UTF-8 text, unpacked if its name ends in ``.gz``, without a byte order mark.

    Raises:
        DataError: if it cannot be read or is not UTF-8 (byte and line are named).
    """
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as file:
                raw = file.read()
        else:
            raw = path.read_bytes()
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(str(path), "a file that can be read", reason(error)) from None
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(str(path), "UTF-8 text", f"byte 0x{raw[error.start]:02x} in line {line}") from None
    return raw


def reason(error: Exception) -> str:
    """Return what an error of the system says, without the path."""
    return getattr(error, "strerror", None) or str(error)
