"""HTTP/1.1 message heads as bytes (RFC 9112) and the rendering of errors. Sans-IO."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from kfunc.errors import KfuncError, MethodNotAllowed

Headers = list[tuple[bytes, bytes]]

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"

LEAST_CODED = 1024
"""Bytes of an answer: less is not worth a content coding."""

END_OF_HEAD = b"\r\n\r\n"

# The content types that are answered with, as whole lines.
CONTENT_TYPE_LINES = {kind: b"content-type: " + kind + b"\r\n" for kind in (JSON, TEXT)}

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}

# Fields that belong to one connection and never pass a proxy (RFC 9110, 7.6.1).
HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization")
    + (b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings")
)


def status_line(status: int) -> bytes:
    """The status line; codes without a registered phrase get an empty one."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def header_lines(headers: Headers) -> bytes:
    """Fields as lines. The values come from a parser or from our own code: no CR or LF is in them."""
    return b"".join([b"%s: %s\r\n" % field for field in headers])


def request_head(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """A request's head, to be read once more."""
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, target, version.encode(), header_lines(headers))


def error_body(message: str, details: Mapping[str, int | str | bool] | None = None) -> bytes:
    """`{"error": message}` (Open Inference Protocol, Inference Response JSON Error Object), and what programs read."""
    if not message.isascii():
        message = message.encode("utf-8", "replace").decode()  # lone surrogates, of a file's name say
    return msgspec.json.encode({"error": message, **(details or {})})


def error_headers(error: KfuncError) -> Headers:
    """The fields that go with an error beside its content type."""
    headers: Headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allow.encode()))
    return headers


def end_to_end(headers: Headers) -> Headers:
    """The fields that a proxy passes on: not the hop-by-hop ones, nor those that Connection names."""
    dropped = HOP_BY_HOP
    for name, value in headers:
        if name == b"connection":
            dropped = dropped | {token.strip().lower() for token in value.split(b",")}
    return [field for field in headers if field[0] not in dropped]


# Written anew for the next hop, or already dealt with here.
FRAMING = frozenset((b"content-length", b"transfer-encoding", b"expect"))


def forwarded_headers(headers: Headers) -> Headers:
    """The end-to-end fields of a message, without its framing."""
    if HOP_BY_HOP.isdisjoint([name for name, _ in headers]):
        return [field for field in headers if field[0] not in FRAMING]
    return [field for field in end_to_end(headers) if field[0] not in FRAMING]
