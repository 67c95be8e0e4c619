"""Between the messages' tensors and numpy arrays; the only place that makes either from the other."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from struct import Struct, error
from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.errors import InvalidRequest, ModelFailed
from kfunc.protocol.datatypes import element_count
from kfunc.protocol.json_text import kind_of
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, Tensor, TensorSpec
from kfunc.protocol.v2 import flatten
from kfunc.protocol.v2_binary import split_bytes

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

    Array = np.ndarray[Any, Any]

# Datatype → numpy's dtype and the struct module's code, which refuses what would not be that number.
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
# In the processor's byte order; of the one-letter codes two may stand for the same 64-bit integer.
DATATYPE_OF: dict[np.dtype[Any], str] = {
    **{np.dtype(code): f"INT{np.dtype(code).itemsize * 8}" for code in "bhilq"},
    **{np.dtype(code): f"UINT{np.dtype(code).itemsize * 8}" for code in "BHILQ"},
    **{np.dtype(code): datatype for code, datatype in (("?", "BOOL"), ("e", "FP16"), ("f", "FP32"), ("d", "FP64"))},
}
# What packing raises for another number of elements, another type, or a number out of its range.
WRONG_NUMBERS = (error, OverflowError)


def to_array(tensor: Tensor) -> "Array":
    """A tensor as an array of its shape. Raises InvalidRequest naming the tensor.

    What is right is not looked at twice: the struct module refuses another number of elements, what is nested, of
    another type or out of range, and only then the reason is found out.
    """
    numeric = NUMERIC.get(tensor.datatype)
    if type(tensor.data) is not list:
        return _binary_array(tensor)
    if numeric is not None:
        dtype, code = numeric
        count = element_count(tensor.name, tensor.shape)
        try:
            return np.ndarray(tensor.shape, dtype, bytearray(_packer(code, count)(*tensor.data)))
        except WRONG_NUMBERS:
            pass
    flatten(tensor)
    if numeric is not None:
        return _explained(tensor, *numeric)
    datatype, data = tensor.datatype, tensor.data
    if datatype == "BOOL":
        if not set(map(type, data)) <= {bool}:
            raise InvalidRequest(f"input {tensor.name!r}: BOOL expected, true or false")
        return np.array(data, np.bool_).reshape(tensor.shape)
    if datatype == "BYTES":
        return _bytes_array(tensor)
    raise InvalidRequest(f"input {tensor.name!r}: {datatype} has no form in JSON: send it as binary data (binary_data_size)")


@lru_cache(256)
def _packer(code: str, count: int) -> Callable[..., bytes]:
    """Packs exactly `count` numbers; FP32 in its standard form, which is checked for its range as integers are."""
    return Struct(f"<{count}{code}").pack


def _explained(tensor: Tensor, dtype: "np.dtype[Any]", code: str) -> "Array":
    """A flat tensor that could not be packed as it came: it was nested, or is wrong."""
    name, datatype, data = tensor.name, tensor.datatype, tensor.data
    try:
        return np.ndarray(tensor.shape, dtype, bytearray(_packer(code, len(data))(*data)))
    except WRONG_NUMBERS:
        pass
    if set(map(type, data)) <= ({int, float} if dtype.kind == "f" else {int}):
        raise InvalidRequest(f"input {name!r}: a number is out of the range of {datatype}")
    raise InvalidRequest(f"input {name!r}: {datatype} expected in every element")


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
            raise InvalidRequest(f"input {tensor.name!r}: BYTES expected, strings; found {kind_of(value)}")
        flat[index] = value
    return flat.reshape(tensor.shape)


def texts_of(name: str, elements: "Array") -> list[str]:
    """The strings of an input of BYTES, flat, for a model of texts. Raises InvalidRequest for what is no UTF-8."""
    try:
        return [each.decode() for each in elements.ravel().tolist()]
    except UnicodeDecodeError:
        raise InvalidRequest(f"input {name!r}: texts expected, BYTES in UTF-8") from None


def text_array(name: str, elements: "Array") -> "Array":
    """The same as an array of strings, of the input's shape."""
    return np.array(texts_of(name, elements), np.object_).reshape(elements.shape)


class _Expected:
    """An input of the model. `seen` is the last shape that fitted, and `pack` makes bytes of that many numbers."""

    __slots__ = ("datatype", "dtype", "pack", "seen", "shape")

    pack: Callable[..., bytes]

    def __init__(self, spec: TensorSpec) -> None:
        self.datatype = spec.datatype
        self.shape = tuple(spec.shape)
        self.dtype = BINARY.get(spec.datatype)
        self.seen: list[int] | None = None

    def see(self, shape: list[int]) -> None:
        """A shape that fits has come."""
        if self.datatype in NUMERIC:
            self.seen, self.pack = shape, _packer(NUMERIC[self.datatype][1], prod(shape))


class InputCheck:
    """Holds a request's tensors against a model's metadata and makes arrays of them."""

    __slots__ = ("_convert", "_expected", "_names", "_optional")

    def __init__(self, specs: list[TensorSpec], optional: Sequence[TensorSpec] = (), *, exact_datatypes: bool) -> None:
        self._expected = {spec.name: _Expected(spec) for spec in (*specs, *optional)}
        self._names = ", ".join(self._expected)
        self._optional = {spec.name for spec in optional}
        self._convert = not exact_datatypes

    def arrays(self, request: InferRequest) -> "Arrays":
        """Arrays by input name. Raises InvalidRequest that says what the model expects."""
        expected, inputs = self._expected, request.inputs
        arrays: Arrays = {}
        for tensor in inputs:
            name, shape, data = tensor.name, tensor.shape, tensor.data
            known = expected.get(name)
            if known is not None and shape == known.seen and tensor.datatype == known.datatype and type(data) is list:
                try:
                    arrays[name] = np.ndarray(shape, known.dtype, bytearray(known.pack(*data)))
                    continue
                except WRONG_NUMBERS:
                    pass
            arrays[name] = self._unseen(tensor, known)
        if not len(inputs) == len(arrays) >= len(expected):
            self._refuse(inputs, arrays)
        return arrays

    def _refuse(self, inputs: list[Tensor], arrays: "Arrays") -> None:
        if len(arrays) < len(inputs):
            raise InvalidRequest("an input is there twice")
        missing = ", ".join(name for name in self._expected if name not in arrays and name not in self._optional)
        if not missing:
            return
        raise InvalidRequest(f"missing input {missing}; the model's inputs are {self._names}")

    def _unseen(self, tensor: Tensor, known: _Expected | None) -> "Array":
        """An input of another shape than the last one. A model without metadata takes any."""
        name = tensor.name
        if known is None:
            if self._expected:
                raise InvalidRequest(f"unknown input {name!r}; the model's inputs are {self._names}")
            return to_array(tensor)
        if not fits(tensor.shape, known.shape):
            raise InvalidRequest(f"input {name!r}: shape {list(known.shape)} expected (-1: any size), {tensor.shape} given")
        if tensor.datatype == known.datatype:
            array = to_array(tensor)
            known.see(tensor.shape)
            return array
        if self._convert and tensor.datatype in NUMERIC and known.datatype in NUMERIC:
            return _converted(name, to_array(tensor), known.datatype)
        raise InvalidRequest(f"input {name!r}: datatype {known.datatype} expected, {tensor.datatype} given")


def fits(given: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a shape is one of those that are wanted; -1 is any size."""
    return len(given) == len(wanted) and all(
        actual >= 0 and size in (actual, -1) for actual, size in zip(given, wanted, strict=True)
    )


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


def to_response(request: InferRequest, metadata: ModelMetadata, outputs: "Arrays") -> InferResponse:
    """The answer with the outputs that were asked for; data are flat arrays."""
    if request.outputs:
        asked = {output.name: None for output in request.outputs}
        unknown = [name for name in asked if name not in outputs]
        if unknown:
            raise InvalidRequest(f"unknown output {unknown[0]!r}; the model's outputs are {', '.join(outputs)}")
        outputs = {name: outputs[name] for name in asked}
    tensors = []
    for name, value in outputs.items():
        datatype = DATATYPE_OF.get(value.dtype)
        if datatype is None:
            tensors.append(_unusual_tensor(name, value))
        else:
            if datatype == "UINT16" and _is_bf16(name, metadata):
                datatype = "BF16"
            tensors.append(Tensor(name, list(value.shape), datatype, value.ravel()))
    return InferResponse(metadata.name, tensors, request.model_version or metadata.versions[0], request.id)


def _is_bf16(name: str, metadata: ModelMetadata) -> bool:
    """Whether the model says that this output is BF16, whose bits numpy holds as UINT16."""
    return any(spec.name == name and spec.datatype == "BF16" for spec in metadata.outputs)


def to_tensor(name: str, value: "Array") -> Tensor:
    """An output as a tensor; strings become BYTES. Raises ModelFailed for what no datatype fits."""
    datatype = DATATYPE_OF.get(value.dtype)
    return _unusual_tensor(name, value) if datatype is None else Tensor(name, list(value.shape), datatype, value.ravel())


def _unusual_tensor(name: str, value: "Array") -> Tensor:
    dtype = value.dtype
    if not dtype.isnative:
        return to_tensor(name, value.astype(dtype.newbyteorder("=")))
    if dtype.kind in "OSU":
        texts = [each if isinstance(each, (bytes, str)) else str(each) for each in value.reshape(-1).tolist()]
        _require_text(name, texts)
        return Tensor(name, list(value.shape), "BYTES", texts)
    if dtype.name == "bfloat16":  # of the package ml_dtypes
        return Tensor(name, list(value.shape), "BF16", value.ravel().view(np.uint16))
    raise ModelFailed(f"output {name!r} has the numpy type {dtype}, which the protocol cannot carry")


def _require_text(name: str, elements: list[bytes | str]) -> None:
    """A string with half a surrogate pair, as `errors="surrogateescape"` makes them, has no form in any protocol."""
    try:
        "".join([each for each in elements if type(each) is str]).encode()
    except UnicodeEncodeError:
        raise ModelFailed(
            f"output {name!r} has a string with half a surrogate pair, which is no text: a model gives bytes as bytes"
        ) from None
