"""The rules a request's head must meet beyond what the parser refuses (RFC 9112, 3, 5 and 6). Sans-IO."""

import re

from kfunc.config.inference import Limits
from kfunc.errors import (
    ExpectationFailed,
    HeadersTooLarge,
    InvalidRequest,
    MalformedMessage,
    PayloadTooLarge,
    Unsupported,
    VersionNotSupported,
)
from kfunc.http.exchange import Exchange
from kfunc.http.wire import Headers

# Two of these could be read as one by us and as the other by a proxy in front.
SINGLE = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding")
    + (b"expect", b"authorization", b"inference-header-content-length", b"upgrade")
)

# A line that begins with no method and names no version.
FOREIGN = re.compile(rb"(?!(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE|CONNECT) )[^\s][^\n]*\n")

# With none of these, keep-alive alone tells HTTP/1.1, and the body is as long as Content-Length says.
UNUSUAL = frozenset((b"connection", b"expect", b"transfer-encoding"))


def too_large(limits: Limits) -> HeadersTooLarge:
    """The head is over its bounds."""
    return HeadersTooLarge(f"the request's head is larger than {limits.max_header_bytes} bytes or {limits.max_headers} fields")


def body_too_large(limits: Limits) -> PayloadTooLarge:
    """The body is over its bound."""
    return PayloadTooLarge(f"the body is larger than {limits.max_body_bytes} bytes (limits.max_body_bytes)")


def refuse_connect() -> Unsupported:
    """What follows a CONNECT is not HTTP (RFC 9110, 9.3.6)."""
    error = Unsupported("this server is no proxy: CONNECT is not offered")
    error.close = True
    return error


def is_foreign(start: bytes) -> bool:
    """Whether a connection begins with a line that is in no version of HTTP, as a wrong preface of HTTP/2.

    Its sender would not read an answer: it is left without a word (RFC 9113, 3.4).
    """
    line = FOREIGN.match(start)
    return line is not None and b"HTTP/" not in line[0]


def head_size(target: bytes, headers: Headers) -> int:
    """Bytes of a head as it was sent, but for its line ends and method."""
    return len(target) + sum(len(name) + len(value) + 4 for name, value in headers)


def check_head(exchange: Exchange, version: str, limits: Limits) -> bool:
    """Refuse a head that another server could read differently; complete `exchange` from it.

    Returns whether the body is chunked. Raises a KfuncError that closes the connection.
    """
    if version != "1.1":
        exchange.version = version
        if version != "1.0":
            raise VersionNotSupported("this port speaks HTTP/1.1 and HTTP/1.0")
    elif b"host" not in exchange.headers:
        raise MalformedMessage("the Host header is missing")
    if len(exchange.header_list) > limits.max_headers:
        raise too_large(limits)
    if len(exchange.headers) != len(exchange.header_list):
        _merge_repeated(exchange)
    headers = exchange.headers
    if b"expect" in headers and headers[b"expect"].lower() != b"100-continue":
        raise ExpectationFailed("the only expectation that is met is 100-continue")
    if exchange.target[:1] != b"/":
        _to_origin_form(exchange)
    if b"transfer-encoding" not in headers:
        return False
    if version == "1.0":
        raise MalformedMessage("HTTP/1.0 has no Transfer-Encoding")
    if headers[b"transfer-encoding"].strip().lower() != b"chunked":
        error = Unsupported("the only Transfer-Encoding is chunked")
        error.close = True
        raise error
    return True


def is_plain(headers: dict[bytes, bytes], count: int, target: bytes, limits: Limits) -> bool:
    """Whether `check_head` would find nothing: no field that needs a look, none repeated."""
    return (
        len(headers) == count <= limits.max_headers
        and b"host" in headers
        and UNUSUAL.isdisjoint(headers)
        and target[:1] == b"/"
    )


def _merge_repeated(exchange: Exchange) -> None:
    """Join repeated fields as lists (RFC 9110, 5.3), and refuse those that must be single."""
    merged: dict[bytes, bytes] = {}
    for name, value in exchange.header_list:
        if name in merged:
            if name in SINGLE:
                raise MalformedMessage(f"the header {name.decode('latin-1')} is there twice")
            value = merged[name] + (b"; " if name == b"cookie" else b", ") + value
        merged[name] = value
    exchange.headers = merged


def _to_origin_form(exchange: Exchange) -> None:
    """Of an absolute target keep the path; its host counts, not that of the header (RFC 9112, 3.2.2)."""
    target = exchange.target
    scheme, separator, rest = target.partition(b"://")
    authority = re.split(rb"[/?#]", rest, maxsplit=1)[0]
    if separator and scheme.lower() in (b"http", b"https") and authority and b"@" not in authority:
        path = rest[len(authority) :]
        exchange.target = path if path[:1] == b"/" else b"/" + path
        exchange.header_list = [field for field in exchange.header_list if field[0] != b"host"] + [(b"host", authority)]
        exchange.headers = {**exchange.headers, b"host": authority}
    elif exchange.method != b"OPTIONS" or target != b"*":  # which stays
        error = InvalidRequest("the request's target must begin with /, or with http:// and a host")
        error.close = True
        raise error
