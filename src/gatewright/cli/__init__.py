"""The ``gatewright`` command: each command parses, calls one function and prints."""

from __future__ import annotations

import io
import os
import sys
import warnings

from cyclopts import CoercionError, CycloptsError, UnknownCommandError

from gatewright.cli import comparison, inspection, models, reproduction, serving, training, tuning, verification  # noqa: F401
from gatewright.cli.app import UsageError, app, complain, errors
from gatewright.errors import GatewrightError, nearest, reason, shorten

__all__ = ["app", "main"]

#: Packages that `gatewright[serve]` installs.
_OF_SERVE = ("fastapi", "msgpack", "prometheus_client", "pydantic", "redis")

#: Packages that `gatewright[tune]` installs.
_OF_TUNE = ("alembic", "optuna", "sqlalchemy")

#: Packages that `gatewright[look]` installs, and `gatewright[serve]` too.
_OF_LOOK = ("httptools", "starlette", "uvicorn")


def _of_the_machine(error: BaseException, command: str) -> str:
    """Return the message for an error of the machine in a command, or "" for an error of the program."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{reason(error, writing=None)}"
    missing = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing not in ("", "gatewright"):
        of_look = "serve" if command == "serve" else "look"
        extras = {"serve": _OF_SERVE, of_look: _OF_LOOK, "tune": _OF_TUNE}
        extra = next((extra for extra, packages in extras.items() if missing in packages), "train")
        return f"this command needs {missing}: pip install 'gatewright[{extra}]'"
    # torch raises a RuntimeError on the CPU, and a subclass of it on a GPU.
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error)):
        return "memory: expected room for a model of this size, got none; a smaller --hidden or --batch needs less"
    return ""


def _in_words(error: Exception) -> object:
    """Return an error of the parser, or in its place what a person can use."""
    if isinstance(error, UnknownCommandError):
        return _unknown(error)
    if isinstance(error, CoercionError) and error.token is not None and not error.token.value:
        command = f'Command "{" ".join(error.command_chain)}" parameter ' if error.command_chain else ""
        return f"{command}{error.token.keyword} requires an argument."  # an option of one value or several
    return error


def _unknown(error: UnknownCommandError) -> UsageError:
    """Return the error for a command that does not exist, with all that do."""
    names = sorted(name for name in error.app or app if not name.startswith("-"))
    word = error.unused_tokens[0] if error.unused_tokens else ""
    return UsageError("command", f"one out of {', '.join(names)}", f"{shorten(word)}{nearest(word, names)}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command; the exit status is 0, 1 for an error (one line), 2 for usage, 130 for Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")  # a terminal that lacks a character still shows the rest
    # A warning about torch's own operator, which a user can do nothing about.
    warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except (CycloptsError, UsageError) as error:
        complain("usage", str(_in_words(error)))
        errors.print("[dim]--help after a command shows its options[/]")
        sys.exit(2)
    except GatewrightError as error:
        complain("error", str(error))
        sys.exit(1)
    except BrokenPipeError:
        # The reader of the pipe has gone; the rest of the output must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ModuleNotFoundError, MemoryError, RuntimeError) as error:
        message = _of_the_machine(error, next(iter(sys.argv[1:] if arguments is None else arguments), ""))
        if not message:
            raise
        complain("error", message)
        sys.exit(1)
    except KeyboardInterrupt:
        complain("interrupted", "--resume continues a training from its last checkpoint")
        sys.exit(130)
