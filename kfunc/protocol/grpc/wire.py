"""The wire format of Protocol Buffers (Encoding): tags, varints, lengths."""

from collections.abc import Iterator
from itertools import repeat

from kfunc.errors import InvalidRequest

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
SIGN, ALL = 1 << 63, (1 << 64) - 1
MAX_VARINT = 10  # bytes
MAX_NUMBER = 2**29 - 1
SPENT = "the message has too many fields; send numbers packed, or tensors in raw_input_contents"
SLICE = 64 * 1024  # bytes of packed varints that are split at a time

# Number and wire type of a field, and its value: where it lies in the message (LENGTH, fixed), or itself (VARINT).
Field = tuple[int, int, int, int]

Budget = Iterator[None]
"""Has a turn for each field that may still be read: of a message and those in it together."""
UNBOUNDED: Budget = repeat(None)  # for messages whose size is bounded, and those of a server that we chose


def broken(what: str) -> InvalidRequest:
    """Bytes that are no message."""
    return InvalidRequest(f"the message is not what its method takes: {what}")


def budget_of(count: int) -> Budget:
    """For so many fields."""
    return repeat(None, count)


def fields(data: bytes, at: int, end: int, budget: Budget = UNBOUNDED) -> Iterator[Field]:
    """The fields of the message in `data[at:end]`, as (number, wire type, value or start, end). Raises InvalidRequest."""
    spent = object()
    while at < end:
        if next(budget, spent) is spent:
            raise InvalidRequest(SPENT)
        key = data[at]
        at += 1
        if key > 0x7F:
            key, at = read_varint(data, at - 1, end)
        number, kind = key >> 3, key & 7
        if not 0 < number <= MAX_NUMBER:
            raise broken(f"{number} is no field's number")
        if kind == LENGTH:
            size = data[at] if at < end else 0x80
            at += 1
            if size > 0x7F:
                size, at = read_varint(data, at - 1, end)
            start, at = at, at + size
            if at > end:
                raise broken(f"field {number} ends past the message's end")
            yield number, kind, start, at
        elif kind == VARINT:
            value, at = read_varint(data, at, end)
            yield number, kind, value, at
        elif kind in (FIXED32, FIXED64):
            start, at = at, at + (4 if kind == FIXED32 else 8)
            if at > end:
                raise broken(f"field {number} ends past the message's end")
            yield number, kind, start, at
        else:
            raise broken(f"field {number} has the wire type {kind}")


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of up to 64 bits, and where it ends. Raises InvalidRequest."""
    value = shift = 0
    for position in range(at, min(end, at + MAX_VARINT)):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & ALL, position + 1
        shift += 7
    raise broken("a number is cut off or longer than 64 bits")


def read_varints(data: bytes, at: int, end: int) -> Iterator[bytes | list[int]]:
    """The numbers of packed varints, in parts: bytes where each is below 128. Raises InvalidRequest."""
    while at < end:
        stop = min(at + SLICE, end)
        while stop < end and data[stop - 1] > 0x7F:
            stop += 1  # not within a number
        chunk = data[at:stop]
        at = stop
        yield chunk if chunk.isascii() else _split(chunk)


def _split(chunk: bytes) -> list[int]:
    values = []
    value = shift = 0
    for byte in chunk:
        if byte < 0x80:
            values.append((value | byte << shift) & ALL)
            value = shift = 0
        else:
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift >= 7 * MAX_VARINT:
                break
    if shift:
        raise broken("a number is cut off or longer than 64 bits")
    return values


def signed(value: int) -> int:
    """A number of 64 bits as an int64."""
    return value - (1 << 64) if value & SIGN else value


def text(data: bytes, at: int, end: int) -> str:
    """A string field. Raises InvalidRequest."""
    try:
        return data[at:end].decode()
    except UnicodeDecodeError:
        raise broken("a string is not UTF-8") from None


# ---- writing


def varint(value: int) -> bytes:
    """A number of up to 64 bits; negative ones are int64."""
    if 0 <= value < 0x80:
        return value.to_bytes(1, "little")
    value &= ALL
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number: int, kind: int) -> bytes:
    """What stands before a field's value."""
    return varint(number << 3 | kind)


def length_delimited(number: int, value: bytes) -> bytes:
    """A field of bytes: a string, a message, packed numbers."""
    return b"%b%b%b" % (varint(number << 3 | LENGTH), varint(len(value)), value)


def optional_text(number: int, value: str) -> bytes:
    """A string field, left out where it is empty (proto3)."""
    return length_delimited(number, value.encode()) if value else b""
