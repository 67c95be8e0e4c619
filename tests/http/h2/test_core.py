"""What becomes of each frame in each state, by the sections of RFC 9113; h2spec's cases and some more."""

import pytest

from kfunc.http.h2 import frames
from kfunc.http.h2.faults import (
    CANCEL,
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
)
from kfunc.http.h2.frames import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    SETTINGS,
    WITH_PRIORITY,
)
from kfunc.http.h2.frames import frame as made
from kfunc.http.h2.settings import EARLY_STREAMS, EARLY_WINDOW, OUR_STREAMS, OUR_WINDOW
from kfunc.http.h2.streams import TRANSITIONS
from tests.http.fakes import Keeper
from tests.http.h2.streamers import Streamer
from tests.http.h2.wires import END_HEADERS, END_STREAM, HUGE, LAST, Wire, begin, data, get, head, post

BLOCK = head()
SETTING = frames.settings

CONNECTION_FAULTS = [
    ("3.4 something else than SETTINGS after the preface", [made(PING, 0, 0, bytes(8))], PROTOCOL_ERROR, False),
    ("3.4 an acknowledgement as the first SETTINGS", [made(SETTINGS, frames.ACK, 0)], PROTOCOL_ERROR, False),
    ("4.2 a frame that is too large", [frames.frame_head(16_385, DATA, 0, 1)], FRAME_SIZE_ERROR, True),
    ("4.3 a broken header block", [made(HEADERS, LAST, 1, b"\xff\xff\xff\xff\xff\xff")], COMPRESSION_ERROR, True),
    ("4.3 broken trailers", [begin(1), made(HEADERS, LAST, 1, b"\x80")], COMPRESSION_ERROR, True),
    (
        "4.3 a frame between HEADERS and CONTINUATION",
        [made(HEADERS, 1, 1, BLOCK), made(PING, 0, 0, bytes(8))],
        PROTOCOL_ERROR,
        True,
    ),
    ("4.3 DATA between HEADERS and CONTINUATION", [made(HEADERS, 0, 1, BLOCK), data(1, b"a")], PROTOCOL_ERROR, True),
    ("4.3 HEADERS between HEADERS and CONTINUATION", [made(HEADERS, 1, 1, BLOCK), get(3)], PROTOCOL_ERROR, True),
    (
        "4.3 CONTINUATION of another stream",
        [made(HEADERS, 1, 1, BLOCK), made(CONTINUATION, 4, 3, b"")],
        PROTOCOL_ERROR,
        True,
    ),
    ("5.1 DATA on an idle stream", [data(1, b"a")], PROTOCOL_ERROR, True),
    ("5.1 RST_STREAM on an idle stream", [frames.rst_stream(1, 8)], PROTOCOL_ERROR, True),
    ("5.1 WINDOW_UPDATE on an idle stream", [frames.window_update(1, 1)], PROTOCOL_ERROR, True),
    ("5.1 CONTINUATION on an idle stream", [made(CONTINUATION, 4, 1, BLOCK)], PROTOCOL_ERROR, True),
    ("5.1 HEADERS on a stream that ended", [get(1), get(1)], STREAM_CLOSED, True),
    ("5.1 CONTINUATION on a stream that ended", [get(1), made(CONTINUATION, 4, 1, BLOCK)], PROTOCOL_ERROR, True),
    ("5.1.1 a stream with an even number", [get(2)], PROTOCOL_ERROR, True),
    ("5.1.1 a stream with a number that was left out", [get(5), get(3)], PROTOCOL_ERROR, True),
    ("6.1 DATA on stream 0", [data(0, b"a")], PROTOCOL_ERROR, True),
    ("6.1 padding that is too long", [begin(1), made(DATA, PADDED, 1, b"\x05abc")], PROTOCOL_ERROR, True),
    ("6.2 HEADERS on stream 0", [get(0)], PROTOCOL_ERROR, True),
    ("6.2 padding that is too long", [made(HEADERS, LAST | PADDED, 1, b"\xff" + BLOCK)], PROTOCOL_ERROR, True),
    ("6.2 a priority that is cut off", [made(HEADERS, LAST | WITH_PRIORITY, 1, b"\0\0")], FRAME_SIZE_ERROR, True),
    ("6.1 padding of no known length", [begin(1), made(DATA, PADDED, 1)], FRAME_SIZE_ERROR, True),
    ("6.5 SETTINGS of a wrong size", [made(SETTINGS, 0, 0, bytes(5))], FRAME_SIZE_ERROR, True),
    ("6.5 an acknowledgement that is not empty", [made(SETTINGS, frames.ACK, 0, bytes(6))], FRAME_SIZE_ERROR, True),
    ("6.5.2 ENABLE_PUSH of 2", [SETTING({2: 2})], PROTOCOL_ERROR, True),
    ("6.5.2 a window of 2^31", [SETTING({4: 2**31})], FLOW_CONTROL_ERROR, True),
    ("6.5.2 frames that are too small", [SETTING({5: 16_383})], PROTOCOL_ERROR, True),
    ("6.5.2 frames that are too large", [SETTING({5: 2**24})], PROTOCOL_ERROR, True),
    ("6.6 PUSH_PROMISE", [begin(1), made(PUSH_PROMISE, 4, 1, bytes(4) + BLOCK)], PROTOCOL_ERROR, True),
    ("6.9 a WINDOW_UPDATE of 0", [frames.window_update(0, 0)], PROTOCOL_ERROR, True),
    ("6.9.1 a window that is too large", [frames.window_update(0, HUGE), frames.window_update(0, 1)], FLOW_CONTROL_ERROR, True),
    (
        "6.9.2 a stream's window that is too large by SETTINGS",
        [begin(1), frames.window_update(1, HUGE), SETTING({4: 65_536})],
        FLOW_CONTROL_ERROR,
        True,
    ),
]


@pytest.mark.parametrize(
    ("parts", "code", "greet"), [case[1:] for case in CONNECTION_FAULTS], ids=[case[0] for case in CONNECTION_FAULTS]
)
def test_an_error_of_the_connection_ends_it_with_its_code(parts: list[bytes], code: int, greet: bool) -> None:
    wire = Wire(Keeper(), greet=greet)
    wire.send(*([] if greet else [frames.PREFACE]), *parts)
    assert wire.fault == code


@pytest.mark.parametrize("start", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", b"PRIX", b"PRI * HTTP/1.1\r\n\r\n"])
def test_a_wrong_preface_ends_the_connection(start: bytes) -> None:
    wire = Wire(greet=False)
    wire.send(start)
    assert wire.fault == PROTOCOL_ERROR


STREAM_FAULTS = [
    ("5.1 DATA on a half-closed stream", [begin(1, b"/wait") + data(1, b"", True), data(1, b"a")], STREAM_CLOSED),
    ("5.1 HEADERS on a half-closed stream", [get(1, b"/wait"), get(1)], STREAM_CLOSED),
    ("5.1 DATA on a stream that ended", [get(1), data(1, b"a")], STREAM_CLOSED),
    ("5.1 DATA on a stream that the client reset", [begin(1), frames.rst_stream(1, CANCEL), data(1, b"a")], STREAM_CLOSED),
    ("5.1 HEADERS on a stream that the client reset", [begin(1), frames.rst_stream(1, CANCEL), get(1)], STREAM_CLOSED),
    ("5.3.1 a stream that depends on itself", [made(HEADERS, LAST | WITH_PRIORITY, 1, b"\0\0\0\1\0" + BLOCK)], PROTOCOL_ERROR),
    ("5.3.1 a PRIORITY that depends on itself", [begin(1), made(PRIORITY, 0, 1, b"\0\0\0\1\0")], PROTOCOL_ERROR),
    ("6.3 a PRIORITY of a wrong size", [begin(1), made(PRIORITY, 0, 1, bytes(4))], FRAME_SIZE_ERROR),
    ("6.9 a WINDOW_UPDATE of 0", [begin(1), frames.window_update(1, 0)], PROTOCOL_ERROR),
    (
        "6.9.1 a window that is too large",
        [begin(1), frames.window_update(1, HUGE), frames.window_update(1, 1)],
        FLOW_CONTROL_ERROR,
    ),
    ("8.1 HEADERS behind the body that do not end it", [begin(1), made(HEADERS, END_HEADERS, 1, b"")], PROTOCOL_ERROR),
    ("8.1 pseudo-headers in trailers", [begin(1), made(HEADERS, LAST, 1, BLOCK)], PROTOCOL_ERROR),
    (
        "8.1.1 a body that is shorter than said",
        [begin(1, b"/", [(b"content-length", b"2")]), data(1, b"a", True)],
        PROTOCOL_ERROR,
    ),
    ("8.1.1 a body that is longer than said", [begin(1, b"/", [(b"content-length", b"2")]), data(1, b"abc")], PROTOCOL_ERROR),
    ("8.1.1 no body where one was said", [get(1, b"/", [(b"content-length", b"2")])], PROTOCOL_ERROR),
    (
        "8.1.1 trailers behind a body that is shorter than said",
        [begin(1, b"/", [(b"content-length", b"2")]), made(HEADERS, LAST, 1, b"")],
        PROTOCOL_ERROR,
    ),
    ("8.3 a head without a path", [made(HEADERS, LAST, 1, b"\x82\x86")], PROTOCOL_ERROR),
]


class Waiter(Keeper):
    """Answers all but /wait."""

    def answer(self, exchange) -> None:  # type: ignore[no-untyped-def]
        if exchange.target != b"/wait":
            super().answer(exchange)


@pytest.mark.parametrize(("parts", "code"), [case[1:] for case in STREAM_FAULTS], ids=[case[0] for case in STREAM_FAULTS])
def test_an_error_of_a_stream_resets_it_and_nothing_else(parts: list[bytes], code: int) -> None:
    wire = Wire(Waiter())
    wire.send(*parts)
    assert (wire.answers[1].reset, wire.fault) == (code, None)
    wire.send(get(101))
    assert wire.answers[101].status == 200


TAKEN = [
    ("5.1 PRIORITY on an idle stream", [made(PRIORITY, 0, 1, bytes(5)), get(1)]),
    ("5.1 RST_STREAM and WINDOW_UPDATE on a stream that ended", [get(1), frames.rst_stream(1, 8), frames.window_update(1, 9)]),
    ("5.1 PRIORITY on a stream that ended", [get(1), made(PRIORITY, 0, 1, bytes(5))]),
    ("5.5 a frame of an unknown type", [made(77, 255, 1, b"abc"), get(1)]),
    ("6.1 padded DATA", [begin(1), made(DATA, PADDED | END_STREAM, 1, b"\x02ab\0\0")]),
    (
        "6.2 padded HEADERS with a priority",
        [made(HEADERS, LAST | PADDED | WITH_PRIORITY, 1, b"\x02" + bytes(5) + BLOCK + b"\0\0")],
    ),
    ("6.5.2 unknown settings", [SETTING({99: 2**32 - 1}), get(1)]),
    (
        "6.10 CONTINUATION",
        [made(HEADERS, END_STREAM, 1, BLOCK[:3]), made(CONTINUATION, 0, 1, BLOCK[3:5]), made(CONTINUATION, 4, 1, BLOCK[5:])],
    ),
    ("6.10 CONTINUATION that is empty", [made(HEADERS, END_STREAM, 1, BLOCK), made(CONTINUATION, 4, 1, b"")]),
]


@pytest.mark.parametrize("parts", [case[1] for case in TAKEN], ids=[case[0] for case in TAKEN])
@pytest.mark.parametrize("cut", [0, 1])
def test_what_is_unusual_and_right_is_taken(parts: list[bytes], cut: int) -> None:
    wire = Wire()
    wire.send(*(parts if not cut else [bytes((byte,)) for byte in b"".join(parts)]))
    assert (wire.answers[1].status, wire.answers[1].ended, wire.answers[1].reset, wire.fault) == (200, True, None, None)


def test_every_state_has_an_answer_to_every_frame() -> None:
    kinds = (DATA, HEADERS, PRIORITY, frames.RST_STREAM, PUSH_PROMISE, frames.WINDOW_UPDATE, CONTINUATION)
    assert set(TRANSITIONS) == {(state, kind) for state in range(7) for kind in kinds}


def test_settings_are_acknowledged_and_ours_are_told() -> None:
    wire = Wire(greet=False)
    assert b"\0\3\0\0\0\x64" in wire.transport.sent
    assert [type(frame).__name__ for frame in wire.send(frames.PREFACE + SETTING({4: 1000}))] == ["SettingsFrame"]


def test_a_ping_is_answered_with_its_bytes() -> None:
    (pong,) = Wire().send(made(PING, 0, 0, b"12345678"))
    assert (pong.opaque_data, pong.flags) == (b"12345678", {"ACK"})


def test_a_stream_too_many_is_refused_and_the_others_go_on() -> None:
    wire = Wire(Keeper(waits=True))
    wire.send(*[get(number) for number in range(1, 2 * OUR_STREAMS + 2, 2)])
    assert (len(wire.application.exchanges), wire.answers[2 * OUR_STREAMS + 1].reset) == (OUR_STREAMS, REFUSED_STREAM)
    wire.application.answer(wire.application.exchanges[0])
    wire.send(get(2 * OUR_STREAMS + 3))
    assert len(wire.application.exchanges) == OUR_STREAMS + 1


def newcomer(application: Keeper) -> Wire:
    """A client that has not had our settings."""
    wire = Wire(application, greet=False)
    wire.send(frames.PREFACE + SETTING({}))
    return wire


def test_a_client_that_does_not_know_our_settings_may_open_more_streams() -> None:
    wire = newcomer(Keeper(waits=True))
    wire.send(*[post(number, b"a" * EARLY_WINDOW) for number in range(1, 4 * OUR_STREAMS, 2)])
    assert (len(wire.application.exchanges), list(wire.answers)) == (2 * OUR_STREAMS, [0])
    wire.send(made(SETTINGS, frames.ACK, 0), get(4 * OUR_STREAMS + 1))
    assert wire.answers[4 * OUR_STREAMS + 1].reset == REFUSED_STREAM
    for exchange in wire.application.exchanges:
        wire.application.answer(exchange)
    wire.read()
    assert [wire.answers[number].status for number in range(1, 4 * OUR_STREAMS, 2)] == [200] * 2 * OUR_STREAMS


LARGE = bytes(EARLY_WINDOW + 1)
TOO_LARGE = {
    "as its head says": begin(201, b"/", [(b"content-length", b"%d" % len(LARGE))]),
    "as its body shows": begin(201) + data(201, LARGE[:3000]) + data(201, LARGE[3000:]),
}


@pytest.mark.parametrize("request_bytes", TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_such_a_stream_is_refused_if_its_body_is_large(request_bytes: bytes) -> None:
    wire = newcomer(Keeper(waits=True))
    wire.send(*[get(number) for number in range(1, 2 * OUR_STREAMS, 2)], request_bytes)
    assert (wire.answers[201].reset, len(wire.application.exchanges), wire.over) == (REFUSED_STREAM, OUR_STREAMS, False)


def test_such_a_stream_is_not_begun_before_its_body_is_there() -> None:
    wire = newcomer(application := Streamer())
    wire.send(*[get(number) for number in range(1, 2 * OUR_STREAMS, 2)], begin(201), data(201, bytes(2000)))
    assert (wire.answers[201].reset, len(application.exchanges)) == (REFUSED_STREAM, OUR_STREAMS)


def test_a_client_that_does_not_know_our_settings_may_not_open_any_number_of_streams() -> None:
    wire = newcomer(Keeper(waits=True))
    wire.send(*[get(number) for number in range(1, 2 * EARLY_STREAMS + 2, 2)])
    assert (len(wire.core.streams), wire.answers[2 * EARLY_STREAMS + 1].reset) == (EARLY_STREAMS, REFUSED_STREAM)


def test_more_data_than_the_window_of_a_stream_resets_it() -> None:
    wire = Wire(Keeper(waits=True))
    wire.send(begin(1))
    wire.core.hold(wire.core.streams[1], True)
    wire.send(*[data(1, bytes(16_384)) for _ in range(OUR_WINDOW // 16_384)])
    assert 1 not in wire.answers
    wire.send(data(1, b"x"))
    assert wire.answers[1].reset == FLOW_CONTROL_ERROR


def test_padding_counts_for_the_windows() -> None:
    wire = Wire()
    wire.send(begin(1), made(DATA, PADDED, 1, b"\xff" + bytes(255)))
    assert wire.core.streams[1].receive_window == OUR_WINDOW - 256


def test_a_client_that_leaves_gets_its_answers_first() -> None:
    wire = Wire(Keeper(waits=True))
    wire.send(get(1), frames.goaway(0, NO_ERROR))
    assert not wire.over
    wire.application.answer(wire.application.exchanges[0])
    wire.read()
    assert (wire.answers[1].status, wire.over, wire.fault) == (200, True, NO_ERROR)


def test_goaway_names_the_last_stream_that_was_looked_at() -> None:
    wire = Wire()
    wire.send(get(1), get(7), made(GOAWAY, 0, 1, bytes(8)))
    assert wire.goaways == [(7, PROTOCOL_ERROR)]


def test_nothing_is_read_after_an_error_of_the_connection() -> None:
    wire = Wire()
    wire.send(data(1, b"a") + get(1), get(3))
    assert wire.application.seen == []


def test_trailers_that_are_too_long_reset_their_stream() -> None:
    wire = Wire()
    block = b"".join(b"\0\1a\x7f\x81\x1f" + b"x" * 4096 for _ in range(3))
    wire.send(begin(1), made(HEADERS, END_STREAM, 1, block), made(CONTINUATION, 0, 1, block), made(CONTINUATION, 4, 1, b""))
    assert wire.answers[1].reset == ENHANCE_YOUR_CALM


def test_a_request_that_is_posted_arrives_with_its_body() -> None:
    wire = Wire()
    wire.send(post(1, b"abc", b"/x"))
    assert (wire.answers[1].body, wire.answers[1].heads[0][b"content-length"]) == (b"POST /x abc", b"11")
