"""The lines of a head that may be read without the parser. Sans-IO.

What is None here is left to the parser: it may be wrong, or need more than a line to be understood.
"""

import re

# Stricter than the parser (RFC 9110, 5.5 and 5.6.2): no folding, no empty name, no control characters, no space at the end.
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)")
REQUEST_LINE = re.compile(rb"(GET|POST|PUT|DELETE|OPTIONS|PATCH) (/[!-~]*) HTTP/1\.1")
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) [\t -~\x80-\xff]*")
LENGTH = re.compile(rb"[0-9]{1,15}")

# A message with one of these may be framed or kept in another way than Content-Length and HTTP/1.1 say.
UNUSUAL = frozenset((b"expect", b"transfer-encoding", b"upgrade", b"te", b"trailer"))

REQUEST_ID = b"x-request-id"

# Each request has its own: heads that differ in nothing else share a memo.
PER_REQUEST = (REQUEST_ID, b"traceparent", b"tracestate", b"grpc-timeout")
IDENTIFIER = re.compile(rb"[!-~]{1,256}")

Line = tuple[tuple[bytes, bytes], bytes]
"""A field, its name in lower case, and the line that is passed on: empty for what belongs to one connection."""


def read_line(text: bytes, private: frozenset[bytes]) -> Line | None:
    """A line of a head; None if it is wrong, or if its message needs the parser."""
    match = FIELD.fullmatch(text)
    if match is None:
        return None
    name, value = match[1].lower(), match[2]
    if name in UNUSUAL or (name == b"connection" and value.lower() != b"keep-alive"):
        return None
    if name == b"content-length":
        return ((name, value), b"") if LENGTH.fullmatch(value) else None
    return (name, value), b"" if name in private else text + b"\r\n"


def read_request_line(text: bytes) -> tuple[bytes, bytes] | None:
    """Method and target; None for what the parser must see."""
    match = REQUEST_LINE.fullmatch(text)
    return None if match is None else (match[1], match[2])


def read_status_line(text: bytes) -> int | None:
    """The status of an answer that has a body, if only an empty one."""
    match = STATUS_LINE.fullmatch(text)
    return None if match is None or match[1] in (b"204", b"304") else int(match[1])
