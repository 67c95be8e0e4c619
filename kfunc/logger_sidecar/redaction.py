"""Values that are never written down: JSON fields and tensors by their names, in every form that a body has. Sans-IO.

What stays is what was understood: a body in which names cannot be looked for is left out as a whole. JSON in strings
is not looked into.
"""

import re
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from kfunc.errors import KfuncError
from kfunc.http.coding import inflate
from kfunc.protocol.json_length import json_length_of

HASH = "sha256:"
EVENT_STREAM = b"text/event-stream"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LINE_ENDS = re.compile(rb"\r\n|\r|\n")
EVENT_FIELDS = frozenset((b"event", b"id", b"retry"))
DONE = b"[DONE]"  # how OpenAI's streams end
TENSOR_MEMBERS = frozenset(("datatype", "shape", "data", "contents", "parameters"))


class _Digest(str):
    """The hash of a binary tensor: told from what a client writes."""

    __slots__ = ()


class Redacted(Struct):
    """A body that may be kept. `changed`: something was taken out; `json_length` is the new one of binary tensors."""

    body: bytes
    changed: bool
    coding: bytes = b""
    json_length: bytes = b""


class Redactor:
    """Takes the values of `names` out of bodies: each is replaced by its SHA-256, or left out.

    Nothing is read, nor kept, that is longer than `most` bytes without its coding.
    """

    def __init__(self, names: list[str], *, hashed: bool, most: int) -> None:
        self._most = most
        self._names = frozenset(names)
        self._needles = [msgspec.json.encode(name)[1:-1] for name in names] + [name.encode() for name in names]
        self._hashed = hashed

    def redact(self, body: bytes, content_type: bytes, coding: bytes, json_length: bytes, *, is_answer: bool) -> Redacted:
        """The body without these values. Only an answer is a stream of events: a request's type is the client's to say."""
        if not body:
            return Redacted(body, False, coding, json_length)
        try:
            if coding and coding.lower() != b"identity":
                body = inflate(body, coding, self._most)
            if is_answer and content_type.lower().startswith(EVENT_STREAM):
                redacted = self._stream(body)
            elif json_length:
                redacted = self._binary(body, json_length_of(json_length, len(body)))
            else:
                redacted = self._text(body)
        except (ValueError, TypeError, RecursionError, KfuncError):
            return Redacted(b"", True)
        # Hashes are longer than numbers.
        return redacted if len(redacted.body) <= self._most else Redacted(b"", True)

    def _text(self, body: bytes) -> Redacted:
        """JSON; what holds none of the names is as it was, if it is JSON."""
        if not self._can_hold(body):
            msgspec.json.decode(body, type=msgspec.Raw)
            return Redacted(body, False)
        return Redacted(msgspec.json.encode(self._value(msgspec.json.decode(body))), True)

    def _can_hold(self, body: bytes) -> bool:
        # An escape may hide a name, and base64 in an event anything.
        return b"\\" in body or b'"data_base64"' in body or any(needle in body for needle in self._needles)

    def _stream(self, body: bytes) -> Redacted:
        """Server-sent events by their grammar (HTML, 9.2.6): the JSON of each event's data; other data are left out."""
        lines = LINE_ENDS.split(body.removeprefix(BYTE_ORDER_MARK))
        rest = lines.pop()  # not ended: nothing, or cut
        changed = bool(rest) and not rest.startswith(b"data:")
        if rest and not changed:
            lines.append(rest)
        written: list[bytes] = []
        data: list[bytes] = []
        for line in (*lines, b""):
            field, _, value = line.partition(b":")
            if field == b"data":
                data.append(value.removeprefix(b" "))
                continue
            if data and not line:
                text, is_other = self._event_data(b"\n".join(data))
                changed |= is_other
                written.append(b"data: " + text.replace(b"\n", b"\ndata: "))
                data = []
            if not line or field in EVENT_FIELDS:
                written.append(line)
            elif field:
                raise ValueError("no field of an event")
            else:
                changed |= bool(value.strip())  # a comment: it may say anything
        return Redacted(b"\n".join(written), True) if changed else Redacted(body, False)

    def _event_data(self, data: bytes) -> tuple[bytes, bool]:
        """One event's data as they may be kept, and whether that is something else."""
        if data == DONE or not data:
            return data, False
        try:
            redacted = self._text(data)
        except msgspec.MsgspecError:
            return b"", True
        return redacted.body, redacted.changed

    def _binary(self, body: bytes, length: int | None) -> Redacted:
        """V2 with binary tensors behind the JSON, in its order."""
        if length is None:
            raise ValueError("the JSON ends behind the body")
        head = msgspec.json.decode(body[:length], type=dict[str, Any])
        at, kept, changed = length, [], False
        for tensor in [*_list(head.get("inputs")), *_list(head.get("outputs"))]:
            parameters = tensor.get("parameters")
            size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
            if not isinstance(parameters, dict) or not isinstance(size, int):
                continue
            if size < 0:
                raise ValueError("a tensor of fewer than 0 bytes")
            part, at = body[at : at + size], at + size
            if tensor.get("name") in self._names:
                tensor["parameters"] = _Digest(HASH + sha256(part).hexdigest())
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
        if isinstance(name, str) and name in self._names and not TENSOR_MEMBERS.isdisjoint(value):
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
        kept: dict[str, Any] = {"name": tensor["name"]}
        datatype, shape, parameters = tensor.get("datatype"), tensor.get("shape"), tensor.get("parameters")
        if isinstance(datatype, str):
            kept["datatype"] = datatype
        if isinstance(shape, list) and all(type(size) is int for size in shape):
            kept["shape"] = shape
        if self._hashed and isinstance(parameters, _Digest):
            kept["parameters"] = {"redacted": str(parameters)}
        if self._hashed and "data" in tensor:
            kept["data"] = self._hash(tensor["data"])
        return kept

    def _hash(self, value: Any) -> Any:
        """Hashes in place of values, in lists for each item: a column has the same ones as rows."""
        if isinstance(value, list):
            return [self._hash(item) for item in value]
        return HASH + sha256(msgspec.json.encode(value)).hexdigest()


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
