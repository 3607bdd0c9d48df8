"""The file of a picture, checked without the packages that draw one."""

from __future__ import annotations

from pathlib import Path

from gatewright.errors import GatewrightError, shorten

#: Formats, by the ending of a file's name.
FORMATS = (".png", ".svg")


def require_picture(path: Path, argument: str = "--plot") -> Path:
    """Return a path that a picture can be written to.

    Raises:
        GatewrightError: if its ending is that of no format, or its directory does not exist.
    """
    if path.suffix.lower() not in FORMATS:
        raise GatewrightError(argument, f"a file whose name ends in {' or '.join(FORMATS)}", shorten(str(path)))
    if not path.parent.is_dir():
        raise GatewrightError(argument, "a file in a directory that exists", shorten(str(path)))
    return path
