"""What goes over the wire, once: HTTP bodies, WebSocket frames and the OpenAPI document come of these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field


class _AtOnce(FailFast):
    """Ends a list at its first error; unlike its base it can be part of a union."""

    __hash__ = object.__hash__


_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Symbol = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
_First = Annotated[
    int | None,
    Field(
        strict=True,
        ge=0,
        lt=2**63,
        description="Steps that the session has taken before these. A request that names it may be sent again "
        "when its answer got lost: the same answer comes, and no step is taken twice.",
    ),
]
_Text = Annotated[str, Field(max_length=1_000_000)]
_StateSteps = Annotated[int, Field(description="Steps that are in the state: those since the last reset.")]
_Name = Annotated[str, Field(description="The name of a session.")]
#: Characters of what comes back with the answer to a frame.
MAX_ID = 256


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MakeBody(_Body):
    """A session to make."""

    name: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9_-]{32}$",
            description="What to call it: 24 random bytes in base64url. A request that names it may be sent again "
            "when its answer got lost: no second session is made. Left out: a random name.",
        ),
    ] = None


class AdvanceBody(_Body):
    """Steps to take."""

    x: Annotated[
        _Text
        | Annotated[list[_Symbol], _AtOnce()]
        | Annotated[list[Annotated[list[_Number | None], _AtOnce()]], _AtOnce()],
        Field(
            description="A text, or the numbers of its symbols; or a row of numbers for each step, null where a "
            "target was not observed."
        ),
    ]
    first: _First = None
    times: Annotated[
        Annotated[list[Annotated[str, Field(max_length=64)]], _AtOnce()] | None,
        Field(
            description="When the steps were observed, as in ISO 8601, where the model reads a calendar. A time "
            "that names no zone is what the clock of the model's `time_zone` shows."
        ),
    ] = None
    outputs: Annotated[
        Literal["all", "last", "none"], Field(description="The outputs that are wanted: of which steps.")
    ] = "all"


class GenerateBody(_Body):
    """Text to write."""

    length: Annotated[int, Field(strict=True, ge=0, lt=2**31, description="Symbols to write.")]
    prompt: Annotated[_Text, Field(description="Text to read first.")] = ""
    first: _First = None
    temperature: Annotated[
        float, Field(strict=True, ge=0, allow_inf_nan=False, description="Below 1 prefers likely symbols.")
    ] = 1.0
    seed: Annotated[
        int | None,
        Field(
            strict=True, ge=0, lt=2**63, description="Of the draws; left out: one that the session's name gives."
        ),
    ] = None


class AnswerBody(_Body):
    """What steps gave."""

    y: Annotated[list[Any], Field(description="The outputs, a (nested) list for each step; null for no number.")]
    steps: Annotated[int, Field(description="Steps that the session has taken now.")]
    state_steps: _StateSteps
    repeated: Annotated[bool, Field(description="Whether these steps had been taken before.")]


class TextBody(_Body):
    """A piece of text that was written."""

    text: str
    steps: Annotated[int, Field(description="Steps that the session has taken now.")]
    state_steps: _StateSteps
    repeated: Annotated[bool, Field(description="Whether this piece had been written before.")]


class SessionBody(_Body):
    """A session."""

    session: str
    model: Annotated[str, Field(description="Fingerprint of its model.")]
    steps: int
    state_steps: _StateSteps


class StateBody(SessionBody):
    """A session and its state."""

    hidden: Annotated[list[list[float]], Field(description="h of each layer.")]
    cell: Annotated[list[list[float]], Field(description="c of each layer.")]
    last: Annotated[list[float | None], Field(description="The last observed value of each target.")]


class NamesBody(_Body):
    """Names of sessions, in order."""

    sessions: list[str]
    next: Annotated[str | None, Field(description="What to give as `after` for those that follow.")]


class ModelBody(_Body):
    """The model of new sessions."""

    model: Annotated[str, Field(description="Fingerprint.")]
    columns: Annotated[list[str], Field(description="What a forecaster's row has, in order.")]
    calendar: Annotated[bool, Field(description="Whether steps need their times.")]
    time_zone: Annotated[
        str,
        Field(
            description="Zone on whose clock times are read: a place, an offset or UTC; `local` for dates of any "
            "zone; empty for times that name none."
        ),
    ]
    targets: Annotated[list[str], Field(description="What is forecast: the second axis of a step's output.")]
    quantiles: Annotated[list[float], Field(description="The third axis of a forecaster's output.")]
    symbols: Annotated[list[str], Field(description="The symbols of a text model; the first stands for others.")]
    output: Annotated[list[int], Field(description="Shape of a step's output.")]
    context: Annotated[
        int,
        Field(
            description="Rows that a forecaster was trained to read before it forecasts, as `state_steps` counts "
            "them; 0 for other models."
        ),
    ]
    most_steps: Annotated[int, Field(description="Most steps of one request.")]


class ErrorPart(_Body):
    """What is wrong: the argument, what was expected, what came."""

    argument: str
    expected: str
    got: str


class ErrorBody(_Body):
    """An error."""

    error: ErrorPart


class _Frame(_Body):
    id: Annotated[
        Annotated[int, Field(ge=-(2**63), lt=2**63)] | Annotated[str, Field(max_length=MAX_ID)] | None,
        Field(description="Comes back with the answer."),
    ] = None


class ModelFrame(_Frame):
    """Asks for the model of new sessions."""

    op: Literal["model"]


class CreateFrame(MakeBody, _Frame):
    """Makes a session."""

    op: Literal["create"]


class ListFrame(_Frame):
    """Lists one's sessions."""

    op: Literal["list"]
    after: str = ""
    most: Annotated[int, Field(strict=True, ge=1, le=1000)] = 1000


class SessionFrame(_Frame):
    """Reads a session, puts it back to the beginning or deletes it."""

    op: Literal["read", "reset", "delete"]
    session: _Name


class ForkFrame(MakeBody, _Frame):
    """Makes a session that stands where another one does."""

    op: Literal["fork"]
    session: _Name


class AdvanceFrame(AdvanceBody, _Frame):
    """Takes steps."""

    op: Literal["advance"]
    session: _Name


class GenerateFrame(GenerateBody, _Frame):
    """Writes text, a frame for each piece."""

    op: Literal["generate"]
    session: _Name


Frame = ModelFrame | CreateFrame | ListFrame | SessionFrame | ForkFrame | AdvanceFrame | GenerateFrame
#: Which frame an ``op`` makes.
FRAMES: dict[str, type[Frame]] = {
    "model": ModelFrame,
    "create": CreateFrame,
    "list": ListFrame,
    **dict.fromkeys(("read", "reset", "delete"), SessionFrame),
    "fork": ForkFrame,
    "advance": AdvanceFrame,
    "generate": GenerateFrame,
}
