"""Answers within the windows of a client that takes them slowly (RFC 9113, 5.2 and 6.9)."""

from kfunc.http.h2 import frames
from kfunc.http.h2.faults import ENHANCE_YOUR_CALM
from kfunc.http.h2.outbox import ROOM
from tests.http.fakes import Keeper
from tests.http.h2.streamers import Streamer
from tests.http.h2.wires import Wire, get

TEXT = b"text/plain; charset=utf-8"
BIG = b"x" * 300_000
NO_WINDOW = {4: 0}


def test_an_answer_is_sent_as_far_as_the_window_of_its_stream_allows() -> None:
    wire = Wire(application := Keeper(waits=True), settings={4: 100})
    wire.send(get(1), get(3))
    for exchange in application.exchanges:
        exchange.respond(200, BIG, TEXT)
    wire.read()
    assert [len(wire.answers[number].body) for number in (1, 3)] == [100, 100]
    wire.send(frames.window_update(3, 1_000_000))
    assert [len(wire.answers[number].body) for number in (1, 3)] == [100, 65_435]
    wire.send(frames.window_update(0, 1_000_000))
    assert (wire.answers[3].body, wire.answers[3].ended, wire.answers[1].ended) == (BIG, True, False)


def test_settings_open_and_close_the_windows_of_open_streams() -> None:
    wire = Wire(application := Keeper(waits=True), settings={4: 1000})
    wire.send(get(1))
    application.exchanges[0].respond(200, b"x" * 2000, TEXT)
    wire.send(frames.settings({4: 0}), frames.window_update(1, 500))
    assert len(wire.answers[1].body) == 1000
    wire.send(frames.settings({4: 1500}))
    assert (len(wire.answers[1].body), wire.answers[1].ended) == (2000, True)


def test_large_answers_take_turns() -> None:
    wire = Wire(application := Keeper(waits=True), settings={4: 2**20})
    wire.send(get(1), get(3))
    for exchange in application.exchanges:
        exchange.respond(200, BIG, TEXT)
    wire.read()
    order = [frame.stream_id for frame in wire.send(frames.window_update(0, 2**20)) if frame.type == 0]
    assert order[:6] in ([1, 3] * 3, [3, 1] * 3)
    assert wire.answers[1].body == wire.answers[3].body == BIG


def test_a_client_may_ask_for_larger_frames() -> None:
    wire = Wire(application := Keeper(waits=True), settings={4: 2**20, 5: 2**20})
    wire.send(frames.window_update(0, 2**20), get(1))
    application.exchanges[0].respond(200, BIG, TEXT)
    assert [len(frame.data) for frame in wire.read() if frame.type == 0] == [len(BIG)]


def test_trailers_wait_for_the_body() -> None:
    wire = Wire(application := Keeper(waits=True), settings={4: 1})
    wire.send(get(1))
    application.exchanges[0].trailers = [(b"x", b"y")]
    application.exchanges[0].respond(200, b"abc", TEXT)
    wire.read()
    assert (len(wire.answers[1].heads), wire.answers[1].body) == (1, b"a")
    wire.send(frames.window_update(1, 10))
    assert (wire.answers[1].heads[1], wire.answers[1].ended) == ({b"x": b"y"}, True)


def test_a_producer_is_told_to_pause_and_to_go_on() -> None:
    wire = Wire(application := Streamer(), settings=NO_WINDOW)
    wire.send(get(1))
    exchange = application.exchanges[0]
    exchange.start(200, b"")
    for _ in range(4):
        exchange.write(bytes(ROOM // 2))
    assert application.pressure == [True]
    wire.send(frames.window_update(1, ROOM), frames.window_update(1, 2 * ROOM), frames.window_update(0, ROOM))
    assert application.pressure == [True, False]


def test_a_transport_that_is_full_holds_everything_back() -> None:
    wire = Wire(application := Streamer(), settings={4: 2**20})
    wire.send(get(1), frames.window_update(0, 2**20))
    application.exchanges[0].start(200, b"")
    wire.connection.pause_writing()
    assert (wire.transport.reading, application.pressure) == (False, [True])
    application.exchanges[0].write(b"abc")
    wire.read()
    assert wire.answers[1].body == b""
    wire.connection.resume_writing()
    wire.read()
    assert (wire.answers[1].body, wire.transport.reading, application.pressure) == (b"abc", True, [True, False])


def test_a_client_with_small_windows_may_update_them_as_long_as_it_takes_the_answer() -> None:
    wire = Wire(application := Keeper(waits=True))
    wire.send(get(1))
    body = bytes(5_000_000)
    application.exchanges[0].respond(200, body, TEXT)
    wire.read()
    while not wire.answers[1].ended:
        before = len(wire.answers[1].body)
        wire.transport.sent, wire.read_bytes = b"", 0
        wire.send(*[frames.window_update(number, 4096) for number in (0, 1)] * 25)
        assert len(wire.answers[1].body) > before
    assert (wire.answers[1].body == body, wire.fault) == (True, None)


def test_a_client_may_ping_for_each_message_of_a_long_answer() -> None:
    wire = Wire(application := Streamer(), settings={4: 100_000})
    wire.send(get(1))
    application.exchanges[0].start(200, b"")
    for _ in range(10_000):
        application.exchanges[0].write(b"message")
        wire.send(frames.frame(frames.PING, 0, 0, bytes(8)) + frames.window_update(0, 7))
    assert (len(wire.answers[1].body), wire.fault) == (70_000, None)


def test_windows_that_open_by_single_bytes_end_the_connection() -> None:
    wire = Wire(application := Keeper(waits=True), settings={4: 1})
    wire.send(get(1))
    application.exchanges[0].respond(200, BIG, TEXT)
    for _ in range(3000):
        wire.send(frames.window_update(1, 1))
    assert wire.fault == ENHANCE_YOUR_CALM
