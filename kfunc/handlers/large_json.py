"""Large V2 requests in JSON: numbers from the text into arrays, without a list of them in between.

Optimistic: of what is not a plain array of numbers in the shape that it tells, nothing is said here. The
protocol's own codec reads it again, and takes it or says what is wrong.
"""

from math import prod
from typing import Any

import msgspec
import numpy as np
import simdjson

from kfunc.handlers.tensors import NUMERIC
from kfunc.protocol import v2
from kfunc.protocol.messages import InferRequest

LEAST_ROW = 8  # elements: where rows are shorter, to look at each of them costs more than is gained
DATA = "data"


class _NotPlain(Exception):
    """Something else than what is read here."""


# The parser's errors are the built-in ones.
NOT_READ = (_NotPlain, msgspec.MsgspecError, LookupError, OverflowError, RuntimeError, TypeError, ValueError)


def decode_request(body: bytes, model_name: str = "", model_version: str = "") -> InferRequest:
    """The same as the protocol's, with tensors of numbers in their binary form. Raises InvalidRequest."""
    try:
        request = _read(body)
    except NOT_READ:
        return v2.decode_request(body, model_name, model_version)
    request.model_name, request.model_version = model_name, model_version
    v2.check_parameters(request)
    return request


def _read(body: bytes) -> InferRequest:
    document = _members(simdjson.Parser().parse(body))
    brackets = 1 + ("outputs" in document)
    tensors = []
    for each in document.pop("inputs"):
        tensor = _members(each)
        data = tensor.pop(DATA)
        told = {name: _plain(value) for name, value in tensor.items()}
        shape, datatype = told["shape"], told["datatype"]
        brackets += 1 + _count_arrays(data, shape)
        tensors.append({**told, DATA: _numbers(data, datatype, prod(shape))})
    if not _occurs(body, b"[", brackets):
        raise _NotPlain  # an array stands where none was looked for, within the numbers perhaps
    return msgspec.convert({**{name: _plain(value) for name, value in document.items()}, "inputs": tensors}, InferRequest)


def _occurs(text: bytes, byte: bytes, times: int) -> bool:
    """Whether it does so many times. `count` looks at each byte by itself; to look for one that is rare takes a tenth."""
    at = -1
    for _ in range(times):
        at = text.find(byte, at + 1)
        if at < 0:
            return False
    return text.find(byte, at + 1) < 0


def _members(value: Any) -> dict[str, Any]:
    """An object's members. Of a duplicate key the parser gives the first, and the last counts."""
    names = list(value)
    if len(set(names)) != len(names):
        raise _NotPlain
    return {name: value[name] for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value.as_list() if isinstance(value, simdjson.Array) else value


def _count_arrays(data: Any, shape: Any) -> int:
    """How many arrays a tensor's data are made of, each as long as the shape says: one if they are flat."""
    if not isinstance(data, simdjson.Array) or not all(type(size) is int and size > 0 for size in shape):
        raise _NotPlain
    first: Any = data[0]
    if len(data) == prod(shape) and not isinstance(first, simdjson.Array):
        return 1
    rows: list[Any] = [data]
    count = 1
    for width in shape[:-1]:
        if shape[-1] < LEAST_ROW or {len(row) for row in rows} != {width}:
            raise _NotPlain
        rows = [part for row in rows for part in row]
        count += len(rows)
    if {len(row) for row in rows} != {shape[-1]}:
        raise _NotPlain
    return count


def _numbers(data: Any, datatype: str, count: int) -> memoryview:
    """The elements, exact, or rounded to FP32; none is out of the datatype's range."""
    if datatype not in NUMERIC:
        raise _NotPlain
    dtype = NUMERIC[datatype][0]
    code, exact = {"f": ("d", np.float64), "i": ("i", np.int64), "u": ("u", np.uint64)}[dtype.kind]
    values = np.frombuffer(data.as_buffer(of_type=code), exact)
    with np.errstate(over="ignore"):
        array = values.astype(dtype, copy=False)
    if len(array) != count or not (np.isfinite(array).all() if dtype.kind == "f" else np.array_equal(array, values)):
        raise _NotPlain
    return array.data.cast("B")
