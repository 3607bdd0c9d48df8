"""Sequences of the Open Inference Protocol as sessions, by Triton's parameters of requests."""

from __future__ import annotations

import base64
import hashlib
import logging
from typing import Any, NamedTuple

from gatewright.errors import BusyError, GatewrightError, SessionError, StepError, StoreError
from gatewright.serve.logs import log_event
from gatewright.serve.schemas import AdvanceBody
from gatewright.serve.service import SEQUENCE_PREFIX, Service

#: Maximum length of a sequence's name.
_LONGEST = 128


class SequenceRequest(NamedTuple):
    """Which sequence a request belongs to.

    Attributes:
        id: number or name of the sequence.
        start: whether it begins with this request.
        end: whether it ends with it.
        first: number of its steps before these, for retries; None for any.
    """

    id: int | str
    start: bool
    end: bool
    first: int | None


def sequence_of(parameters: dict[str, Any]) -> SequenceRequest:
    """Return which sequence the parameters of a request name.

    Raises:
        GatewrightError: if a parameter is missing or invalid.
    """
    number = parameters.get("sequence_id", 0)
    valid = (type(number) is int and 0 < number < 2**64) or (
        isinstance(number, str) and 0 < len(number) <= _LONGEST
    )
    if not valid:
        expected = (
            f"a number from 1, or a text of at most {_LONGEST} characters: each sequence has a state; with "
            "sequence_start and sequence_end for one in a single request"
        )
        raise GatewrightError("sequence_id", expected, repr(number)[:80])
    flags = []
    for name in ("sequence_start", "sequence_end"):
        flag = parameters.get(name, False)
        if not isinstance(flag, bool):
            raise GatewrightError(name, "true or false", repr(flag)[:80])
        flags.append(flag)
    first = parameters.get("first")
    if first is not None and (type(first) is not int or not 0 <= first < 2**63):
        raise GatewrightError("first", "the number of the sequence's steps before these", repr(first)[:80])
    if flags[0] and first:
        raise GatewrightError("first", "0 with sequence_start", str(first))
    return SequenceRequest(number, flags[0], flags[1], first)


async def run_sequence(
    service: Service, owner: str, sequence: SequenceRequest, body: AdvanceBody
) -> dict[str, Any]:
    """Advance a sequence, and return the answer of `Service.advance`; an invalid request changes nothing.

    Raises:
        GatewrightError: as `Service.advance` does; a `SessionError` if the sequence has not started.
    """
    name = _session_name(service.name, owner, sequence.id)
    try:
        if sequence.start:
            answer = await _started(service, owner, name, sequence, body)
        else:
            answer = await service.advance(owner, name, body)
    except StepError:
        raise
    except SessionError:
        expected = "a sequence that has started: sequence_start with its first request"
        raise SessionError("sequence_id", expected, repr(sequence.id)[:80]) from None
    if sequence.end:
        await _forget(service, owner, name)
    return answer


async def _started(
    service: Service, owner: str, name: str, sequence: SequenceRequest, body: AdvanceBody
) -> dict[str, Any]:
    """Advance a new session, in place of one that exists unless ``first`` says that this may be a retry."""
    try:
        await service.create(owner, name, sequence=True)
    except StepError:
        if sequence.first is None:
            return await _replaced(service, owner, name, body)
        return await service.advance(owner, name, body)
    try:
        return await service.advance(owner, name, body)
    except (BusyError, StoreError):
        raise
    except GatewrightError:
        await _forget(service, owner, name)
        raise


async def _replaced(service: Service, owner: str, name: str, body: AdvanceBody) -> dict[str, Any]:
    """Advance a session from its beginning; it stays as it was if the request is invalid."""
    fresh = str((await service.create(owner))["session"])
    try:
        answer = await service.advance(owner, fresh, body)
        await service.delete(owner, name)
        await service.fork(owner, fresh, name, sequence=True)
    finally:
        await _forget(service, owner, fresh)
    return answer


async def _forget(service: Service, owner: str, name: str) -> None:
    """Delete a session; if that fails, it stays in the store, and the answer is sent all the same."""
    try:
        await service.delete(owner, name)
    except (SessionError, StoreError, BusyError) as error:
        log_event("sequence not deleted", level=logging.WARNING, error=type(error).__name__)


def _session_name(model: str, owner: str, number: int | str) -> str:
    """Return the name of a sequence's session: no other user, model or sequence has it."""
    parts = (model, owner, type(number).__name__, str(number))
    text = "".join(f"{len(part)}:{part}" for part in parts)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=b"sequence").digest()
    return SEQUENCE_PREFIX + base64.urlsafe_b64encode(digest).decode().rstrip("=")
