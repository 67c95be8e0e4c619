"""Where two answers to one request differ: numbers within a tolerance, all else exactly. Sans-IO.

V2's outputs are compared by name and as flat arrays, binary tensors as their values; what names the call or the
revision (`id`, `model_name`, `model_version`, `parameters`; of a CloudEvent its id, time, source, trace …) does not count.
"""

import struct
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterator
from math import isfinite
from typing import Any

import msgspec
from msgspec import Struct

from kfunc.errors import InvalidRequest
from kfunc.protocol.datatypes import LENGTH_BYTES
from kfunc.protocol.json_text import ERRORS

TOLERANCE = 1e-5  # relative above 1, absolute below
MAX_SHOWN = 80  # characters of a value
MAX_DEPTH = 64
FORMATS = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
NOT_COMPARED = ("id", "model_name", "model_version", "parameters")
EVENT = frozenset(("specversion", "id", "source", "type"))  # what every CloudEvent has
OWN_OF_EVENT = ("id", "source", "subject", "time", "model", "modelversion", "traceparent", "tracestate")


class Answered(Struct):
    """An answer without content codings; `json_length` is Inference-Header-Content-Length, 0 without one."""

    status: int
    body: bytes
    json_length: int = 0


class Difference(Struct, frozen=True):
    """What is at `path` of the recorded answer and of the new one; short texts."""

    path: str
    recorded: str
    answered: str

    def __str__(self) -> str:
        return f"{self.path}: {self.recorded} became {self.answered}"


def compare(recorded: Answered, answered: Answered, tolerance: float = TOLERANCE, most: int = 20) -> list[Difference]:
    """The first `most` differences of two answers; none where they say the same."""
    if recorded.status != answered.status:
        return [Difference("status", str(recorded.status), str(answered.status))]
    if recorded.body == answered.body and recorded.json_length == answered.json_length:
        return []
    try:
        before, after = _content(recorded), _content(answered)
    except InvalidRequest as error:
        return [Difference("body", error.message, "not compared")]
    found: list[Difference] = []
    for difference in _differences("", before, after, tolerance, 0):
        found.append(difference)
        if len(found) >= most:
            break
    return found


def _content(answer: Answered) -> Any:
    """What an answer's body says; bytes where it is not JSON. Raises InvalidRequest."""
    body = answer.body
    length = answer.json_length or len(body)
    try:
        document = _read_json(body[:length])
    except ValueError:
        return body
    if isinstance(document, list):
        return [_said(each, memoryview(b"")) if _is_event(each) else each for each in document]
    return _said(document, memoryview(body)[length:])


def _said(document: Any, binary: memoryview) -> Any:
    """A document without what names the call or the revision; `binary` follows it. Raises InvalidRequest."""
    if _is_event(document):
        kept = {name: value for name, value in document.items() if name not in (*OWN_OF_EVENT, "data", "data_base64")}
        return kept | {"data": _data(document)}
    outputs = document.get("outputs") if isinstance(document, dict) else None
    if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in outputs):
        return document
    rest = {name: value for name, value in document.items() if name not in NOT_COMPARED}
    return rest | {"outputs": _tensors(outputs, binary)}


def _is_event(document: Any) -> bool:
    return isinstance(document, dict) and document.keys() >= EVENT


def _data(event: dict[str, Any]) -> Any:
    """What an event brings. Raises InvalidRequest."""
    if "data_base64" not in event:
        data = event.get("data")
        return data if _is_event(data) else _said(data, memoryview(b""))
    try:
        body = a2b_base64(str(event["data_base64"]), strict_mode=True)
    except (Base64Error, ValueError):
        return event["data_base64"]
    length = event.get("inferenceheaderlen")
    return _content(Answered(200, body, length if type(length) is int and 0 < length <= len(body) else 0))


def _read_json(text: bytes) -> Any:
    """A JSON value, NaN and Infinity too. Raises ValueError."""
    try:
        return msgspec.json.decode(text)
    except ERRORS:
        import json  # here: few answers need it

        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError from None


def _tensors(outputs: list[dict[str, Any]], rest: memoryview) -> dict[str, Any]:
    """The outputs by name. Raises InvalidRequest where the binary ones do not fit."""
    tensors = {}
    for each in outputs:
        data, parameters = each.get("data"), each.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if type(size) is int:
            if not 0 <= size <= len(rest):
                raise InvalidRequest(f"output {each.get('name')!r} has {size} bytes, and {len(rest)} follow")
            data, rest = _values(str(each.get("datatype")), bytes(rest[:size])), rest[size:]
        tensors[str(each.get("name"))] = {
            "datatype": each.get("datatype"),
            "shape": each.get("shape"),
            "data": list(_flat(data)) if isinstance(data, list) else data,
        }
    return tensors


def _values(datatype: str, raw: bytes) -> Any:
    """The elements of a binary tensor; its bytes where they are not of the datatype. Little-endian."""
    if datatype == "BYTES":
        return _split(raw)
    if datatype == "BF16" and len(raw) % 2 == 0:  # the upper halves of FP32
        raw, datatype = b"".join([b"\0\0" + raw[start : start + 2] for start in range(0, len(raw), 2)]), "FP32"
    code = FORMATS.get(datatype)
    if code is None or len(raw) % struct.calcsize(f"<{code}"):
        return raw
    return list(struct.unpack(f"<{len(raw) // struct.calcsize(f'<{code}')}{code}", raw))


def _split(raw: bytes) -> list[str]:
    """The elements of a BYTES tensor as texts, as JSON would have them."""
    elements, start = [], 0
    while start + LENGTH_BYTES <= len(raw):
        end = start + LENGTH_BYTES + int.from_bytes(raw[start : start + LENGTH_BYTES], "little")
        elements.append(raw[start + LENGTH_BYTES : end].decode(errors="replace"))
        start = end
    return elements


def _flat(data: list[Any]) -> Iterator[Any]:
    for each in data:
        if isinstance(each, list):
            yield from _flat(each)
        else:
            yield each


def _differences(path: str, before: Any, after: Any, tolerance: float, depth: int) -> Iterator[Difference]:
    if depth > MAX_DEPTH:
        if before != after:
            yield Difference(path, _text(before), _text(after))
    elif isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            place = f"{path}.{name}" if path else name
            if name not in before or name not in after:
                yield Difference(place, _shown(before, name), _shown(after, name))
            else:
                yield from _differences(place, before[name], after[name], tolerance, depth + 1)
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            yield Difference(path, f"{len(before)} elements", f"{len(after)} elements")
            return
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            if old != new or type(old) is not type(new):
                yield from _differences(f"{path}[{number}]", old, new, tolerance, depth + 1)
    elif not _same(before, after, tolerance):
        yield Difference(path or "body", _text(before), _text(after))


def _same(before: Any, after: Any, tolerance: float) -> bool:
    if type(before) in (int, float, type(None)) and type(after) in (int, float, type(None)):
        # A number that JSON has no sign for is null from some servers.
        old, new = (float("nan") if value is None else value for value in (before, after))
        if isfinite(old) and isfinite(new):
            return bool(abs(old - new) <= tolerance * max(1.0, abs(old), abs(new)))
        return old == new or (old != old and new != new)
    return type(before) is type(after) and bool(before == after)


def _shown(document: dict[str, Any], name: str) -> str:
    return _text(document[name]) if name in document else "absent"


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes {value[:20]!r}"
    if type(value) is float and not isfinite(value):
        return str(value)
    try:
        text = msgspec.json.encode(value).decode()
    except ERRORS:
        text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"
