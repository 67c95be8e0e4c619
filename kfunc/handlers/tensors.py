"""Between the messages' tensors and numpy arrays; the only place that makes either from the other."""

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.errors import InvalidRequest, ModelFailed
from kfunc.protocol.datatypes import element_count
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, Tensor, TensorSpec
from kfunc.protocol.v2 import flatten
from kfunc.protocol.v2_binary import split_bytes

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

    Array = np.ndarray[Any, Any]

# Datatype → numpy's dtype and the array module's code, which refuses what would not be that number.
NUMERIC: dict[str, tuple[np.dtype[Any], str]] = {
    "FP32": (np.dtype(np.float32), "f"),
    "FP64": (np.dtype(np.float64), "d"),
    "INT8": (np.dtype(np.int8), "b"),
    "INT16": (np.dtype(np.int16), "h"),
    "INT32": (np.dtype(np.int32), "i"),
    "INT64": (np.dtype(np.int64), "q"),
    "UINT8": (np.dtype(np.uint8), "B"),
    "UINT16": (np.dtype(np.uint16), "H"),
    "UINT32": (np.dtype(np.uint32), "I"),
    "UINT64": (np.dtype(np.uint64), "Q"),
}
# What only the binary form carries too. BF16 has no type in numpy: its bits are given as UINT16 are.
BINARY: dict[str, np.dtype[Any]] = {
    **{name: dtype for name, (dtype, _) in NUMERIC.items()},
    "BOOL": np.dtype(np.bool_),
    "FP16": np.dtype(np.float16),
    "BF16": np.dtype(np.uint16),
}
FEW = 64  # elements: more are faster looked at as an array
TOO_LARGE_FP32 = 2.0**128 - 2.0**103  # what is below is rounded to a number of FP32; its largest is written 3.4028235e38
# By the one-letter code of numpy's type: two codes may stand for the same 64-bit integer.
DATATYPE_OF = {
    **{code: f"INT{np.dtype(code).itemsize * 8}" for code in "bhilq"},
    **{code: f"UINT{np.dtype(code).itemsize * 8}" for code in "BHILQ"},
    **{"?": "BOOL", "e": "FP16", "f": "FP32", "d": "FP64"},
}


def to_array(tensor: Tensor) -> "Array":
    """A tensor as an array of its shape. Raises InvalidRequest naming the tensor.

    What is right is not looked at twice: numpy and the array module refuse what is nested, of another
    type or of another size, and only then the reason is found out. No dimension may be negative here.
    """
    numeric = NUMERIC.get(tensor.datatype)
    if type(tensor.data) is not list:
        return _binary_array(tensor)
    if numeric is not None:
        try:
            array_ = np.frombuffer(array(numeric[1], tensor.data), numeric[0]).reshape(tensor.shape)
        except (TypeError, ValueError, OverflowError):
            pass
        else:
            if numeric[1] == "f":
                _require_finite(tensor, array_)
            return array_
    flatten(tensor)
    datatype, data = tensor.datatype, tensor.data
    try:
        if numeric is not None:
            array_ = np.frombuffer(array(numeric[1], data), numeric[0]).reshape(tensor.shape)
            if numeric[1] == "f":
                _require_finite(tensor, array_)
            return array_
        if datatype == "BOOL":
            if not set(map(type, data)) <= {bool}:
                raise InvalidRequest(f"input {tensor.name!r}: BOOL expected, true or false")
            return np.array(data, np.bool_).reshape(tensor.shape)
    except OverflowError:
        raise InvalidRequest(f"input {tensor.name!r}: a number is out of the range of {datatype}") from None
    except (TypeError, ValueError):
        raise InvalidRequest(f"input {tensor.name!r}: {datatype} expected in every element") from None
    if datatype == "BYTES":
        return _bytes_array(tensor)
    raise InvalidRequest(f"input {tensor.name!r}: {datatype} has no form in JSON: send it as binary data (binary_data_size)")


def _require_finite(tensor: Tensor, values: "Array") -> None:
    """JSON has no infinity: what became one was too large for FP32. What is too large for FP64 the decoder refuses."""
    data = tensor.data
    if len(data) <= FEW:
        finite = not data or (max(data) < TOO_LARGE_FP32 and min(data) > -TOO_LARGE_FP32)
    else:
        finite = bool(np.isfinite(values).all())
    if not finite:
        raise InvalidRequest(f"input {tensor.name!r}: a number is out of the range of {tensor.datatype}")


def _binary_array(tensor: Tensor) -> "Array":
    """A tensor in binary form, without a copy where its bytes lie as the processor wants them; it cannot be written to."""
    name, shape, data = tensor.name, tensor.shape, tensor.data
    if data is None or isinstance(data, (str, dict, int, float)):
        shared = tensor.parameters is not None and "shared_memory_region" in tensor.parameters
        raise InvalidRequest(f"input {name!r}: data must be an array{'; shared memory is not offered' if shared else ''}")
    count = element_count(name, shape)
    if tensor.datatype == "BYTES":
        flat = np.empty(count, np.object_)
        flat[:] = split_bytes(name, data, count)
        return flat.reshape(shape)
    dtype = BINARY.get(tensor.datatype)
    if dtype is None:
        raise InvalidRequest(f"input {name!r}: unknown datatype {tensor.datatype!r}")
    if len(data) != count * dtype.itemsize:
        raise InvalidRequest(f"input {name!r}: {tensor.datatype} of shape {shape} has {count * dtype.itemsize} bytes")
    values = np.frombuffer(data, dtype).reshape(shape)
    if tensor.datatype == "BOOL" and count and values.view(np.uint8).max() > 1:
        raise InvalidRequest(f"input {name!r}: BOOL expected, bytes of 0 or 1")
    return values if values.flags.aligned else values.copy()


def _bytes_array(tensor: Tensor) -> "Array":
    """BYTES are `bytes` objects in an object array, as in every client of the protocol."""
    flat = np.empty(len(tensor.data), np.object_)
    for index, value in enumerate(tensor.data):
        if type(value) is str:
            value = value.encode()
        elif type(value) is not bytes:
            raise InvalidRequest(f"input {tensor.name!r}: BYTES expected, strings")
        flat[index] = value
    return flat.reshape(tensor.shape)


class InputCheck:
    """Holds a request's tensors against a model's metadata and makes arrays of them."""

    __slots__ = ("_convert", "_names", "_specs")

    def __init__(self, specs: list[TensorSpec], *, exact_datatypes: bool) -> None:
        self._specs = {spec.name: (spec.datatype, tuple(spec.shape)) for spec in specs}
        self._names = ", ".join(self._specs)
        self._convert = not exact_datatypes

    def arrays(self, request: InferRequest) -> "Arrays":
        """Arrays by input name. Raises InvalidRequest that says what the model expects."""
        specs = self._specs
        arrays: Arrays = {}
        for tensor in request.inputs:
            name = tensor.name
            spec = specs.get(name)
            if spec is not None:
                datatype, shape = spec
                if len(shape) != len(tensor.shape):
                    _refuse_shape(name, shape, tensor.shape)
                for size, actual in zip(shape, tensor.shape):  # noqa: B905  (same length, and strict costs)
                    if actual < 0 or (size != actual and size != -1):
                        _refuse_shape(name, shape, tensor.shape)
                if tensor.datatype == datatype:
                    array = to_array(tensor)
                elif self._convert and tensor.datatype in NUMERIC and datatype in NUMERIC:
                    array = _converted(name, to_array(tensor), datatype)
                else:
                    raise InvalidRequest(f"input {name!r}: datatype {datatype} expected, {tensor.datatype} given")
            elif specs:
                raise InvalidRequest(f"unknown input {name!r}; the model's inputs are {self._names}")
            else:
                element_count(name, tensor.shape)
                array = to_array(tensor)
            arrays[name] = array
        if len(arrays) != len(request.inputs):
            raise InvalidRequest("an input is there twice")
        if len(arrays) < len(specs):
            missing = ", ".join(name for name in specs if name not in arrays)
            raise InvalidRequest(f"missing input {missing}; the model's inputs are {self._names}")
        return arrays


def _converted(name: str, values: "Array", datatype: str) -> "Array":
    """Numbers of one datatype as another's. Raises InvalidRequest where one would become another number."""
    dtype = NUMERIC[datatype][0]
    try:
        with np.errstate(over="raise", invalid="raise"):
            converted = values.astype(dtype)
    except FloatingPointError:
        raise InvalidRequest(f"input {name!r}: a number is out of the range of {datatype}") from None
    if dtype.kind in "iu" and not np.array_equal(converted, values):
        raise InvalidRequest(f"input {name!r}: a number is none of {datatype}, which the model takes")
    return converted


def _refuse_shape(name: str, wanted: tuple[int, ...], given: list[int]) -> None:
    raise InvalidRequest(f"input {name!r}: shape {list(wanted)} expected (-1: any size), {given} given")


def to_response(request: InferRequest, metadata: ModelMetadata, outputs: "Arrays") -> InferResponse:
    """The answer with the outputs that were asked for; data are flat arrays."""
    if request.outputs:
        asked = {output.name: None for output in request.outputs}
        unknown = [name for name in asked if name not in outputs]
        if unknown:
            raise InvalidRequest(f"unknown output {unknown[0]!r}; the model's outputs are {', '.join(outputs)}")
        outputs = {name: outputs[name] for name in asked}
    tensors = [to_tensor(name, value) for name, value in outputs.items()]
    for tensor in tensors:
        if tensor.datatype == "UINT16" and _is_bf16(tensor.name, metadata):
            tensor.datatype = "BF16"
    version = request.model_version or metadata.versions[0]
    return InferResponse(metadata.name, tensors, version, request.id)


def _is_bf16(name: str, metadata: ModelMetadata) -> bool:
    """Whether the model says that this output is BF16, whose bits numpy holds as UINT16."""
    return any(spec.name == name and spec.datatype == "BF16" for spec in metadata.outputs)


def to_tensor(name: str, value: "Array") -> Tensor:
    """An output as a tensor; strings become BYTES. Raises ModelFailed for what no datatype fits."""
    dtype = value.dtype
    datatype = DATATYPE_OF.get(dtype.char)
    if datatype is not None:
        if not dtype.isnative:
            value = value.astype(dtype.newbyteorder("="))
        if not value.flags.c_contiguous:
            value = np.ascontiguousarray(value)
        return Tensor(name, list(value.shape), datatype, value if value.ndim == 1 else value.reshape(-1))
    if dtype.kind in "OSU":
        texts = [each if isinstance(each, (bytes, str)) else str(each) for each in value.reshape(-1).tolist()]
        return Tensor(name, list(value.shape), "BYTES", texts)
    if dtype.name == "bfloat16":  # of the package ml_dtypes
        return Tensor(name, list(value.shape), "BF16", np.ascontiguousarray(value).reshape(-1).view(np.uint16))
    raise ModelFailed(f"output {name!r} has the numpy type {dtype}, which the protocol cannot carry")
