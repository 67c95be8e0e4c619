"""V2 JSON → messages and back: what is taken, what is refused and how, and nothing but InvalidRequest."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfunc.errors import InvalidRequest
from kfunc.protocol import v2
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, RequestedOutput, Tensor, TensorSpec


def body(**tensor: Any) -> bytes:
    return json.dumps({"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]} | tensor]}).encode()


def decoded(content: bytes) -> InferRequest:
    request = v2.decode_request(content)
    for tensor in request.inputs:
        v2.flatten(tensor)
    return request


@pytest.mark.parametrize(
    ("shape", "data", "flat"),
    [
        ([2], [1, 2], [1, 2]),
        ([2, 2], [1, 2, 3, 4], [1, 2, 3, 4]),
        ([2, 2], [[1, 2], [3, 4]], [1, 2, 3, 4]),
        ([1, 2, 1], [[[1], [2]]], [1, 2]),
        ([], [5], [5]),
        ([0], [], []),
        ([0, 3], [], []),
        ([2, 0], [[], []], []),
        ([2, 0], [], []),
        ([1, 1], [[None]], [None]),
    ],
)
def test_flat_and_nested_data_become_flat(shape: list[int], data: list[Any], flat: list[Any]) -> None:
    assert decoded(body(shape=shape, data=data)).inputs[0].data == flat


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ({"shape": [3]}, "input 'x': the shape [3] has 3 elements, data has 2"),
        ({"shape": []}, "input 'x': the shape [] has 1 elements, data has 2"),
        ({"shape": [2, 2], "data": [[1, 2], [3]]}, "input 'x': data is not nested as its shape [2, 2] says"),
        ({"shape": [2, 2], "data": [[1, 2], 3]}, "input 'x': data is not nested as its shape [2, 2] says"),
        ({"shape": [2, 2], "data": [[1, 2]]}, "input 'x': data has 1 rows, the shape is [2, 2]"),
        ({"shape": [], "data": [[1]]}, "input 'x': data has 1 rows, the shape is []"),
        ({"shape": [-1]}, "input 'x': the shape [-1] has a negative dimension"),
        ({"shape": [2**20, 2**20, 2]}, "input 'x': the shape has more than 2^40 elements"),
        ({"shape": [2**62, 2**62]}, "input 'x': the shape has more than 2^40 elements"),
        ({"shape": [1] * 33}, "input 'x': more than 32 dimensions"),
        ({"datatype": "FP8"}, "input 'x': unknown datatype 'FP8'; one of BOOL, "),
        ({"datatype": "JSON"}, "input 'x': unknown datatype 'JSON'; one of BOOL, "),
        ({"data": 5}, "input 'x': data must be an array"),
        ({"data": "12"}, "input 'x': data must be an array"),
        ({"data": {}}, "input 'x': data must be an array"),
        ({"data": None}, "input 'x': data must be an array"),
        ({"data": [1, True]}, "input 'x': FP32 expected, found a boolean"),
        ({"data": [[True], [False]], "shape": [2, 1]}, "input 'x': FP32 expected, found a boolean"),
        ({"data": [False, "a"], "datatype": "BYTES"}, "input 'x': BYTES expected, found a boolean"),
    ],
)
def test_a_wrong_tensor_is_refused_with_its_name_and_the_reason(tensor: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decoded(body(**tensor))
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `inputs`"),
        (b'{"inputs": {}}', "Expected `array`"),
        (b'{"inputs": [1]}', "$.inputs[0]"),
        (b'{"inputs": [{}]}', "missing required field `name` - at `$.inputs[0]`"),
        (b'{"inputs": [], "id": 5}', "$.id"),
        (b'{"inputs": [], "parameters": []}', "$.parameters"),
        (b'{"inputs": [], "outputs": [{}]}', "missing required field `name` - at `$.outputs[0]`"),
        (body(shape=["2"]), "$.inputs[0].shape[0]"),
        (body(shape=2), "$.inputs[0].shape"),
        (body(datatype=None), "$.inputs[0].datatype"),
        (body().replace(b"1,", b"NaN,"), "invalid"),
        (body().replace(b"1,", b"Infinity,"), "invalid"),
        (body().replace(b"1,", b"01,"), "invalid"),
        (body() + b"x", "trailing"),
        (body(name="\xff").replace(b"\\u00ff", b"\xff"), "not UTF-8"),
        (body().replace(b'"x"', b'"\\ud800"'), "surrogate"),
        (b"[" * 100_000, "is not a V2 inference request"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (body(data=[]).replace(b'"data": []', b'"data": ' + b"[" * 100_000), "nested too deeply"),
    ],
)
def test_what_is_no_request_is_refused_with_the_place_or_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        v2.decode_request(content)
    assert caught.value.message.startswith("the request is not a V2 inference request: ")
    assert reason.lower() in caught.value.message.lower()


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


PLACES = {
    "the request's parameters": lambda value: body(data=[1, 2]).replace(b'"inputs"', b'"parameters": %b, "inputs"' % value),
    "the parameters of input 'x'": lambda value: body(data=[1, 2], parameters=5).replace(
        b'"parameters": 5', b'"parameters": ' + value
    ),
    "the parameters of output 'y'": lambda value: body(data=[1, 2]).replace(
        b'"inputs"', b'"outputs": [{"name": "y", "parameters": %b}], "inputs"' % value
    ),
}


@pytest.mark.parametrize(("what", "place"), PLACES.items(), ids=PLACES)
def test_parameters_may_be_nested_100_deep(what: str, place: Callable[[bytes], bytes]) -> None:
    v2.decode_request(place(json.dumps({"p": nested(99)}).encode()))
    with pytest.raises(InvalidRequest) as caught:
        v2.decode_request(place(json.dumps({"p": nested(100)}).encode()))
    assert caught.value.message == f"{what}: nested more than 100 deep"


def test_of_duplicate_keys_the_last_one_counts() -> None:
    assert v2.decode_request(b'{"id": "a", "inputs": [], "id": "b"}').id == "b"


def test_unknown_members_are_passed_over() -> None:
    assert v2.decode_request(b'{"inputs": [], "more": [1, {"a": null}]}') == InferRequest([])


def test_id_parameters_and_requested_outputs_are_kept() -> None:
    content = {
        "id": "7",
        "parameters": {"a": 1},
        "inputs": [],
        "outputs": [{"name": "y", "parameters": {"b": 2}}, {"name": "z"}],
    }
    outputs = [RequestedOutput("y", {"b": 2}), RequestedOutput("z")]
    assert v2.decode_request(json.dumps(content).encode()) == InferRequest([], "7", {"a": 1}, outputs)


def test_name_and_version_come_from_the_path_and_not_from_the_body() -> None:
    request = v2.decode_request(b'{"inputs": [], "model_name": "other", "model_version": "9"}', "iris", "1")
    assert (request.model_name, request.model_version) == ("iris", "1")


def test_booleans_in_parameters_do_not_matter() -> None:
    content = json.dumps({"parameters": {"binary_data": False}, "inputs": json.loads(body())["inputs"]}).encode()
    assert v2.decode_request(content).inputs[0].data == [1, 2]


def test_a_request_document_is_decoded_to_the_same_request() -> None:
    request = InferRequest([Tensor("x", [2], "INT8", [1, 2], {"p": 1})], "7", {"a": 1}, [RequestedOutput("y", {"b": 2})])
    assert v2.decode_request(json.dumps(v2.request_document(request)).encode()) == request


def test_an_answer_has_only_the_members_that_say_something() -> None:
    response = InferResponse("iris", [Tensor("y", [1], "FP32", [0.5])])
    output = {"name": "y", "datatype": "FP32", "shape": [1], "data": [0.5]}
    assert v2.response_document(response) == {"model_name": "iris", "outputs": [output]}


def test_an_answer_carries_version_id_and_parameters() -> None:
    response = InferResponse("iris", [Tensor("y", [1], "FP32", [1], {"q": 1})], "2", "7", {"a": 1})
    document = v2.response_document(response)
    assert (document["model_version"], document["id"], document["parameters"]) == ("2", "7", {"a": 1})
    assert document["outputs"][0]["parameters"] == {"q": 1}


def test_metadata_is_what_the_protocol_says() -> None:
    metadata = ModelMetadata("iris", ["1"], "onnxruntime_onnx", [TensorSpec("x", "FP32", [-1, 4])], [])
    assert v2.metadata_document(metadata) == {
        "name": "iris",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [],
    }


PIECES = st.sampled_from(
    ['{"inputs":', '[{"name":"x","shape":', '"datatype":', '"FP32"', '"BOOL"', '"data":', "[", "]", "{", "}", ",", ":",
     "true", "null", "1", "-1", "1e999", "9" * 30, '"\\ud800"', '"é"', "\x00", "[[1],[2]]", '"outputs":', '"id":']
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)
tensors = st.fixed_dictionaries(
    {
        "name": st.text(max_size=3),
        "shape": st.lists(st.integers(-2, 4) | st.integers(), max_size=4) | values,
        "datatype": st.sampled_from(["FP32", "BOOL", "BYTES", "INT8", "UINT64", "BF16", "JSON", "?"]) | values,
        "data": values,
    }
)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=50)
    | st.lists(PIECES, max_size=30).map(lambda parts: "".join(parts).encode())
    | st.fixed_dictionaries({"inputs": st.lists(tensors, max_size=3)}).map(lambda document: json.dumps(document).encode())
)
def test_whatever_the_bytes_are_only_invalid_request_escapes(content: bytes) -> None:
    try:
        decoded(content)
    except InvalidRequest:
        return
