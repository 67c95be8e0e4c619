"""Answers as JSON: orjson writes numpy's arrays without a detour over lists."""

from itertools import repeat
from typing import Any

import orjson

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
    names = [output.name for output in outputs]
    rows = zip(*(_rows(output) for output in outputs), strict=False)
    return orjson.dumps({"predictions": [dict(zip(names, row, strict=True)) for row in rows]}, option=OPTIONS)


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
    for width in reversed(shape[1:]):
        data = [data[start : start + width] for start in range(0, len(data), width)] if width else [[] for _ in range(shape[0])]
    return data if shape else data[0]
