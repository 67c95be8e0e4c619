"""Values that are never written down: JSON fields and tensors by their names, in every form that a body has. Sans-IO.

A body in which nothing with such a name can be looked for is left out as a whole.
"""

from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from kfunc.errors import KfuncError
from kfunc.http.coding import inflate

MAX_DECODED = 64 * 1024 * 1024
HASH = "sha256:"
EVENT_STREAM = b"text/event-stream"


class Redacted(Struct):
    """A body that may be kept. `changed`: something was taken out; `json_length` is the new one of binary tensors."""

    body: bytes
    changed: bool
    coding: bytes = b""
    json_length: bytes = b""


class Redactor:
    """Takes the values of `names` out of bodies: each is replaced by its SHA-256, or left out."""

    def __init__(self, names: list[str], *, hashed: bool) -> None:
        self._names = frozenset(names)
        self._needles = [msgspec.json.encode(name)[1:-1] for name in names] + [name.encode() for name in names]
        self._hashed = hashed

    def redact(self, body: bytes, content_type: bytes, coding: bytes, json_length: bytes) -> Redacted:
        """The body without these values."""
        if not body:
            return Redacted(body, False, coding, json_length)
        try:
            if coding and coding.lower() != b"identity":
                body = inflate(body, coding, MAX_DECODED)
            if content_type.lower().startswith(EVENT_STREAM):
                return self._stream(body)
            if json_length:
                return self._binary(body, int(json_length))
            return self._text(body, body)
        except (ValueError, TypeError, RecursionError, KfuncError):
            return Redacted(b"", True)

    def _text(self, body: bytes, whole: bytes) -> Redacted:
        """JSON; what holds none of the names is as it was, if it is JSON."""
        if not self._can_hold(body):
            msgspec.json.decode(body, type=msgspec.Raw)
            return Redacted(whole, False)
        value = self._value(msgspec.json.decode(body))
        encoded = msgspec.json.encode(value)
        return Redacted(encoded, True)

    def _can_hold(self, body: bytes) -> bool:
        # An escape may hide a name, and base64 in an event anything.
        return b"\\" in body or b'"data_base64"' in body or any(needle in body for needle in self._needles)

    def _stream(self, body: bytes) -> Redacted:
        """Server-sent events: the JSON of each data line."""
        lines = body.split(b"\n")
        changed = False
        for number, line in enumerate(lines):
            if line.startswith(b"data:") and self._can_hold(line):
                text = line[5:].strip()
                try:
                    lines[number] = b"data: " + msgspec.json.encode(self._value(msgspec.json.decode(text)))
                except msgspec.MsgspecError:
                    lines[number] = b"data: "
                changed = True
        return Redacted(b"\n".join(lines), changed)

    def _binary(self, body: bytes, length: int) -> Redacted:
        """V2 with binary tensors behind the JSON, in its order."""
        if not 0 < length <= len(body):
            raise ValueError("the JSON ends behind the body")
        head = msgspec.json.decode(body[:length], type=dict[str, Any])
        at, kept, changed = length, [], False
        for tensor in [*_list(head.get("inputs")), *_list(head.get("outputs"))]:
            parameters = tensor.get("parameters")
            size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
            if not isinstance(parameters, dict) or not isinstance(size, int):
                continue
            part, at = body[at : at + size], at + size
            if tensor.get("name") in self._names:
                del parameters["binary_data_size"]
                if self._hashed:
                    parameters["redacted"] = HASH + sha256(part).hexdigest()
                changed = True
            else:
                kept.append(part)
        text = msgspec.json.encode(self._value(head))
        return Redacted(b"".join((text, *kept)), changed or text != body[:length], json_length=b"%d" % len(text))

    # ---- values

    def _value(self, value: Any) -> Any:
        """The value without what is named, at any depth."""
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if not isinstance(value, dict):
            return value
        name = value.get("name")
        if "datatype" in value and isinstance(name, str) and name in self._names:
            return self._tensor(value)
        result = {}
        for key, inner in value.items():
            if key == "data_base64" and "specversion" in value:
                continue  # nobody can look into it
            if key not in self._names:
                result[key] = self._value(inner)
            elif self._hashed:
                result[key] = self._hash(inner)
        return result

    def _tensor(self, tensor: dict[str, Any]) -> dict[str, Any]:
        """A tensor of V2: name, datatype and shape stay."""
        kept = {key: value for key, value in tensor.items() if key != "data"}
        return {**kept, "data": self._hash(tensor["data"])} if self._hashed and "data" in tensor else kept

    def _hash(self, value: Any) -> Any:
        """Hashes in place of values, in lists for each item: a column has the same ones as rows."""
        if isinstance(value, list):
            return [self._hash(item) for item in value]
        return HASH + sha256(msgspec.json.encode(value)).hexdigest()


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
