"""Targets: what reads HTTP: connections, heads that need no parser, paths, content codings."""

from typing import Any

import httptools

from kfunc.config.inference import Limits
from kfunc.handlers.routes import resolve
from kfunc.http import coding
from kfunc.http.head_lines import read_request_line, read_status_line
from kfunc.http.plain import PlainHead, PlainHeads, request_heads
from kfunc.http.wire import END_OF_HEAD
from tests.fuzz.engine import Target
from tests.fuzz.mutation import MAX_SIZE
from tests.http.fakes import Client, Keeper, get, post, statuses
from tests.http.test_plain import Parser

INFLATED = 100_000  # bytes at most


def call_routes(content: bytes) -> object:
    return resolve(content).action


def call_coding(content: bytes) -> str:
    """The field's value is before the first line's end."""
    value, _, body = content.partition(b"\n")
    chosen = coding.choose(value)
    if chosen is not None:
        assert coding.inflate(coding.deflate(body, chosen), chosen, len(body)) == body
    assert len(coding.inflate(body, value, INFLATED)) <= INFLATED
    return "inflated"


# No input is as long as a head may be: of a head in parts every byte counts, of one at once blanks around values do not.
LIMITS = Limits(max_body_bytes=2000, max_header_bytes=2 * MAX_SIZE, max_headers=10)
# HTTP has errors of the 500s for what is right but not offered: a version, a coding, CONNECT.
NOT_OFFERED = {501, 505}


def call_http(content: bytes) -> str:
    """At once, in two parts, and without the short way for plain heads: the application must see the same requests."""
    half = len(content) // 2
    whole, parts, parsed = Keeper(), Keeper(), Keeper()
    answers = Client(whole, LIMITS).send(content)
    Client(parts, LIMITS).send(content[:half], content[half:])
    slow = Client(parsed, LIMITS)
    slow.server.heads = Parser(read_request_line, lambda head: head, b"host")
    slow.send(content)
    seen = statuses(answers)
    bad = [status for status in seen if status >= 500 and status not in NOT_OFFERED]
    assert not bad, f"status {bad}"
    assert whole.seen == parts.seen, "in two parts other requests than at once"
    assert whole.seen == parsed.seen, "with the parser other requests than without"
    return str(sorted(set(seen)))


class Parsed:
    """What httptools makes of a head."""

    def __init__(self, head: bytes, parser: Any) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.parser = parser(self)
        self.plain = False
        self.parser.feed_data(head)
        assert self.plain, "the parser finds something special"

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self.parser
        self.plain = parser.get_http_version() == "1.1" and parser.should_keep_alive() and not parser.should_upgrade()


REQUESTS = request_heads(Limits(max_headers=10, max_header_bytes=MAX_SIZE))
ANSWERS: PlainHeads[PlainHead] = PlainHeads(read_status_line, lambda head: head, b"content-length")


def call_request_heads(content: bytes) -> str:
    """A head that is read without the parser says what the parser says, and the second time too."""
    head = content[: content.find(END_OF_HEAD) + 4]
    plain = REQUESTS.read(head)
    if plain is None:
        return "left to the parser"
    parsed = Parsed(head, httptools.HttpRequestParser)
    agree(REQUESTS, head, plain, ((parsed.parser.get_method(), parsed.target), parsed.headers))
    return f"plain, {len(parsed.headers)} fields"


def call_answer_heads(content: bytes) -> str:
    """The same for what an upstream answers."""
    head = content[: content.find(END_OF_HEAD) + 4]
    plain = ANSWERS.read(head)
    if plain is None:
        return "left to the parser"
    parsed = Parsed(head, httptools.HttpResponseParser)
    agree(ANSWERS, head, plain, (parsed.parser.get_status_code(), parsed.headers))
    return f"plain, {len(parsed.headers)} fields"


def agree(heads: PlainHeads[PlainHead], head: bytes, plain: PlainHead, expected: tuple[object, object]) -> None:
    again = heads.known.get(head) or heads.read(head)
    assert again is not None
    for each in (plain, again):
        assert (each.start, each.pairs) == expected
        assert each.length == int(each.headers.get(b"content-length", b"0"))


ROUTES = [
    *(b"/", b"/v2", b"/v2/health/live", b"/v2/models", b"/v2/models/m", b"/v2/models/m/ready", b"/openapi.json"),
    *(b"/v2/models/m/versions/1/infer", b"/v1/models", b"/v1/models/m:predict", b"/v1/models/m/versions/1:explain"),
    *(
        b"/v2/repository/index",
        b"/v2/repository/models/m/load",
        b"/v1/models/a%20b:predict?x=1",
        b"/v1/models/%C3%A9",
        b"//v2//",
    ),
]
PLAIN = b'{"instances":[[1,2],[3,4]]' + b" " * 80 + b"}"
CODING_SEEDS = [b"%b\n%b" % (name, coding.deflate(PLAIN, name)) for name in coding.CODINGS]
CODING_SEEDS += [b"gzip, zstd\n" + coding.deflate(coding.deflate(PLAIN, b"gzip"), b"zstd"), b"gzip;q=0.5, *;q=0\n" + PLAIN]
CODING_SEEDS += [
    b"gzip\n" + coding.deflate(bytes(10 * INFLATED), b"gzip"),
    b"zstd\n" + coding.deflate(bytes(10 * INFLATED), b"zstd"),
]
HTTP_SEEDS = [
    get(b"/v2/health/live?x=1", b"accept: */*\r\nuser-agent: a\r\n"),
    post(b'{"inputs":[]}', b"/v2/models/m/infer", b"content-type: application/json\r\nx-request-id: a\r\n"),
    post(b"abc", b"/", b"expect: 100-continue\r\n") + get(),
    b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + get(),
    b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n" + get() + get(),
    b"GET http://a/b HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
]
ANSWER_SEEDS = [
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nx-request-id: a\r\n\r\n{}",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: keep-alive\r\nServer: a b\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
]

TARGETS = [
    Target("routes", ROUTES, call_routes),
    Target("coding", CODING_SEEDS, call_coding),
    Target("request_head", HTTP_SEEDS, call_request_heads),
    Target("answer_head", ANSWER_SEEDS, call_answer_heads),
    Target("http", HTTP_SEEDS, call_http),
]
