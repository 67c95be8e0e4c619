"""REST in JSON, REST in binary and gRPC, raw and typed, give the same arrays and the same kinds of error."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from kfunc.protocol.grpc.status import NAMES, code_of
from tests.conformance.serving import Served
from tests.conformance.tensors import ARRAYS, AS_JSON, ONLY_BINARY, Array, model_for
from tests.protocol.grpc.library import ModelInferRequest, message

pytestmark = pytest.mark.integration

FIELDS = {
    "BOOL": "bool_contents",
    **{f"INT{bits}": "int_contents" for bits in (8, 16, 32)},
    **{f"UINT{bits}": "uint_contents" for bits in (8, 16, 32)},
    **{"INT64": "int64_contents", "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents"},
    "BYTES": "bytes_contents",
}
DTYPES = {"FP16": "float16", "FP32": "float32", "FP64": "float64", "BOOL": "bool"}


@pytest.fixture(scope="module")
def infer(served: Served) -> Iterator[Any]:
    with grpc.insecure_channel(served.address) as channel:
        yield channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda each: each.SerializeToString(),
            response_deserializer=message("inference.ModelInferResponse").FromString,
        )


def raw(array: Array, datatype: str) -> bytes:
    """An array as it travels in binary."""
    if datatype == "BYTES":
        return b"".join(len(each).to_bytes(4, "little") + each for each in array.ravel().tolist())
    if datatype == "BF16":
        return (array.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return array.tobytes()


def call(array: Array, datatype: str, *, typed: bool = False, model: str = "", **more: Any) -> Any:
    """A request of gRPC."""
    request = ModelInferRequest(model_name=model or model_for(datatype), **more)
    tensor = request.inputs.add(name="x", datatype=datatype, shape=array.shape)
    if typed:
        getattr(tensor.contents, FIELDS[datatype]).extend(array.ravel().tolist())
    else:
        request.raw_input_contents.append(raw(array, datatype))
    return request


def post(served: Served, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{served.url}{path}", body, fields), timeout=20) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {}, error.read()


def rest_binary(served: Served, array: Array, datatype: str) -> bytes:
    """What REST gives back in binary."""
    tensor = {
        "name": "x",
        "datatype": datatype,
        "shape": list(array.shape),
        "parameters": {"binary_data_size": len(raw(array, datatype))},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    body, length = head + raw(array, datatype), str(len(head))
    status, headers, answer = post(
        served, f"/v2/models/{model_for(datatype)}/infer", body, Inference_Header_Content_Length=length
    )
    assert status == 200, answer
    return answer[int(headers["inference-header-content-length"]) :]


@pytest.mark.parametrize("datatype", ARRAYS)
def test_raw_tensors_come_back_as_rest_s_binary_ones(served: Served, infer: Any, datatype: str) -> None:
    array = ARRAYS[datatype]
    answer = infer(call(array, datatype))
    assert answer.raw_output_contents[0] == raw(array, datatype) == rest_binary(served, array, datatype)
    assert list(answer.outputs[0].shape) == list(array.shape)


@pytest.mark.parametrize("datatype", AS_JSON)
def test_typed_tensors_come_back_as_rest_s_json(served: Served, infer: Any, datatype: str) -> None:
    array = ARRAYS[datatype]
    typed = getattr(infer(call(array, datatype, typed=True)).outputs[0].contents, FIELDS[datatype])
    assert list(typed) == array.ravel().tolist()
    if datatype == "BYTES":
        return  # JSON has texts
    body = json.dumps({"inputs": [{"name": "x", "datatype": datatype, "shape": array.shape, "data": array.ravel().tolist()}]})
    status, _, answer = post(served, f"/v2/models/{model_for(datatype)}/infer", body.encode())
    assert status == 200
    data = json.loads(answer)["outputs"][0]["data"]
    dtype = DTYPES.get(datatype, datatype.lower())
    assert np.array(data, dtype).tolist() == np.array(list(typed), dtype).tolist()


def test_half_precision_answers_are_raw_even_to_typed_requests(infer: Any) -> None:
    assert set(ONLY_BINARY) == {"FP16", "BF16"}
    answer = infer(call(ARRAYS["FP16"], "FP16"))
    assert not answer.outputs[0].HasField("contents")


FLOWER = np.array([[6.7, 3.0, 5.2, 2.3]], np.float32)
WRONG: dict[str, dict[str, Any]] = {
    "another shape": {"model": "iris", "array": FLOWER[:, :3], "name": "input"},
    "another name": {"model": "iris", "array": FLOWER, "name": "nothing"},
    "another datatype": {"model": "iris", "array": FLOWER.astype(np.float64), "name": "input"},
    "an unknown model": {"model": "rose", "array": FLOWER, "name": "input"},
    "an unknown output": {"model": "iris", "array": FLOWER, "name": "input", "outputs": ["nothing"]},
    "a negative dimension": {"model": "iris", "array": FLOWER, "name": "input", "shape": [-1, 4]},
    "a model that yields": {"model": "counter", "array": np.array([3]), "name": "n"},
}


@pytest.mark.parametrize("what", WRONG)
def test_the_same_mistake_is_the_same_error(served: Served, infer: Any, what: str) -> None:
    wrong = WRONG[what]
    array = wrong["array"]
    datatype = {"float32": "FP32", "float64": "FP64", "int64": "INT64"}[array.dtype.name]
    shape = wrong.get("shape", list(array.shape))
    outputs = [{"name": name} for name in wrong.get("outputs", [])]
    tensor = {"name": wrong["name"], "datatype": datatype, "shape": shape, "data": array.ravel().tolist()}
    body = {"inputs": [tensor], **({"outputs": outputs} if outputs else {})}
    status, _, answer = post(served, f"/v2/models/{wrong['model']}/infer", json.dumps(body).encode())
    request = call(array, datatype, typed=True, model=wrong["model"])
    request.inputs[0].name = wrong["name"]
    request.inputs[0].shape[:] = shape
    for output in outputs:
        request.outputs.add(name=output["name"])
    with pytest.raises(grpc.RpcError) as caught:
        infer(request, timeout=10)
    error: Any = caught.value
    assert error.code().name == NAMES[code_of(status)]
    if "shape" not in wrong:  # one reads it before it knows the model
        assert error.details() == json.loads(answer)["error"]
