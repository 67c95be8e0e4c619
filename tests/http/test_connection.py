"""What a connection makes of bytes: exchanges in order, bodies, limits, deadlines."""

import tracemalloc

import pytest

from kfunc.config.inference import Limits
from kfunc.errors import InvalidRequest, KfuncError, Unavailable
from kfunc.http.exchange import Exchange
from kfunc.http.server import HttpServer
from tests.http.fakes import HOST, LIMITS, Client, Keeper, chunked, get, post, statuses


class Streams:
    """Receives bodies while they arrive."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.complete = False

    def on_chunk(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    def on_end(self) -> None:
        self.complete = True


class StreamKeeper(Keeper):
    stream_above = 10

    def __init__(self) -> None:
        super().__init__(waits=True)
        self.streams: list[Streams] = []

    def handle(self, exchange: Exchange) -> None:
        super().handle(exchange)
        self.streams.append(Streams())
        exchange.receive(self.streams[-1])


READ = {
    "GET": (get(b"/a?b=c"), (b"GET", b"/a?b=c", b"")),
    "POST": (post(b"body"), (b"POST", b"/", b"body")),
    "POST without a body": (post(b""), (b"POST", b"/", b"")),
    "body with the end of a head in it": (post(b"a\r\n\r\nb\r\n\r\n"), (b"POST", b"/", b"a\r\n\r\nb\r\n\r\n")),
    "chunked": (chunked(b"ab", b"c"), (b"POST", b"/", b"abc")),
    "chunked and empty": (chunked(), (b"POST", b"/", b"")),
    "chunk extension": (chunked(b"ab").replace(b"2\r\n", b"2;x=y\r\n"), (b"POST", b"/", b"ab")),
    "trailer": (chunked(b"ab").replace(b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n"), (b"POST", b"/", b"ab")),
    "chunked in capitals": (chunked(b"ab").replace(b"chunked", b"Chunked"), (b"POST", b"/", b"ab")),
    "blank lines before": (b"\r\n\r\n" + get(), (b"GET", b"/", b"")),
    "absolute target": (get(b"http://a/b?c"), (b"GET", b"/b?c", b"")),
    "absolute target in capitals": (get(b"HTTPS://a:80/b"), (b"GET", b"/b", b"")),
    "absolute target without a path": (get(b"http://a"), (b"GET", b"/", b"")),
    "absolute target, query only": (get(b"http://a?b=/c"), (b"GET", b"/?b=/c", b"")),
    "OPTIONS *": (get(b"*").replace(b"GET", b"OPTIONS"), (b"OPTIONS", b"*", b"")),
    "repeated field": (get(b"/", b"x: a\r\nX: b\r\n"), (b"GET", b"/", b"")),
}


@pytest.mark.parametrize(("data", "seen"), READ.values(), ids=READ.keys())
def test_a_request_is_read_whole_or_byte_by_byte_and_the_connection_lives_on(data: bytes, seen: tuple[bytes, ...]) -> None:
    client = Client(application := Keeper())
    client.send(data, *[data[at : at + 1] for at in range(len(data))], data + data)
    assert application.seen == [seen] * 4
    assert statuses(client.transport.sent) == [200] * 4
    assert not client.over


def test_repeated_fields_become_a_list() -> None:
    client = Client(application := Keeper())
    client.send(get(b"/", b"x: a\r\ncookie: b\r\nX: c\r\ncookie: d\r\n"))
    assert application.exchanges[0].headers == {b"host": b"a", b"x": b"a, c", b"cookie": b"b; d"}


def test_the_host_of_an_absolute_target_counts_and_not_the_fields() -> None:
    client = Client(application := Keeper())
    client.send(get(b"http://b:80/c"), b"GET http://d/ HTTP/1.0\r\n\r\n")
    assert [each.headers[b"host"] for each in application.exchanges] == [b"b:80", b"d"]
    assert [[value for name, value in each.header_list if name == b"host"] for each in application.exchanges] == [
        [b"b:80"],
        [b"d"],
    ]


def test_pipelined_requests_are_answered_in_order_and_reading_pauses() -> None:
    client = Client(application := Keeper(waits=True))
    client.send(get(b"/1") + post(b"x", b"/2") + chunked(b"y", target=b"/3"))
    assert [each.target for each in application.exchanges] == [b"/1"]
    assert not client.transport.reading
    for number in range(3):
        application.answer(application.exchanges[number])
    assert client.transport.sent.index(b"/1") < client.transport.sent.index(b"/2") < client.transport.sent.index(b"/3")
    assert client.transport.reading


@pytest.mark.parametrize("waits", [False, True])
def test_any_number_of_pipelined_requests_is_answered(waits: bool) -> None:
    client = Client(application := Keeper(waits=True))
    client.send(get(b"/0") + b"".join(get(b"/%d" % number) for number in range(1, 3000)))
    application.waits = waits
    for exchange in application.exchanges:  # it grows
        application.answer(exchange)
    assert statuses(client.transport.sent) == [200] * 3000
    assert client.transport.reading
    assert statuses(client.send(get(), get())) == [200] * (2 if not waits else 0)


def test_small_chunks_of_a_body_are_joined() -> None:
    limits = Limits(max_body_bytes=1 << 20)
    client = Client(application := Keeper(), limits)
    client.send(chunked()[:-5])
    tracemalloc.start()
    for _ in range(64):
        client.send(b"2\r\nab\r\n" * 4096)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    client.send(b"0\r\n\r\n")
    assert application.seen == [(b"POST", b"/", b"ab" * 64 * 4096)]
    assert held < 1 << 20


def test_head_is_answered_without_a_body() -> None:
    client = Client(Keeper())
    answer = client.send(get().replace(b"GET", b"HEAD"))
    assert b"content-length: 7\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


VERSIONS_1_0 = {"": (True, b""), "connection: keep-alive\r\n": (False, b"connection: keep-alive\r\n")}


@pytest.mark.parametrize("fields", VERSIONS_1_0)
def test_http_1_0_closes_unless_it_asks_for_more(fields: str) -> None:
    over, line = VERSIONS_1_0[fields]
    client = Client(Keeper())
    answer = client.send(b"GET / HTTP/1.0\r\n" + fields.encode() + b"\r\n")
    assert statuses(answer) == [200]
    assert line in answer
    assert client.over is over


def test_a_streamed_answer_is_chunked_in_http_1_1() -> None:
    client = Client(application := Keeper(waits=True))
    client.send(get())
    exchange = application.exchanges[0]
    exchange.start(200, b"")
    exchange.write(b"abc")
    exchange.write(b"")
    exchange.finish()
    assert client.transport.sent.endswith(b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert not client.over


def test_a_streamed_answer_ends_with_the_connection_in_http_1_0() -> None:
    client = Client(application := Keeper(waits=True))
    client.send(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
    exchange = application.exchanges[0]
    exchange.start(200, b"")
    exchange.write(b"abc")
    exchange.finish()
    assert client.transport.sent.endswith(b"connection: close\r\n\r\nabc")
    assert client.over


EXPECTING = post(b"body", fields=b"expect: 100-continue\r\n")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_a_client_that_asks_is_told_to_continue() -> None:
    client = Client(Keeper())
    assert client.send(EXPECTING[:-4]) == CONTINUE
    assert statuses(client.send(b"body")) == [200]


def test_a_client_that_asks_behind_another_request_is_told_when_that_is_answered() -> None:
    client = Client(application := Keeper(waits=True))
    assert client.send(get() + EXPECTING[:-4]) == b""
    application.answer(application.exchanges[0])
    assert client.transport.sent.endswith(CONTINUE)
    client.send(b"body")
    assert application.seen[1] == (b"POST", b"/", b"body")


def test_a_client_of_http_1_0_is_not_told_to_continue() -> None:
    client = Client(Keeper())
    assert client.send(EXPECTING[:-4].replace(b"HTTP/1.1", b"HTTP/1.0")) == b""


def test_a_client_whose_body_is_too_large_is_not_told_to_continue() -> None:
    client = Client(Keeper())
    assert statuses(client.send(EXPECTING[:-4].replace(b"length: 4", b"length: 1001"))) == [413]


OVER_LIMITS = {
    "one large field": (get(b"/", b"x: " + b"y" * 2048 + b"\r\n"), 431),
    "large target": (get(b"/" + b"y" * 2048), 431),
    "many fields": (get(b"/", b"".join(b"x%d: y\r\n" % n for n in range(10))), 431),
    "head without end": (b"GET / HTTP/1.1\r\nx: " + b"y" * 2048, 431),
    "body": (post(b"x" * 1001), 413),
    "body announced": (post(b"x" * 1001)[:100], 413),
    "one large chunk": (chunked(b"x" * 1001), 413),
    "many chunks": (chunked(*[b"x" * 100] * 11), 413),
}


@pytest.mark.parametrize("step", [0, 1, 100], ids=["whole", "byte by byte", "in parts"])
@pytest.mark.parametrize(("data", "status"), OVER_LIMITS.values(), ids=OVER_LIMITS.keys())
def test_what_is_over_a_limit_is_refused_once(data: bytes, status: int, step: int) -> None:
    client = Client(application := Keeper())
    parts = [data[at : at + step] for at in range(0, len(data), step)] if step else [data]
    assert statuses(client.send(*parts, get(b"/later"))) == [status]
    assert client.over
    assert application.seen == []


def test_a_head_over_its_limit_is_refused_behind_another_request_too() -> None:
    client = Client(application := Keeper())
    answer = client.send(get() + get(b"/large", b"x: " + b"y" * 2048 + b"\r\n"))
    assert statuses(answer) == [200, 431]
    assert application.seen == [(b"GET", b"/", b"")]


def test_a_small_head_behind_a_large_body_is_accepted() -> None:
    client = Client(application := Keeper(), Limits(max_header_bytes=1024))
    data = post(b"x" * 5000) + get(b"/next")
    client.send(data[:-10], data[-10:])
    assert [each.target for each in application.exchanges] == [b"/", b"/next"]


def test_what_is_just_within_the_limits_is_served() -> None:
    client = Client(application := Keeper())
    client.send(post(b"x" * 1000), chunked(b"x" * 1000), get(b"/", b"".join(b"x%d: y\r\n" % n for n in range(9))))
    assert len(application.seen) == 3


def test_an_endless_trailer_is_refused() -> None:
    client = Client(Keeper())
    client.send(chunked(b"a")[:-2] + b"x: ")
    for _ in range(50):
        client.send(b"y" * 100)
    assert statuses(client.transport.sent) == [431]


def test_one_connection_too_many_is_told_to_come_again() -> None:
    application = Keeper()
    server = HttpServer(application, LIMITS)
    clients = [Client(application, server=server) for _ in range(4)]
    assert [statuses(client.transport.sent) for client in clients] == [[], [], [], [503]]
    assert b"retry-after: 1\r\n" in clients[3].transport.sent
    assert clients[3].over


LATE = {
    "head": (get()[:10], [408]),
    "body": (post(b"body")[:-1], [408]),
    "chunked body": (chunked(b"body")[:-3], [408]),
    "nothing at all": (b"", []),
    "the next head": (get() + get()[:10], [200, 408]),
    "the next body": (get() + post(b"body")[:-1], [200, 408]),
}


@pytest.mark.parametrize(("data", "expected"), LATE.values(), ids=LATE.keys())
def test_a_request_that_does_not_arrive_is_given_up(data: bytes, expected: list[int]) -> None:
    client = Client(Keeper())
    client.send(data)
    client.wait(31)
    assert statuses(client.transport.sent) == expected
    assert client.over


def test_a_head_that_trickles_in_has_one_deadline() -> None:
    client = Client(Keeper())
    for byte in get(b"/" + b"x" * 100):
        client.send(bytes([byte]))
        client.wait(0.5)
    assert statuses(client.transport.sent) == [408]


def test_a_body_may_take_long_as_long_as_it_does_not_pause() -> None:
    client = Client(application := Keeper())
    client.send(post(b"x" * 10)[:-10])
    for _ in range(10):
        client.wait(20)
        client.send(b"x")
    assert len(application.seen) == 1


def test_a_head_that_began_behind_another_request_has_the_time_of_a_head() -> None:
    client = Client(application := Keeper(waits=True))
    client.send(get() + get()[:10])
    client.wait(60)
    application.answer(application.exchanges[0])
    client.wait(11)
    assert statuses(client.transport.sent) == [200, 408]


def test_of_a_body_that_is_refused_behind_another_request_nothing_is_kept() -> None:
    client = Client(application := Keeper(waits=True))
    client.send(get() + post(b"x" * 900, b"/late")[:-500], b"x" * 400)
    (body,) = client.connection.unfinished()
    assert body.size == 800
    body.refuse(Unavailable("too many"))
    assert client.connection.unfinished() == ()
    application.answer(application.exchanges[0])
    assert statuses(client.transport.sent) == [200, 503]
    assert [(each.target, each.body, each.chunks) for each in application.ended] == [(b"/", b"", None), (b"/late", b"", None)]


SENT_IN_PARTS = {"small": Keeper, "streamed": StreamKeeper}


@pytest.mark.parametrize("kind", SENT_IN_PARTS)
def test_an_answer_may_take_longer_than_any_pause_of_the_client(kind: str) -> None:
    client = Client(application := Keeper(waits=True) if kind == "small" else StreamKeeper())
    client.send(post(b"x" * 100)[:-1], b"x")
    client.wait(1000)
    assert not client.over
    application.answer(application.exchanges[0])
    assert statuses(client.transport.sent) == [200]


def test_a_request_that_arrives_in_parts_behind_another_waits_as_long_as_it_must() -> None:
    client = Client(application := Keeper(waits=True))
    client.send(get() + post(b"xyz")[:-1], b"z")
    client.wait(1000)
    for number in range(2):
        application.answer(application.exchanges[number])
    assert statuses(client.transport.sent) == [200, 200]


def test_an_idle_connection_is_closed_after_its_time() -> None:
    client = Client(Keeper())
    client.send(get())
    client.wait(74)
    assert not client.over
    client.wait(2)
    assert client.over


def test_a_large_body_is_handed_over_while_it_arrives() -> None:
    client = Client(application := StreamKeeper())
    client.send(post(b"x" * 100)[:-50])
    assert [len(chunk) for chunk in application.streams[0].chunks] == [50]
    client.send(b"y" * 50)
    assert application.streams[0].complete


def test_a_streamed_body_over_the_limit_cancels_and_is_refused() -> None:
    client = Client(application := StreamKeeper())
    cancelled: list[bool] = []
    data = chunked(*[b"x" * 100] * 11)
    client.send(data[:500])
    application.exchanges[0].on_cancel = lambda: cancelled.append(True)
    assert statuses(client.send(data[500:])) == [413]
    assert cancelled == [True]
    assert not application.streams[0].complete


def test_reading_stops_while_the_receiver_cannot_take_more_and_the_client_is_not_blamed() -> None:
    client = Client(application := StreamKeeper())
    client.send(post(b"x" * 100)[:-50])
    application.exchanges[0].hold(True)
    reading = [client.transport.reading]
    client.wait(1000)
    assert not client.over
    application.exchanges[0].hold(False)
    reading.append(client.transport.reading)
    assert reading == [False, True]
    client.wait(31)
    assert statuses(client.transport.sent) == [408]


def test_reading_goes_on_when_a_held_body_is_complete_so_that_a_lost_client_is_seen() -> None:
    client = Client(application := StreamKeeper())
    client.send(post(b"x" * 100)[:-50])
    application.exchanges[0].hold(True)
    client.send(b"x" * 50)
    assert client.transport.reading


def test_an_answer_before_the_body_is_complete_closes_and_drops_the_rest() -> None:
    client = Client(application := StreamKeeper())
    client.send(post(b"x" * 100)[:-50])
    application.exchanges[0].respond(401)
    assert statuses(client.transport.sent) == [401]
    assert b"connection: close\r\n" in client.transport.sent
    client.send(b"x" * 50 + get(b"/smuggled"))
    assert len(application.exchanges) == 1


def test_a_client_that_leaves_cancels_its_exchange_and_it_is_observed_once() -> None:
    client = Client(application := Keeper(waits=True))
    client.send(get())
    cancelled: list[bool] = []
    application.exchanges[0].on_cancel = lambda: cancelled.append(True)
    client.connection.connection_lost(None)
    assert cancelled == [True]
    assert application.ended == application.exchanges
    application.answer(application.exchanges[0])
    assert client.transport.sent == b""


def test_a_failure_of_the_application_is_an_answer_and_the_connection_lives_on() -> None:
    errors: list[Exception] = [InvalidRequest("no"), KfuncError("broken"), ZeroDivisionError()]

    class Failing(Keeper):
        def handle(self, exchange: Exchange) -> None:
            raise errors.pop(0)

    client = Client(Failing())
    assert statuses(client.send(get(), get(), get())) == [400, 500, 500]
    assert not client.over


def test_a_failure_after_the_answer_began_breaks_the_connection() -> None:
    client = Client(application := Keeper(waits=True))
    client.send(get())
    application.exchanges[0].start(200, b"")
    application.exchanges[0].fail(KfuncError("broken"))
    assert client.transport.aborted


def test_a_client_that_does_not_read_gets_no_further_answers_until_it_does() -> None:
    client = Client(application := Keeper())
    client.connection.pause_writing()
    client.send(get(b"/1") + get(b"/2"))
    assert application.seen == []
    assert not client.transport.reading
    client.connection.resume_writing()
    assert statuses(client.transport.sent) == [200, 200]
    assert client.transport.reading


def test_a_client_that_never_reads_is_cut_off() -> None:
    client = Client(Keeper())
    client.send(get())
    client.transport.unsent = 100_000
    client.connection.pause_writing()
    client.wait(31)
    assert client.transport.aborted


@pytest.mark.parametrize("body", [b"", b"xyz"[:2]], ids=["whole request", "its body is on the way"])
def test_a_client_that_takes_nothing_of_a_streamed_answer_is_cut_off(body: bytes) -> None:
    client = Client(application := StreamKeeper())
    client.send(post(b"x" * 20)[: -len(body) or None])
    application.exchanges[0].on_cancel = lambda: gone.append(True)
    gone: list[bool] = []
    application.exchanges[0].start(200, b"")
    client.transport.unsent = 100_000
    client.connection.pause_writing()
    client.wait(29)
    client.send(b"x" * len(body))
    client.wait(2)
    assert client.transport.aborted
    client.connection.connection_lost(None)
    assert gone


def test_a_streamed_answer_that_is_taken_again_may_pause_for_as_long_as_it_likes() -> None:
    client = Client(application := Keeper(waits=True))
    client.send(get())
    application.exchanges[0].start(200, b"")
    client.transport.unsent = 100_000
    client.connection.pause_writing()
    client.transport.unsent = 0
    client.connection.resume_writing()
    client.wait(1000)
    assert not client.over


def test_a_client_that_reads_slowly_is_not_cut_off() -> None:
    client = Client(Keeper())
    client.send(get())
    client.transport.unsent = 100_000
    client.connection.pause_writing()
    client.wait(1)
    for _ in range(9):
        client.transport.unsent -= 10_000
        client.wait(31)
    assert not client.over
    client.connection.resume_writing()
    assert statuses(client.send(get())) == [200]


def test_a_last_answer_that_is_never_read_does_not_hold_the_connection() -> None:
    client = Client(application := Keeper(waits=True))
    client.send(get(b"/", b"connection: close\r\n"))
    client.transport.unsent = 100_000
    application.answer(application.exchanges[0])
    client.wait(31)
    assert client.transport.aborted


def test_the_fields_of_an_answer_are_complete() -> None:
    answer = Client(Keeper()).send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    status, date, *rest = head.split(b"\r\n")
    assert status == b"HTTP/1.1 200 OK"
    assert date.startswith(b"date: ")
    assert [line.partition(b":")[0] for line in rest] == [b"content-type", b"x-request-id", b"content-length"]
    assert body == b"GET / "
