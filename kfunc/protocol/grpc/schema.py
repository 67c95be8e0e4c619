"""Small messages by a table of their fields ↔ dicts. Tensors have codecs of their own."""

from typing import Any

from kfunc.protocol.grpc.wire import LENGTH, VARINT, broken, fields, length_delimited, read_varints, signed, tag, text, varint

STRING, BYTES, BOOL, INT = "string", "bytes", "bool", "int"

Schema = dict[str, "Kind"]
"""A message: name → number, what its values are, and whether there are many."""

Kind = tuple[int, "str | Schema", bool]

DEFAULTS: dict[str, Any] = {STRING: "", BYTES: b"", BOOL: False, INT: 0}


def one(number: int, of: "str | Schema" = STRING) -> Kind:
    """A field with one value."""
    return number, of, False


def many(number: int, of: "str | Schema" = STRING) -> Kind:
    """A repeated field."""
    return number, of, True


def encode(schema: Schema, values: dict[str, Any]) -> bytes:
    """A message; what is missing, and what is the default of its type, is left out."""
    parts = []
    for name, (number, of, repeated) in schema.items():
        value = values.get(name)
        if repeated and of == INT:
            packed = b"".join(map(varint, value or ()))
            parts.append(length_delimited(number, packed) if packed else b"")
        elif repeated:
            parts += [_field(number, of, each) for each in value or ()]
        elif value or (value is not None and isinstance(of, dict)):
            parts.append(_field(number, of, value))
    return b"".join(parts)


def _field(number: int, of: "str | Schema", value: Any) -> bytes:
    if of in (BOOL, INT):
        return tag(number, VARINT) + varint(value)
    if isinstance(of, dict):
        return length_delimited(number, encode(of, value))
    return length_delimited(number, value.encode() if of == STRING else value)


def decode(schema: Schema, data: bytes, at: int = 0, end: int | None = None) -> dict[str, Any]:
    """The fields of a message; scalars that are not there have their defaults, messages are left out. Raises InvalidRequest."""
    values: dict[str, Any] = {
        name: [] if repeated else DEFAULTS[str(of)]
        for name, (_, of, repeated) in schema.items()
        if repeated or isinstance(of, str)
    }
    names = {number: name for name, (number, _, _) in schema.items()}
    for number, kind, start, stop in fields(data, at, len(data) if end is None else end):
        name = names.get(number)
        if name is None:
            continue
        _, of, repeated = schema[name]
        if repeated and of == INT and kind == LENGTH:
            values[name] += [signed(each) for part in read_varints(data, start, stop) for each in part]
            continue
        value = _value(name, of, kind, data, start, stop)
        if repeated:
            values[name].append(value)
        else:
            values[name] = value
    return values


def _value(name: str, of: "str | Schema", kind: int, data: bytes, start: int, stop: int) -> Any:
    if kind != (VARINT if of in (BOOL, INT) else LENGTH):
        raise broken(f"{name} has the wire type {kind}")
    if isinstance(of, dict):
        return decode(of, data, start, stop)
    if of == STRING:
        return text(data, start, stop)
    if of == BYTES:
        return data[start:stop]
    return bool(start) if of == BOOL else signed(start)
