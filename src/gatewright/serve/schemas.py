"""Schemas of HTTP bodies and WebSocket frames; the OpenAPI document is generated from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field

from gatewright.spec import LONGEST_VALUE


class _FirstError(FailFast):
    """Stops validation of a list at its first error; unlike its base class usable in a union."""

    __hash__ = object.__hash__


_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Symbol = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
_Value = Annotated[str, Field(strict=True, max_length=LONGEST_VALUE)]
_First = Annotated[
    int | None,
    Field(
        strict=True,
        ge=0,
        lt=2**63,
        description="Number of the session's steps before these. A request with `first` can be retried "
        "if its answer was lost: the same answer is returned, and no step is taken twice.",
    ),
]
_Text = Annotated[str, Field(max_length=1_000_000)]
_StateSteps = Annotated[int, Field(description="Number of steps in the state: those since the last reset.")]
_Name = Annotated[str, Field(description="Name of a session.")]
#: Maximum length of a frame's id.
MAX_ID = 256


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CreateBody(_Body):
    """A session to create."""

    name: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9_-]{32}$",
            description="24 random bytes in base64url; random if omitted. A request with a name "
            "can be retried if its answer was lost: no second session is created.",
        ),
    ] = None


class AdvanceBody(_Body):
    """Input of steps."""

    x: Annotated[
        _Text
        | Annotated[list[_Symbol], _FirstError()]
        | Annotated[list[Annotated[list[_Number | bool | _Value | None], _FirstError()]], _FirstError()],
        Field(
            description="A text, or the indices of its symbols; or a row of numbers for each step, null where a "
            "target was not observed. A category is its value: a text, true or false, or a whole number; null "
            "where it is missing."
        ),
    ]
    first: _First = None
    times: Annotated[
        Annotated[list[Annotated[str, Field(max_length=64)]], _FirstError()] | None,
        Field(
            description="Times of the steps in ISO 8601, for models with a calendar. A time without zone is local "
            "time in the model's `time_zone`."
        ),
    ] = None
    outputs: Annotated[Literal["all", "last", "none"], Field(description="Steps whose outputs are returned.")] = (
        "all"
    )


class GenerateBody(_Body):
    """Text to generate."""

    length: Annotated[int, Field(strict=True, ge=0, lt=2**31, description="Number of symbols to generate.")]
    prompt: Annotated[_Text, Field(description="Text to read before generating.")] = ""
    first: _First = None
    temperature: Annotated[
        float,
        Field(
            strict=True,
            ge=0,
            allow_inf_nan=False,
            description="Sampling temperature; below 1 prefers likely symbols, 0 takes the likeliest.",
        ),
    ] = 1.0
    seed: Annotated[
        int | None,
        Field(
            strict=True,
            ge=0,
            lt=2**63,
            description="Random seed for sampling; derived from the session's name if omitted.",
        ),
    ] = None


class AnswerBody(_Body):
    """Outputs of steps."""

    y: Annotated[list[Any], Field(description="Outputs, a (nested) list for each step; null for NaN.")]
    steps: Annotated[int, Field(description="Number of steps that the session has taken, these included.")]
    state_steps: _StateSteps
    repeated: Annotated[bool, Field(description="Whether the request was a retry of steps already taken.")]


class TextBody(_Body):
    """A piece of generated text."""

    text: str
    steps: Annotated[int, Field(description="Number of steps that the session has taken, these included.")]
    state_steps: _StateSteps
    repeated: Annotated[
        bool, Field(description="Whether the request was a retry and this piece was generated before.")
    ]


class SessionBody(_Body):
    """A session."""

    session: str
    model: Annotated[str, Field(description="Fingerprint of the session's model.")]
    steps: int
    state_steps: _StateSteps


class StateBody(SessionBody):
    """A session and its state."""

    hidden: Annotated[
        list[list[float]] | list[float],
        Field(description="Hidden state h of each layer; of layers of unequal size those of all in a row."),
    ]
    cell: Annotated[
        list[list[float]] | list[float],
        Field(description="Cell state c of each layer; of layers of unequal size those of all in a row."),
    ]
    last: Annotated[
        list[float | None],
        Field(description="The last observed value of each target; what a classifier keeps to pool the steps."),
    ]
    recent: Annotated[
        list[list[float | None]],
        Field(description="The targets of the last rows, scaled, the oldest first, for a model with seasons."),
    ]
    replica: Annotated[
        str | None,
        Field(
            description="Name of the replica that last changed the session and has it in memory; null without a "
            "shared store and `--replica-id`. Any replica continues the session."
        ),
    ]


class NamesBody(_Body):
    """Names of sessions, in order."""

    sessions: list[str]
    next: Annotated[str | None, Field(description="Value of `after` for the next page; null on the last one.")]


class NamedModel(_Body):
    """A model of the server."""

    name: Annotated[str, Field(description="Name in `/v1/models/{model}/...`.")]
    model: Annotated[str, Field(description="Fingerprint of the model.")]
    default: Annotated[bool, Field(description="Whether it is the model of `/v1/...` without a name.")]


class ModelsBody(_Body):
    """The models of the server."""

    models: list[NamedModel]


class ModelBody(_Body):
    """The model of new sessions."""

    name: Annotated[str, Field(description="Name that the model is served by.")]
    model: Annotated[str, Field(description="Fingerprint of the model.")]
    columns: Annotated[list[str], Field(description="Columns of the row of a model of a table, in order.")]
    calendar: Annotated[bool, Field(description="Whether steps require times.")]
    time_zone: Annotated[
        str,
        Field(
            description="Time zone: a place, an offset or UTC; `local` for dates of any zone; empty for "
            "times without a zone."
        ),
    ]
    targets: Annotated[list[str], Field(description="Forecast columns: the second axis of a step's output.")]
    quantiles: Annotated[list[float], Field(description="Forecast quantiles: the third axis of a step's output.")]
    categories: Annotated[
        dict[str, list[str]],
        Field(description="Values of the columns of categories; any other value of one counts as unknown."),
    ]
    symbols: Annotated[
        list[str],
        Field(description="Symbols of a text model: characters, the first for unknown ones; or bytes or tokens."),
    ]
    token: Annotated[str, Field(description="What a symbol of a text is: `char`, `byte` or `token`; else empty.")]
    classes: Annotated[list[str], Field(description="Labels of a classifier or a tagger, in order.")]
    output: Annotated[list[int], Field(description="Shape of a step's output.")]
    context: Annotated[
        int,
        Field(
            description="Rows that a forecaster was trained to read before it forecasts, counted by "
            "`state_steps`; 0 for other models."
        ),
    ]
    most_steps: Annotated[int, Field(description="Maximum number of steps in one request.")]


class ErrorPart(_Body):
    """Details of an error: the argument, what was expected and what was given."""

    argument: str
    expected: str
    got: str


class ErrorBody(_Body):
    """An error."""

    error: ErrorPart


Datatype = Literal[
    "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP32", "FP64", "BYTES"
]
#: Parameters of the Open Inference Protocol.
_Parameters = Annotated[
    dict[str, Annotated[str, Field(max_length=256)] | bool | int | float], Field(max_length=16)
]


class TensorBody(_Body):
    """An input tensor of the Open Inference Protocol; its first axis is the steps."""

    name: Annotated[str, Field(max_length=256)]
    datatype: Datatype
    shape: Annotated[list[Annotated[int, Field(strict=True, ge=1, lt=2**31)]], Field(min_length=1, max_length=2)]
    parameters: _Parameters = {}
    data: Annotated[
        list[Any] | None,
        Field(description="Values, flat or in rows; null for a number that was not observed. None if binary."),
    ] = None


class OutputBody(_Body):
    """A requested output tensor."""

    name: Annotated[str, Field(max_length=256)]
    parameters: _Parameters = {}


class InferenceBody(_Body):
    """A request of the Open Inference Protocol."""

    id: Annotated[str, Field(max_length=MAX_ID)] | None = None
    inputs: Annotated[list[TensorBody], Field(min_length=1, max_length=4096), _FirstError()]
    outputs: Annotated[list[OutputBody], Field(max_length=1)] | None = None
    parameters: Annotated[
        _Parameters,
        Field(
            description="`sequence_id`, `sequence_start`, `sequence_end` as in Triton; `first`: steps of the "
            "sequence before these, so that the request can be retried."
        ),
    ] = {}


class ResultTensor(_Body):
    """An output tensor."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float | None]


class InferenceResultBody(_Body):
    """An answer of the Open Inference Protocol."""

    model_name: str
    id: str | None = None
    parameters: dict[str, str | bool | int]
    outputs: list[ResultTensor]


class InferenceServerBody(_Body):
    """The server, in the Open Inference Protocol."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(_Body):
    """A tensor of a model; -1 for the number of steps."""

    name: str
    datatype: str
    shape: list[int]


class MetadataBody(_Body):
    """A model, in the Open Inference Protocol."""

    name: str
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InferenceErrorBody(_Body):
    """An error, in the Open Inference Protocol; one of access has three parts."""

    error: str | ErrorPart


class _Frame(_Body):
    id: Annotated[
        Annotated[int, Field(ge=-(2**63), lt=2**63)] | Annotated[str, Field(max_length=MAX_ID)] | None,
        Field(description="Returned with the answer."),
    ] = None


class ModelFrame(_Frame):
    """Returns the model of new sessions."""

    op: Literal["model"]


class CreateFrame(CreateBody, _Frame):
    """Creates a session."""

    op: Literal["create"]


class ListFrame(_Frame):
    """Lists the caller's sessions."""

    op: Literal["list"]
    after: str = ""
    most: Annotated[int, Field(strict=True, ge=1, le=1000)] = 1000


class SessionFrame(_Frame):
    """Reads, resets or deletes a session."""

    op: Literal["read", "reset", "delete"]
    session: _Name


class ForkFrame(CreateBody, _Frame):
    """Creates a session with the state of another one."""

    op: Literal["fork"]
    session: _Name


class AdvanceFrame(AdvanceBody, _Frame):
    """Advances a session."""

    op: Literal["advance"]
    session: _Name


class GenerateFrame(GenerateBody, _Frame):
    """Generates text, one frame for each piece."""

    op: Literal["generate"]
    session: _Name


Frame = ModelFrame | CreateFrame | ListFrame | SessionFrame | ForkFrame | AdvanceFrame | GenerateFrame
#: Frame type of each ``op``.
FRAMES: dict[str, type[Frame]] = {
    "model": ModelFrame,
    "create": CreateFrame,
    "list": ListFrame,
    **dict.fromkeys(("read", "reset", "delete"), SessionFrame),
    "fork": ForkFrame,
    "advance": AdvanceFrame,
    "generate": GenerateFrame,
}
