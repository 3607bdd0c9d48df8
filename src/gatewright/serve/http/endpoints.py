"""Parts of the HTTP endpoints: what they read, whose request it is, and how they answer."""

from __future__ import annotations

import json
import time
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel

from gatewright.serve.http.parsing import body
from gatewright.serve.http.responses import render
from gatewright.serve.logs import log_event
from gatewright.serve.models import Models
from gatewright.serve.schemas import ErrorBody
from gatewright.serve.service import Service

M = TypeVar("M", bound=BaseModel)
SessionName = Annotated[
    str, Path(description="The name of a session.", json_schema_extra={"pattern": "^[A-Za-z0-9_-]{32}$"})
]
ModelName = Annotated[
    str,
    Path(description="The name of a model.", json_schema_extra={"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}),
]
_ERRORS = {
    401: "Missing or invalid token.",
    403: "Origin not allowed.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    421: "Unknown host name.",
    422: "Invalid input; nothing has changed.",
    429: "Limit exceeded; see Retry-After.",
    503: "Store unavailable or server stopping; see Retry-After.",
}
NOT_FOUND = {404: "The caller has no session of that name."}
NAME_CONFLICT = {409: "The name belongs to another session, or the session has advanced since."}
STEP_CONFLICT = {409: "Neither the session's next request nor a retry of its last one."}


def error_responses(*more: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of an endpoint for the OpenAPI document."""
    descriptions = {status: what for part in (_ERRORS, *more) for status, what in part.items()}
    return {status: {"description": what, "model": ErrorBody} for status, what in sorted(descriptions.items())}


async def _owner(request: Request) -> str:
    return str(request.scope["owner"])


Owner = Annotated[str, Depends(_owner)]


def served(models: Models, prefix: str) -> Any:
    """Return the dependency that gives the operations of the model that a path names, or of the default one."""
    if "{model}" not in prefix:

        async def default() -> Service:
            return models.default

        return Depends(default)

    async def named(model: ModelName) -> Service:
        return models.named(model)

    return Depends(named)


async def read_body(request: Request, model: type[M], service: Service, default: M | None = None) -> M:
    """Return a request's validated body; the default if it is empty.

    FastAPI's own validation reads the whole body and reports every error in it.

    Raises:
        InvalidMessageError: if the body is not JSON, or invalid.
    """
    data = await request.body()
    return default if default is not None and not data else body(data, model, service.bounds())


def request_body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Return the request body of an endpoint for the OpenAPI document."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": required, "content": content}}


async def respond(service: Service, op: str, work: Coroutine[Any, Any, Any], status: int = 200) -> Response:
    """Run an operation and return its answer or error as a response."""
    start = time.perf_counter()
    try:
        content, media = await work, "application/octet-stream"
        if not isinstance(content, bytes):
            content, media = b"" if status == 204 else await render(content), "application/json"
    except Exception as error:
        response = failed(service, error)
    else:
        response = Response(content, status, media_type=media)
    log_request(service, op, response.status_code, start)
    return response


def failed(service: Service, error: Exception) -> Response:
    """Return the response of an error."""
    status, content, retry_after = service.describe_error(error)
    response = Response(json.dumps(content), status, media_type="application/json")
    if retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(retry_after)))
    return response


def log_request(service: Service, op: str, status: int, start: float) -> None:
    """Log and count an answered request."""
    service.count(op, status, start)
    log_event("request", op=op, status=status, seconds=round(time.perf_counter() - start, 6))
