"""Exchanges over HTTP/2: answers, the ends of streams and of a connection, one port for both versions."""

from itertools import pairwise

import pytest

from kfunc.errors import KfuncError, NotFound
from kfunc.http.exchange import Exchange
from kfunc.http.h2 import frames
from kfunc.http.h2.faults import CANCEL, ENHANCE_YOUR_CALM, INTERNAL_ERROR, NO_ERROR
from kfunc.http.server import HttpServer
from tests.http.fakes import Client, Keeper, statuses
from tests.http.fakes import get as get_1
from tests.http.h2.streamers import Streamer
from tests.http.h2.wires import LIMITS, Wire, begin, data, get, head, post

TEXT = b"text/plain; charset=utf-8"


def waiting() -> Wire:
    return Wire(Keeper(waits=True))


# ---- answers


def test_an_answer_has_the_fields_that_the_server_adds() -> None:
    wire = Wire()
    wire.send(get(1, b"/x", [(b"x-request-id", b"abc")]))
    fields = wire.answers[1].heads[0]
    assert list(fields) == [b":status", b"date", b"content-type", b"x-request-id", b"content-length"]
    assert (fields[b"x-request-id"], fields[b"content-type"]) == (b"abc", TEXT)
    assert fields[b"date"].endswith(b" GMT")


def test_the_time_that_a_call_took_is_told() -> None:
    wire = waiting()
    wire.send(get(1))
    wire.application.exchanges[0].compute_s = 0.0015
    wire.application.answer(wire.application.exchanges[0])
    wire.read()
    assert wire.answers[1].heads[0][b"server-timing"] == b"queue;dur=0.00, compute;dur=1.50"


def test_exchanges_are_answered_in_any_order() -> None:
    wire = waiting()
    wire.send(get(1, b"/1") + get(3, b"/3") + get(5, b"/5"))
    for number in (2, 0, 1):
        wire.application.answer(wire.application.exchanges[number])
    order = [frame.stream_id for frame in wire.read() if frame.type == frames.DATA]
    assert order == [5, 1, 3]
    assert [wire.answers[number].body for number in (1, 3, 5)] == [b"GET /1 ", b"GET /3 ", b"GET /5 "]


@pytest.mark.parametrize(("method", "status", "length"), [(b"HEAD", 200, b"5"), (b"GET", 204, None), (b"GET", 304, None)])
def test_answers_without_a_body_end_with_their_head(method: bytes, status: int, length: bytes | None) -> None:
    wire = waiting()
    wire.send(frames.frame(frames.HEADERS, 5, 1, head(method)))
    wire.application.exchanges[0].respond(status, b"12345", TEXT)
    (answer,) = wire.read()
    assert (answer.type, wire.answers[1].ended, wire.answers[1].heads[0].get(b"content-length")) == (
        frames.HEADERS,
        True,
        length,
    )


def test_an_error_is_an_answer_and_the_connection_goes_on() -> None:
    class Refuser(Keeper):
        def handle(self, exchange: Exchange) -> None:
            raise NotFound("no such thing")

    wire = Wire(Refuser())
    wire.send(get(1), get(3))
    assert [(wire.answers[number].status, wire.answers[number].body) for number in (1, 3)] == [
        (404, b'{"error":"no such thing"}')
    ] * 2


def test_an_answer_may_be_written_in_parts() -> None:
    wire = waiting()
    wire.send(get(1))
    exchange = wire.application.exchanges[0]
    exchange.start(200, b"content-type: text/plain\r\n")
    exchange.write(b"ab")
    exchange.write(b"")
    exchange.write(b"c")
    exchange.finish()
    wire.read()
    answer = wire.answers[1]
    assert (answer.body, answer.ended, b"content-length" in answer.heads[0]) == (b"abc", True, False)
    assert wire.application.ended == [exchange]


def test_trailers_come_behind_the_body() -> None:
    wire = waiting()
    wire.send(get(1), get(3), get(5))
    for exchange in wire.application.exchanges:
        exchange.trailers = [(b"grpc-status", b"0"), (b"grpc-message", b"")]
    first, second, third = wire.application.exchanges
    first.respond(200, b"abc", TEXT)
    second.start(200, b"")
    second.write(b"ab")
    second.finish()
    third.respond(200, b"", TEXT)
    wire.read()
    for number, body in ((1, b"abc"), (3, b"ab"), (5, b"")):
        answer = wire.answers[number]
        assert (answer.body, answer.ended, answer.heads[1]) == (body, True, {b"grpc-status": b"0", b"grpc-message": b""})


def test_a_relayed_answer_keeps_its_own_fields() -> None:
    wire = waiting()
    wire.send(get(1))
    wire.application.exchanges[0].relay(207, b"Date: then\r\nX-A:b\r\n", b"ab")
    wire.read()
    fields = wire.answers[1].heads[0]
    assert (fields[b":status"], fields[b"date"], fields[b"x-a"]) == (b"207", b"then", b"b")


def test_a_head_that_is_larger_than_a_frame_is_continued() -> None:
    wire = waiting()
    wire.send(get(1))
    wire.application.exchanges[0].relay(200, b"x-a: %b\r\n" % (b"y" * 40_000), b"ab")
    assert [frame.type for frame in wire.read()] == [1, 9, 9, 0]
    assert (len(wire.answers[1].heads[0][b"x-a"]), wire.answers[1].body) == (40_000, b"ab")


def test_a_table_that_the_client_makes_smaller_is_taken_note_of() -> None:
    wire = Wire(settings={1: 0})
    wire.decoder.max_allowed_table_size = 0
    wire.send(get(1), get(3))
    assert wire.answers[3].status == 200


# ---- ends


def test_a_stream_that_is_reset_cancels_its_exchange() -> None:
    wire = Wire(application := Streamer())
    wire.send(get(1), get(3), frames.rst_stream(1, CANCEL))
    first, second = application.exchanges
    assert (first.cancelled, second.cancelled, application.cancelled, application.ended) == (True, False, 1, [first])
    first.respond(200, b"late", TEXT)
    assert wire.read() == []


def test_a_client_that_is_gone_cancels_every_exchange() -> None:
    wire = Wire(application := Streamer())
    wire.send(get(1), get(3), begin(5))
    wire.connection.connection_lost(None)
    assert ([exchange.cancelled for exchange in application.exchanges], len(application.ended)) == ([True, True], 3)
    assert wire.server.connections == set()


def test_an_answer_that_breaks_off_resets_its_stream() -> None:
    wire = waiting()
    wire.send(get(1))
    exchange = wire.application.exchanges[0]
    exchange.start(200, b"", 10)
    exchange.write(b"abc")
    exchange.fail(KfuncError("broken"))
    wire.read()
    assert (wire.answers[1].reset, wire.answers[1].ended, wire.application.ended) == (INTERNAL_ERROR, False, [exchange])


def test_a_malformed_request_is_counted() -> None:
    wire = Wire()
    wire.send(frames.frame(frames.HEADERS, 5, 1, b"\x82"))
    assert [(exchange.status, exchange.target) for exchange in wire.application.ended] == [(400, b"")]


def test_every_exchange_is_observed_once() -> None:
    wire = Wire(application := Keeper(waits=True), settings={4: 1})
    wire.send(get(1), get(3), get(5))
    application.exchanges[0].respond(200, b"abc", TEXT)  # is not sent to its end
    wire.send(frames.rst_stream(1, CANCEL), frames.rst_stream(3, CANCEL))
    wire.connection.connection_lost(None)
    assert sorted(exchange.target for exchange in application.ended) == [b"/"] * 3


def test_too_many_connections_are_sent_away() -> None:
    server = HttpServer(Keeper(), LIMITS)
    wires = [Wire(server=server, greet=False) for _ in range(4)]
    assert [wire.fault for wire in wires] == [None, None, None, ENHANCE_YOUR_CALM]


def test_a_drain_answers_what_was_sent_before_the_client_knew() -> None:
    wire = waiting()
    wire.send(get(1))
    wire.connection.drain()
    assert wire.read() == []  # some clients read nothing behind a GOAWAY
    ping, notice = wire.wait(2.5)
    assert (notice.last_stream_id, notice.error_code, ping.opaque_data) == (2**31 - 1, NO_ERROR, b"kfunc/go")
    wire.send(get(3), frames.frame(frames.PING, frames.ACK, 0, b"kfunc/go"))
    assert wire.goaways[-1] == (3, NO_ERROR)
    wire.send(get(5))
    assert (len(wire.application.exchanges), wire.answers[5].reset, wire.over) == (2, 7, False)
    for exchange in wire.application.exchanges:
        wire.application.answer(exchange)
    wire.read()
    assert (wire.answers[3].status, wire.over) == (200, True)


def test_a_drain_is_told_in_a_moment_without_streams() -> None:
    wire = waiting()
    wire.send(get(1))
    wire.connection.drain()
    wire.application.answer(wire.application.exchanges[0])
    assert [type(frame).__name__ for frame in wire.read()] == ["HeadersFrame", "DataFrame", "PingFrame", "GoAwayFrame"]


def test_a_drain_does_not_wait_for_a_client_that_answers_no_ping() -> None:
    wire = Wire()
    wire.connection.drain()
    assert not wire.over
    wire.wait(2.5)
    assert (wire.over, wire.goaways[-1]) == (True, (0, NO_ERROR))


def test_the_first_answer_of_a_drain_tells_the_client() -> None:
    wire = Wire()
    wire.server.draining = True
    wire.send(get(1))
    assert wire.goaways == [(2**31 - 1, NO_ERROR)]


def test_a_connection_that_is_over_lingers_and_goes() -> None:
    wire = Wire()
    wire.send(data(0, b"a"))
    assert (wire.transport.ended, wire.transport.closed) == (True, False)
    wire.wait(2.5)
    assert wire.transport.aborted


# ---- one port for both versions


@pytest.mark.parametrize("cuts", [[], [1], [2], [3], [10], [1, 2, 3, 24]])
def test_a_connection_that_begins_with_the_preface_becomes_http_2(cuts: list[int]) -> None:
    client = Client(application := Keeper())
    start = frames.PREFACE + frames.settings({}) + get(1, b"/two")
    edges = [0, *cuts, len(start)]
    client.send(*[start[begins:ends] for begins, ends in pairwise(edges)])
    assert application.seen == [(b"GET", b"/two", b"")]
    assert application.exchanges[0].version == "2"
    assert client.server.connections == {client.transport.protocol}


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"PROPFIND"])
def test_other_methods_that_begin_with_a_p_stay_http_1(method: bytes) -> None:
    client = Client(application := Keeper())
    client.send(*[bytes((byte,)) for byte in b"%b / HTTP/1.1\r\nhost: a\r\n\r\n" % method])
    assert application.seen == [(method, b"/", b"")]


def test_bytes_before_the_version_is_known_are_not_forgotten() -> None:
    client = Client(application := Keeper())
    client.send(b"P", get_1())
    assert (application.seen, client.over) == ([], True)


def test_the_preface_is_none_behind_a_request() -> None:
    client = Client(Keeper())
    answers = client.send(get_1(), frames.PREFACE)
    assert (statuses(answers), client.over) == ([200, 400], True)


def test_post_reaches_the_application_with_its_body_on_both() -> None:
    wire = Wire()
    wire.send(post(1, b"abc"))
    assert wire.application.seen == [(b"POST", b"/", b"abc")]
