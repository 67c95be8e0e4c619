"""V1 rows and columns → typed tensors."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfunc.errors import InvalidRequest
from kfunc.protocol import v1
from kfunc.protocol.datatypes import JSON
from kfunc.protocol.json_text import may_hold_booleans
from kfunc.protocol.messages import InferRequest, ModelMetadata, Tensor, TensorSpec


def metadata(*inputs: TensorSpec) -> ModelMetadata:
    return ModelMetadata("m", ["1"], "test", list(inputs), [])


NONE = metadata()
ONE = metadata(TensorSpec("x", "FP32", [-1, 2]))
TWO = metadata(TensorSpec("a", "FP32", [-1]), TensorSpec("b", "BYTES", [-1]))


def typed(rows: Any, known: ModelMetadata) -> list[Tensor]:
    return v1.typed(v1.decode_request(json.dumps({"instances": rows}).encode()), known).inputs


def typed_columns(columns: Any, known: ModelMetadata) -> list[Tensor]:
    return v1.typed(v1.decode_request(json.dumps({"inputs": columns}).encode()), known).inputs


def as_bytes(*values: bytes) -> list[dict[str, str]]:
    return [{"b64": b64encode(value).decode()} for value in values]


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
        ([{"b64": "YWI"}, {"b64": "YWJj\nZGVm\n"}], NONE, [Tensor("input-0", [2], "BYTES", [b"ab", b"abcdef"])]),
        ([[], []], NONE, [Tensor("input-0", [2, 0], "INT64", [])]),
        ([{"p": 1, "q": [1.5]}], NONE, [Tensor("p", [1], "INT64", [1]), Tensor("q", [1, 1], "FP64", [1.5])]),
        (
            [[as_bytes(b"a", b"\xff")], [as_bytes(b"", b"b")]],
            NONE,
            [Tensor("input-0", [2, 1, 2], "BYTES", [b"a", b"\xff", b"", b"b"])],
        ),
        ([["a", *as_bytes(b"b")], [*as_bytes(b"c"), "d"]], NONE, [Tensor("input-0", [2, 2], "BYTES", ["a", b"b", b"c", "d"])]),
        (
            [{"a": 1, "b": as_bytes(b"p", b"q")}],
            TWO,
            [Tensor("a", [1], "FP32", [1]), Tensor("b", [1, 2], "BYTES", [b"p", b"q"])],
        ),
        ([2**63 - 1, -(2**63)], NONE, [Tensor("input-0", [2], "INT64", [2**63 - 1, -(2**63)])]),
        ([2**64 - 1, 0], NONE, [Tensor("input-0", [2], "UINT64", [2**64 - 1, 0])]),
        ([2**53 + 1], metadata(TensorSpec("x", "INT64", [-1])), [Tensor("x", [1], "INT64", [2**53 + 1])]),
        (
            [{"age": 41.5, "vip": True}, {"age": 30, "vip": 0}],  # a table's column of booleans, which the model has as numbers
            metadata(TensorSpec("age", "FP64", [-1]), TensorSpec("vip", "FP64", [-1])),
            [Tensor("age", [2], "FP64", [41.5, 30]), Tensor("vip", [2], "FP64", [1, 0])],
        ),
    ],
)
def test_rows_become_the_tensors_that_the_metadata_names(rows: Any, known: ModelMetadata, expected: list[Tensor]) -> None:
    assert typed(rows, known) == expected


@pytest.mark.parametrize(
    ("rows", "known", "message"),
    [
        ([[1, 2], [3]], ONE, "input 'x': the values do not all have the same shape: at depth 1 the first is an array of 2, "),
        ([[1, 2], 3], ONE, "input 'x': the values do not all have the same shape: at depth 1 the first is an array of 2, "),
        ([2**63, -1], NONE, "input 'input-0': integers must all be from -2^63 to 2^63-1, or all from 0 to 2^64-1"),
        ([2**64], NONE, "input 'input-0': integers must all be from -2^63 to 2^63-1, or all from 0 to 2^64-1"),
        ([[1, True]], ONE, "input 'x': FP32 expected, found a boolean"),
        ([{"x": [1, True]}], ONE, "input 'x': FP32 expected, found a boolean"),
        ([1, "a"], NONE, "input 'input-0': the values must be all numbers, all strings or all booleans"),
        ([1, True], NONE, "input 'input-0': the values must be all numbers, all strings or all booleans"),
        ([None], NONE, "input 'input-0': the values must be all numbers, all strings or all booleans"),
        ([1, [2]], NONE, "input 'input-0': the values must be all numbers, all strings or all booleans"),
        ([[1]], TWO, "each instance must be an object with the inputs a, b"),
        ([{"a": 1}], TWO, "instance 0 must be an object with exactly the inputs a, b: 'b' is missing"),
        ([{"a": 1, "b": "p"}, 5], TWO, "instance 1 must be an object with exactly the inputs a, b: it is a number"),
        ([{"a": 1, "b": "p", "c": 1}], TWO, "instance 0 must be an object with exactly the inputs a, b: 'c' is none of them"),
        ([{"b64": "!"}], NONE, "input 'input-0': b64 is not base64"),
        ([{"b64": "A"}], NONE, "input 'input-0': b64 is not base64"),
        ([{"b64": "YQ==YQ=="}], NONE, "input 'input-0': b64 is not base64"),
        ([{"b64": "Y-_="}], NONE, "input 'input-0': b64 is not base64"),
        ([{"b64": "é"}], NONE, "input 'input-0': b64 is not base64"),
        ([{"b64": "YQ=="}, {"b64": "YQ==", "x": 1}], NONE, "input 'input-0': an object among the values must be"),
        ([{"b64": 5}], NONE, "input 'input-0': an object among the values must be"),
        (json.loads("[" * 40 + "]" * 40), ONE, "input 'x': more than 32 dimensions"),
    ],
)
def test_wrong_rows_are_refused_with_the_reason(rows: Any, known: ModelMetadata, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        typed(rows, known)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("columns", "known", "expected"),
    [
        ([[1, 2], [3, 4]], ONE, [Tensor("x", [2, 2], "FP32", [1, 2, 3, 4])]),
        ({"x": [[1, 2]]}, ONE, [Tensor("x", [1, 2], "FP32", [1, 2])]),
        ({"b": ["p", "q"], "a": [1]}, TWO, [Tensor("b", [2], "BYTES", ["p", "q"]), Tensor("a", [1], "FP32", [1])]),
        ({"a": 1, "b": "p"}, TWO, [Tensor("a", [], "FP32", [1]), Tensor("b", [], "BYTES", ["p"])]),
        (5, NONE, [Tensor("input-0", [], "INT64", [5])]),
        (as_bytes(b"a", b"b"), NONE, [Tensor("input-0", [2], "BYTES", [b"a", b"b"])]),
        ({"b64": "YQ=="}, NONE, [Tensor("input-0", [], "BYTES", [b"a"])]),
        ({"x": {"b64": "YQ=="}}, NONE, [Tensor("x", [], "BYTES", [b"a"])]),
        ({"a": [True, 2.5]}, TWO, [Tensor("a", [2], "FP32", [1, 2.5])]),
        ({"p": [True], "inputs": [[]]}, NONE, [Tensor("p", [1], "BOOL", [True]), Tensor("inputs", [1, 0], "INT64", [])]),
        ([], NONE, [Tensor("input-0", [0], "INT64", [])]),
    ],
)
def test_columns_become_tensors_with_shapes_of_their_own(columns: Any, known: ModelMetadata, expected: list[Tensor]) -> None:
    assert typed_columns(columns, known) == expected


@pytest.mark.parametrize(
    ("columns", "known", "message"),
    [
        ({}, ONE, '"inputs" must name at least one input'),
        ([[1]], TWO, '"inputs" must be an object with the inputs a, b'),
        ({"": 1, "a": 2}, TWO, "unknown input ''; the model's inputs are a, b"),
        ({"a": 1, "z": 2}, TWO, "unknown input 'z'; the model's inputs are a, b"),
        ({"x": [[1, 2], [3]]}, ONE, "input 'x': the values do not all have the same shape"),
        ({"x": [[1, True]]}, ONE, "input 'x': FP32 expected, found a boolean"),
        ({"x": {"y": 1}}, NONE, "input 'x': an object among the values must be"),
        (None, NONE, "input 'input-0': the values must be all numbers, all strings or all booleans"),
        (
            [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}],
            ONE,
            '"inputs" with "datatype" is a V2 request; its path is /v2/models/NAME/infer',
        ),
    ],
)
def test_wrong_columns_are_refused_with_the_reason(columns: Any, known: ModelMetadata, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        typed_columns(columns, known)
    assert caught.value.message.startswith(message)


def test_the_request_says_in_which_form_it_came() -> None:
    assert not v1.decode_request(b'{"instances": [1]}').columnar
    assert v1.decode_request(b'{"inputs": [1]}').columnar


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the request is not JSON"),
        (b"[]", 'the request must be an object with "instances" or "inputs"'),
        (b'{"instances": [1], "inputs": [1]}', 'a request has either "instances" (rows) or "inputs" (columns), not both'),
        (b'{"instances": [1], "signature_name": 5}', '"signature_name" must be a string'),
        (b'{"instances": [1e999]}', "the request is not JSON: Number out of range"),
        (b'{"instances": ["\\ud800"]}', "the request is not JSON"),
        (b"{}", '"instances" must be an array with at least one instance'),
        (b'{"instances": []}', '"instances" must be an array with at least one instance'),
        (b'{"instances": 5}', '"instances" must be an array with at least one instance'),
        (b'{"instances": null}', '"instances" must be an array with at least one instance'),
        (b'{"instances": [NaN]}', "the request is not JSON"),
        (b'{"instances": ["\xff"]}', "the request is not JSON"),
        (b'{"instances": ' + b"[" * 100_000, "the request is not JSON: it is nested too deeply"),
    ],
)
def test_what_is_no_request_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        v1.decode_request(content)
    assert caught.value.message.startswith(message)


def test_other_members_become_parameters() -> None:
    request = v1.decode_request(b'{"signature_name": "s", "instances": [1]}', "m", "2")
    assert request.inputs == [Tensor("instances", [1], JSON, [1])]
    assert (request.parameters, request.model_name, request.model_version) == ({"signature_name": "s"}, "m", "2")


@pytest.mark.parametrize(
    ("content", "there"), [(b"[1, 2]", False), (b'[1, "untrue"]', True), (b"[true]", True), (b"[false]", True)]
)
@pytest.mark.parametrize("padding", [0, 5000], ids=["small", "large"])
@pytest.mark.parametrize("before", [b"", b"u l " * 40], ids=["nothing", "letters"])
def test_a_text_tells_whether_it_may_hold_booleans(content: bytes, there: bool, padding: int, before: bytes) -> None:
    assert may_hold_booleans(before + b" " * padding + content) is there
    assert may_hold_booleans(before + content + b" " * padding) is there


@pytest.mark.parametrize("data", [5, "abc", {}, [], [1], [[1]], None])
def test_a_v2_tensor_that_claims_the_datatype_of_rows_is_refused(data: Any) -> None:
    with pytest.raises(InvalidRequest, match="unknown datatype 'JSON'"):
        v1.typed(InferRequest([Tensor("x", [1], JSON, data)]), ONE)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "x", "b64"]), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(values, max_size=4) | values, st.sampled_from([NONE, ONE, TWO]), st.sampled_from([typed, typed_columns]))
def test_whatever_the_values_are_only_invalid_request_escapes(value: Any, known: ModelMetadata, form: Any) -> None:
    try:
        form(value, known)
    except InvalidRequest:
        return


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40))
def test_whatever_the_bytes_are_only_invalid_request_escapes(content: bytes) -> None:
    with pytest.raises(InvalidRequest):
        v1.decode_request(content)


def test_what_is_beside_the_rows_may_be_nested_100_deep() -> None:
    def request(depth: int) -> bytes:
        return b'{"instances": [1], "p": %b1%b}' % (b"[" * depth, b"]" * depth)

    v1.decode_request(request(99))
    with pytest.raises(InvalidRequest, match="the request: nested more than 100 deep"):
        v1.decode_request(request(100))
