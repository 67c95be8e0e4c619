"""Every datatype and shape through the codec alone, without numpy: what is written is read back to the byte."""

import json
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfunc.errors import InvalidRequest
from kfunc.protocol import v2, v2_binary
from kfunc.protocol.datatypes import DATATYPES, MAX_RANK
from kfunc.protocol.messages import InferRequest, Tensor

FIXED = [name for name, size in DATATYPES.items() if size]
SHAPES = (
    st.lists(st.integers(0, 4), max_size=5)
    | st.integers(6, MAX_RANK).map(lambda rank: [1] * rank)
    | st.sampled_from([[], [0], [3, 0, 2], [0] * MAX_RANK])
)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, list[int], bytes]:
    """Datatype, shape and the bytes in binary form."""
    datatype, shape = draw(st.sampled_from(list(DATATYPES))), draw(SHAPES)
    count = prod(shape)
    if datatype == "BYTES":
        return datatype, shape, v2_binary.join_bytes(draw(st.lists(st.binary(max_size=4), min_size=count, max_size=count)))
    length = count * DATATYPES[datatype]
    return datatype, shape, draw(st.binary(min_size=length, max_size=length))


def encoded(parts: list[tuple[str, list[int], bytes]]) -> tuple[bytes, int]:
    request = InferRequest(
        [
            Tensor(f"x{index}", shape, datatype, None, {v2_binary.SIZE: len(raw)})
            for index, (datatype, shape, raw) in enumerate(parts)
        ]
    )
    document = v2.request_document(request)
    for each in document["inputs"]:
        del each["data"]
    head = json.dumps(document).encode()
    return head + b"".join(raw for _, _, raw in parts), len(head)


@settings(max_examples=300, deadline=None)
@given(st.lists(tensors(), min_size=1, max_size=4))
def test_binary_tensors_are_read_as_they_were_written(parts: list[tuple[str, list[int], bytes]]) -> None:
    request = v2_binary.decode_request(*encoded(parts))
    assert [(each.datatype, each.shape, bytes(each.data)) for each in request.inputs] == parts


@settings(max_examples=100, deadline=None)
@given(st.lists(tensors(), min_size=1, max_size=3), st.integers(-3, 3).filter(bool))
def test_a_byte_too_few_or_too_many_is_refused(parts: list[tuple[str, list[int], bytes]], wrong: int) -> None:
    body, length = encoded(parts)
    content = body[:wrong] if wrong < 0 else body + bytes(wrong)
    with pytest.raises(InvalidRequest):
        v2_binary.decode_request(content, length)


@settings(max_examples=100, deadline=None)
@given(SHAPES, st.data())
def test_elements_of_bytes_are_read_as_they_were_written(shape: list[int], data: st.DataObject) -> None:
    count = prod(shape)
    elements = data.draw(st.lists(st.binary(max_size=9), min_size=count, max_size=count))
    assert v2_binary.split_bytes("x", memoryview(v2_binary.join_bytes(elements)), count) == elements


@pytest.mark.parametrize("datatype", FIXED)
@settings(max_examples=30, deadline=None)
@given(SHAPES, st.integers(-9, 9).filter(bool))
def test_a_size_that_is_not_the_shapes_is_refused_with_the_right_one(datatype: str, shape: list[int], wrong: int) -> None:
    right = prod(shape) * DATATYPES[datatype]
    size = max(0, right + wrong)
    if size != right:
        with pytest.raises(InvalidRequest, match=f"has {right} bytes"):
            v2_binary.binary_size(Tensor("x", shape, datatype, None, {v2_binary.SIZE: size}))


@settings(max_examples=200, deadline=None)
@given(st.lists(tensors(), min_size=1, max_size=3), st.data())
def test_json_and_binary_tensors_mix(parts: list[tuple[str, list[int], bytes]], data: st.DataObject) -> None:
    body, length = encoded(parts)
    document = json.loads(body[:length])
    at = data.draw(st.integers(0, len(parts)))
    document["inputs"].insert(at, {"name": "j", "datatype": "INT64", "shape": [2], "data": [1, 2]})
    head = json.dumps(document).encode()
    inputs = v2_binary.decode_request(head + body[length:], len(head)).inputs
    assert inputs.pop(at).data == [1, 2]
    assert [(each.datatype, each.shape, bytes(each.data)) for each in inputs] == parts
