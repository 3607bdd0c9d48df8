"""Endpoints of the Open Inference Protocol (KServe V2), with stateful sequences."""

from __future__ import annotations

import importlib.metadata
import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from gatewright.errors import GatewrightError
from gatewright.serve.http.endpoints import ModelName, Owner, log_request
from gatewright.serve.http.parsing import InvalidMessageError, json_value, validated
from gatewright.serve.http.responses import render
from gatewright.serve.http.tensors import read_tensors, steps_of, write_tensor
from gatewright.serve.models import Models
from gatewright.serve.schemas import (
    AdvanceBody,
    InferenceBody,
    InferenceErrorBody,
    InferenceResultBody,
    InferenceServerBody,
    MetadataBody,
)
from gatewright.serve.sequences import run_sequence, sequence_of
from gatewright.serve.service import Service

#: Header with the size of the JSON before binary tensors.
_JSON_SIZE = "inference-header-content-length"
#: Parameters of a request; `timeout` and `priority` are hints that change nothing here.
_PARAMETERS = {
    "sequence_id", "sequence_start", "sequence_end", "first", "binary_data_output", "timeout", "priority",
}  # fmt: skip
_ERROR = {"model": InferenceErrorBody}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {**_ERROR, "description": what}
    for status, what in {
        400: "Invalid input; nothing has changed.",
        401: "Missing or invalid token.",
        403: "Origin not allowed.",
        404: "Unknown model, or a sequence that has not started.",
        408: "The body did not arrive in time.",
        409: "Neither the sequence's next request nor a retry of its last one.",
        413: "The body is too large.",
        421: "Unknown host name.",
        429: "Limit exceeded; see Retry-After.",
        500: "Internal error.",
        503: "Store unavailable or server stopping; see Retry-After.",
    }.items()
}


def open_inference_routes(models: Models) -> APIRouter:
    """Return the endpoints."""
    router = APIRouter(prefix="/v2")
    _add_metadata(router, models)
    _add_health(router, models)
    _add_inference(router, models)
    return router


def _add_metadata(router: APIRouter, models: Models) -> None:
    server = {
        "name": "gatewright",
        "version": importlib.metadata.version("gatewright"),
        "extensions": ["sequence", "binary_tensor_data"],
    }

    @router.get("", response_model=InferenceServerBody, responses=_ERRORS)
    async def describe_server() -> Response:
        """Return the server's name, version and extensions."""
        return JSONResponse(server)

    @router.get("/models/{model}", response_model=MetadataBody, responses=_ERRORS)
    async def describe_model(model: ModelName) -> Response:
        """Return the tensors of a model."""
        try:
            return JSONResponse(_metadata(models.named(model).model()))
        except GatewrightError as error:
            return _failed(models.default, error)


def _metadata(model: dict[str, Any]) -> dict[str, Any]:
    if model["symbols"]:
        inputs = [("text", "BYTES", [1])]
    elif model["categories"]:
        inputs = [
            (column, "BYTES" if column in model["categories"] else "FP64", [-1]) for column in model["columns"]
        ]
    else:
        inputs = [("x", "FP64", [-1, len(model["columns"])])]
    if model["calendar"]:
        inputs.append(("times", "BYTES", [-1]))
    outputs = [("y", "FP32" if model["symbols"] else "FP64", [-1, *model["output"]])]
    tensors = {
        part: [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in listed]
        for part, listed in (("inputs", inputs), ("outputs", outputs))
    }
    return {"name": model["name"], "platform": "gatewright", **tensors}


def _add_health(router: APIRouter, models: Models) -> None:
    plain: dict[int | str, dict[str, Any]] = {
        status: {"content": {"text/plain": {}}, "description": "Health."} for status in (200, 503)
    }

    async def readiness() -> Response:
        ready = await models.ready()
        return Response("ready\n" if ready else "not ready\n", 200 if ready else 503, media_type="text/plain")

    @router.get("/health/live", response_class=Response, responses={200: plain[200]})
    async def live() -> Response:
        """Report that the process runs."""
        return Response("live\n", media_type="text/plain")

    @router.get("/health/ready", response_class=Response, responses=plain)
    async def ready() -> Response:
        """Report whether requests are accepted and the store is available."""
        return await readiness()

    @router.get("/models/{model}/ready", response_class=Response, responses={**_ERRORS, **plain})
    async def model_ready(model: ModelName) -> Response:
        """Report whether requests to a model are accepted and the store is available."""
        try:
            models.named(model)
        except GatewrightError as error:
            return _failed(models.default, error)
        return await readiness()


def _add_inference(router: APIRouter, models: Models) -> None:
    body = {"application/json": {"schema": InferenceBody.model_json_schema()}}

    @router.post(
        "/models/{model}/infer",
        response_model=InferenceResultBody,
        responses={**_ERRORS, 200: {"content": {"application/octet-stream": {}}}},
        openapi_extra={"requestBody": {"required": True, "content": body}},
    )
    async def infer(owner: Owner, model: ModelName, request: Request) -> Response:
        """Advance a sequence by the steps of its input tensors; they are stored before the answer is sent."""
        start, service = time.perf_counter(), models.default
        try:
            service = models.named(model)
        except GatewrightError as error:
            return _failed(service, error)
        try:
            response = await _infer(service, owner, await request.body(), request.headers.get(_JSON_SIZE))
        except Exception as error:
            response = _failed(service, error)
        log_request(service, "infer", response.status_code, start)
        return response


async def _infer(service: Service, owner: str, data: bytes, size: str | None) -> Response:
    """Run a request.

    Raises:
        GatewrightError: if it is invalid, or as `run_sequence` does.
        InvalidMessageError: if it is not JSON of the protocol.
    """
    message, binary = _split(data, size)
    bounds = service.bounds()
    request = validated(json_value(message, "body", bounds), InferenceBody, bounds)
    for name in request.parameters.keys() - _PARAMETERS:
        raise GatewrightError(f"parameters.{name}"[:80], f"one of {', '.join(sorted(_PARAMETERS))}", "another one")
    sequence = sequence_of(request.parameters)
    in_binary = _binary_output(request)
    steps = steps_of(read_tensors(request.inputs, memoryview(binary), bounds.numbers), service.model())
    answer = await run_sequence(
        service, owner, sequence, validated({**steps, "first": sequence.first}, AdvanceBody, bounds)
    )
    progress = {name: answer[name] for name in ("steps", "state_steps", "repeated")}
    tensor, values = write_tensor("y", answer["y"], binary=in_binary)
    result: dict[str, Any] = {"model_name": service.name}
    if request.id is not None:
        result["id"] = request.id
    result["parameters"] = {"sequence_id": sequence.id, **progress}
    head = b'%s,"outputs":[%s]}' % ((await render(result))[:-1], await render(tensor))
    headers = {_JSON_SIZE: str(len(head))} if in_binary else {}
    media = "application/octet-stream" if in_binary else "application/json"
    return Response(head + values, headers=headers, media_type=media)


def _split(data: bytes, size: str | None) -> tuple[bytes, bytes]:
    """Return the JSON and the binary tensors of a body."""
    if size is None:
        return data, b""
    if not size.isdecimal() or len(size) > 9 or int(size) > len(data):
        raise GatewrightError(_JSON_SIZE, "the size of the JSON in bytes", repr(size)[:80])
    return data[: int(size)], data[int(size) :]


def _binary_output(request: InferenceBody) -> bool:
    """Return whether the output is to be binary.

    Raises:
        GatewrightError: if another output than `y` is requested.
    """
    binary = request.parameters.get("binary_data_output", False)
    for output in request.outputs or ():
        if output.name != "y":
            raise GatewrightError("outputs", "y", repr(output.name)[:80])
        for name in output.parameters.keys() - {"binary_data"}:
            raise GatewrightError(f"outputs.parameters.{name}"[:80], "binary_data only", "another one")
        binary = output.parameters.get("binary_data", binary)
    if not isinstance(binary, bool):
        raise GatewrightError("binary_data", "true or false", repr(binary)[:80])
    return binary


def _failed(service: Service, error: Exception) -> Response:
    """Return an error in the form of the protocol."""
    if isinstance(error, InvalidMessageError):
        error = GatewrightError(*error.detail)
    status, content, retry_after = service.describe_error(error)
    part = content["error"]
    message = f"{part['argument']}: expected {part['expected']}, got {part['got']}"
    response = JSONResponse({"error": message}, 400 if status == 422 else status)
    if retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(retry_after)))
    return response
