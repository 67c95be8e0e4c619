"""InferParameter and ModelRepositoryParameter: maps of typed values ↔ dicts."""

from struct import Struct
from typing import Any

from kfunc.errors import InvalidRequest
from kfunc.protocol.grpc.wire import (
    FIXED64,
    LENGTH,
    UNBOUNDED,
    VARINT,
    Budget,
    broken,
    fields,
    length_delimited,
    signed,
    tag,
    text,
    varint,
)

BOOL, INT64, STRING, DOUBLE, UINT64 = range(1, 6)
WIRE_TYPES = {BOOL: VARINT, INT64: VARINT, STRING: LENGTH, DOUBLE: FIXED64, UINT64: VARINT}
_DOUBLE = Struct("<d")
MOST_INT64 = 2**63 - 1


def read_entry(data: bytes, at: int, end: int, into: dict[str, Any], budget: Budget = UNBOUNDED) -> None:
    """One entry of a map<string, InferParameter>. Raises InvalidRequest."""
    key, value = "", None
    for number, kind, start, stop in fields(data, at, end, budget):
        if number == 1 and kind == LENGTH:
            key = text(data, start, stop)
        elif number == 2 and kind == LENGTH:
            value = _read_value(data, start, stop, budget)
    if value is None:
        raise InvalidRequest(f"the parameter {key!r} has no value")
    into[key] = value


def _read_value(data: bytes, at: int, end: int, budget: Budget) -> Any:
    value: Any = None
    for number, kind, start, stop in fields(data, at, end, budget):
        if WIRE_TYPES.get(number, kind) != kind:
            raise broken(f"a parameter's field {number} has the wire type {kind}")
        if number == BOOL:
            value = bool(start)
        elif number == INT64:
            value = signed(start)
        elif number == STRING:
            value = text(data, start, stop)
        elif number == DOUBLE:
            (value,) = _DOUBLE.unpack_from(data, start)
        elif number == UINT64:
            value = start
    return value


def write_map(number: int, parameters: dict[str, Any] | None) -> bytes:
    """A field map<string, InferParameter>; values that have no such form go as their text."""
    if not parameters:
        return b""
    return b"".join(
        [
            length_delimited(number, length_delimited(1, name.encode()) + length_delimited(2, _write_value(value)))
            for name, value in parameters.items()
        ]
    )


def _write_value(value: Any) -> bytes:
    if isinstance(value, bool):
        return tag(BOOL, VARINT) + varint(value)
    if isinstance(value, int) and -MOST_INT64 - 1 <= value <= 2 * MOST_INT64 + 1:
        return tag(INT64 if value <= MOST_INT64 else UINT64, VARINT) + varint(value)
    if isinstance(value, float):
        return tag(DOUBLE, FIXED64) + _DOUBLE.pack(value)
    return length_delimited(STRING, (value if isinstance(value, str) else str(value)).encode())
