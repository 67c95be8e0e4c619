"""Plain heads are read without the parser; nobody may be able to tell."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfunc.config.inference import Limits
from kfunc.http import plain
from kfunc.http.head_lines import read_request_line
from kfunc.http.plain import PlainHead, PlainHeads, request_heads
from tests.http.fakes import HOST, Client, Keeper, chunked, get, post, statuses

MESSAGES = [
    get(),
    get(b"/other"),
    get(b"/", b"x: y\r\n"),
    get(b"/", b"x-request-id: 1\r\n"),
    get(b"/", b"x-request-id: 2\r\n"),
    get(b"/", b"x-request-id: 3 4\r\n"),
    get(b"/", b"X-Request-Id: 5\r\ntraceparent: 6\r\nx: y\r\n"),
    get(b"/", b"X-Request-Id: 7\r\ntraceparent: 8\r\nx: y\r\n"),
    get(b"/", b"X-Request-Id: 9\r\nx: y\r\n"),
    post(b""),
    post(b"ab"),
    post(b"cd"),
    post(b"\r\n"),
    post(b"abc"),
    post(b"\r\n\r\n"),
    post(b"a\r\n\r\nb"),
    post(get()),
    post(post(b"ab")),
    chunked(b"ab"),
    get().replace(b"GET", b"HEAD"),
    get(b"/", b"expect: 100-continue\r\n"),
    get(b"/", b"connection: upgrade\r\nupgrade: x\r\n"),
    b"\r\n",
    b"\r\n\r\n",
]


class Parser(PlainHeads[PlainHead]):
    """Finds no head plain."""

    def read(self, head: bytes) -> None:
        return None


class ParsedClient(Client):
    """All that it sends is parsed."""

    def __init__(self, application: Keeper) -> None:
        super().__init__(application)
        self.server.heads = Parser(read_request_line, lambda head: head, b"host")


Exchanges = list[tuple[bytes, bytes, bytes, dict[bytes, bytes], bool, bool]]


def exchanges(segments: list[bytes], kind: type[Client] = Client) -> tuple[Exchanges, bool]:
    client = kind(application := Keeper())
    client.send(*segments)
    seen: Exchanges = [
        (each.method, each.target, each.body, each.headers, each.complete, each.keep_alive) for each in application.exchanges
    ]
    return seen, client.over


def learned(messages: list[bytes]) -> int:
    """How many of these segments began with a head that was known as a whole."""
    client = Client(application := Keeper())
    client.send(*messages)
    memos = [each.memo for each in application.exchanges if each.memo is not None]
    return len(memos) - len({id(memo) for memo in memos})


def test_a_head_is_known_when_all_its_lines_are() -> None:
    assert learned([post(b"ab")] * 5) == 3


def test_another_body_under_the_same_head_is_its_own() -> None:
    seen, _ = exchanges([post(b"ab"), post(b"cd"), post(b"ef")])
    assert [body for _, _, body, *_ in seen] == [b"ab", b"cd", b"ef"]


def test_connections_of_one_server_share_what_they_know() -> None:
    first = Client(application := Keeper())
    first.send(post(b"ab"), post(b"ab"))
    Client(application, server=first.server).send(post(b"ab"))
    assert application.exchanges[1].memo is application.exchanges[2].memo is not None


def with_identifiers(number: int, more: bytes = b"") -> bytes:
    return get(b"/", b"X-Request-Id: r%d\r\nx: y\r\ntraceparent: t%d\r\n%b" % (number, number, more))


def test_heads_that_differ_in_identifiers_share_what_is_worked_out_from_them() -> None:
    client = Client(application := Keeper())
    client.send(*map(with_identifiers, range(5)))
    seen = application.exchanges
    assert [(each.headers[b"x-request-id"], each.headers[b"traceparent"]) for each in seen] == [
        (b"r%d" % number, b"t%d" % number) for number in range(5)
    ]
    assert seen[1].memo is seen[2].memo is seen[4].memo is not None
    assert [each.plain.forwarded for each in seen if each.plain] == [
        HOST + b"X-Request-Id: r%d\r\nx: y\r\ntraceparent: t%d\r\n" % (number, number) for number in range(5)
    ]


def test_connections_share_the_shapes_of_heads() -> None:
    first = Client(application := Keeper())
    first.send(*map(with_identifiers, range(3)))
    Client(application, server=first.server).send(with_identifiers(3))
    assert application.exchanges[2].memo is application.exchanges[3].memo is not None


@pytest.mark.parametrize(
    "more", [b"x-request-id: 1\r\n", b"content-length: 0\r\ncontent-length: 0\r\n", b"connection: close\r\n"]
)
def test_a_head_of_a_known_shape_and_a_line_more_is_another_one(more: bytes) -> None:
    segments = [*map(with_identifiers, range(3)), with_identifiers(3, more), with_identifiers(4)]
    assert exchanges(segments) == exchanges(segments, ParsedClient)


def test_an_identifier_does_not_make_a_head_longer_than_it_may_be() -> None:
    client = Client(Keeper(), Limits(max_header_bytes=1024))
    long = [get(b"/", b"x-request-id: %b\r\nx: %b\r\n" % (b"i" * length, b"y" * 900)) for length in (1, 2, 3, 200)]
    assert statuses(client.send(*long)) == [200, 200, 200, 431]


def test_a_line_that_is_always_another_one_keeps_a_head_from_being_kept() -> None:
    client = Client(application := Keeper())
    client.send(*[get(b"/", b"x-request-id: %d\r\n" % number) for number in range(9)])
    assert [each.headers[b"x-request-id"] for each in application.exchanges] == [b"%d" % number for number in range(9)]
    assert not client.server.heads.known


NOT_PLAIN = {
    "folded": b"x: a\r\n b\r\n",
    "bare line feed": b"x: a\ny: b\r\n",
    "bare carriage return": b"x: a\ry: b\r\n",
    "no name": b": a\r\n",
    "space before the colon": b"x : a\r\n",
    "no colon": b"xa\r\n",
    "null": b"x: \0\r\n",
    "delete": b"x: \x7f\r\n",
    "space at the end": b"x: a \r\n",
    "twice": b"x: a\r\nX: b\r\n",
    "length twice": b"content-length: 0\r\ncontent-length: 0\r\n",
    "length with a sign": b"content-length: +0\r\n",
    "length as a list": b"content-length: 0, 0\r\n",
    "chunked": b"transfer-encoding: chunked\r\n",
    "close": b"connection: close\r\n",
    "another protocol": b"upgrade: h2c\r\n",
    "expectation": b"expect: 100-continue\r\n",
}


@pytest.mark.parametrize("fields", NOT_PLAIN.values(), ids=NOT_PLAIN.keys())
def test_what_is_not_plain_is_left_to_the_parser(fields: bytes) -> None:
    heads = request_heads(Limits())
    assert [heads.read(get(b"/", fields)) for _ in range(3)] == [None] * 3


STARTS = [
    b"GET / HTTP/1.0",
    b"GET http://a/ HTTP/1.1",
    b"HEAD / HTTP/1.1",
    b"CONNECT / HTTP/1.1",
    b"GET  / HTTP/1.1",
    b"GET / x HTTP/1.1",
]


@pytest.mark.parametrize("start", STARTS)
def test_an_unusual_start_is_left_to_the_parser(start: bytes) -> None:
    assert request_heads(Limits()).read(start + b"\r\n" + HOST + b"\r\n") is None


def test_a_head_passes_on_without_framing_and_hop_by_hop_fields() -> None:
    head = request_heads(Limits()).read(post(b"", b"/", b"Connection: keep-alive\r\nKeep-Alive: 5\r\nX-Yours: 1\r\n"))
    assert head is not None
    assert head.forwarded == HOST + b"X-Yours: 1\r\n"


def test_what_is_kept_is_bounded() -> None:
    heads = request_heads(Limits())
    for number in range(3 * plain.MAX_KNOWN_FIELDS):
        for value in range(2 * plain.MAX_VALUES):
            fields = (b"x-%d: %d\r\n" % (number, value), b"x-request-id: %d\r\n" % value)
            heads.read(get(b"/%d" % number, b"".join(fields)))
    assert max(len(heads.known), len(heads._shapes), len(heads._starts)) <= plain.MAX_KNOWN_HEADS
    assert len(heads._fields) <= plain.MAX_KNOWN_FIELDS
    assert len(heads._lines) <= plain.MAX_KNOWN_FIELDS * plain.MAX_VALUES
    assert set(heads._lines) == {text for texts in heads._fields.values() for text in texts}


def test_a_line_that_stands_in_a_head_twice_is_remembered_once() -> None:
    heads = request_heads(Limits())
    for number in range(3 * plain.MAX_VALUES):
        assert heads.read(get(b"/", b"x: %d\r\n" % number * 2)) is None
    assert len(heads._fields[b"x"]) == plain.MAX_VALUES
    assert set(heads._lines) == {text for texts in heads._fields.values() for text in texts}


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_split_at_any_byte_is_the_same_after_a_known_head(message: bytes) -> None:
    before = [post(b"ab")] * 3 + [message]
    expected = exchanges([*before, message, post(b"cd"), get()], ParsedClient)
    for at in range(len(message) + 1):
        assert exchanges([*before, message[:at], message[at:], post(b"cd"), get()]) == expected


TRAPS = {
    "blank lines after a head in two segments": [get()[:9], get()[9:], b"\r\n\r\n", b"\r\n\r\n"],
    "body of a line end, then half a head": [post(b"\r\n") + b"GE", get()[2:], post(b"\r\n") + b"GE"],
    "body of a line end, then a blank line": [post(b"\r\n") + b"\r\n", post(b"\r\n") + b"XY"],
    "body of a blank line, then four bytes": [post(b"\r\n\r\n") + b"GET ", get()[4:]] * 2,
    "two in one segment, twice": [post(b"ab") + post(b"cd")] * 2,
    "length grows with the body": [post(b"ab"), post(b"abc"), post(b"ab"), post(b"abc")],
    "a body that is the head again": [post(b"ab"), post(post(b"ab"))[: -len(post(b"ab"))], post(b"ab"), get()],
    "carriage return alone before": [post(b"ab"), b"\r", post(b"ab")],
    "large head": [get(b"/", b"x: " + b"y" * 1900 + b"\r\n")] * 3,
    "many heads, then one of them often": [get(b"/%d" % n) for n in range(12)] + [get(b"/7")] * 5,
}


@pytest.mark.parametrize("segments", TRAPS.values(), ids=TRAPS.keys())
def test_what_looks_like_a_known_head_is_not_taken_for_one(segments: list[bytes]) -> None:
    assert exchanges(segments) == exchanges(segments, ParsedClient)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_segments_of_any_requests_mean_what_the_parser_reads(data: st.DataObject) -> None:
    pool = data.draw(st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=3))
    messages = data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=8))
    stream = b"".join(messages)
    ends = [sum(map(len, messages[:count])) for count in range(len(messages) + 1)]
    cut = st.one_of(st.sampled_from(ends), st.integers(0, len(stream)))
    cuts = sorted({0, len(stream), *data.draw(st.lists(cut, max_size=12))})
    segments = [stream[start:end] for start, end in pairwise(cuts)]
    expected = exchanges([stream], ParsedClient)
    assert exchanges(segments) == expected
    assert exchanges(messages) == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*MESSAGES, b"x", b"GET", b"\r", b"\n", HOST]), max_size=10))
def test_garbage_between_segments_ends_where_the_parser_ends_it(segments: list[bytes]) -> None:
    assert exchanges(segments) == exchanges(segments, ParsedClient)
