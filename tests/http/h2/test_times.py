"""How long a client may keep the server waiting; the server's clock is an attribute."""

from kfunc.http.h2 import frames
from kfunc.http.h2.faults import ENHANCE_YOUR_CALM, NO_ERROR, PROTOCOL_ERROR, SETTINGS_TIMEOUT
from tests.http.fakes import Keeper
from tests.http.h2.streamers import Streamer
from tests.http.h2.wires import Wire, begin, data, get, head

TEXT = b"text/plain; charset=utf-8"
NO_WINDOW = {4: 0}


def waiting() -> Wire:
    return Wire(Keeper(waits=True))


def test_settings_that_are_not_acknowledged_end_the_connection() -> None:
    wire = Wire(greet=False)
    wire.send(frames.PREFACE + frames.settings({}))
    wire.wait(5)
    assert not wire.over
    wire.wait(6)
    assert wire.fault == SETTINGS_TIMEOUT


def test_a_client_that_does_not_go_on_after_the_preface_is_sent_away() -> None:
    wire = Wire(greet=False)
    wire.send(frames.PREFACE[:10])
    wire.wait(11)
    assert wire.fault == PROTOCOL_ERROR


def test_a_header_block_that_does_not_end_is_an_error() -> None:
    wire = Wire()
    wire.send(frames.frame(frames.HEADERS, 0, 1, head()))
    wire.wait(2)
    wire.send(frames.frame(frames.CONTINUATION, 0, 1, b""))
    wire.wait(9)
    assert wire.fault == ENHANCE_YOUR_CALM


def test_a_frame_that_comes_byte_by_byte_is_an_error_in_the_end() -> None:
    wire = Wire()
    for byte in get()[:12]:
        wire.send(bytes((byte,)))
        wire.wait(1)
    assert wire.fault == ENHANCE_YOUR_CALM


def test_frames_that_are_cut_at_each_segment_are_no_slow_frame() -> None:
    wire = Wire()
    rest = b""
    for number in range(1, 41, 2):
        request = rest + get(number)
        wire.send(request[:-5])
        rest = request[-5:]
        wire.wait(1)
    assert wire.fault is None


def test_a_body_that_stops_is_408() -> None:
    wire = Wire()
    wire.send(begin(1), data(1, b"a"), begin(3))
    wire.wait(20)
    wire.send(data(3, b"a"))
    wire.wait(11)
    assert (wire.answers[1].status, wire.answers[1].reset, 3 in wire.answers) == (408, NO_ERROR, False)


def test_a_body_on_a_slow_link_is_no_body_that_stops() -> None:
    wire = Wire()
    wire.send(begin(1))
    frame = data(1, b"abcdef", end=True)
    wire.send(frame[:10])
    for byte in frame[10:]:
        wire.wait(20)
        wire.send(bytes((byte,)))
    assert wire.answers[1].body == b"POST / abcdef"


def test_a_body_that_is_held_may_take_its_time() -> None:
    wire = Wire(application := Streamer())
    wire.send(begin(1), data(1, bytes(2000)))
    application.exchanges[0].hold(True)
    wire.wait(100)
    assert 1 not in wire.answers
    application.exchanges[0].hold(False)
    wire.wait(20)
    assert 1 not in wire.answers
    wire.wait(11)
    assert wire.answers[1].status == 408
    assert application.cancelled == 1


def test_an_answer_that_nobody_takes_is_given_up() -> None:
    wire = Wire(application := Keeper(waits=True), settings=NO_WINDOW)
    wire.send(get(1))
    application.exchanges[0].respond(200, b"abc", TEXT)
    wire.wait(20)
    wire.wait(11)
    assert (wire.answers[1].reset, wire.core.streams, wire.over) == (ENHANCE_YOUR_CALM, {}, False)


def test_an_idle_connection_is_closed() -> None:
    wire = Wire()
    wire.send(get(1))
    wire.wait(70)
    wire.wait(2)
    assert not wire.over
    wire.wait(10)
    assert (wire.over, wire.fault) == (True, NO_ERROR)


def test_a_connection_is_idle_from_its_last_answer_on() -> None:
    wire = waiting()
    wire.send(get(1))
    wire.wait(100)
    wire.application.answer(wire.application.exchanges[0])
    wire.wait(70)
    assert not wire.over


def test_a_client_that_reads_nothing_is_cut_off() -> None:
    wire = waiting()
    wire.send(get(1))
    wire.transport.unsent = 100_000
    wire.connection.pause_writing()
    wire.transport.unsent = 90_000
    wire.wait(31)
    assert not wire.transport.aborted
    wire.wait(31)
    assert wire.transport.aborted
