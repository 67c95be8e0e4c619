"""Tensors in InferTensorContents: a repeated field for each kind of number ↔ buffers of little-endian elements."""

from array import array
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from kfunc.errors import InvalidRequest
from kfunc.protocol.datatypes import element_count
from kfunc.protocol.grpc.wire import (
    FIXED32,
    FIXED64,
    LENGTH,
    VARINT,
    Budget,
    broken,
    fields,
    length_delimited,
    read_varints,
    signed,
    varint,
)
from kfunc.protocol.messages import Tensor
from kfunc.protocol.v2_binary import split_bytes

BOOL, INT, INT64, UINT, UINT64, FP32, FP64, BYTES = range(1, 9)
NAMES = ("", "bool", "int", "int64", "uint", "uint64", "fp32", "fp64", "bytes")

# Datatype → its field, and the array module's code; FP16 and BF16 have none.
FIELDS = {
    "BOOL": (BOOL, "B"),
    "INT8": (INT, "b"),
    "INT16": (INT, "h"),
    "INT32": (INT, "i"),
    "INT64": (INT64, "q"),
    "UINT8": (UINT, "B"),
    "UINT16": (UINT, "H"),
    "UINT32": (UINT, "I"),
    "UINT64": (UINT64, "Q"),
    "FP32": (FP32, "f"),
    "FP64": (FP64, "d"),
    "BYTES": (BYTES, ""),
}
ONLY_RAW = ("FP16", "BF16")
FIXED = {FP32: FIXED32, FP64: FIXED64}

Spans = dict[int, list[tuple[int, int, int]]]
"""By field: wire type, value or start, end of each of its parts."""


def collect(data: bytes, at: int, end: int, spans: Spans, budget: Budget) -> None:
    """Take up the fields of an InferTensorContents; one that comes in parts is joined (Encoding, Last One Wins)."""
    for number, kind, start, stop in fields(data, at, end, budget):
        if number <= BYTES:
            expected = FIXED.get(number, VARINT)
            if kind != LENGTH and (kind != expected or number == BYTES):
                raise broken(f"{NAMES[number]}_contents has the wire type {kind}")
            spans.setdefault(number, []).append((kind, start, stop))


def decode(name: str, datatype: str, data: bytes, spans: Spans, wanted: int) -> tuple[Any, int]:
    """The elements of a tensor, as its `data`, and how many they are. Raises InvalidRequest that names it.

    Integers are read no further than to see that there are more than `wanted`.
    """
    if datatype in ONLY_RAW:
        raise InvalidRequest(f"input {name!r}: {datatype} travels in raw_input_contents only")
    field, code = FIELDS[datatype]
    given = [number for number, parts in spans.items() if any(kind != LENGTH or end > start for kind, start, end in parts)]
    if BYTES in spans and BYTES not in given:
        given.append(BYTES)  # an empty element is one
    if any(number != field for number in given):
        found = ", ".join(f"{NAMES[number]}_contents" for number in sorted(given))
        raise InvalidRequest(f"input {name!r}: {datatype} goes in {NAMES[field]}_contents only; given is {found}")
    parts = spans.get(field, [])
    if field == BYTES:
        elements = [data[start:end] for _, start, end in parts]
        return elements, len(elements)
    if field in FIXED:
        size = 4 if field == FP32 else 8
        if any((end - start) % size for _, start, end in parts):
            raise broken(f"{NAMES[field]}_contents does not have {size} bytes for each number")
        view = memoryview(data)
        whole = view[slice(*parts[0][1:])] if len(parts) == 1 else memoryview(b"".join([view[a:b] for _, a, b in parts]))
        return whole, len(whole) // size
    values = array(code)
    try:
        for each in _integers(field, data, parts):
            if type(each) is bytes:
                values.frombytes(_widened(each, values.itemsize))
            else:
                values.extend(each)
            if len(values) > wanted:
                break
    except OverflowError:
        raise InvalidRequest(f"input {name!r}: a number is out of the range of {datatype}") from None
    return memoryview(values).cast("B"), len(values)


def _widened(numbers: bytes, size: int) -> bytes | bytearray:
    """Numbers of one byte each as little-endian ones of `size` bytes."""
    if size == 1:
        return numbers
    wide = bytearray(len(numbers) * size)
    wide[::size] = numbers
    return wide


def _integers(field: int, data: bytes, parts: list[tuple[int, int, int]]) -> Iterator[Iterable[int]]:
    """The numbers, in batches; bytes where each is below 128."""
    for values in _batches(data, parts):
        if field == BOOL:
            yield bytes(map(bool, values))
        elif field == UINT64 or type(values) is bytes:
            yield values
        elif field == INT64:
            yield map(signed, values)
        elif field == UINT:
            yield [value & 0xFFFF_FFFF for value in values]
        else:  # a negative int32 is written as an int64
            yield [(value & 0xFFFF_FFFF ^ 0x8000_0000) - 0x8000_0000 for value in values]


def _batches(data: bytes, parts: list[tuple[int, int, int]]) -> Iterator[bytes | list[int]]:
    for packed, group in groupby(parts, lambda part: part[0] == LENGTH):
        if packed:
            for _, start, end in group:
                yield from read_varints(data, start, end)
        else:
            yield [value for _, value, _ in group]


# ---- writing


def encode(tensor: Tensor) -> bytes:
    """An InferTensorContents; `tensor.data` is a flat list or a buffer. The datatype must be one of FIELDS."""
    field, code = FIELDS[tensor.datatype]
    data = tensor.data
    if field == BYTES:
        if type(data) is not list:
            data = split_bytes(tensor.name, data, element_count(tensor.name, tensor.shape))
        return b"".join([length_delimited(BYTES, each if type(each) is bytes else each.encode()) for each in data])
    view = memoryview(as_array(tensor) if type(data) is list else data)
    if not view.nbytes:
        return b""
    view = view.cast("B")
    if field in FIXED or field == BOOL:
        return length_delimited(field, bytes(view))
    return length_delimited(field, _varints(view.cast(code)))  # type: ignore[call-overload]


def as_array(tensor: Tensor) -> "array[Any]":
    """A list of numbers as a buffer. Raises TypeError, OverflowError where it has others."""
    return array(FIELDS[tensor.datatype][1], tensor.data)


def _varints(values: "memoryview[Any]") -> bytes:
    numbers = values.tolist()
    if min(numbers) >= 0 and max(numbers) < 0x80:
        return bytes(numbers)
    return b"".join(map(varint, numbers))
