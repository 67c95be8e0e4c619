"""What is logged of a call, and the CloudEvents made of it. Sans-IO."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from kfunc.protocol.cloudevents import OCTETS, encode_data, is_json, open_event

REQUEST_TYPE = "io.kfunc.inference.request"
RESPONSE_TYPE = "io.kfunc.inference.response"
MAX_OPENINGS = 1024
MAX_OPENING = 2048  # bytes: paths and types are the client's, and are not to fill the memory
MAX_INTEGER = 2**31 - 1  # CloudEvents, 3.2: Integer
CALLS = (b"/infer", b"/infer_stream", b":predict", b":explain")
DATA = b',"data":'
MAX_TYPE = 256
LINE_FEED, RETURN = b"\n\r"
# What needs no escape in a JSON string.
PLAIN = bytes(set(range(0x20, 0x7F)) - set(b'"\\'))


def is_call(target: bytes) -> bool:
    """Whether a POST to `target` is an inference call, however a server might read its path."""
    return target.endswith(CALLS) or b"/".join(_segments(target)).endswith(CALLS)


def is_event(target: bytes, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a POST brings a CloudEvent for the function (HTTP Protocol Binding, 3): a call of its model."""
    if target.partition(b"?")[0].strip(b"/"):
        return False
    return b"ce-specversion" in headers or headers.get(b"content-type", b"").lower().startswith(b"application/cloudevents")


def _segments(target: bytes) -> list[bytes]:
    parts = target.partition(b"?")[0].strip(b"/").split(b"/")
    if b"%" not in target:
        return parts
    from urllib.parse import unquote_to_bytes  # here: few need it, and it costs 2 ms of every start

    return [unquote_to_bytes(part) for part in parts]


class Payload(Struct, gc=False):
    """One side's body as it passed, up to what is kept of it, and the fields that say how to read it.

    `size` is all that passed, bytes. `json_length` is Inference-Header-Content-Length: what follows that many
    bytes of JSON are binary tensors.
    """

    body: bytes = b""
    size: int = 0
    content_type: bytes = b"application/json"
    coding: bytes = b""
    json_length: bytes = b""


class CallRecord(Struct, gc=False):
    """A call as it passed. `time_s` is when the request came, in seconds since the epoch."""

    target: bytes
    correlation: bytes
    traceparent: bytes
    time_s: float
    duration_s: float
    status: int
    request: Payload
    response: Payload


class EventWriter:
    """Makes events of one function; ids are `prefix-number`, unique as long as the prefix is.

    What is the same in all events of a path is encoded once. `model` is whom a call means that names none.
    """

    def __init__(self, function: str, namespace: str, version: str, prefix: str, *, mode: str = "all", model: str = "") -> None:
        self._source = f"/namespaces/{namespace}/functions/{function}"
        self._fixed = {"function": function, "namespace": namespace}
        self._default_version = version
        self._default_model = model
        self._prefix = prefix.encode()
        self._count = 0
        self._requests = mode != "response"
        self._responses = mode != "request"
        self.events_per_call = self._requests + self._responses
        self._openings: dict[tuple[bytes, bool, str | bytes], bytes] = {}
        self._second = (-1, b"")

    def encode(self, call: CallRecord) -> list[bytes]:
        """The structured events of a call, the request's first."""
        tail = call.correlation
        if not tail.isalnum() and tail.translate(None, PLAIN):
            tail = msgspec.json.encode(tail.decode("latin-1"))[1:-1]
        if call.traceparent:
            tail = b'%b","traceparent":"%b' % (tail, msgspec.json.encode(call.traceparent.decode("latin-1"))[1:-1])
        events = []
        if self._requests:
            events.append(self._event(call.target, False, call.request, call.time_s, b'Z","correlationid":"%b"' % tail))
        if self._responses:
            duration_us = min(int(call.duration_s * 1e6), MAX_INTEGER)
            tail = b'Z","correlationid":"%b","statuscode":%d,"durationus":%d' % (tail, call.status, duration_us)
            events.append(self._event(call.target, True, call.response, call.time_s + call.duration_s, tail))
        return events

    def _event(self, target: bytes, is_response: bool, payload: Payload, time_s: float, tail: bytes) -> bytes:
        self._count = number = self._count + 1
        whole = int(time_s)
        if self._second[0] != whole:
            self._second = (whole, b'","time":"%b.' % _second(whole).encode())
        micros = int((time_s - whole) * 1e6)
        body = payload.body
        json_opening = self._openings.get((target, is_response, payload.content_type))
        plain = payload.size == len(body) and not (payload.coding or payload.json_length)
        if json_opening is not None and plain and is_json(body) and not (LINE_FEED in body or RETURN in body):
            return b'%b%d%b%06d%b,"data":%b}' % (json_opening, number, self._second[1], micros, tail, body)
        opening, more = self._open(target, is_response, payload)
        return b"%b%d%b%06d%b%b}" % (opening, number, self._second[1], micros, tail, more)

    def _open(self, target: bytes, is_response: bool, payload: Payload) -> tuple[bytes, bytes]:
        """How any event begins and ends."""
        body, more = payload.body, _how_to_read(payload)
        truncated = payload.size > len(body)  # a part of JSON is not JSON
        kind, data = encode_data(body, OCTETS if truncated else payload.content_type.decode("latin-1"))
        opening = self._openings.get((target, is_response, kind)) or self._opening(target, is_response, kind)
        if len(self._openings) < MAX_OPENINGS and len(opening) <= MAX_OPENING:
            self._openings[target, is_response, kind] = opening
            if data.startswith(DATA) and len(payload.content_type) <= MAX_TYPE:
                self._openings[target, is_response, payload.content_type] = opening
        return opening, more + data

    def _opening(self, target: bytes, is_response: bool, kind: str) -> bytes:
        """What events of one path and type have in common, as far as the number in their ids."""
        model, version = _model(target)
        if not target.partition(b"?")[0].strip(b"/"):
            model = self._default_model
        opening = open_event(
            {
                "source": self._source,
                "type": RESPONSE_TYPE if is_response else REQUEST_TYPE,
                **({"subject": model} if model else {}),
                **self._fixed,
                "model": model,
                "modelversion": version or self._default_version,
                "endpoint": target.decode("latin-1"),
                "datacontenttype": kind,
            }
        )
        return b'%b,"id":"%b-' % (opening, self._prefix)


def _how_to_read(payload: Payload) -> bytes:
    """Attributes for a body that is not as its type alone says: cut, compressed, or with binary tensors behind its JSON."""
    lines = b""
    if payload.size > len(payload.body):
        lines = b',"truncated":true,"bodysize":%d' % min(payload.size, MAX_INTEGER)
    if payload.coding:
        lines += b',"contentencoding":%b' % msgspec.json.encode(payload.coding.decode("latin-1"))
    if payload.json_length.isdigit() and len(payload.json_length) <= 9:
        lines += b',"inferenceheaderlen":%d' % int(payload.json_length)
    return lines


def _model(target: bytes) -> tuple[str, str]:
    """Model and version of v2/models/NAME[/versions/VERSION]/infer and v1/models/NAME[/versions/VERSION]:predict."""
    parts = [part.decode(errors="replace") for part in _segments(target)]
    parts[-1] = parts[-1].removesuffix(":predict").removesuffix(":explain")
    name = parts[2] if len(parts) > 2 and parts[1] == "models" else ""
    return name, parts[4] if len(parts) > 4 and parts[3] == "versions" else ""


def _second(whole: int) -> str:
    """Seconds since the epoch as RFC 3339 in UTC without a fraction and zone (CloudEvents, 3.1: `time`)."""
    days, rest = divmod(whole, 86_400)
    # Days since the epoch → year, month, day: eras of 400 years that begin on 1 March.
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    date = day - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year += era * 400 + (month <= 2)
    return f"{year:04}-{month:02}-{date:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
