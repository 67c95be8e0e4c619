"""Requests and answers of V1 as V2's, and the other way round."""

import json
from struct import pack
from typing import Any

import pytest

from kfunc.errors import BadGateway, InvalidRequest
from kfunc.protocol import v1, v2, v2_binary
from kfunc.protocol.messages import ModelMetadata, TensorSpec
from kfunc.translation import forms

TWO = ModelMetadata("m", [], "", [TensorSpec("a", "FP32", [-1]), TensorSpec("b", "BYTES", [-1])], [])
ONE = ModelMetadata("m", [], "", [TensorSpec("x", "FP32", [-1, 2])], [])


def tensor(name: str, datatype: str, shape: list[int], data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


@pytest.mark.parametrize(
    ("body", "metadata", "inputs"),
    [
        ({"instances": [[1, 2], [3, 4]]}, ONE, [tensor("x", "FP32", [2, 2], [1, 2, 3, 4])]),
        (
            {"instances": [{"a": 1, "b": "p"}, {"a": 2, "b": {"b64": "cQ=="}}]},
            TWO,
            [tensor("a", "FP32", [2], [1, 2]), tensor("b", "BYTES", [2], ["p", "q"])],
        ),
        ({"inputs": {"a": [1], "b": ["p"]}}, TWO, [tensor("a", "FP32", [1], [1]), tensor("b", "BYTES", [1], ["p"])]),
        ({"instances": [1, 2]}, forms.NOTHING_KNOWN, [tensor("input-0", "INT64", [2], [1, 2])]),
    ],
)
def test_a_v1_request_becomes_the_tensors_that_the_metadata_name(body: Any, metadata: ModelMetadata, inputs: Any) -> None:
    request = v1.decode_request(json.dumps(body).encode())
    assert json.loads(forms.v2_request(request, metadata)) == {"inputs": inputs}


def test_other_members_of_a_v1_request_become_parameters() -> None:
    request = v1.decode_request(b'{"instances": [[1, 2]], "signature_name": "s"}')
    assert json.loads(forms.v2_request(request, ONE))["parameters"] == {"signature_name": "s"}


@pytest.mark.parametrize(
    ("outputs", "columnar", "answer"),
    [
        ([tensor("y", "FP32", [2, 2], [1, 2, 3, 4])], False, {"predictions": [[1, 2], [3, 4]]}),
        ([tensor("y", "FP32", [2, 2], [[1, 2], [3, 4]])], False, {"predictions": [[1, 2], [3, 4]]}),
        (
            [tensor("y", "INT64", [2], [1, 2]), tensor("t", "BYTES", [2], ["p", "q"])],
            False,
            {"predictions": [{"y": 1, "t": "p"}, {"y": 2, "t": "q"}]},
        ),
        ([tensor("y", "INT64", [2], [1, 2])], True, {"outputs": [1, 2]}),
        ([tensor("y", "INT64", [1], [1]), tensor("t", "FP32", [2], [1, 2])], True, {"outputs": {"y": [1], "t": [1, 2]}}),
        ([tensor("y", "FP32", [2], [None, 1])], False, {"predictions": [None, 1]}),
    ],
)
def test_a_v2_answer_becomes_rows_or_columns(outputs: Any, columnar: bool, answer: Any) -> None:
    body = json.dumps({"model_name": "m", "outputs": outputs}).encode()
    assert json.loads(forms.v1_answer(body, columnar=columnar)) == answer


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"inputs": [tensor("x", "FP32", [2, 2], [1, 2, 3, 4])]}, {"instances": [[1, 2], [3, 4]]}),
        (
            {"inputs": [tensor("x", "INT64", [2], [1, 2]), tensor("t", "BYTES", [2], ["p", "q"])]},
            {"instances": [{"x": 1, "t": "p"}, {"x": 2, "t": "q"}]},
        ),
        ({"inputs": [tensor("x", "FP32", [1], [1]), tensor("n", "FP32", [2], [1, 2])]}, {"inputs": {"x": [1], "n": [1, 2]}}),
        ({"inputs": [tensor("x", "FP32", [], [7])]}, {"inputs": {"x": 7}}),
        (
            {"inputs": [tensor("x", "FP32", [1], [1])], "parameters": {"signature_name": "s"}},
            {"instances": [1], "signature_name": "s"},
        ),
    ],
)
def test_a_v2_request_becomes_rows_where_it_has_them(body: Any, answer: Any) -> None:
    assert json.loads(forms.v1_request(v2.decode_request(json.dumps(body).encode()))) == answer


@pytest.mark.parametrize(
    ("datatype", "content", "values"),
    [
        ("FP32", pack("<2f", 1.5, 2.0), [1.5, 2.0]),
        ("INT64", pack("<2q", -1, 2**62), [-1, 2**62]),
        ("BOOL", b"\1\0", [True, False]),
        ("BF16", b"\xc0\x3f\x00\x40", [1.5, 2.0]),
        ("FP16", pack("<2e", 1.5, 2.0), [1.5, 2.0]),
        ("BYTES", b"\1\0\0\0a\2\0\0\0\xff\xfe", ["a", {"b64": "//4="}]),
    ],
)
def test_binary_tensors_become_values(datatype: str, content: bytes, values: list[Any]) -> None:
    described = {"name": "x", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": len(content)}}
    head = json.dumps({"inputs": [described]}).encode()
    request = v2_binary.decode_request(head + content, len(head))
    assert json.loads(forms.v1_request(request)) == {"instances": values}


REQUEST = b'{"id": "7", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}'


@pytest.mark.parametrize(
    ("answer", "outputs"),
    [
        ({"predictions": [[1, 2], [3, 4]]}, [tensor("output-0", "INT64", [2, 2], [1, 2, 3, 4])]),
        ({"predictions": [0.5]}, [tensor("output-0", "FP64", [1], [0.5])]),
        (
            {"predictions": [{"y": 1, "t": "p"}, {"y": 2, "t": "q"}]},
            [tensor("y", "INT64", [2], [1, 2]), tensor("t", "BYTES", [2], ["p", "q"])],
        ),
        ({"outputs": {"y": [1.5]}}, [tensor("y", "FP64", [1], [1.5])]),
        ({"outputs": [True]}, [tensor("output-0", "BOOL", [1], [True])]),
    ],
)
def test_a_v1_answer_becomes_tensors_of_the_values_types(answer: Any, outputs: Any) -> None:
    document = json.loads(forms.v2_answer(json.dumps(answer).encode(), v2.decode_request(REQUEST), "m", "2"))
    assert document == {"model_name": "m", "model_version": "2", "id": "7", "outputs": outputs}


def test_only_the_outputs_that_are_asked_for_are_answered() -> None:
    request = v2.decode_request(REQUEST[:-1] + b', "outputs": [{"name": "t"}]}')
    body = json.dumps({"predictions": [{"y": 1, "t": "p"}]}).encode()
    assert [each["name"] for each in json.loads(forms.v2_answer(body, request, "m", ""))["outputs"]] == ["t"]
    request = v2.decode_request(REQUEST[:-1] + b', "outputs": [{"name": "z"}]}')
    with pytest.raises(InvalidRequest, match="unknown output 'z'; the model's outputs are y, t"):
        forms.v2_answer(body, request, "m", "")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"predictions": 5}', b'{"predictions": []}', b'{"outputs": {"y": {}}}', b"\xff"]
)
def test_what_is_no_answer_of_v1_is_502(body: bytes) -> None:
    with pytest.raises(BadGateway):
        forms.v2_answer(body, v2.decode_request(REQUEST), "m", "")


@pytest.mark.parametrize(
    "outputs",
    [
        "x",
        [{"name": "y"}],
        [tensor("y", "FP32", [2], [1])],
        [tensor("y", "FP32", [2], 5)],
        [tensor("y", "FP32", [-1], [1])],
        [tensor("y", "FP32", [2], [1, 2]), tensor("z", "FP32", [1], [1])],
    ],
)
def test_what_is_no_answer_of_v2_in_rows_is_502(outputs: Any) -> None:
    with pytest.raises(BadGateway):
        forms.v1_answer(json.dumps({"model_name": "m", "outputs": outputs}).encode(), columnar=False)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([{"name": "x", "datatype": "FP32", "shape": [1]}], "data must be an array"),
        ([tensor("x", "FP32", [1], "a")], "data must be an array"),
        ([tensor("x", "FP32", [1], {"a": 1})], "data must be an array"),
        ([tensor("x", "FP32", [1], [1]), tensor("x", "FP32", [1], [2])], "'x' is there twice"),
        ([tensor("x", "INT64", [1], [2**80])], "64-bit"),
        ([tensor("x", "FP32", [3000000, 0], [])], "3000000 lists"),
        ([tensor("x", "FP32", [1024, 1024, 0], [])], "1049600 lists"),
        ([tensor(name, "FP32", [600000, 0], []) for name in "ab"], "lists"),
    ],
)
def test_what_v1_cannot_be_asked_is_refused(inputs: Any, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        forms.v1_request(v2.decode_request(json.dumps({"inputs": inputs}).encode()))


def test_a_long_vector_needs_no_lists() -> None:
    many = forms.MAX_LISTS + 1
    body = json.dumps({"inputs": [tensor("x", "INT8", [many], [1] * many)]}).encode()
    assert len(json.loads(forms.v1_request(v2.decode_request(body)))["instances"]) == many


def test_an_answer_of_bytes_is_not_the_callers_fault() -> None:
    with pytest.raises(BadGateway, match="not UTF-8"):
        forms.v2_answer(b'{"predictions": [{"b64": "/9j/"}]}', v2.decode_request(REQUEST), "m", "")


def test_an_answer_with_two_outputs_of_one_name_is_502() -> None:
    outputs = [tensor("y", "FP32", [1], [1]), tensor("y", "FP32", [1], [2])]
    with pytest.raises(BadGateway):
        forms.v1_answer(json.dumps({"model_name": "m", "outputs": outputs}).encode(), columnar=True)
