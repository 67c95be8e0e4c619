"""A head that was here before is not parsed again; nobody may be able to tell."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfunc.http import connection
from tests.http.fakes import HOST, Client, Keeper, chunked, get, post

MESSAGES = [
    get(),
    get(b"/other"),
    get(b"/", b"x: y\r\n"),
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


class Unlearned(connection.HttpConnection):
    """The same without the shortcut."""

    def _learn(self, data: bytes, exchange: object) -> None:
        pass


class ParsedClient(Client):
    def __init__(self, application: Keeper) -> None:
        super().__init__(application)
        self.connection = Unlearned(self.server)
        self.connection.connection_made(self.transport)


Exchanges = list[tuple[bytes, bytes, bytes, dict[bytes, bytes], bool, bool]]


def exchanges(segments: list[bytes], kind: type[Client] = Client) -> tuple[Exchanges, bool]:
    client = kind(application := Keeper())
    client.send(*segments)
    seen: Exchanges = [
        (each.method, each.target, each.body, each.headers, each.complete, each.keep_alive) for each in application.exchanges
    ]
    return seen, client.over


def learned(messages: list[bytes]) -> int:
    """How many of these segments took the shortcut."""
    client = Client(application := Keeper())
    client.send(*messages)
    memos = [each.memo for each in application.exchanges if each.memo is not None]
    return len(memos) - len({id(memo) for memo in memos})


def test_the_same_head_is_read_once() -> None:
    assert learned([post(b"ab")] * 5) == 4


def test_another_body_under_the_same_head_takes_the_shortcut() -> None:
    seen, _ = exchanges([post(b"ab"), post(b"cd")])
    assert [body for _, _, body, *_ in seen] == [b"ab", b"cd"]
    assert learned([post(b"ab"), post(b"cd")]) == 1


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_split_at_any_byte_is_the_same_after_a_repeated_head(message: bytes) -> None:
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
def test_what_looks_like_a_repeated_head_is_not_taken_for_one(segments: list[bytes]) -> None:
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
