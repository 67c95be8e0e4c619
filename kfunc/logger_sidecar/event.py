"""The CloudEvents of a spooled call. Sans-IO.

Events are written when they are delivered. What is the same in all events of a path is encoded once.
"""

from collections.abc import Callable, Mapping

import msgspec

from kfunc.logger_sidecar.naming import KFUNC, KSERVE, Naming
from kfunc.logger_sidecar.record import (
    CUT_OFF,
    HAS_REQUEST,
    HAS_RESPONSE,
    NO_BODIES,
    NO_GRPC,
    REQUEST_REDACTED,
    RESPONSE_REDACTED,
    CallRecord,
    Origin,
    Payload,
)
from kfunc.protocol.cloudevents import encode_data, encode_part, is_json, open_event
from kfunc.protocol.json_length import number_of
from kfunc.telemetry.trace_context import read_parent

MAX_OPENINGS = 1024
MAX_OPENING = 2048  # bytes: paths and types are the client's, and are not to fill the memory
MAX_INTEGER = 2**31 - 1  # CloudEvents, 3.2: Integer
DATA = b',"data":'
# Of a call without a trace, with nothing to escape.
USUAL_REQUEST = b'%b%d%b%06dZ","correlationid":"%b","nextid":"%b-%d","data":%b}'
USUAL_RESPONSE = b'%b%d%b%06dZ","correlationid":"%b","nextid":"%b-%d","statuscode":%d,"durationus":%d,"data":%b}'
MAX_TYPE = 256
LINE_FEED, RETURN = b"\n\r"
# What needs no escape in a JSON string.
PLAIN = bytes(set(range(0x20, 0x7F)) - set(b'"\\'))

Attributes = dict[str, str | int | bool]


class CallEvent:
    """One event of a spooled call, an `Event` of `contract.py`."""

    __slots__ = ("call", "is_response", "writer")

    def __init__(self, writer: "EventWriter", call: CallRecord, is_response: bool) -> None:
        self.writer = writer
        self.call = call
        self.is_response = is_response

    @property
    def id(self) -> str:
        """The event's own id: unique in its source, but for KServe's names, where both events of a call share it."""
        return self.writer.identifier(self.call, self.is_response)

    @property
    def data(self) -> bytes:
        """The body as it is kept, not encoded in any way."""
        return (self.call.response if self.is_response else self.call.request).body

    @property
    def key(self) -> bytes:
        """What both events of a call have in common: its correlation id. For partitions."""
        return self.call.correlation

    def structured(self) -> bytes:
        """The whole event as JSON (JSON Event Format, 3) without a line end."""
        return self.writer.encode(self.call, self.is_response)

    def attributes(self) -> Attributes:
        """All attributes but `specversion`; `datacontenttype` is the type of `data`."""
        return self.writer.attributes(self.call, self.is_response)


class EventWriter:
    """Makes the events of one origin for one sink. `extensions` are attributes that every event gets."""

    def __init__(self, origin: Origin, compat: str = "none", extensions: Mapping[str, str] | None = None) -> None:
        self._origin = origin
        self._prefix = origin.run.encode()
        self._naming: Naming = KSERVE if compat == "kserve" else KFUNC
        self._extensions = dict(extensions or {})
        self._openings: dict[tuple[bytes, bool, str | bytes], bytes] = {}
        self._second = (-1, b"")
        self._usual: CallRecord | None = None
        self._traced: CallRecord | None = None
        self._trace = b""

    def events(self, call: CallRecord) -> list[CallEvent]:
        """The events of a call, the request's first."""
        flags = call.flags
        if flags & HAS_REQUEST:
            return (
                [CallEvent(self, call, False), CallEvent(self, call, True)]
                if flags & HAS_RESPONSE
                else [CallEvent(self, call, False)]
            )
        return [CallEvent(self, call, True)]

    def identifier(self, call: CallRecord, is_response: bool) -> str:
        """The id of one of a call's events."""
        return f"{self._origin.run}-{self._number(call, is_response)}"

    def _number(self, call: CallRecord, is_response: bool) -> int:
        return 2 * call.number + (is_response and not self._naming.shared_id)

    def attributes(self, call: CallRecord, is_response: bool) -> Attributes:
        """What `encode` writes, but for `specversion` and the data."""
        payload = call.response if is_response else call.request
        opening, more, _ = self._open(call, is_response, payload)
        result: Attributes = msgspec.json.decode(self._head(call, is_response, opening) + more + b"}")
        del result["specversion"]
        return result

    def encode(self, call: CallRecord, is_response: bool) -> bytes:
        """The structured event."""
        payload = call.response if is_response else call.request
        body = payload.body
        opening = self._openings.get((call.target, is_response, payload.content_type))
        plain = payload.size == len(body) and not (payload.coding or payload.json_length or call.flags > 3)
        if opening is None or not plain or not is_json(body) or LINE_FEED in body or RETURN in body:
            opening, more, data = self._open(call, is_response, payload)
            return b"%b%b%b}" % (self._head(call, is_response, opening), more, data)
        correlation = call.correlation
        if call is not self._usual:
            unusual = call.traceparent or call.headers or not call.end or self._naming.shared_id
            if unusual or correlation.translate(None, PLAIN):
                return b'%b,"data":%b}' % (self._head(call, is_response, opening), body)
            self._usual = call  # both its events are
        number, time_us = 2 * call.number, call.time_us
        if not is_response:
            own = (opening, number, self._time(time_us), time_us % 1_000_000, correlation)
            return USUAL_REQUEST % (*own, self._prefix, 2 * call.end, body)
        if call.grpc_status != NO_GRPC:
            return b'%b,"data":%b}' % (self._head(call, is_response, opening), body)
        duration_us = call.duration_us
        time_us += duration_us
        own = (opening, number + 1, self._time(time_us), time_us % 1_000_000, correlation)
        return USUAL_RESPONSE % (*own, self._prefix, 2 * call.end, call.status, min(duration_us, MAX_INTEGER), body)

    def _time(self, time_us: int) -> bytes:
        """The attribute `time` as far as the second's end."""
        whole = time_us // 1_000_000
        if self._second[0] != whole:
            self._second = (whole, b'","time":"%b.' % _second(whole).encode())
        return self._second[1]

    def _head(self, call: CallRecord, is_response: bool, opening: bytes) -> bytes:
        """All attributes of an event but those of how to read its body."""
        time_us = call.time_us + call.duration_us if is_response else call.time_us
        second, micros = self._time(time_us), time_us % 1_000_000
        tail = call.correlation
        if not tail.isalnum() and tail.translate(None, PLAIN):
            tail = _escaped(tail)
        head = b'%b%d%b%06dZ","correlationid":"%b"' % (opening, self._number(call, is_response), second, micros, tail)
        if call.end and not self._naming.shared_id:
            head = b'%b,"nextid":"%b-%d"' % (head, self._prefix, 2 * call.end)  # by which an auditor sees what is missing
        if call.traceparent:
            if call is not self._traced:
                self._traced, self._trace = call, _trace_of(call)
            head += self._trace
        if is_response:
            head = b'%b,"statuscode":%d,"durationus":%d' % (head, call.status, min(call.duration_us, MAX_INTEGER))
            if call.grpc_status != NO_GRPC:
                head = b'%b,"grpcstatus":%d' % (head, call.grpc_status)
        if call.headers or self._naming.shared_id:
            head += self._naming.headers(call, is_response)
        return head

    def _open(self, call: CallRecord, is_response: bool, payload: Payload) -> tuple[bytes, bytes, bytes]:
        """How any event begins, what says how to read its body, and its body."""
        target, body = call.target, payload.body
        more = _how_to_read(payload, call.flags, is_response)
        truncated = payload.size > len(body) or (is_response and call.flags & CUT_OFF)  # a part of JSON is not JSON
        content_type = payload.content_type.decode("latin-1")
        kind, data = encode_part(body, content_type) if truncated and body else encode_data(body, content_type)
        opening = self._openings.get((target, is_response, kind)) or self._opening(target, is_response, kind)
        if len(self._openings) < MAX_OPENINGS and len(opening) <= MAX_OPENING:
            self._openings[target, is_response, kind] = opening
            if data.startswith(DATA) and len(payload.content_type) <= MAX_TYPE:
                self._openings[target, is_response, payload.content_type] = opening
        return opening, more, data

    def _opening(self, target: bytes, is_response: bool, kind: str) -> bytes:
        """What events of one path and type have in common, as far as the number in their ids."""
        attributes = {**self._naming.fixed(self._origin, target, is_response), **self._extensions, "datacontenttype": kind}
        return b'%b,"id":"%b-' % (open_event(attributes), self._prefix)


def event_maker(compat: str, extensions: Mapping[str, str] | None = None) -> Callable[[Origin, CallRecord], list[CallEvent]]:
    """Makes events of calls from any origin; those of one origin come one after the other."""
    last: list[tuple[Origin, EventWriter]] = []

    def make(origin: Origin, call: CallRecord) -> list[CallEvent]:
        if not last or last[0][0] is not origin:
            last[:] = [(origin, EventWriter(origin, compat, extensions))]
        return last[0][1].events(call)

    return make


def _trace_of(call: CallRecord) -> bytes:
    """The members that tell of the caller's trace, if what it sent is one."""
    if read_parent(call.traceparent) is None:
        return b""
    parent = b',"traceparent":"%b"' % _escaped(call.traceparent)
    return b'%b,"tracestate":"%b"' % (parent, _escaped(call.tracestate)) if call.tracestate else parent


def _escaped(text: bytes) -> bytes:
    return msgspec.json.encode(text.decode("latin-1"))[1:-1]


def _how_to_read(payload: Payload, flags: int, is_response: bool) -> bytes:
    """Attributes for a body that is not as its type alone says: cut, compressed, or with binary tensors behind its JSON."""
    lines = b""
    is_cut = is_response and flags & CUT_OFF
    if is_cut or payload.size > len(payload.body):
        size = min(payload.size, MAX_INTEGER)
        lines = b',"bodysize":%d' % size if flags & NO_BODIES and not is_cut else b',"truncated":true,"bodysize":%d' % size
    if payload.digest:
        lines += b',"bodydigest":"%b"' % payload.digest
    if flags & (RESPONSE_REDACTED if is_response else REQUEST_REDACTED):
        lines += b',"redacted":true'
    if payload.coding:
        lines += b',"contentencoding":"%b"' % _escaped(payload.coding)
    length = number_of(payload.json_length)
    if length is not None and length <= MAX_INTEGER:
        lines += b',"inferenceheaderlen":%d' % length
    return lines


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
