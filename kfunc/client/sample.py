"""Requests for a model from what it says of its inputs. Pure: JSON values in, JSON values out; files of pictures are bytes."""

from base64 import b64encode
from math import prod
from struct import pack
from typing import Any
from zlib import compress, crc32

from kfunc.errors import InvalidRequest
from kfunc.protocol.messages import TensorSpec

MOST_ELEMENTS = 10_000_000
SIDE = 224
WHOLE = (0, 1)
FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5)
# Values that a model of this input may have seen, taken in turn; small numbers are also valid indices.
PLAUSIBLE = {
    "BOOL": (False, True),
    "BYTES": ("text",),
    "FP16": FRACTIONS,
    "BF16": FRACTIONS,
    "FP32": FRACTIONS,
    "FP64": FRACTIONS,
}


def sample_request(specs: list[TensorSpec], protocol: str, rows: int = 1, *, pictures: bool = False) -> dict[str, Any]:
    """A request with rows of plausible values for each input; of BYTES they are `pictures`, if so. Raises InvalidRequest
    without inputs, or for another number of rows than the model takes."""
    if pictures and specs:
        told = b64encode(sample_picture()).decode()
        return {"instances": [{"b64": told}] * rows} if protocol == "v1" else wrap_array([told] * rows, specs, protocol)
    if not specs:
        raise InvalidRequest("the model does not say what its inputs are; give a request with --data or --file")
    fixed = [spec for spec in specs if not _takes_rows(spec)]
    if rows > 1 and fixed and (protocol == "v1" or len(fixed) == len(specs)):
        raise InvalidRequest(f"the model's input {fixed[0].name} has the fixed shape {fixed[0].shape}: leave --rows out")
    tensors = [(spec, _sized(spec, rows)) for spec in specs]
    if sum(prod(shape) for _, shape in tensors) > MOST_ELEMENTS:
        raise InvalidRequest(f"a request would have more than {MOST_ELEMENTS} elements; give one with --data or --file")
    if protocol == "v2":
        return {
            "inputs": [
                {"name": spec.name, "shape": shape, "datatype": spec.datatype, "data": _values(spec, prod(shape))}
                for spec, shape in tensors
            ]
        }
    values = {spec.name: _listed(_nested(_values(spec, prod(shape)), shape)) for spec, shape in tensors}
    if len(values) == 1:
        return {"instances": next(iter(values.values()))}
    return {"instances": [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=False)]}


def _sized(spec: TensorSpec, rows: int) -> list[int]:
    """The shape of an input with that many rows, where the model leaves their number open."""
    shape = [size if size > 0 else 1 for size in spec.shape]
    return [rows, *shape[1:]] if _takes_rows(spec) else shape


def _takes_rows(spec: TensorSpec) -> bool:
    return bool(spec.shape) and spec.shape[0] < 0


def sample_picture(side: int = SIDE) -> bytes:
    """A square one, coloured from left to right, as PNG (its specification: chunks of length, type, content, CRC)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return pack(">I", len(content)) + kind + content + pack(">I", crc32(kind + content))

    row = b"\0" + bytes(value for at in range(side) for value in (at * 255 // side, 255 - at * 255 // side, 128))
    head = pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)  # 8 bits, RGB
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", compress(row * side)) + chunk(b"IEND", b"")


def wrap_picture(content: bytes, specs: list[TensorSpec], protocol: str) -> dict[str, Any]:
    """A request with a picture's file as its only input, of V2 in binary. Raises InvalidRequest."""
    if len(specs) > 1 or (specs and specs[0].datatype != "BYTES"):
        takes = ", ".join(f"{spec.name} ({spec.datatype} {list(spec.shape)})" for spec in specs)
        raise InvalidRequest(f"the model takes no picture but {takes}; inference.images in func.yaml would make that of one")
    if protocol == "v1":
        return {"instances": [{"b64": b64encode(content).decode()}]}
    return {"inputs": [_tensor(specs[0] if specs else TensorSpec("input-0", "BYTES", [-1]), [content])]}


def wrap_array(array: list[Any], specs: list[TensorSpec], protocol: str) -> dict[str, Any]:
    """A request whose only input is `array`: one row or all rows, nested or flat. Raises InvalidRequest."""
    if protocol == "v1":
        return {"instances": array}
    if len(specs) > 1:
        names = ", ".join(spec.name for spec in specs)
        raise InvalidRequest(f"the model has {len(specs)} inputs ({names}): give a whole request, not an array")
    spec = specs[0] if specs else TensorSpec("input-0", _datatype(array), shape_of(array))
    return {"inputs": [_tensor(spec, array)]}


def wrap_arrays(arrays: dict[str, list[Any]], specs: list[TensorSpec], protocol: str) -> dict[str, Any]:
    """A request of arrays by input name; V1 gets their rows. Raises InvalidRequest."""
    if protocol == "v1":
        if len({len(rows) for rows in arrays.values()}) != 1:
            raise InvalidRequest("the arrays must all have the same number of rows for V1")
        return {"instances": [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]}
    known = {spec.name: spec for spec in specs}
    untold = (TensorSpec(name, _datatype(array), shape_of(array)) for name, array in arrays.items() if name not in known)
    known |= {spec.name: spec for spec in untold}
    return {"inputs": [_tensor(known[name], array) for name, array in arrays.items()]}


def shape_of(value: Any) -> list[int]:
    """The shape of a nested list, judged by the first element of each level."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _tensor(spec: TensorSpec, array: list[Any]) -> dict[str, Any]:
    data, shape = _fit(array, list(spec.shape))
    return {"name": spec.name, "shape": shape, "datatype": spec.datatype, "data": data}


def _fit(array: list[Any], wanted: list[int]) -> tuple[list[Any], list[int]]:
    """The array and its shape, so that they meet the model's shape where that is possible."""
    shape = shape_of(array)
    if len(shape) == len(wanted):
        return array, shape
    if len(shape) + 1 == len(wanted) and all(have == want or want < 0 for have, want in zip(shape, wanted[1:], strict=True)):
        return [array], [1, *shape]
    row = prod(size for size in wanted if size > 0)
    if len(shape) == 1 and wanted.count(-1) <= 1 and row and len(array) % row == 0:
        return array, [size if size > 0 else len(array) // row for size in wanted]
    return array, shape


def _values(spec: TensorSpec, count: int) -> list[Any]:
    cycle = PLAUSIBLE.get(spec.datatype, WHOLE)
    return [cycle[index % len(cycle)] for index in range(count)]


def _nested(values: list[Any], shape: list[int]) -> Any:
    if not shape:
        return values[0]
    step = prod(shape[1:])
    return [_nested(values[at * step : (at + 1) * step], shape[1:]) for at in range(shape[0])]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _datatype(value: Any) -> str:
    while isinstance(value, list):
        value = value[0] if value else 0.0
    return {bool: "BOOL", int: "INT64", str: "BYTES"}.get(type(value), "FP64")
