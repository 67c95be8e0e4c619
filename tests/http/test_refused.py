"""Requests that two parsers could read differently: one clear answer, then the end of the connection."""

import pytest

from tests.http.fakes import Client, Keeper, get, statuses

POST = b"POST / HTTP/1.1\r\nhost: a\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"

REFUSED = {
    "length and chunked": (POST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked and length": (POST + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n", 400),
    "length twice": (POST + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc", 400),
    "length list": (POST + b"content-length: 3, 3\r\n\r\nabc", 400),
    "length with plus": (POST + b"content-length: +3\r\n\r\nabc", 400),
    "length negative": (POST + b"content-length: -3\r\n\r\nabc", 400),
    "length in hex": (POST + b"content-length: 0x3\r\n\r\nabc", 400),
    "length with underscore": (POST + b"content-length: 1_0\r\n\r\n0123456789", 400),
    "length empty": (POST + b"content-length: \r\n\r\nabc", 400),
    "length in two words": (POST + b"content-length: 3 4\r\n\r\nabc", 400),
    "length over 64 bits": (POST + b"content-length: 18446744073709551617\r\n\r\na", 400),
    "length over the limit": (POST + b"content-length: 18446744073709551615\r\n\r\na", 413),
    "chunked twice": (POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked in a list twice": (POST + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "gzip": (POST + b"transfer-encoding: gzip\r\n\r\n0\r\n\r\n", 501),
    "gzip, chunked": (POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "chunked, gzip": (POST + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    "identity": (POST + b"transfer-encoding: identity\r\n\r\n", 501),
    "xchunked": (POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "chunked with a parameter": (POST + b"transfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 501),
    "chunked after a vertical tab": (POST + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "chunked in HTTP/1.0": (b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked in HTTP/1.0, kept alive": (
        b"POST / HTTP/1.0\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "space before the colon": (POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "folded line": (POST + b"x: a\r\n b\r\n\r\n", 400),
    "folded first line": (b"GET / HTTP/1.1\r\n host: a\r\n\r\n", 400),
    "bare LF ends the request line": (b"GET / HTTP/1.1\nhost: a\r\n\r\n", 400),
    "bare LF ends a field": (b"GET / HTTP/1.1\r\nhost: a\nx: b\r\n\r\n", 400),
    "bare LF ends the head": (b"GET / HTTP/1.1\r\nhost: a\r\n\n", 400),
    "bare CR": (b"GET / HTTP/1.1\r\nhost: a\rx: b\r\n\r\n", 400),
    "NUL": (b"GET / HTTP/1.1\r\nhost: a\0b\r\n\r\n", 400),
    "control character": (POST + b"x: \x01\r\n\r\n", 400),
    "no name": (POST + b": x\r\n\r\n", 400),
    "no colon": (POST + b"xyz\r\n\r\n", 400),
    "name with brackets": (POST + b"x(y): z\r\n\r\n", 400),
    "name beyond ASCII": (POST + b"x\xff: z\r\n\r\n", 400),
    "host twice": (b"GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\nx: a\r\n\r\n", 400),
    "content type twice": (POST + b"content-type: a/b\r\ncontent-type: a/b\r\ncontent-length: 0\r\n\r\n", 400),
    "blank in the target": (b"GET /a b HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "control character in the target": (b"GET /\x01 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "target without a slash": (b"GET x HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "target of another scheme": (b"GET ftp://a/b HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "absolute target without a host": (b"GET http:///b HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "absolute target with a user": (b"GET http://a@b/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "method in lower case": (b"get / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "blank before the method": (b" GET / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "blank after the version": (b"GET / HTTP/1.1 \r\nhost: a\r\n\r\n", 400),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nhost: a\r\n\r\n", 400),
    "HTTP/1.10": (b"GET / HTTP/1.10\r\nhost: a\r\n\r\n", 400),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505),
    "TLS": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 400),
    "CONNECT": (b"CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n", 501),
    "CONNECT with a path and a body": (b"CONNECT /x HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\n\r\n", 501),
    "another expectation": (POST + b"expect: 200-ok\r\ncontent-length: 3\r\n\r\nabc", 417),
    "chunk size negative": (CHUNKED + b"-1\r\n\r\n", 400),
    "chunk size with 0x": (CHUNKED + b"0x1\r\na\r\n0\r\n\r\n", 400),
    "chunk size with a blank": (CHUNKED + b"1 \r\na\r\n0\r\n\r\n", 400),
    "chunk size after a blank": (CHUNKED + b" 1\r\na\r\n0\r\n\r\n", 400),
    "chunk size empty": (CHUNKED + b"\r\na\r\n0\r\n\r\n", 400),
    "chunk size over 64 bits": (CHUNKED + b"fffffffffffffffff\r\na\r\n0\r\n\r\n", 400),
    "chunk size ends with LF": (CHUNKED + b"1\na\r\n0\r\n\r\n", 400),
    "chunk ends with LF": (CHUNKED + b"1\r\na\n0\r\n\r\n", 400),
    "chunk longer than its size": (CHUNKED + b"1\r\nabc\r\n0\r\n\r\n", 400),
    "extension ends with LF": (CHUNKED + b"1;x\na\r\n0\r\n\r\n", 400),
    "NUL in an extension": (CHUNKED + b"1;a=\0\r\na\r\n0\r\n\r\n", 400),
    "length in the trailer": (CHUNKED + b"1\r\na\r\n0\r\ncontent-length: 4\r\n\r\n", 400),
    "folded trailer": (CHUNKED + b"1\r\na\r\n0\r\nx: y\r\n z\r\n\r\n", 400),
    "trailer ends with LF": (CHUNKED + b"1\r\na\r\n0\r\nx: y\n\r\n", 400),
}


def cases() -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("request_bytes", "status"), REFUSED.values(), ids=REFUSED.keys())


@cases()
def test_a_broken_request_gets_one_answer_and_nothing_after_it_is_served(request_bytes: bytes, status: int) -> None:
    client = Client(application := Keeper())
    answer = client.send(request_bytes + get(b"/smuggled"), get(b"/later"))
    assert statuses(answer) == [status]
    assert b"connection: close\r\n" in answer
    assert b'{"error":' in answer
    assert client.over
    assert application.seen == []


@cases()
def test_a_broken_request_is_refused_in_the_same_way_byte_by_byte(request_bytes: bytes, status: int) -> None:
    client = Client(application := Keeper())
    data = request_bytes + get(b"/smuggled")
    answer = client.send(*[data[at : at + 1] for at in range(len(data))])
    assert statuses(answer) == [status]
    assert application.seen == []


@cases()
def test_requests_before_a_broken_one_are_answered_first(request_bytes: bytes, status: int) -> None:
    client = Client(application := Keeper())
    answer = client.send(get(b"/first") + request_bytes + get(b"/smuggled"))
    assert statuses(answer) == [200, status]
    assert application.seen == [(b"GET", b"/first", b"")]


@pytest.mark.parametrize("line", [b"INVALID CONNECTION PREFACE\r\n\r\n", b"bad\r\n", b"\x16\x03\x01\n", b"\xff HTTP\n"])
def test_who_begins_with_a_line_of_no_version_of_http_is_left_without_a_word(line: bytes) -> None:
    client = Client(application := Keeper())
    assert client.send(line + get(), get()) == b""
    assert client.over
    assert application.seen == []
    assert [exchange.status for exchange in application.ended] == [400]


def test_a_broken_request_behind_one_in_progress_waits_for_its_answer() -> None:
    client = Client(application := Keeper(waits=True))
    assert client.send(get(b"/first") + b"bad\r\n\r\n") == b""
    application.answer(application.exchanges[0])
    assert statuses(client.transport.sent) == [200, 400]
    assert client.over


def test_after_a_refusal_the_client_may_go_on_sending_until_it_has_read_the_answer() -> None:
    client = Client(Keeper())
    client.send(b"GET bad HTTP/1.1\r\n\r\n")
    assert client.transport.ended
    assert not client.transport.closed
    client.wait(2.5)
    assert client.transport.aborted


def test_nothing_after_connection_close_is_served() -> None:
    client = Client(application := Keeper())
    answer = client.send(get(b"/last", b"connection: close\r\n") + get(b"/smuggled"))
    assert statuses(answer) == [200]
    assert application.seen == [(b"GET", b"/last", b"")]


def test_nothing_after_an_answer_that_closes_is_served() -> None:
    client = Client(application := Keeper())
    client.server.draining = True
    answer = client.send(get(b"/last") + get(b"/smuggled"))
    assert statuses(answer) == [200]
    assert application.seen == [(b"GET", b"/last", b"")]


OFFERS = {
    "alone": (get(b"/", b"connection: upgrade\r\nupgrade: h2c\r\n"), (b"GET", b"/", b"")),
    "with a body": (
        b"POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 4\r\n\r\nbody",
        (b"POST", b"/", b"body"),
    ),
    "with a chunked body": (
        POST + b"connection: upgrade\r\nupgrade: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        (b"POST", b"/", b"body"),
    ),
    "with a body that looks like a request": (
        b"POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\ncontent-length: 36\r\n\r\n" + get(b"/smuggled"),
        (b"POST", b"/", get(b"/smuggled")),
    ),
}


@pytest.mark.parametrize(("offer", "seen"), OFFERS.values(), ids=OFFERS.keys())
def test_an_offer_to_change_the_protocol_is_ignored(offer: bytes, seen: tuple[bytes, bytes, bytes]) -> None:
    offer = offer.replace(b"content-length: 36", b"content-length: %d" % len(get(b"/smuggled")))
    client = Client(application := Keeper())
    assert statuses(client.send(offer + get(b"/next"))) == [200, 200]
    assert application.seen == [seen, (b"GET", b"/next", b"")]


@pytest.mark.parametrize(("offer", "seen"), OFFERS.values(), ids=OFFERS.keys())
def test_an_offer_that_arrives_byte_by_byte_is_ignored(offer: bytes, seen: tuple[bytes, bytes, bytes]) -> None:
    offer = offer.replace(b"content-length: 36", b"content-length: %d" % len(get(b"/smuggled"))) + get(b"/next")
    client = Client(application := Keeper())
    client.send(*[offer[at : at + 1] for at in range(len(offer))])
    assert application.seen == [seen, (b"GET", b"/next", b"")]


def test_thousands_of_offers_in_one_segment_are_answered() -> None:
    client = Client(application := Keeper())
    client.send(OFFERS["alone"][0] * 3000)
    assert len(application.seen) == 3000
    assert not client.over
