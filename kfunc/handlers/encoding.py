"""Answers as JSON: orjson writes numpy's arrays without a detour over lists."""

from itertools import repeat
from math import prod
from typing import Any

import orjson

from kfunc.errors import ModelFailed
from kfunc.protocol.messages import InferResponse, Tensor
from kfunc.protocol.v2 import response_document

OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def encode_v2(response: InferResponse) -> bytes:
    """Inference Response JSON Object, `data` flat. NaN and infinities become null."""
    return orjson.dumps(response_document(response), option=OPTIONS)


def encode_v1(response: InferResponse) -> bytes:
    """`{"predictions": [...]}`: rows of the only output, or objects with every output's row."""
    outputs = response.outputs
    if len(outputs) == 1:
        return orjson.dumps({"predictions": _shaped(outputs[0])}, option=OPTIONS)
    counts = {output.shape[0] for output in outputs if output.shape} or {1}
    if len(counts) > 1:
        raise ModelFailed("the model's outputs do not have the same number of rows, which V1 needs; V2 does not")
    names = [output.name for output in outputs]
    rows = zip(range(counts.pop()), *map(_rows, outputs), strict=False)
    return orjson.dumps({"predictions": [dict(zip(names, row[1:], strict=True)) for row in rows]}, option=OPTIONS)


def _shaped(output: Tensor) -> Any:
    if isinstance(output.data, list):
        return _nested(output.data, output.shape)
    return output.data.reshape(output.shape) if output.shape else output.data.item()


def _rows(output: Tensor) -> Any:
    """One value for each row; an output without a batch dimension belongs to all of them."""
    shaped = _shaped(output)
    if not output.shape:
        return repeat(shaped)
    # Rows that are arrays, and FP32 numbers, are orjson's to write: it keeps FP32 short.
    return shaped if isinstance(shaped, list) or output.datatype == "FP32" or len(output.shape) > 1 else shaped.tolist()


def _nested(data: list[Any], shape: list[int]) -> Any:
    if len(shape) < 2:
        return data if shape else data[0]
    width = prod(shape[1:])
    return [_nested(data[row * width : (row + 1) * width], shape[1:]) for row in range(shape[0])]
