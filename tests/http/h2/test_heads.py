"""Heads that are requests, and those that are malformed (RFC 9113, 8.2 and 8.3)."""

import pytest

from kfunc.config.inference import Limits
from kfunc.http.h2.faults import PROTOCOL_ERROR, StreamFault
from kfunc.http.h2.heads import RequestHead, check_trailers, read_head
from kfunc.http.wire import Headers

LIMITS = Limits(max_body_bytes=1000, max_headers=5)
GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a:80"), (b":path", b"/x?y")]


def read(fields: Headers) -> RequestHead:
    return read_head(fields, True, LIMITS)


def without(name: bytes) -> Headers:
    return [field for field in GET if field[0] != name]


def test_a_head_has_a_method_a_target_and_the_host_in_front() -> None:
    head = read([*GET, (b"x-a", b"1"), (b"content-length", b"7")])
    assert (head.method, head.target, head.length, head.refusal) == (b"GET", b"/x?y", 7, None)
    assert head.header_list == [(b"host", b"a:80"), (b"x-a", b"1"), (b"content-length", b"7")]
    assert head.headers == dict(head.header_list)


@pytest.mark.parametrize(
    "fields",
    [
        without(b":method"),
        without(b":scheme"),
        without(b":path"),
        [*GET, (b":path", b"/")],
        [*GET, (b":status", b"200")],
        [*GET, (b":protocol", b"x")],
        [*without(b":path"), (b"x-a", b"1"), (b":path", b"/")],
        [*without(b":path"), (b":path", b"")],
        [*without(b":path"), (b":path", b"x")],
        [*without(b":path"), (b":path", b"*")],
        [*without(b":path"), (b":path", b"/a b")],
        [*without(b":path"), (b":path", b"/a\r\nx: y")],
        [*without(b":method"), (b":method", b"G T")],
        [*without(b":method"), (b":method", b"")],
        [*without(b":scheme"), (b":scheme", b"")],
        [*without(b":authority"), (b":authority", b"u@a")],
        [*without(b":authority"), (b":authority", b"a b")],
        [*GET, (b"host", b"b")],
        [*without(b":authority"), (b"host", b"a"), (b"host", b"a")],
        [*without(b":authority"), (b"host", b"a b")],
        [*GET, (b"X-A", b"1")],
        [*GET, (b"", b"1")],
        [*GET, (b"x a", b"1")],
        [*GET, (b"x\na", b"1")],
        [*GET, (b"x-a", b"1\r\ny: z")],
        [*GET, (b"x-a", b"1\ny-b"), (b"x-c", b"2")],
        [*GET, (b"x-a", b"\0")],
        [*GET, (b"x-a", b" 1")],
        [*GET, (b"x-a", b"1\t")],
        [*GET, (b"connection", b"close")],
        [*GET, (b"keep-alive", b"1")],
        [*GET, (b"proxy-connection", b"x")],
        [*GET, (b"transfer-encoding", b"chunked")],
        [*GET, (b"upgrade", b"h2c")],
        [*GET, (b"te", b"gzip")],
        [*GET, (b"te", b"trailers, gzip")],
        [*GET, (b"content-length", b"")],
        [*GET, (b"content-length", b"+1")],
        [*GET, (b"content-length", b"1"), (b"content-length", b"1")],
        [(b":method", b"CONNECT"), (b":authority", b"a"), (b":path", b"/")],
        [(b":method", b"CONNECT")],
        [],
    ],
)
def test_a_malformed_head_is_an_error_of_its_stream(fields: Headers) -> None:
    with pytest.raises(StreamFault) as caught:
        read(fields)
    assert caught.value.code == PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([*GET, (b"content-type", b"a"), (b"content-type", b"b")], 400),
        ([*GET, (b"content-length", b"1001")], 413),
        ([*GET, (b"expect", b"x")], 417),
        ([*GET, *[(b"x-%d" % number, b"") for number in range(5)]], 431),
        ([(b":method", b"CONNECT"), (b":authority", b"a")], 501),
    ],
)
def test_a_head_that_can_be_read_but_not_be_served_has_an_answer(fields: Headers, status: int) -> None:
    refusal = read(fields).refusal
    assert refusal is not None
    assert refusal.status == status


def test_a_head_that_was_cut_at_its_bound_is_431() -> None:
    refusal = read_head(GET[:2], False, LIMITS).refusal
    assert refusal is not None
    assert refusal.status == 431


@pytest.mark.parametrize(
    "fields",
    [
        [*GET, (b"te", b"trailers")],
        [*GET, (b"host", b"A:80")],
        without(b":authority"),
        [*without(b":method"), (b":method", b"M-SEARCH")],
        [(b":method", b"OPTIONS"), (b":scheme", b"http"), (b":path", b"*")],
        [*GET, (b"x-a", b"\xc3\xa9 \t1")],
        [*GET, (b"x-a", b"")],
    ],
)
def test_unusual_heads_are_served(fields: Headers) -> None:
    assert read(fields).refusal is None


def test_a_host_takes_the_place_of_a_missing_authority() -> None:
    head = read([*without(b":authority"), (b"x-a", b"1"), (b"host", b"b")])
    assert head.header_list == [(b"host", b"b"), (b"x-a", b"1")]


def test_repeated_fields_become_a_list_and_cookies_one_line() -> None:
    head = read([*GET, (b"accept", b"a"), (b"cookie", b"x=1"), (b"accept", b"b"), (b"cookie", b"y=2")])
    assert (head.headers[b"accept"], head.headers[b"cookie"]) == (b"a, b", b"x=1; y=2")
    assert head.header_list[1:] == [(b"accept", b"a"), (b"accept", b"b"), (b"cookie", b"x=1; y=2")]


@pytest.mark.parametrize("fields", [[(b":path", b"/")], [(b"X", b"")], [(b"x", b"\n")], [(b"transfer-encoding", b"chunked")]])
def test_malformed_trailers_are_an_error_of_their_stream(fields: Headers) -> None:
    with pytest.raises(StreamFault):
        check_trailers(fields)
