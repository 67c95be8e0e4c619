"""How a call lies in the spool: its record, the blocks that hold records, and the head of a segment. Sans-IO.

A segment is a file: a head, then blocks, each a checksum over whole records. What a crash or a disk damages is found
by the checksum; reading ends before it. Numbers are little-endian.
"""

import struct
from collections.abc import Iterator
from zlib import crc32

import msgspec
from msgspec import Struct

MAGIC = b"kfspool1"
SEGMENT_HEAD = struct.Struct("<8sII")  # magic, length of the origin, its CRC-32
BLOCK_MARK = 0x4B464231
BLOCK_HEAD = struct.Struct("<IIIQ")  # mark, length of the records, CRC-32 of position and records, position in the log
POSITION = struct.Struct("<Q")
# length, time and duration in µs, HTTP status, gRPC status, flags, lengths of the texts and of both bodies, sizes of
# both bodies as they passed
RECORD_HEAD = struct.Struct("<IQIHhHIIIQQ")
HEAD_SIZE = RECORD_HEAD.size
NO_GRPC = -1
TEXTS = 13
MAX_DURATION = 0xFFFFFFFF

Texts = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes]
"""The request's texts, traceparent, tracestate, correlation id, the request's digest, the answer's texts, its digest."""
Ends = tuple[int, int, int, int, int]
"""Time and duration in µs (at most MAX_DURATION), status, gRPC status, flags."""
Bodies = tuple[bytes, int, bytes, int]
"""The request's body as far as it is kept, and its size as it passed; the same of the answer."""

# Flags of a record. CUT_OFF: the answer broke off, or its client went away.
HAS_REQUEST, HAS_RESPONSE, NO_BODIES, REQUEST_REDACTED, RESPONSE_REDACTED, CUT_OFF = 1, 2, 4, 8, 16, 32


class Origin(Struct, frozen=True, omit_defaults=True):
    """Who wrote a segment: events say so, even if another revision sends them."""

    run: str
    """Random, of one life of a process: the events' ids are made of it and of the number of a call."""

    function: str = "function"
    namespace: str = "default"
    revision: str = ""
    model: str = ""
    version: str = ""


class Payload(Struct, gc=False):
    """One side's body as it passed, up to what is kept of it, and the fields that say how to read it.

    `size` is all that passed, bytes. `json_length` is Inference-Header-Content-Length: what follows that many
    bytes of JSON are binary tensors. `digest` is of all that passed, where not all is kept.
    """

    body: bytes = b""
    size: int = 0
    content_type: bytes = b"application/json"
    coding: bytes = b""
    json_length: bytes = b""
    digest: bytes = b""


class CallRecord(Struct, gc=False):
    """A call as it passed. Times are in µs, `time_us` since the epoch; `headers` is a JSON object, or empty.

    `number` is the record's position in the log: no two calls of a run have the same. The next one begins at `end`.
    """

    target: bytes
    correlation: bytes
    time_us: int
    duration_us: int
    status: int
    request: Payload
    response: Payload
    traceparent: bytes = b""
    tracestate: bytes = b""
    headers: bytes = b""
    grpc_status: int = NO_GRPC
    flags: int = HAS_REQUEST | HAS_RESPONSE
    number: int = 0
    end: int = 0


def encode_record(call: CallRecord) -> bytes:
    """The bytes of a call; they may be appended to others."""
    request, response = call.request, call.response
    own = (call.traceparent, call.tracestate, call.correlation, request.digest)
    return join_record(
        (request_texts(call.target, request, call.headers), *own, response_texts(response), response.digest),
        (call.time_us, min(call.duration_us, MAX_DURATION), call.status, call.grpc_status, call.flags),
        (request.body, request.size, response.body, response.size),
    )


def request_texts(target: bytes, request: Payload, headers: bytes) -> bytes:
    """What requests with the same head have in common, but for what each has of its own."""
    return b"\0".join((target, request.content_type, request.coding, request.json_length, headers))


def response_texts(response: Payload) -> bytes:
    """What answers with the same head have in common."""
    return b"\0".join((response.content_type, response.coding, response.json_length))


def join_record(texts: Texts, ends: Ends, bodies: Bodies) -> bytes:
    """A record of its parts: on the path of each request. A text with a NUL in it makes one that is passed over."""
    request, request_size, response, response_size = bodies
    joined = b"\0".join(texts)
    size, sent, received = len(joined), len(request), len(response)
    length = HEAD_SIZE + size + sent + received
    return RECORD_HEAD.pack(length, *ends, size, sent, received, request_size, response_size) + joined + request + response


def decode_records(data: bytes, position: int) -> Iterator[CallRecord]:
    """The calls in `data`, which stands at `position` in the log; it ends where no whole record follows."""
    at, end = 0, len(data)
    while at + RECORD_HEAD.size <= end:
        fields = RECORD_HEAD.unpack_from(data, at)
        length, time_us, duration_us, status, grpc_status, flags, size, sent, received, request_size, response_size = fields
        start = at + RECORD_HEAD.size
        if length != RECORD_HEAD.size + size + sent + received or at + length > end:
            return
        texts = data[start : start + size].split(b"\0")
        if len(texts) != TEXTS:
            at += length
            continue
        target, kind, coding, json_length, headers, traceparent, tracestate, correlation, digest = texts[:9]
        answer_kind, answer_coding, answer_json, answer_digest = texts[9:]
        body_at = start + size
        answer_at = body_at + sent
        number, at = position + at, at + length
        request = Payload(data[body_at:answer_at], request_size, kind, coding, json_length, digest)
        body = data[answer_at : answer_at + received]
        response = Payload(body, response_size, answer_kind, answer_coding, answer_json, answer_digest)
        own = (traceparent, tracestate, headers, grpc_status, flags, number, position + at)
        yield CallRecord(target, correlation, time_us, duration_us, status, request, response, *own)


def whole_records(data: bytes, most: int, start: int = 0) -> tuple[int, int]:
    """Where the whole records from `start` on end, within `most` bytes but after one in any case, and how many they are."""
    at, end, count = start, len(data), 0
    while at + RECORD_HEAD.size <= end:
        length = int.from_bytes(data[at : at + 4], "little")
        if length < RECORD_HEAD.size or at + length > end or (count and at + length - start > most):
            break
        at += length
        count += 1
    return at, count


def encode_segment_head(origin: Origin) -> bytes:
    """What a segment begins with."""
    text = msgspec.json.encode(origin)
    return SEGMENT_HEAD.pack(MAGIC, len(text), crc32(text)) + text


def decode_segment_head(data: bytes) -> tuple[Origin, int] | None:
    """Who wrote a segment, and where its blocks begin; None if that is not readable."""
    if len(data) < SEGMENT_HEAD.size:
        return None
    magic, length, checksum = SEGMENT_HEAD.unpack_from(data)
    text = data[SEGMENT_HEAD.size : SEGMENT_HEAD.size + length]
    if magic != MAGIC or len(text) != length or crc32(text) != checksum:
        return None
    try:
        return msgspec.json.decode(text, type=Origin), SEGMENT_HEAD.size + length
    except msgspec.MsgspecError:
        return None


def encode_block_head(position: int, records: bytes | memoryview) -> bytes:
    """What goes before `records`, which stand at `position` in the log, to make them a block."""
    checksum = crc32(records, crc32(POSITION.pack(position)))
    return BLOCK_HEAD.pack(BLOCK_MARK, len(records), checksum, position)


class Block(Struct, gc=False):
    """Records as a segment holds them. `end` is where the next block begins in the file."""

    position: int
    records: bytes
    end: int


def decode_block(data: bytes, at: int = 0) -> Block | None:
    """The block at `at` of a segment; None if there is no whole one."""
    if at + BLOCK_HEAD.size > len(data):
        return None
    mark, length, checksum, position = BLOCK_HEAD.unpack_from(data, at)
    start = at + BLOCK_HEAD.size
    if mark != BLOCK_MARK or start + length > len(data):
        return None
    records = data[start : start + length]
    if crc32(records, crc32(POSITION.pack(position))) != checksum:
        return None
    return Block(position, records, start + length)
