"""Errors in the words of Python: options are named as parameters, not as flags of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from gatewright.errors import BusyError, GatewrightError

#: A flag; and the option that chooses a tagger, which has a class of its own in Python.
_FLAG = re.compile(r"(?<![\w-])--(label-per step|[a-z][a-z-]*)")
_TAGGER = "label-per step"

#: Options whose parameters have other names: those are names of Python's functions.
_PARAMETERS = {"min": "minimum", "max": "maximum"}
_OPTIONS = {parameter: option for option, parameter in _PARAMETERS.items()}


@contextmanager
def python_names() -> Iterator[None]:
    """Raise errors that name flags, such as ``--time-zone``, as ones that name parameters: ``time_zone``.

    >>> with python_names():
    ...     raise GatewrightError("--time-zone", "UTC; --fill forward fills gaps", "0")
    Traceback (most recent call last):
    gatewright.errors.GatewrightError: time_zone: expected UTC; fill forward fills gaps, got 0
    """
    try:
        yield
    except BusyError:
        raise
    except GatewrightError as error:
        parts = (error.argument, error.expected, error.got, error.sentence)
        if not any(map(_FLAG.search, parts)):
            raise
        argument, expected, got, sentence = (_FLAG.sub(_parameter, part) for part in parts)
        raise type(error)(argument, expected, got, sentence=sentence) from None


def _parameter(flag: re.Match[str]) -> str:
    if flag[1] == _TAGGER:
        return "gatewright.SequenceTagger"
    return parameter_of(flag[1].replace("-", "_"))


def parameter_of(option: str) -> str:
    """Return the name of the parameter of an estimator that sets an option.

    >>> parameter_of("min"), parameter_of("horizon")
    ('minimum', 'horizon')
    """
    return _PARAMETERS.get(option, option)


def option_of(parameter: str) -> str:
    """Return the name of the option that a parameter of an estimator sets.

    >>> option_of("minimum"), option_of("horizon")
    ('min', 'horizon')
    """
    return _OPTIONS.get(parameter, parameter)
