"""Statuses of gRPC calls, and how they and deadlines are written in headers (gRPC over HTTP2)."""

import re

from kfunc.errors import InvalidRequest, KfuncError

OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED = range(8)
RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = range(8, 15)
DATA_LOSS, UNAUTHENTICATED = 15, 16
NAMES = (
    ("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS")
    + ("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED")
    + ("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED")
)

# By the HTTP status that REST answers with in the same case; others of 4xx are the caller's fault, the rest ours.
CODES = {
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: NOT_FOUND,
    405: UNIMPLEMENTED,
    408: DEADLINE_EXCEEDED,
    409: ABORTED,
    413: RESOURCE_EXHAUSTED,
    429: RESOURCE_EXHAUSTED,
    431: RESOURCE_EXHAUSTED,
    499: CANCELLED,
    501: UNIMPLEMENTED,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: DEADLINE_EXCEEDED,
}
MAX_MESSAGE = 1024  # characters: clients bound the size of trailers
SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_TO_ESCAPE = re.compile(rb"[^ -$&-~]")

Fields = list[tuple[bytes, bytes]]

CONTENT_TYPE = b"application/grpc"
ACCEPTED = (b"grpc-accept-encoding", b"identity,gzip,deflate")
OPENING: Fields = [(b"content-type", CONTENT_TYPE), ACCEPTED]
"""The fields that begin an answer."""

GOOD: Fields = [(b"grpc-status", b"0")]


def code_of(status: int) -> int:
    """The code for what REST answers with an HTTP status."""
    if status < 400:
        return OK
    return CODES.get(status, INVALID_ARGUMENT if status < 500 else INTERNAL)


def trailers(code: int, message: str = "") -> Fields:
    """The fields that end a call."""
    if code == OK:
        return GOOD
    return [(b"grpc-status", b"%d" % code), (b"grpc-message", encode_message(message))]


def failure(error: KfuncError) -> Fields:
    """The fields that end a call with an error."""
    return refusal(error.status, error.message, error.retry_after)


def refusal(status: int, message: str, retry_after: int | None) -> Fields:
    """The fields for what REST would answer so; clients that retry do it after `retry_after` seconds, or not at all."""
    fields = trailers(code_of(status), message)
    if status in (502, 503):  # without a Retry-After the model may have run (gRPC A6: a negative pushback forbids a retry)
        fields.append((b"grpc-retry-pushback-ms", b"-1" if retry_after is None else b"%d" % (retry_after * 1000)))
    return fields


def encode_message(message: str) -> bytes:
    """`grpc-message`: percent-encoded UTF-8."""
    if len(message) > MAX_MESSAGE:
        message = f"{message[:MAX_MESSAGE]}…"
    return _TO_ESCAPE.sub(lambda found: b"%%%02X" % found[0][0], message.encode("utf-8", "replace"))


def decode_timeout(value: bytes) -> float:
    """`grpc-timeout` in seconds. Raises InvalidRequest."""
    found = _TIMEOUT.fullmatch(value)
    if found is None:
        raise InvalidRequest("grpc-timeout must be at most 8 digits and a unit: H, M, S, m, u or n")
    return int(found[1]) * SECONDS[found[2]]
