"""Numbers straight from a large request's text: the same as by the protocol's codec, or left to it."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kfunc.errors import InvalidRequest
from kfunc.handlers import large_json
from kfunc.handlers.tensors import NUMERIC, to_array
from kfunc.protocol import v2
from kfunc.protocol.messages import InferRequest

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, max_side=9)


def body(*inputs: dict[str, Any], **more: Any) -> bytes:
    return orjson.dumps({"inputs": [{"name": "x", **each} for each in inputs], **more})


def floats(shape: list[int], data: Any, **more: Any) -> dict[str, Any]:
    return {"shape": shape, "datatype": "FP32", "data": data, **more}


def read(content: bytes) -> InferRequest:
    """Fails where the request would be left to the codec."""
    return large_json._read(content)


@pytest.mark.parametrize("datatype", NUMERIC)
@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_numbers_are_those_of_the_codec(datatype: str, nested: bool, data: st.DataObject) -> None:
    dtype = NUMERIC[datatype][0]
    elements: Any = arrays.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    array = data.draw(arrays.arrays(dtype, SHAPES, elements=elements))
    values = array.tolist() if nested and array.ndim else array.reshape(-1).tolist()
    content = body({"shape": list(array.shape), "datatype": datatype, "data": values})
    got, expected = (to_array(decode(content).inputs[0]) for decode in (large_json.decode_request, v2.decode_request))
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(got, expected)


ROW = [0.5, 1, 2, 3, 4, 5, 6, 7]
READ = {
    "flat": body(floats([2, 8], ROW + ROW)),
    "nested": body(floats([2, 8], [ROW, ROW])),
    "more dimensions": body(floats([1, 2, 8], [[ROW, ROW]])),
    "a scalar": body(floats([], [1])),
    "integers": body({"shape": [2], "datatype": "UINT64", "data": [0, 2**64 - 1]}),
    "outputs and parameters": body(floats([8], ROW), id="7", outputs=[{"name": "y"}], parameters={"p": {"q": 1}}),
    "two inputs": body(floats([8], ROW), floats([1, 8], [ROW], name="y", parameters={"p": 1})),
}


@pytest.mark.parametrize("content", READ.values(), ids=READ)
def test_it_is_read_without_lists(content: bytes) -> None:
    got, expected = read(content), v2.decode_request(content)
    assert (got.id, got.parameters, got.outputs) == (expected.id, expected.parameters, expected.outputs)
    for one, other in zip(got.inputs, expected.inputs, strict=True):
        assert isinstance(one.data, memoryview)
        assert (one.name, one.datatype, one.shape, one.parameters) == (
            other.name,
            other.datatype,
            other.shape,
            other.parameters,
        )
        np.testing.assert_array_equal(to_array(one), to_array(other))


LEFT = {
    "rows that are not of one length": body(floats([2, 8], [ROW[:7], [*ROW, 1]])),
    "rows of rows of which one is short": body(floats([2, 2, 8], [[ROW, ROW, ROW], [ROW]])),
    "an array among the numbers": body(floats([2, 8], [ROW, [*ROW[:7], [7]]])),
    "nested another way round": body(floats([8, 2], [ROW, ROW])),
    "one too many": body(floats([8], [*ROW, 8])),
    "a string": body(floats([8], [*ROW[:7], "7"])),
    "a boolean": body(floats([8], [*ROW[:7], True])),
    "null": body(floats([8], [*ROW[:7], None])),
    "too large for FP32": body(floats([8], [*ROW[:7], 1e39])),
    "too large for INT8": body({"shape": [1], "datatype": "INT8", "data": [128]}),
    "no integer": body({"shape": [1], "datatype": "INT8", "data": [1.5]}),
    "a negative dimension": body(floats([-8], ROW)),
    "an unknown datatype": body({"shape": [1], "datatype": "FP128", "data": [1]}),
    "no data": body({"shape": [1], "datatype": "FP32"}),
    "no inputs": b'{"id": "7"}',
    "an id that is none": body(floats([8], ROW), id=7),
    "no object": b"[1]",
    "no JSON": body(floats([8], ROW))[:-1],
    "too many dimensions": body(floats([1] * 33, [1])),
}


@pytest.mark.parametrize("content", LEFT.values(), ids=LEFT)
def test_what_is_wrong_is_said_by_the_codec(content: bytes) -> None:
    refusals = []
    for decode in (v2.decode_request, large_json.decode_request):
        with pytest.raises(InvalidRequest) as refused:
            to_array(decode(content).inputs[0])
        refusals.append(refused.value.message)
    assert refusals[0] == refusals[1]


def test_of_duplicate_keys_the_last_one_counts() -> None:
    content = body(floats([8], ROW)).replace(b'"shape":', b'"shape":[4],"shape":')
    np.testing.assert_array_equal(to_array(large_json.decode_request(content).inputs[0]), ROW)


def test_strings_come_as_by_the_codec() -> None:
    content = body({"shape": [2], "datatype": "BYTES", "data": ["a", "[b"]})
    assert to_array(large_json.decode_request(content).inputs[0]).tolist() == [b"a", b"[b"]
