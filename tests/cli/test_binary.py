"""Requests and answers in the binary form, held against the server's codecs."""

from typing import Any

import numpy as np
import pytest

from kfunc.cli.binary import decode_document, encode_document
from kfunc.client.errors import InvalidCall
from kfunc.client.wire import Answer
from kfunc.errors import InvalidRequest
from kfunc.handlers.encoding import encode_v2
from kfunc.handlers.tensors import InputCheck, to_response
from kfunc.protocol import v2_binary
from kfunc.protocol.messages import InferRequest, ModelMetadata


def document(datatype: str, shape: list[int], data: Any, **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": shape, "datatype": datatype, "data": data}], **more}


def decoded(body: bytes, length: int) -> tuple[InferRequest, dict[str, Any]]:
    request = v2_binary.decode_request(body, length)
    return request, InputCheck([], exact_datatypes=True).arrays(request)


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "expected"),
    [
        ("FP32", [1, 2], [[0.5, 1]], [[0.5, 1.0]]),
        ("FP32", [1, 2], [0.5, 1], [[0.5, 1.0]]),
        ("FP16", [2], [0.5, 1], [0.5, 1.0]),
        ("UINT64", [1], [2**64 - 1], [2**64 - 1]),
        ("BOOL", [2], [True, False], [True, False]),
        ("BYTES", [2], ["é", ""], ["é".encode(), b""]),
        ("INT8", [0], [], []),
    ],
)
def test_a_document_s_tensors_are_sent_in_binary(datatype: str, shape: list[int], data: Any, expected: Any) -> None:
    _, arrays = decoded(*encode_document(document(datatype, shape, data)))
    assert arrays["x"].tolist() == expected


def test_what_stands_beside_the_tensors_is_kept() -> None:
    given = document("FP32", [1], [1], id="7", parameters={"a": 1}, outputs=[{"name": "y"}])
    request, _ = decoded(*encode_document(given))
    assert (request.id, request.outputs[0].name if request.outputs else "") == ("7", "y")
    assert request.parameters == {"a": 1, "binary_data_output": True}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"instances": [1]}, InvalidRequest),
        ({"inputs": [{"name": "x"}]}, InvalidRequest),
        (document("UINT8", [1], [256]), InvalidCall),
        (document("FP32", [2], [[1], [1, 2]]), InvalidCall),
    ],
)
def test_a_document_that_is_no_v2_request_is_refused(given: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        encode_document(given)


def test_an_answer_in_binary_is_shown_as_its_values() -> None:
    raw = np.empty(2, np.object_)
    raw[:] = [b"a", b"\xff"]
    outputs = {
        "f": np.array([[1.5, np.nan]], np.float16),
        "i": np.array([-1]),
        "s": raw,
        "g": np.array([0.9847031, 0.1, 6e-8], np.float32),
    }
    request = InferRequest([], parameters={v2_binary.ALL_WANTED: True})
    body, length = encode_v2(request, to_response(request, ModelMetadata("m", ["3"], "", [], []), outputs))
    assert decode_document(Answer(200, {"inference-header-content-length": str(length)}, body)) == {
        "model_name": "m",
        "model_version": "3",
        "outputs": [
            {"name": "f", "datatype": "FP16", "shape": [1, 2], "data": [1.5, None]},
            {"name": "i", "datatype": "INT64", "shape": [1], "data": [-1]},
            {"name": "s", "datatype": "BYTES", "shape": [2], "data": ["a", {"b64": "/w=="}]},
            {"name": "g", "datatype": "FP32", "shape": [3], "data": [0.9847031, 0.1, 6e-8]},
        ],
    }
