"""Tensors ↔ numpy arrays, and the check of a request against a model's metadata."""

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kfunc.errors import InvalidRequest, ModelFailed
from kfunc.handlers.encoding import encode_v2
from kfunc.handlers.tensors import InputCheck, to_array, to_response, to_tensor
from kfunc.protocol import v2
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, RequestedOutput, Tensor, TensorSpec

DTYPES = {
    "BOOL": np.bool_, "FP32": np.float32, "FP64": np.float64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
}  # fmt: skip
INTEGERS = [name for name in DTYPES if "INT" in name]


def decoded(tensor: dict[str, Any]) -> Tensor:
    return v2.decode_request(orjson.dumps({"inputs": [{"name": "x", **tensor}]})).inputs[0]


@pytest.mark.parametrize("datatype", DTYPES)
@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_an_array_survives_the_way_over_json(datatype: str, nested: bool, data: st.DataObject) -> None:
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    dtype = np.dtype(DTYPES[datatype])
    elements = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else None
    array = data.draw(hnp.arrays(dtype, shapes, elements=elements))
    values = array.tolist() if nested and array.ndim else array.reshape(-1).tolist()
    result = to_array(decoded({"shape": list(array.shape), "datatype": datatype, "data": values}))
    assert result.dtype == dtype
    assert result.shape == array.shape
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("datatype", DTYPES)
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_an_output_is_read_back_as_the_same_array(datatype: str, data: st.DataObject) -> None:
    dtype = np.dtype(DTYPES[datatype])
    elements = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else None
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4), elements=elements))
    (output,) = json.loads(encode_v2(InferRequest([]), InferResponse("m", [to_tensor("y", array)]))[0])["outputs"]
    assert (output["datatype"], output["shape"]) == (datatype, list(array.shape))
    np.testing.assert_array_equal(np.array(output["data"], dtype).reshape(array.shape), array)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text()))
def test_strings_arrive_as_utf_8(values: list[str]) -> None:
    array = to_array(decoded({"shape": [len(values)], "datatype": "BYTES", "data": values}))
    assert array.tolist() == [value.encode() for value in values]


@pytest.mark.parametrize("datatype", INTEGERS)
def test_the_ends_of_an_integers_range_are_exact(datatype: str) -> None:
    info = np.iinfo(DTYPES[datatype])
    array = to_array(decoded({"shape": [2], "datatype": datatype, "data": [int(info.min), int(info.max)]}))
    assert array.tolist() == [info.min, info.max]


@pytest.mark.parametrize("datatype", INTEGERS)
@pytest.mark.parametrize("end", ["below", "above"])
def test_an_integer_past_its_range_is_refused(datatype: str, end: str) -> None:
    info = np.iinfo(DTYPES[datatype])
    number = int(info.min) - 1 if end == "below" else int(info.max) + 1
    content = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "%b", "data": [%d]}]}' % (datatype.encode(), number)
    with pytest.raises(InvalidRequest, match=f"out of the range of {datatype}|{datatype} expected in every element"):
        to_array(v2.decode_request(content).inputs[0])


@pytest.mark.parametrize(
    ("datatype", "data", "message"),
    [
        ("FP32", ["1"], "FP32 expected in every element"),
        ("FP32", [None], "FP32 expected in every element"),
        ("FP64", [{}], "FP64 expected in every element"),
        ("INT64", [1.0], "INT64 expected in every element"),
        ("INT8", ["a"], "INT8 expected in every element"),
        ("INT64", [[1]], "data has 1 rows|INT64 expected in every element"),
        ("BOOL", [1], "BOOL expected, true or false"),
        ("BOOL", ["true"], "BOOL expected, true or false"),
        ("BOOL", [[True]], "BOOL expected, true or false"),
        ("BYTES", [1], "BYTES expected, strings; found a number"),
        ("BYTES", [None], "BYTES expected, strings; found null"),
        ("FP16", [1.0], "FP16 has no form in JSON"),
        ("BF16", [1.0], "BF16 has no form in JSON"),
        ("FP32", {}, "data must be an array"),
        ("FP32", "1", "data must be an array"),
        ("FP32", [1, 2], "the shape \\[1\\] has 1 elements, data has 2"),
        ("COMPLEX", [1], "unknown datatype 'COMPLEX'"),
    ],
)
def test_elements_of_another_type_are_refused(datatype: str, data: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        to_array(decoded({"shape": [1], "datatype": datatype, "data": data}))


SPECS = [TensorSpec("a", "FP32", [-1, 2]), TensorSpec("b", "BYTES", [-1])]
A = Tensor("a", [1, 2], "FP32", [1, 2])
B = Tensor("b", [1], "BYTES", ["p"])


def test_a_request_that_fits_becomes_arrays_by_name() -> None:
    arrays = InputCheck(SPECS, exact_datatypes=True).arrays(InferRequest([B, A]))
    assert {name: array.tolist() for name, array in arrays.items()} == {"a": [[1, 2]], "b": [b"p"]}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "missing input a, b; the model's inputs are a, b"),
        ([A], "missing input b; the model's inputs are a, b"),
        ([A, B, A], "an input is there twice"),
        ([A, B, Tensor("c", [1], "FP32", [1])], "unknown input 'c'; the model's inputs are a, b"),
        ([Tensor("a", [2], "FP32", [1, 2]), B], "input 'a': shape [-1, 2] expected (-1: any size), [2] given"),
        ([Tensor("a", [1, 3], "FP32", [1, 2, 3]), B], "input 'a': shape [-1, 2] expected (-1: any size), [1, 3] given"),
        ([Tensor("a", [-1, 2], "FP32", [1, 2]), B], "input 'a': shape [-1, 2] expected (-1: any size), [-1, 2] given"),
        ([Tensor("a", [-2, 2], "FP32", [1, 2]), B], "input 'a': shape [-1, 2] expected (-1: any size), [-2, 2] given"),
        ([Tensor("a", [1, 2], "FP64", [1, 2]), B], "input 'a': datatype FP32 expected, FP64 given"),
        ([Tensor("a", [2**70, 2], "FP32", [1, 2]), B], "input 'a': the shape has more than 2^40 elements"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_with_what_the_model_expects(inputs: list[Tensor], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        InputCheck(SPECS, exact_datatypes=True).arrays(InferRequest(inputs))
    assert caught.value.message == message


def test_other_numbers_are_converted_where_the_model_takes_them() -> None:
    check = InputCheck([TensorSpec("a", "FP64", [-1])], exact_datatypes=False)
    assert check.arrays(InferRequest([Tensor("a", [1], "INT8", [1])]))["a"].dtype == np.float64


@pytest.mark.parametrize("datatype", ["BOOL", "BYTES"])
def test_numbers_are_never_converted_to_what_is_no_number(datatype: str) -> None:
    check = InputCheck([TensorSpec("a", datatype, [-1])], exact_datatypes=False)
    with pytest.raises(InvalidRequest, match=f"datatype {datatype} expected, INT8 given"):
        check.arrays(InferRequest([Tensor("a", [1], "INT8", [1])]))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Tensor("a", [-1], "FP32", [1]), "the shape \\[-1\\] has a negative dimension"),
        (Tensor("a", [1] * 70, "BYTES", ["p"]), "more than 32 dimensions"),
        (Tensor("a", [2**63, 0], "FP32", []), "more than 2\\^40 elements"),
    ],
)
def test_shapes_are_bounded_for_a_model_that_does_not_tell_its_inputs(tensor: Tensor, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        InputCheck([], exact_datatypes=True).arrays(InferRequest([tensor]))


METADATA = ModelMetadata("m", ["1"], "test", [], [])
OUTPUTS: dict[str, np.ndarray[Any, Any]] = {"p": np.array([1.5]), "q": np.array([2])}


def test_all_outputs_are_answered_where_none_is_asked_for() -> None:
    response = to_response(InferRequest([], "7"), METADATA, OUTPUTS)
    assert ([each.name for each in response.outputs], response.id, response.model_version) == (["p", "q"], "7", "1")


def test_only_the_outputs_that_are_asked_for_are_answered_in_their_order() -> None:
    request = InferRequest([], outputs=[RequestedOutput("q"), RequestedOutput("p"), RequestedOutput("q")])
    assert [each.name for each in to_response(request, METADATA, OUTPUTS).outputs] == ["q", "p"]


def test_an_unknown_output_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InvalidRequest, match="unknown output 'r'; the model's outputs are p, q"):
        to_response(InferRequest([], outputs=[RequestedOutput("r")]), METADATA, OUTPUTS)


@pytest.mark.parametrize(
    ("array", "datatype", "data"),
    [
        (np.arange(6)[::2], "INT64", [0, 2, 4]),
        (np.arange(4).reshape(2, 2).T, "INT64", [0, 2, 1, 3]),
        (np.array([1, 256], ">i2"), "INT16", [1, 256]),
        (np.float32(0.1), "FP32", [0.1]),
        (np.array([np.nan, np.inf]), "FP64", [None, None]),
        (np.array(["é", "b"]), "BYTES", ["é", "b"]),
        (np.array([b"a", b"b"]), "BYTES", ["a", "b"]),
        (np.array([b"a", "b", 5], object), "BYTES", ["a", "b", "5"]),
        (np.array([2**64 - 1], np.uint64), "UINT64", [2**64 - 1]),
        (np.array([[True], [False]]), "BOOL", [True, False]),
    ],
)
def test_every_array_a_model_may_answer_is_written(array: Any, datatype: str, data: list[Any]) -> None:
    tensor = to_tensor("y", np.asarray(array))
    (output,) = json.loads(encode_v2(InferRequest([]), InferResponse("m", [tensor]))[0])["outputs"]
    assert (output["datatype"], output["data"]) == (datatype, data)


def binary(datatype: str, shape: list[int], data: bytes) -> Tensor:
    return Tensor("x", shape, datatype, memoryview(b"-" * 8 + data)[8:])


BINARY = [
    ("BOOL", [2], b"\0\1", [False, True]),
    ("INT8", [1], b"\xff", [-1]),
    ("UINT64", [], b"\xff" * 8, 2**64 - 1),
    ("FP16", [2, 1], b"\0\x3c\0\x7c", [[1.0], [float("inf")]]),
    ("BF16", [1], b"\x80\x3f", [0x3F80]),
    ("FP32", [0, 4], b"", []),
    ("BYTES", [2], b"\0\0\0\0\1\0\0\0\xff", [b"", b"\xff"]),
]


@pytest.mark.parametrize(("datatype", "shape", "data", "values"), BINARY)
def test_every_datatype_is_read_in_binary_form(datatype: str, shape: list[int], data: bytes, values: Any) -> None:
    assert to_array(binary(datatype, shape, data)).tolist() == values


def test_binary_numbers_are_not_copied() -> None:
    body = memoryview(np.arange(4, dtype=np.float32).tobytes())
    assert np.shares_memory(to_array(Tensor("x", [2, 2], "FP32", body)), np.frombuffer(body, np.float32))


def test_binary_numbers_that_lie_askew_are_put_straight() -> None:
    body = memoryview(b"-" + np.arange(4, dtype=np.float32).tobytes())[1:]
    array = to_array(Tensor("x", [4], "FP32", body))
    assert array.flags.aligned
    assert array.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "message"),
    [
        ("FP32", [2], b"1234", "FP32 of shape \\[2\\] has 8 bytes"),
        ("BOOL", [1], b"\2", "BOOL expected, bytes of 0 or 1"),
        ("BYTES", [1], b"\5\0\0\0abc", "element 0 ends at byte 9"),
        ("JSON", [1], b"1", "unknown datatype 'JSON'"),
    ],
)
def test_wrong_binary_data_is_refused_by_name(datatype: str, shape: list[int], data: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"input 'x': {message}"):
        to_array(binary(datatype, shape, data))


@pytest.mark.parametrize("count", [1, 100])
@pytest.mark.parametrize("value", [3.5e38, -1e300])
def test_a_number_beyond_fp32_is_refused(value: float, count: int) -> None:
    with pytest.raises(InvalidRequest, match="out of the range of FP32"):
        to_array(Tensor("x", [count], "FP32", [value] * count))


def test_the_largest_fp32_is_taken() -> None:
    assert to_array(Tensor("x", [1], "FP32", [3.4028234663852886e38])).tolist() == [3.4028234663852886e38]


@pytest.mark.parametrize("array", [np.array([1j]), np.array(["2026-01-01"], "datetime64[D]")])
def test_what_the_protocol_cannot_carry_is_the_models_failure(array: Any) -> None:
    with pytest.raises(ModelFailed, match="output 'y' has"):
        to_tensor("y", array)


def test_a_string_that_is_no_text_is_the_models_failure_and_told() -> None:
    with pytest.raises(ModelFailed, match="output 'y' has a string with half a surrogate pair, which is no text"):
        to_tensor("y", np.array(["a", b"\xff".decode(errors="surrogateescape")], np.object_))


HUGE = [[0, 2**62], [2**20, 0, 2**21], [0, 2**40 + 1], [0, 10**30]]


@pytest.mark.parametrize("shape", HUGE, ids=str)
@pytest.mark.parametrize("datatype", ["FP32", "INT8", "BOOL", "BYTES"])
@pytest.mark.parametrize("data", [[], memoryview(b"")], ids=["JSON", "binary"])
def test_beside_a_0_too_a_dimension_may_not_be_huge(shape: list[int], datatype: str, data: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"input 'x': the shape has more than 2\^40 elements"):
        to_array(Tensor("x", shape, datatype, data))
