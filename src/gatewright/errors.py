"""Exceptions. Each names the argument, what was expected and what was given."""

from __future__ import annotations

import difflib
import errno
import os
import reprlib
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar


class GatewrightError(ValueError):
    """An input that Gatewright cannot use.

    Attributes:
        argument: the name of the argument, option, column or file at fault.
        expected: what it has to be.
        got: what was given.
        sentence: the message after the argument, where it is clearer than "expected ..., got ...".

    >>> print(GatewrightError("horizon", "a whole number of at least 1", "0"))
    horizon: expected a whole number of at least 1, got 0
    """

    def __init__(self, argument: str, expected: str, got: str, *, sentence: str = "") -> None:
        super().__init__(argument, expected, got)
        self.argument = argument
        self.expected = expected
        self.got = got
        self.sentence = sentence

    def __str__(self) -> str:
        if self.sentence:
            return f"{self.argument}: {self.sentence}" if self.argument else self.sentence
        return f"{self.argument}: expected {self.expected}, got {self.got}"


class SpecError(GatewrightError):
    """A model specification that contradicts itself or cannot be read."""


class ModelFileError(GatewrightError):
    """A model file that is damaged, foreign or too new."""


class DataError(GatewrightError):
    """A table or a text that cannot be used as it is."""


class MissingColumnError(DataError):
    """A table without a column that a trained model reads."""


class RunError(GatewrightError):
    """A run directory that cannot be used for this purpose."""


class StateError(GatewrightError):
    """A state of a stream that is damaged, or of another model."""


class StoreError(GatewrightError):
    """A session store that cannot be read or written."""


class SessionError(GatewrightError):
    """A session that does not exist."""


class StepError(SessionError):
    """A request that is neither the session's next step nor a retry of its last one (HTTP 409)."""


class LimitError(GatewrightError):
    """A quota that was exceeded."""


class GatewrightWarning(UserWarning):
    """Something that a result does not cover, such as a series that is too short."""


class SlowPathWarning(UserWarning):
    """A layer runs on torch's operations, step by step, where the kernels cannot; said once for each cause.

    To silence it: ``warnings.simplefilter("ignore", gatewright.errors.SlowPathWarning)``.
    """


class BusyError(GatewrightError):
    """A request that the caller must retry later.

    Attributes:
        retry_after: seconds to wait before the retry.
    """

    def __init__(self, argument: str, expected: str, got: str, *, retry_after: float) -> None:
        super().__init__(argument, expected, got)
        self.retry_after = retry_after


class NonFiniteError(GatewrightError):
    """A NaN or an infinity that appeared while training."""


Refusal = TypeVar("Refusal", bound=GatewrightError)

#: Meanings of the system's error numbers, for the user who named a file.
_REASONS = {
    errno.ENOENT: "the file does not exist",
    errno.EISDIR: "it is a directory, not a file",
    errno.ENOTDIR: "a directory in its path is a file",
    errno.EEXIST: "it exists already",
    errno.ENOTEMPTY: "the directory is not empty",
    errno.EROFS: "its disk is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than the system allows",
    errno.EIO: "the disk reports an error",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its symbolic links form a loop",
    errno.EMFILE: "this process has too many files open",
    errno.ENFILE: "the system has too many files open",
    errno.EBUSY: "another program uses it",
    errno.EADDRINUSE: "another program uses it",
    errno.EADDRNOTAVAIL: "it is no address of this machine",
    errno.ESTALE: "the network disk has lost it",
}


_NUMBERS = {
    FileNotFoundError: errno.ENOENT,
    IsADirectoryError: errno.EISDIR,
    NotADirectoryError: errno.ENOTDIR,
    PermissionError: errno.EACCES,
}
_TO = {True: "to write it", False: "to read it", None: "for it"}


def reason(error: BaseException, *, writing: bool | None = False) -> str:
    """Return the reason why a file could not be read or written, in plain words.

    Args:
        error: the exception that the system, gzip or Python raised.
        writing: whether the file was to be written; None if that is not known.

    >>> reason(FileNotFoundError(2, "No such file or directory"))
    'the file does not exist'
    """
    if plain := getattr(error, "plain", ""):
        return str(plain)
    number = error.errno if isinstance(error, OSError) else None
    if number is None:  # safetensors raises the classes without the numbers
        number = next((code for kind, code in _NUMBERS.items() if isinstance(error, kind)), None)
    if number == errno.ENOENT and writing:
        return "its directory does not exist"
    if number in (errno.EACCES, errno.EPERM):
        return f"you have no permission {_TO[writing]}"
    if number in _REASONS:
        return _REASONS[number]
    if number is not None:
        return os.strerror(number).lower()
    if isinstance(error, EOFError):
        return "the file is cut off: its gzip data ends too early"
    if isinstance(error, zlib.error) or "CRC" in str(error):
        return "its gzip data is damaged"
    if type(error).__name__ == "BadGzipFile":
        return "it is not a gzip file, although its name ends in .gz"
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    if isinstance(error, ValueError):
        return "its name holds a character that no file name can hold"
    return "the system refuses it"


def unusable(
    kind: type[Refusal], path: str | os.PathLike[str], error: BaseException, *, writing: bool = False
) -> Refusal:
    """Return the error for a file that the system could not read or write.

    Args:
        kind: the class of the error.
        path: the file.
        error: the exception that was raised.
        writing: whether the file was to be written.

    >>> print(unusable(DataError, "load.csv", FileNotFoundError(2, "No such file or directory")))
    load.csv: the file does not exist
    """
    why = reason(error, writing=writing)
    expected = f"a file that can be {'written' if writing else 'read'}"
    return kind(os.fspath(path), expected, why, sentence=why)


def path_of(value: object, argument: str, expected: str = "the path of a file") -> Path:
    """Return a path that a caller gave.

    Args:
        value: a text or a `Path`.
        argument: the name of the argument.
        expected: what it has to be.

    Raises:
        GatewrightError: if it is no path, such as a data frame.

    >>> path_of([1, 2], "path")
    Traceback (most recent call last):
    gatewright.errors.GatewrightError: path: expected the path of a file, got a value of type list
    """
    if isinstance(value, (str, os.PathLike)) and os.fspath(value):
        return Path(os.fsdecode(value))
    got = "an empty text" if isinstance(value, str) else f"a value of type {type(value).__name__}"
    raise GatewrightError(argument, expected, got)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a suggestion for a misspelt name, or an empty string.

    >>> nearest("Temp", ["temperature", "wind", "temp"])
    "; did you mean 'temp'?"
    """
    names = list(names)
    lowered = {candidate.lower(): candidate for candidate in reversed(names)}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    return f"; did you mean {lowered[close[0]]!r}?" if close else ""


# A specification may come from an untrusted file: an error quotes it, but never megabytes of it.
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_SHORT.maxtuple = _SHORT.maxlist = _SHORT.maxdict = 20
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200


def shorten(value: object) -> str:
    """Return a value for an error message, shortened where it is long.

    >>> len(shorten("a" * 1_000_000))
    200
    """
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python refuses to print a whole number of more than 4300 digits
        return f"a value of type {type(value).__name__} that is too long to show"
