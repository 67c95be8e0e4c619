"""Rows of a tensor's data, cut and turned from JSON into binary and back, without numpy. Sans-IO.

Data are `bytes`: the text of flat JSON numbers without its brackets; a list: flat JSON values; or a memoryview:
the binary form (kfunc.protocol.messages.Tensor).
"""

from array import array
from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from struct import error as StructError
from struct import pack, unpack
from typing import Any

import msgspec

from kfunc.protocol.datatypes import DATATYPES, LENGTH_BYTES
from kfunc.protocol.v2_binary import join_bytes

Data = bytes | memoryview | list[Any]

# Typecodes of `array`: machine's own order, which is little-endian on all that Python's wheels are built for here.
CODES = {"UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q"}
CODES |= {"FP32": "f", "FP64": "d"}
LARGEST_FP32 = 3.4028235677973366e38
"""What is less is rounded to an FP32 that is finite."""
FP32_DIGITS = (7, 8, 9)
"""With 9 digits every FP32 can be told from every other."""

_NUMBERS = msgspec.json.Decoder(list[int | float])
_encode = msgspec.json.encode


class Unrepresentable(Exception):
    """The values have no other form: whoever asks is served alone."""


class Rows:
    """A tensor of `total` rows that is cut several times: where its elements are is found once.

    Raises Unrepresentable for BYTES that are none.
    """

    __slots__ = ("_data", "_elements", "_ends", "_width")

    def __init__(self, data: Data, datatype: str, total: int) -> None:
        self._data = data
        self._elements = data.split(b",") if type(data) is bytes else None
        self._ends = element_ends(data) if datatype == "BYTES" and type(data) is memoryview else None
        count = len(data) if self._elements is None else len(self._elements)
        self._width = (count if self._ends is None else len(self._ends) - 1) // total

    def cut(self, start: int, end: int) -> Data:
        """The rows from `start` to before `end`."""
        first, last = start * self._width, end * self._width
        if self._elements is not None:
            return b",".join(self._elements[first:last])
        if self._ends is not None:
            return self._data[self._ends[first] : self._ends[last]]
        return self._data[first:last]


def element_ends(data: memoryview) -> list[int]:
    """Where each element of BYTES in binary ends, after a 0 for where the first begins. Raises Unrepresentable."""
    raw, size, at = bytes(data), len(data), 0
    ends = [0]
    while at < size:
        at += LENGTH_BYTES + int.from_bytes(raw[at : at + LENGTH_BYTES], "little")
        ends.append(at)
    if at != size:
        raise Unrepresentable
    return ends


def to_binary(data: Data, datatype: str) -> bytes | memoryview:
    """The binary form. Raises Unrepresentable where a value is none of the datatype's."""
    if type(data) is memoryview:
        return data
    values: list[Any] = _NUMBERS.decode(b"[%b]" % data) if type(data) is bytes else data  # type: ignore[assignment]
    try:
        if datatype == "BYTES":
            return join_bytes([value.encode() for value in values])
        if datatype == "BOOL":
            if not set(map(type, values)) <= {bool}:
                raise Unrepresentable
            return bytes(values)
        if not set(map(type, values)) <= ({int, float} if datatype.startswith("FP") else {int}):
            raise Unrepresentable
        if datatype == "FP32" and values and max(map(abs, values)) >= LARGEST_FP32:
            raise Unrepresentable
        if datatype == "FP16":
            return pack(f"<{len(values)}e", *values)
        return array(CODES[datatype], values).tobytes()
    except (AttributeError, KeyError, OverflowError, StructError, TypeError, UnicodeError):
        raise Unrepresentable from None


def to_json(data: memoryview, datatype: str) -> bytes:
    """The text of the values, as in a flat JSON array without its brackets. Raises Unrepresentable."""
    if datatype == "BYTES":
        ends = element_ends(data)
        try:
            texts = [str(data[a + LENGTH_BYTES : b], "utf-8") for a, b in pairwise(ends)]
        except UnicodeDecodeError:
            raise Unrepresentable from None
        return _encode(texts)[1:-1]
    if datatype == "BOOL":
        return _encode([value != 0 for value in data])[1:-1]
    code = CODES.get(datatype)
    if code is None:  # FP16, BF16: JSON does not carry them
        raise Unrepresentable
    try:
        values = array(code, bytes(data)).tolist()
    except ValueError:  # half an element is left
        raise Unrepresentable from None
    if datatype == "FP32":
        return ",".join([fp32_text(value) for value in values]).encode()
    return _encode(values)[1:-1]


def fp32_text(value: float) -> str:
    """The shortest of the usual texts that is read as this FP32; null for what JSON has no word for."""
    if not isfinite(value):
        return "null"
    for digits in FP32_DIGITS:
        text = f"{value:.{digits}g}"
        if unpack("f", pack("f", float(text)))[0] == value:
            break
    return text if "." in text or "e" in text else text + ".0"


def pad_rows(data: Data, datatype: str, outer: int, width: int, wanted: int, fill: float) -> Data:
    """Fill up: of `outer` runs of `width` elements each becomes one of `wanted`."""
    if width == wanted or not outer:
        return data
    if type(data) is memoryview:
        filling = to_binary(filler(datatype, fill, wanted - width), datatype)
        if datatype == "BYTES":
            ends = element_ends(data)
            runs = [data[ends[at * width] : ends[(at + 1) * width]] for at in range(outer)]
        else:
            size = width * DATATYPES[datatype]
            runs = [data[at * size : (at + 1) * size] for at in range(outer)]
        return memoryview(b"".join([piece for run in runs for piece in (run, filling)]))
    if type(data) is bytes:
        elements: list[Any] = data.split(b",")
        text = _encode(filler(datatype, fill, 1)[0])
        filled = _runs(elements, outer, width, [text] * (wanted - width))
        return b",".join(filled)
    return _runs(data, outer, width, filler(datatype, fill, wanted - width))


def _runs(elements: Sequence[Any], outer: int, width: int, filling: list[Any]) -> list[Any]:
    result: list[Any] = []
    for at in range(outer):
        result += elements[at * width : (at + 1) * width]
        result += filling
    return result


def filler(datatype: str, fill: float, count: int) -> list[Any]:
    """`count` values of a datatype that mean as little as `fill` does."""
    if datatype == "BYTES":
        return [""] * count
    if datatype == "BOOL":
        return [bool(fill)] * count
    return [fill if datatype.startswith("FP") else int(fill)] * count


def trim_rows(elements: Sequence[Any], outer: int, width: int, wanted: int) -> Sequence[Any]:
    """The opposite of filling up, for elements, or bytes with widths in bytes."""
    if width == wanted:
        return elements
    parts = [elements[at * width : at * width + wanted] for at in range(outer)]
    if isinstance(elements, bytes | memoryview):
        return b"".join(parts)  # type: ignore[arg-type]
    return [element for part in parts for element in part]
