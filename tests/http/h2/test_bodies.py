"""Bodies of requests: whole ones, those that stream, who waits, and the bounds."""

import pytest

from kfunc.errors import Unavailable
from kfunc.http.h2 import frames
from kfunc.http.h2.exchange import H2Exchange
from kfunc.http.h2.faults import NO_ERROR
from kfunc.http.h2.settings import OUR_WINDOW
from tests.http.fakes import Keeper
from tests.http.h2.streamers import Streamer
from tests.http.h2.wires import END_HEADERS, Wire, begin, data, get, head


def waiting() -> Wire:
    return Wire(Keeper(waits=True))


def test_a_body_in_many_frames_is_handed_over_whole() -> None:
    wire = Wire()
    wire.send(begin(1), *[data(1, b"ab")] * 2000, data(1, b"c", end=True))
    assert wire.application.exchanges[0].body == b"ab" * 2000 + b"c"


def test_trailers_of_a_request_are_kept() -> None:
    wire = waiting()
    wire.send(begin(1), data(1, b"a"), frames.frame(frames.HEADERS, 5, 1, b"\0\1x\1y"))
    (exchange,) = wire.application.exchanges
    assert isinstance(exchange, H2Exchange)
    assert (exchange.body, exchange.complete, exchange.received_trailers) == (b"a", True, [(b"x", b"y")])


def test_a_large_body_streams_and_its_window_grows() -> None:
    wire = Wire(application := Streamer())
    wire.send(begin(1))
    for _ in range(60):
        wire.send(data(1, bytes(16_384)))
    assert (len(application.sinks[0].body), wire.answers[1].reset) == (60 * 16_384, None)
    assert wire.core.streams[1].receive_window > OUR_WINDOW
    wire.send(data(1, b"", end=True))
    assert application.sinks[0].ended
    assert application.exchanges[0].receiver is None  # it knows its exchange


def test_a_body_of_a_known_size_is_handed_over_at_once() -> None:
    wire = Wire(application := Streamer())
    wire.send(begin(1, b"/", [(b"content-length", b"1001")]))
    assert len(application.exchanges) == 1


def test_a_receiver_that_holds_gets_what_fits_into_the_window_and_no_more() -> None:
    wire = Wire(application := Streamer())
    wire.send(begin(1), data(1, bytes(2000)))
    application.exchanges[0].hold(True)
    for _ in range(5):
        wire.send(data(1, bytes(16_384)))
    assert not [frame for frame in wire.send(data(1, bytes(10_000))) if frame.type == 8 and frame.stream_id == 1]
    application.exchanges[0].hold(False)
    (update,) = wire.read()
    assert (update.type, update.stream_id) == (8, 1)


def test_a_stream_that_is_held_does_not_hold_the_others() -> None:
    wire = Wire(application := Streamer())
    wire.send(begin(1), data(1, bytes(2000)))
    application.exchanges[0].hold(True)
    for _ in range(5):
        wire.send(data(1, bytes(16_384)))
    for number in range(3, 43, 2):
        wire.send(begin(number), *[data(number, bytes(16_384)) for _ in range(6)])
    assert [len(sink.body) for sink in application.sinks[1:]] == [6 * 16_384] * 20
    assert wire.fault is None


def test_bodies_that_wait_whole_share_a_bound_and_the_oldest_goes_on() -> None:
    wire = waiting()  # 1,000,000 bytes for all
    streams = list(range(1, 81, 2))
    wire.send(*[begin(number) for number in streams])
    sent = dict.fromkeys(streams, 0)
    for _ in range(40):
        for number in streams:
            if number in wire.core.streams and wire.core.streams[number].receive_window >= 16_384 and sent[number] < 900_000:
                wire.send(data(number, bytes(16_384)))
                sent[number] += 16_384
    assert sent[1] > 600_000
    assert sum(sent.values()) < 1_000_000 + sent[1] + len(streams) * OUR_WINDOW
    for number in streams:  # each comes to its end, one after the other
        while sent[number] < 900_000:
            assert wire.core.streams[number].receive_window >= 16_384
            wire.send(data(number, bytes(16_384)))
            sent[number] += 16_384
        wire.send(data(number, b"", end=True))
    assert [len(exchange.body) for exchange in wire.application.exchanges] == [sent[number] for number in streams]


def test_a_body_that_is_refused_ends_its_stream_and_no_other() -> None:
    wire = waiting()
    wire.send(begin(1), data(1, b"whole", end=True), begin(3), data(3, bytes(1000)), begin(5), data(5, bytes(500)))
    longest, other = wire.connection.unfinished()
    assert (longest.size, other.size) == (1000, 500)
    longest.refuse(Unavailable("too many"))
    wire.read()
    assert wire.answers[3].status == 503
    assert 5 not in wire.answers
    wire.send(data(5, b"", end=True))
    assert [len(exchange.body) for exchange in wire.application.exchanges] == [5, 500]
    wire.application.answer(wire.application.exchanges[1])
    wire.application.answer(wire.application.exchanges[0])
    wire.read()
    assert wire.answers[1].status == 200


def test_a_client_that_expects_to_be_asked_is_asked() -> None:
    wire = Wire()
    wire.send(begin(1, b"/", [(b"expect", b"100-continue")]))
    assert wire.answers[1].status == 100
    wire.send(data(1, b"abc", end=True))
    assert wire.answers[1].heads[1][b":status"] == b"200"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(b"expect", b"100-continue"), (b"content-length", b"1000001")], 413),
        ([(b"expect", b"else")], 417),
        ([(b"x-%d" % number, b"") for number in range(60)], 431),
        ([(b"x-a", b"y" * 20_000)], 431),
    ],
)
def test_a_request_that_cannot_be_served_is_answered_before_its_body(fields: list[tuple[bytes, bytes]], status: int) -> None:
    wire = Wire()
    block = head(b"POST", b"/", fields)
    wire.send(frames.frame(1, 0, 1, block[:16_000]) + frames.frame(9, END_HEADERS, 1, block[16_000:]))
    assert (wire.answers[1].status, wire.answers[1].ended, wire.answers[1].reset) == (status, True, NO_ERROR)
    wire.send(data(1, b"abc", end=True))
    assert (wire.fault, wire.application.seen, len(wire.application.ended)) == (None, [], 1)


def test_a_body_over_its_bound_is_413_and_what_follows_is_dropped() -> None:
    wire = Wire()
    wire.send(begin(1))
    for _ in range(70):
        wire.send(data(1, bytes(16_384)))
    assert (wire.answers[1].status, wire.answers[1].reset, wire.fault) == (413, NO_ERROR, None)
    assert wire.send(get(3))
    assert wire.answers[3].status == 200
