"""Triton's own client against the server: sequences in its binary tensors and in JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.support.local_server import Local, local
from tests.support.stream_models import rows_of, series_model, table, text_model

triton = pytest.importorskip("tritonclient.http")

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]
MODEL = series_model(calendar=())
ROWS = rows_of(MODEL, table(MODEL, 30), 24)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    folder, text = tmp_path_factory.mktemp("triton"), text_model().stream(sessions=2)
    with local(MODEL.stream(sessions=2), folder, named={"text": text}) as running:
        yield running


@pytest.fixture
def client(server: Local) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as made:
        yield made


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("text")
    assert not client.is_model_ready("nothing")
    assert client.get_server_metadata()["extensions"] == ["sequence", "binary_tensor_data"]
    assert client.get_model_metadata("text")["outputs"][0]["datatype"] == "FP32"


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sequences_of_rows(client: Any, binary: bool, dtype: Any) -> None:
    x = ROWS.astype(dtype) if binary else np.nan_to_num(ROWS).astype(dtype)  # its JSON has no null
    expected = MODEL.stream().run(x.astype(np.float64))
    found: dict[int, list[Any]] = {1001: [], 1002: []}
    parts = [(0, 3), (3, 4), (4, 24)]
    for first, last in parts:
        for number, outputs in found.items():
            tensor = triton.InferInput("x", [last - first, x.shape[1]], "FP32" if dtype is np.float32 else "FP64")
            tensor.set_data_from_numpy(x[first:last], binary_data=binary)
            answer = client.infer(
                "default",
                [tensor],
                outputs=[triton.InferRequestedOutput("y", binary_data=binary)],
                request_id=str(first),
                sequence_id=number,
                sequence_start=first == 0,
                sequence_end=last == 24,
            )
            outputs.append(answer.as_numpy("y"))
            assert answer.get_response()["id"] == str(first)
    for outputs in found.values():
        y = np.concatenate(outputs).astype(np.float64)
        np.testing.assert_array_equal(y, expected)


def test_text_and_errors(client: Any) -> None:
    tensor = triton.InferInput("text", [1], "BYTES")
    tensor.set_data_from_numpy(np.array(["abc"], np.object_))
    answer = client.infer("text", [tensor], sequence_id="a sequence", sequence_start=True)
    np.testing.assert_array_equal(answer.as_numpy("y"), text_model().stream().run("abc"))
    for wrong, expected in (({"sequence_id": 9}, "sequence_start with its first request"), ({}, "sequence_id")):
        with pytest.raises(triton.InferenceServerException, match=expected):
            client.infer("text", [tensor], **wrong)


def test_in_compressed_bodies_nothing_is_read(client: Any) -> None:
    tensor = triton.InferInput("text", [1], "BYTES")
    tensor.set_data_from_numpy(np.array(["abc"], np.object_), binary_data=False)
    with pytest.raises(triton.InferenceServerException, match="JSON"):
        client.infer("text", [tensor], sequence_id=5, sequence_start=True, request_compression_algorithm="gzip")
