"""Paths of runs and model files, as a user names them."""

from __future__ import annotations

from pathlib import Path

from gatewright.errors import RunError, reason, shorten
from gatewright.files import regular_file

#: The model file in the directory of a run.
MODEL_FILE = "model.safetensors"

#: Files of the directory of a run, without its model.
RUN_FILES = ("config.toml", "source.json")


def require_model_file(path: Path, argument: str = "run") -> Path:
    """Return the model file that a path means: the file itself, or that of a run.

    Args:
        path: the path of a model file, or of the directory of a run.
        argument: the argument that names it.

    Raises:
        RunError: if there is no such file, or it is of another format.

    >>> require_model_file(Path("no"))
    Traceback (most recent call last):
    gatewright.errors.RunError: run: expected the directory of a run or a model file, got no, which does not exist
    """
    file = path / MODEL_FILE if path.is_dir() else path
    try:
        with regular_file.open_file(file) as opened:
            size = file.stat().st_size
            # The first number of a safetensors file is the length of its header.
            plausible = 8 < int.from_bytes(opened.read(8), "little") + 8 <= size
    except (OSError, ValueError) as error:
        if path.is_dir() and not file.exists():
            got = f"{path}, which has no model yet" if is_run(path) else no_run(path)
        else:
            got = f"{shown(file)}: {reason(error)}" if file.exists() else no_run(path)
        raise RunError(argument, "the directory of a run or a model file", got) from None
    if not plausible and file.suffix != ".safetensors":
        got = f"{shown(path)}, a file of another format"
        raise RunError(argument, "the directory of a run or a model file", got)
    return file


def is_run(path: Path) -> bool:
    """Return whether a directory holds a run, with or without a model."""
    return all((path / name).exists() for name in RUN_FILES)


def no_run(path: Path) -> str:
    """Say what a path is that is no run."""
    named = shown(path)
    try:
        if path.is_dir():
            return f"{named}, a directory without {' and '.join(RUN_FILES)}"
        if not path.exists():
            return f"{named}, which does not exist"
    except (OSError, ValueError) as error:
        return f"{named}: {reason(error)}"
    if path.suffix == ".safetensors":
        return f"{named}, a file; the run is the directory that holds it"
    return f"{named}, a file; the run comes before the table or the text"


def shown(path: Path) -> str:
    """Return a path for an error message, shortened where it is long."""
    return shorten(str(path)).strip("'")
