"""Request heads of HTTP/2: decoded fields to a method, a target and header fields, checked (RFC 9113, 8). Sans-IO."""

import re
from typing import Any

from kfunc.config.inference import Limits
from kfunc.errors import ExpectationFailed, InvalidRequest, KfuncError, UnsupportedMediaType
from kfunc.http.h2.faults import PROTOCOL_ERROR, StreamFault
from kfunc.http.head import SINGLE, body_too_large, refuse_connect, too_large
from kfunc.http.wire import Headers

PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path"))

# They belong to one connection of HTTP/1.1 (RFC 9113, 8.2.2).
CONNECTION_SPECIFIC = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))

_NAME = rb"[!#$%&'*+.^_`|~0-9a-z-]+"
_VALUE = rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?"
# Many at once: each on a line of its own, which the count of lines makes sure of.
NAMES = re.compile(rb"%b(?:\n%b)*" % (_NAME, _NAME))
VALUES = re.compile(rb"%b(?:\n%b)*" % (_VALUE, _VALUE))
METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*")
AUTHORITY = re.compile(rb"[!-?A-~]+")  # no @: user names are not sent (RFC 9113, 8.3.1)
PATH = re.compile(rb"/[!-~\x80-\xff]*")
GRPC = re.compile(rb"application/grpc(?:\+proto)?(?: *;.*)?", re.IGNORECASE)
LENGTH = re.compile(rb"[0-9]{1,15}")


class RequestHead:
    """A request but for its body; one object may stand for many requests.

    `header_list` has `host` (the authority) first and no pseudo-header; `length` is the Content-Length or None.
    `refusal` is the answer to a head that can be read, but not be served. `memo` is for what is worked out from it.
    `grpc`: a call begins, and its errors are to be gRPC's.
    """

    __slots__ = ("expects", "grpc", "header_list", "headers", "length", "memo", "method", "refusal", "target")

    def __init__(self, method: bytes, target: bytes, header_list: Headers, headers: dict[bytes, bytes]) -> None:
        self.method = method
        self.target = target
        self.header_list = header_list
        self.headers = headers
        self.length: int | None = None
        self.expects = False
        self.grpc = False
        self.refusal: KfuncError | None = None
        self.memo: dict[str, Any] | None = None

    def with_fields(self, fields: Headers) -> "RequestHead":
        """The same head, with fields of one request, which leave its meaning as it is."""
        head = RequestHead(self.method, self.target, self.header_list + fields, self.headers | dict(fields))
        head.length, head.expects, head.refusal, head.memo = self.length, self.expects, self.refusal, self.memo
        head.grpc = self.grpc
        return head


def malformed(what: str) -> StreamFault:
    """A request that no proxy may pass on (RFC 9113, 8.1.1)."""
    return StreamFault(PROTOCOL_ERROR, what)


def read_head(fields: Headers, whole: bool, limits: Limits) -> RequestHead:
    """The head that `fields` are; `whole` is false where some of them were dropped, being too many.

    Raises StreamFault for a malformed one.
    """
    pseudo: dict[bytes, bytes] = {}
    for name, value in fields:
        if name[:1] != b":":
            break
        if name not in PSEUDO or name in pseudo:
            raise malformed(f"the pseudo-header {name.decode('latin-1')} is not known, or there twice")
        pseudo[name] = value
    regular = fields[len(pseudo) :]
    method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if not whole:
        return refused(method, target, too_large(limits), dict(regular).get(b"content-type", b""))
    check_fields(regular)
    check_pseudo(pseudo)
    host = pseudo.get(b":authority", b"")
    headers = dict(regular)
    given = headers.get(b"host", b"")
    if given and (AUTHORITY.fullmatch(given) is None or given.lower() != (host or given).lower()):
        raise malformed("the host field is not a host, or names another one than :authority")
    if given and [name for name, _ in regular].count(b"host") > 1:
        raise malformed("the host field is there twice")
    header_list = [(b"host", host or given), *[field for field in regular if field[0] != b"host"]]
    head = RequestHead(method, target, header_list, headers)
    if len(regular) != len(headers):
        join_repeated(head)
    head.headers[b"host"] = host or given
    complete(head, limits)
    return head


def refused(method: bytes, target: bytes, error: KfuncError, content_type: bytes) -> RequestHead:
    """A head that is answered with `error`, whatever else is in it."""
    head = RequestHead(method, target, [], {})
    head.refusal = error
    head.grpc = GRPC.fullmatch(content_type) is not None
    return head


def check_fields(fields: Headers) -> None:
    """Refuse names and values that could not be passed on as lines of HTTP/1.1, and pseudo-headers behind others."""
    if not fields:
        return
    names = b"\n".join([name for name, _ in fields])
    values = b"\n".join([value for _, value in fields])
    lines = len(fields) - 1
    if names.count(b"\n") != lines or values.count(b"\n") != lines:
        raise malformed("a field holds a line feed")
    if NAMES.fullmatch(names) is None:
        raise malformed("a field's name is not a token in lower case, or a pseudo-header comes after other fields")
    if VALUES.fullmatch(values) is None:
        raise malformed("a field's value holds a control character, or a space at one of its ends")


def check_pseudo(pseudo: dict[bytes, bytes]) -> None:
    """Refuse a request without method, scheme or path, or with ones that are none (RFC 9113, 8.3.1)."""
    method, authority = pseudo.get(b":method", b""), pseudo.get(b":authority", b"")
    if METHOD.fullmatch(method) is None:
        raise malformed("the :method is missing or not a token")
    if authority and AUTHORITY.fullmatch(authority) is None:
        raise malformed("the :authority is not a host and a port")
    if method == b"CONNECT":
        if b":scheme" in pseudo or b":path" in pseudo or not authority:
            raise malformed("a CONNECT has an :authority, and no :scheme or :path")
        return
    if SCHEME.fullmatch(pseudo.get(b":scheme", b"")) is None:
        raise malformed("the :scheme is missing or not a scheme")
    path = pseudo.get(b":path", b"")
    if PATH.fullmatch(path) is None and not (method == b"OPTIONS" and path == b"*"):
        raise malformed("the :path is missing, or does not begin with /")


def join_repeated(head: RequestHead) -> None:
    """Join repeated fields as lists (RFC 9110, 5.3; cookies: RFC 9113, 8.2.3); those that must be single are refused."""
    merged: dict[bytes, bytes] = {}
    for name, value in head.header_list:
        if name not in merged:
            merged[name] = value
        elif name == b"content-length":
            raise malformed("content-length is there twice")
        elif name in SINGLE:
            head.refusal = InvalidRequest(f"the header {name.decode()} is there twice")
        else:
            merged[name] += (b"; " if name == b"cookie" else b", ") + value
    head.headers = merged
    if b"cookie" in merged:  # one line of HTTP/1.1
        others = [field for field in head.header_list if field[0] != b"cookie"]
        head.header_list = [*others, (b"cookie", merged[b"cookie"])]


def complete(head: RequestHead, limits: Limits) -> None:
    """Take up the fields that HTTP itself gives a meaning."""
    headers = head.headers
    if not CONNECTION_SPECIFIC.isdisjoint(headers):
        raise malformed("a field belongs to one connection of HTTP/1.1")
    if headers.get(b"te", b"trailers").lower() != b"trailers":
        raise malformed("te may only be trailers")
    length = headers.get(b"content-length")
    if length is not None:
        if LENGTH.fullmatch(length) is None:
            raise malformed("content-length is not a number")
        head.length = int(length)
    expect = headers.get(b"expect")
    if expect is not None:
        head.expects = True
    kind = headers.get(b"content-type", b"")
    if kind[:16].lower() == b"application/grpc":
        head.grpc = GRPC.fullmatch(kind) is not None
        if not head.grpc:
            head.refusal = UnsupportedMediaType("of gRPC only application/grpc and application/grpc+proto are read here")
    if head.method == b"CONNECT":
        head.refusal = refuse_connect()
    elif len(head.header_list) > limits.max_headers:
        head.refusal = too_large(limits)
    elif expect is not None and expect.lower() != b"100-continue":
        head.refusal = ExpectationFailed("the only expectation that is met is 100-continue")
    elif head.length is not None and head.length > limits.max_body_bytes:
        head.refusal = body_too_large(limits)


def check_trailers(fields: Headers) -> Headers:
    """Trailer fields: as other fields, and without pseudo-headers (RFC 9113, 8.1)."""
    check_fields(fields)
    if not CONNECTION_SPECIFIC.isdisjoint([name for name, _ in fields]):
        raise malformed("a trailer field belongs to one connection of HTTP/1.1")
    return fields
