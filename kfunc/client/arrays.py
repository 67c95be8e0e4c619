"""Between what users have, arrays and lists, and the messages' tensors; what is converted is the codecs' business."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.client.errors import InvalidAnswer, InvalidCall
from kfunc.errors import KfuncError
from kfunc.handlers.tensors import NUMERIC, to_array, to_tensor
from kfunc.protocol.datatypes import DATATYPES
from kfunc.protocol.messages import InferResponse, Tensor
from kfunc.protocol.v2 import flatten

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

FLOATS = ("FP16", "BF16", "FP32", "FP64")


def is_array(value: Any) -> bool:
    """Whether a value has a datatype of its own."""
    return isinstance(value, np.ndarray | np.generic)


def tensor_of(name: str, value: Any, datatype: str) -> Tensor:
    """An input of a request: an array with the datatype it has, anything else as `datatype`.

    That is what the model's metadata say; empty: what numpy takes the value for. An array of the type bfloat16
    of the package ml_dtypes is BF16. Raises InvalidCall.
    """
    try:
        array = value if is_array(value) else _typed(value, datatype)
        if array.dtype.name == "bfloat16":
            return Tensor(name, list(array.shape), "BF16", np.ascontiguousarray(array).reshape(-1).view(np.uint16))
        if array.dtype.hasobject and not all(isinstance(each, str | bytes) for each in array.reshape(-1)):
            raise InvalidCall(f"input {name!r}: an array of objects must have strings or bytes only")
        if datatype == "BF16" and not is_array(value):
            return Tensor(name, list(array.shape), "BF16", _upper_halves(array.reshape(-1)))
        return to_tensor(name, np.asarray(array))
    except KfuncError as error:
        raise InvalidCall(error.message.replace("output", "input", 1)) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidCall(f"input {name!r}: not an array of {datatype or 'one type'}: {error}") from None


def _typed(value: Any, datatype: str) -> "Array":
    if datatype == "BYTES":  # numpy's own types for text would cut the zeros at its end
        return np.array(value, np.object_)
    if datatype in NUMERIC:
        return np.asarray(value, NUMERIC[datatype][0])
    return np.asarray(value, {"BOOL": np.bool_, "FP16": np.float16, "BF16": np.float32}.get(datatype))


def _upper_halves(values: "Array") -> "Array":
    """FP32 as BF16, rounded to the nearest, of two as near to the even one."""
    bits = values.view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


def _from_upper_halves(halves: "Array") -> "Array":
    """BF16 as FP32, exactly."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


def arrays_of(response: InferResponse) -> "dict[str, Array]":
    """The outputs of an answer, by name; BF16 as FP32, since numpy has no such type. Raises InvalidAnswer."""
    arrays = {}
    for tensor in response.outputs:
        if tensor.datatype not in DATATYPES or any(size < 0 for size in tensor.shape):
            raise InvalidAnswer(f"output {tensor.name!r} has the datatype {tensor.datatype!r} and the shape {tensor.shape}")
        try:
            floats_as_json = tensor.datatype in FLOATS and isinstance(tensor.data, list)
            array = _with_nulls(tensor) if floats_as_json else to_array(tensor)
        except KfuncError as error:
            raise InvalidAnswer(error.message.replace("input", "output", 1)) from None
        arrays[tensor.name] = _from_upper_halves(array) if tensor.datatype == "BF16" else array
    return arrays


def _with_nulls(tensor: Tensor) -> "Array":
    """JSON has no NaN: servers write null for it."""
    flatten(tensor)
    if None not in tensor.data:
        return to_array(tensor)
    nulls = [index for index, value in enumerate(tensor.data) if value is None]
    tensor.data = [0.0 if value is None else value for value in tensor.data]
    array = to_array(tensor).copy()
    array.reshape(-1)[nulls] = np.nan
    return array


def columns(name: str, rows: list[Any]) -> "dict[str, Array]":
    """V1's rows as arrays: of the only output as `name`, of several by their names. Raises InvalidAnswer."""
    if rows and isinstance(rows[0], dict):
        try:
            values = {key: [row[key] for row in rows] for key in rows[0]}
        except (KeyError, TypeError):
            raise InvalidAnswer("the rows of the predictions do not have the same outputs") from None
    else:
        values = {name: rows}
    try:
        return {key: np.asarray(value) for key, value in values.items()}
    except ValueError:
        raise InvalidAnswer("the rows of the predictions do not all have the same shape") from None


def rows_of(instances: Any) -> list[Any]:
    """V1's instances: the rows of an array, or of several by input name, as objects. Raises InvalidCall."""
    if isinstance(instances, Mapping):
        lists = {name: rows_of(value) for name, value in instances.items()}
        counts = {len(rows) for rows in lists.values()}
        if len(counts) != 1:
            raise InvalidCall("the inputs of a V1 request must all have the same number of rows")
        return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    if isinstance(instances, np.ndarray):
        if instances.ndim == 0:
            raise InvalidCall("instances must have at least one dimension: their rows")
        instances = list(instances) if instances.dtype.kind != "O" else instances.tolist()
    if not isinstance(instances, list | tuple):
        raise InvalidCall(f"instances must be an array, a list or a mapping of them, not {type(instances).__name__}")
    return list(instances)
