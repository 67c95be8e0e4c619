"""Between the messages' tensors and numpy arrays; the only place that makes either from the other."""

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.errors import InvalidRequest, ModelFailed
from kfunc.protocol.datatypes import element_count
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, Tensor, TensorSpec
from kfunc.protocol.v2 import flatten

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
    if numeric is not None and type(tensor.data) is list:
        try:
            return np.frombuffer(array(numeric[1], tensor.data), numeric[0]).reshape(tensor.shape)
        except (TypeError, ValueError, OverflowError):
            pass
    flatten(tensor)
    datatype, data = tensor.datatype, tensor.data
    try:
        if numeric is not None:
            return np.frombuffer(array(numeric[1], data), numeric[0]).reshape(tensor.shape)
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
    raise InvalidRequest(f"input {tensor.name!r}: {datatype} cannot be given as JSON")


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
                    array = to_array(tensor).astype(NUMERIC[datatype][0])
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
    version = request.model_version or metadata.versions[0]
    return InferResponse(metadata.name, tensors, version, request.id)


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
        return Tensor(name, list(value.shape), "BYTES", [_text(name, each) for each in value.reshape(-1).tolist()])
    raise ModelFailed(f"output {name!r} has the numpy type {dtype}, which the protocol cannot carry")


def _text(name: str, value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ModelFailed(f"output {name!r} has bytes that are not UTF-8, which JSON cannot carry") from None
    return value if isinstance(value, str) else str(value)
