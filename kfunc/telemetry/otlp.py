"""Spans as OTLP's Protocol Buffers, written by hand: an SDK's span costs 17 µs, and is of no use without its encoder.

opentelemetry/proto/trace/v1/trace.proto, common/v1/common.proto. Sans-IO. Fields that an attribute becomes are cached,
since most come again and again.
"""

from binascii import unhexlify
from collections.abc import Mapping
from functools import lru_cache
from struct import pack

from msgspec import Struct

import kfunc
from kfunc.protocol.grpc.wire import length_delimited, varint

INTERNAL, SERVER, CLIENT, PRODUCER = 1, 2, 3, 4
ERROR = b"\x18\x02"  # Status.code, STATUS_CODE_ERROR
SAMPLED, REMOTE_KNOWN, REMOTE = 1, 0x100, 0x200
SCHEMA = b"https://opentelemetry.io/schemas/1.37.0"

SHORT = 64  # characters: lengths of one byte, as no key has more than 32

Value = str | int | float | bool
Link = tuple[bytes, bytes]
"""Another span's trace and id, in hexadecimal."""


class Span(Struct, frozen=True, gc=False):
    """One span that has ended. `attributes` are encoded already; times are seconds of perf_counter.

    `error` says what went wrong, and is None where nothing did; `remote` that the parent is in another process.
    """

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    name: str
    kind: int
    started_at: float
    ended_at: float
    attributes: bytes = b""
    links: tuple[Link, ...] = ()
    error: str | None = None
    state: bytes = b""
    remote: bool = False


def key_value(key: str, value: Value) -> bytes:
    """A KeyValue."""
    if isinstance(value, bool):
        inner = b"\x10%b" % varint(value)
    elif isinstance(value, int):
        inner = b"\x18%b" % varint(value)
    elif isinstance(value, float):
        inner = b"\x21" + pack("<d", value)
    else:
        inner = length_delimited(1, value.encode("utf-8", "replace"))
    return length_delimited(1, key.encode()) + length_delimited(2, inner)


def attribute_once(key: str, value: Value) -> bytes:
    """An attribute of a span whose value will hardly come again."""
    if type(value) is str and len(value) < SHORT and value.isascii():
        size, head = len(value), _short(key)
        return b"\x4a%c%b\x12%c\x0a%c%b" % (len(head) + size + 4, head, size + 2, size, value.encode())
    return length_delimited(9, key_value(key, value))


@lru_cache(64)
def _short(key: str) -> bytes:
    """A key as a KeyValue's first field; with a short value the whole has a length of one byte."""
    return length_delimited(1, key.encode())


attribute = lru_cache(4096, typed=True)(attribute_once)
"""An attribute of a span."""


def attributes(values: Mapping[str, Value]) -> bytes:
    """Several."""
    return b"".join([attribute(key, value) for key, value in values.items()])


@lru_cache(1024)
def _name(name: str, kind: int) -> bytes:
    return length_delimited(5, name.encode("utf-8", "replace")) + b"\x30%c" % kind


@lru_cache(64)
def _flags(remote: bool) -> bytes:
    return b"\x85\x01" + pack("<I", SAMPLED | REMOTE_KNOWN | (REMOTE if remote else 0))


def encode_span(span: Span, epoch_ns: int) -> bytes:
    """A Span as a field of ScopeSpans; `epoch_ns` is perf_counter's zero, in nanoseconds since the epoch."""
    start, end = epoch_ns + int(span.started_at * 1e9), epoch_ns + int(span.ended_at * 1e9)
    parts = [
        b"\x0a\x10%b\x12\x08%b" % (unhexlify(span.trace_id), unhexlify(span.span_id)),
        b"\x22\x08%b" % unhexlify(span.parent_id) if span.parent_id else b"",
        _name(span.name, span.kind),
        pack("<cQcQ", b"\x39", start, b"\x41", end),
        span.attributes,
        _flags(span.remote) if span.parent_id else _flags(False),
    ]
    if span.state:
        parts.append(length_delimited(3, span.state))
    for trace_id, span_id in span.links:
        parts.append(length_delimited(13, b"\x0a\x10%b\x12\x08%b" % (unhexlify(trace_id), unhexlify(span_id))))
    if span.error is not None:
        message = length_delimited(2, span.error.encode("utf-8", "replace")) if span.error else b""
        parts.append(length_delimited(15, message + ERROR))
    return length_delimited(2, b"".join(parts))


def encode_resource(attributes: Mapping[str, Value]) -> bytes:
    """A Resource as the first field of ResourceSpans or ResourceMetrics."""
    return length_delimited(1, b"".join([length_delimited(1, key_value(*pair)) for pair in attributes.items()]))


def encode_scope() -> bytes:
    """kfunc as the scope, the first field of ScopeSpans or ScopeMetrics."""
    return length_delimited(1, length_delimited(1, b"kfunc") + length_delimited(2, kfunc.__version__.encode()))


def trace_request(resource: bytes, spans: list[bytes]) -> bytes:
    """An ExportTraceServiceRequest."""
    scope = length_delimited(2, b"".join([encode_scope(), *spans, length_delimited(3, SCHEMA)]))
    return length_delimited(1, resource + scope + length_delimited(3, SCHEMA))
