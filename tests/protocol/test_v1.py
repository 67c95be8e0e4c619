"""V1 rows → typed tensors."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfunc.errors import InvalidRequest
from kfunc.protocol import v1
from kfunc.protocol.datatypes import JSON
from kfunc.protocol.messages import InferRequest, ModelMetadata, Tensor, TensorSpec


def metadata(*inputs: TensorSpec) -> ModelMetadata:
    return ModelMetadata("m", ["1"], "test", list(inputs), [])


NONE = metadata()
ONE = metadata(TensorSpec("x", "FP32", [-1, 2]))
TWO = metadata(TensorSpec("a", "FP32", [-1]), TensorSpec("b", "BYTES", [-1]))


def typed(rows: Any, known: ModelMetadata) -> list[Tensor]:
    return v1.typed(v1.decode_request(json.dumps({"instances": rows}).encode()), known).inputs


@pytest.mark.parametrize(
    ("rows", "known", "expected"),
    [
        ([[1, 2], [3, 4]], ONE, [Tensor("x", [2, 2], "FP32", [1, 2, 3, 4])]),
        ([{"x": [1, 2]}], ONE, [Tensor("x", [1, 2], "FP32", [1, 2])]),
        (
            [{"a": 1, "b": "p"}, {"b": "q", "a": 2}],
            TWO,
            [Tensor("a", [2], "FP32", [1, 2]), Tensor("b", [2], "BYTES", ["p", "q"])],
        ),
        ([{"a": 1, "b": {"b64": "/w=="}}], TWO, [Tensor("a", [1], "FP32", [1]), Tensor("b", [1], "BYTES", [b"\xff"])]),
        ([1, 2], NONE, [Tensor("input-0", [2], "INT64", [1, 2])]),
        ([1, 2.5], NONE, [Tensor("input-0", [2], "FP64", [1, 2.5])]),
        (["p"], NONE, [Tensor("input-0", [1], "BYTES", ["p"])]),
        ([{"b64": "YQ=="}, {"b64": ""}], NONE, [Tensor("input-0", [2], "BYTES", [b"a", b""])]),
        ([True, False], NONE, [Tensor("input-0", [2], "BOOL", [True, False])]),
        ([[], []], NONE, [Tensor("input-0", [2, 0], "INT64", [])]),
        ([{"p": 1, "q": [1.5]}], NONE, [Tensor("p", [1], "INT64", [1]), Tensor("q", [1, 1], "FP64", [1.5])]),
    ],
)
def test_rows_become_the_tensors_that_the_metadata_names(rows: Any, known: ModelMetadata, expected: list[Tensor]) -> None:
    assert typed(rows, known) == expected


@pytest.mark.parametrize(
    ("rows", "known", "message"),
    [
        ([[1, 2], [3]], ONE, "input 'x': the instances do not all have the same shape"),
        ([[1, 2], 3], ONE, "input 'x': the instances do not all have the same shape"),
        ([[1, True]], ONE, "input 'x': FP32 expected, found a boolean"),
        ([1, "a"], NONE, "input 'input-0': the values must be all numbers, all strings or all booleans"),
        ([1, True], NONE, "input 'input-0': the values must be all numbers, all strings or all booleans"),
        ([None], NONE, "input 'input-0': the values must be all numbers, all strings or all booleans"),
        ([1, [2]], NONE, "input 'input-0': the values must be all numbers, all strings or all booleans"),
        ([[1]], TWO, "each instance must be an object with the inputs a, b"),
        ([{"a": 1}], TWO, "instance 0 must be an object with exactly the inputs a, b"),
        ([{"a": 1, "b": "p"}, 5], TWO, "instance 1 must be an object with exactly the inputs a, b"),
        ([{"a": 1, "b": "p", "c": 1}], TWO, "instance 0 must be an object with exactly the inputs a, b"),
        ([{"b64": "!"}], NONE, "input 'input-0': b64 is not base64"),
        ([{"b64": "é"}], NONE, "input 'input-0': b64 is not base64"),
        ([{"b64": "YQ=="}, "a"], NONE, "input 'input-0': an object among the values must be"),
        ([{"b64": 5}], NONE, "input 'input-0': an object among the values must be"),
        (json.loads("[" * 40 + "]" * 40), ONE, "input 'x': more than 32 dimensions"),
    ],
)
def test_wrong_rows_are_refused_with_the_reason(rows: Any, known: ModelMetadata, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        typed(rows, known)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the request is not JSON"),
        (b"[]", 'the request must be an object with "instances"'),
        (b"{}", '"instances" must be an array with at least one instance'),
        (b'{"instances": []}', '"instances" must be an array with at least one instance'),
        (b'{"instances": 5}', '"instances" must be an array with at least one instance'),
        (b'{"instances": null}', '"instances" must be an array with at least one instance'),
        (b'{"instances": [NaN]}', "the request is not JSON"),
        (b'{"instances": ["\xff"]}', "the request is not JSON"),
        (b'{"instances": ' + b"[" * 100_000, "the request is nested too deeply"),
    ],
)
def test_what_is_no_request_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        v1.decode_request(content)
    assert caught.value.message.startswith(message)


def test_other_members_become_parameters() -> None:
    request = v1.decode_request(b'{"signature_name": "s", "instances": [1]}', "m", "2")
    assert request == InferRequest([Tensor("instances", [1], JSON, [1])], "", {"signature_name": "s"}, None, "m", "2")


@pytest.mark.parametrize("data", [5, "abc", {}, [], None])
def test_a_v2_tensor_that_claims_the_datatype_of_rows_is_refused(data: Any) -> None:
    with pytest.raises(InvalidRequest, match="unknown datatype 'JSON'"):
        v1.typed(InferRequest([Tensor("x", [1], JSON, data)]), ONE)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "x", "b64"]), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(values, max_size=4) | values, st.sampled_from([NONE, ONE, TWO]))
def test_whatever_the_rows_are_only_invalid_request_escapes(rows: Any, known: ModelMetadata) -> None:
    try:
        typed(rows, known)
    except InvalidRequest:
        return


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40))
def test_whatever_the_bytes_are_only_invalid_request_escapes(content: bytes) -> None:
    with pytest.raises(InvalidRequest):
        v1.decode_request(content)
