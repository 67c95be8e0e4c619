"""The same values by V1, in rows and in columns, by V2 JSON and by V2 binary: the same arrays for the model."""

import json
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kfunc.handlers.tensors import DATATYPE_OF, InputCheck
from kfunc.protocol import v1, v2, v2_binary
from kfunc.protocol.messages import InferRequest, ModelMetadata, TensorSpec
from kfunc.protocol.v2_binary import join_bytes

Array = np.ndarray[Any, Any]

TYPES = [np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.float32, np.float64]
# JSON has no form for a dimension behind one of size 0.
SHAPES = arrays.array_shapes(min_dims=0, max_dims=5, min_side=1, max_side=3) | st.sampled_from([(0,), (1, 0), (2, 3, 0)])


def received(request: InferRequest, datatype: str, rank: int) -> Array:
    specs = [TensorSpec("x", datatype, [-1] * rank)]
    if type(request) is v1.V1Request:
        v1.typed(request, ModelMetadata("m", ["1"], "test", specs, []))
    return InputCheck(specs, exact_datatypes=True).arrays(request)["x"]


def ways(values: Any, shape: tuple[int, ...], datatype: str, raw: bytes, texts: Any = None) -> dict[str, InferRequest]:
    """One request for each way; `texts` are the values as V2 JSON has them, where that differs."""
    tensor = {"name": "x", "shape": shape, "datatype": datatype}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]}).encode()
    flat = np.array(values if texts is None else texts, object).reshape(-1).tolist() if shape else [values]
    found = {
        "V1 columns": v1.decode_request(json.dumps({"inputs": {"x": values}}).encode()),
        "V2": v2.decode_request(json.dumps({"inputs": [{**tensor, "data": flat}]}).encode()),
        "V2 binary": v2_binary.decode_request(head + raw, len(head)),
    }
    if shape and shape[0]:
        found["V1 rows"] = v1.decode_request(json.dumps({"instances": values}).encode())
        found["V1 named rows"] = v1.decode_request(json.dumps({"instances": [{"x": row} for row in values]}).encode())
        found["V2 nested"] = v2.decode_request(json.dumps({"inputs": [{**tensor, "data": texts or values}]}).encode())
    return found


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_numbers_and_booleans(kind: Any, data: st.DataObject) -> None:
    elements: Any = arrays.from_dtype(np.dtype(kind), allow_nan=False, allow_infinity=False)
    sent: Array = data.draw(arrays.arrays(kind, SHAPES, elements=elements))
    datatype = DATATYPE_OF[sent.dtype]
    for way, request in ways(sent.tolist(), sent.shape, datatype, sent.tobytes()).items():
        got = received(request, datatype, sent.ndim)
        assert (got.dtype, got.shape, got.tobytes()) == (sent.dtype, sent.shape, sent.tobytes()), way


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_strings(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    count = int(np.prod(shape))
    elements = data.draw(st.lists(st.text(max_size=5).map(str.encode), min_size=count, max_size=count))
    texts = np.array([each.decode() for each in elements], object).reshape(shape).tolist()
    for way, request in ways(texts, shape, "BYTES", join_bytes(elements)).items():
        got = received(request, "BYTES", len(shape))
        assert (got.shape, got.reshape(-1).tolist()) == (shape, elements), way


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=5), min_size=1, max_size=5))
def test_bytes_that_are_no_text(elements: list[bytes]) -> None:
    values = [{"b64": b64encode(each).decode()} for each in elements]
    found = ways(values, (len(elements),), "BYTES", join_bytes(elements), texts=["" for _ in elements])
    for way in ("V1 rows", "V1 named rows", "V1 columns", "V2 binary"):
        assert received(found[way], "BYTES", 1).tolist() == elements, way
