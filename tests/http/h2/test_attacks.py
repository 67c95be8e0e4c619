"""Clients that want much for little (threats of 2019, 2023, 2024, 2025): sent away with the right code, and no memory kept."""

import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from kfunc.http.h2 import frames
from kfunc.http.h2.faults import CANCEL, ENHANCE_YOUR_CALM, PROTOCOL_ERROR
from kfunc.http.h2.frames import frame as made
from kfunc.http.h2.settings import EARLY_STREAMS, EARLY_WINDOW, OUR_STREAMS, OUR_WINDOW
from kfunc.http.server import HttpServer
from tests.http.fakes import Keeper
from tests.http.h2.wires import END_STREAM, LAST, LIMITS, Wire, begin, data, get, head

MANY = 10_000
MOST = 16 * 1024 * 1024
TEXT = b"text/plain; charset=utf-8"


class Forgetful(Keeper):
    """Keeps no exchange that has ended: what grows is the server's."""

    def observe(self, exchange: object) -> None:
        self.exchanges.clear()


class Deaf(Forgetful):
    """Never answers."""

    def __init__(self) -> None:
        super().__init__(waits=True)


def numbers(count: int = MANY) -> range:
    return range(1, 2 * count, 2)


def rapid_reset() -> Iterator[bytes]:
    """CVE-2023-44487."""
    for number in numbers():
        yield get(number) + frames.rst_stream(number, CANCEL)


def resets_that_we_make(fault: str) -> Iterator[bytes]:
    """CVE-2025-8671: a fault in each stream, so that it is the server that resets it."""
    for number in numbers():
        yield {
            "window of 0": get(number) + frames.window_update(number, 0),
            "window too large": get(number) + frames.window_update(number, 2**31 - 1),
            "DATA behind the end": get(number) + data(number, b"a"),
            "malformed": made(frames.HEADERS, LAST, number, b"\x82"),
            "priority": get(number) + made(frames.PRIORITY, 0, number, bytes(3)),
        }[fault]


def streams_too_many() -> Iterator[bytes]:
    for number in numbers():
        yield get(number)


def continuations(size: int) -> Iterator[bytes]:
    """CVE-2024-27316."""
    yield made(frames.HEADERS, END_STREAM, 1, head())
    for _ in range(MANY):
        yield made(frames.CONTINUATION, 0, 1, b"\0\1a\1b" * size)


def repeated(frame: bytes, start: bytes = b"") -> Iterator[bytes]:
    yield start
    for _ in range(MANY):
        yield frame


def dribble() -> Iterator[bytes]:
    """CVE-2019-9511: a large answer, a byte at a time."""
    yield frames.settings({4: 0}) + get(1)
    for _ in range(MANY):
        yield frames.window_update(1, 1)


SENT_AWAY = {
    "rapid reset, answered never": (rapid_reset, True),
    "rapid reset, answered at once": (rapid_reset, False),
    "streams too many": (streams_too_many, True),
    "resets by windows of 0": (lambda: resets_that_we_make("window of 0"), True),
    "resets by windows too large": (lambda: resets_that_we_make("window too large"), True),
    "resets by DATA behind the end": (lambda: resets_that_we_make("DATA behind the end"), True),
    "resets by malformed heads": (lambda: resets_that_we_make("malformed"), True),
    "resets by priorities": (lambda: resets_that_we_make("priority"), True),
    "CONTINUATION, empty": (lambda: continuations(0), True),
    "CONTINUATION, small": (lambda: continuations(1), True),
    "CONTINUATION, large": (lambda: continuations(3000), True),
    "SETTINGS": (lambda: repeated(frames.settings({})), True),
    "SETTINGS with many entries": (lambda: repeated(made(frames.SETTINGS, 0, 0, b"\0\4\0\0\0\1" * 2000)), True),
    "PING": (lambda: repeated(made(frames.PING, 0, 0, bytes(8))), True),
    "answers to no PING": (lambda: repeated(made(frames.PING, 1, 0, bytes(8))), True),
    "PRIORITY": (lambda: repeated(made(frames.PRIORITY, 0, 1, bytes(5))), True),
    "empty DATA": (lambda: repeated(data(1, b""), begin(1)), True),
    "padding only": (lambda: repeated(made(frames.DATA, frames.PADDED, 1, b"\0"), begin(1)), True),
    "WINDOW_UPDATE": (lambda: repeated(frames.window_update(0, 1)), True),
    "RST_STREAM of one stream": (lambda: repeated(frames.rst_stream(1, CANCEL), get(1)), False),
    "unknown frames": (lambda: repeated(made(99, 0, 0, b"abc")), True),
    "frames on a stream that is closed": (lambda: repeated(frames.window_update(1, 1), get(1)), False),
    "dribble": (dribble, False),
}


@pytest.mark.parametrize(("attack", "deaf"), SENT_AWAY.values(), ids=SENT_AWAY.keys())
def test_a_flood_ends_its_connection_and_grows_no_memory(attack: object, deaf: bool) -> None:
    wire = Wire(Deaf() if deaf else Forgetful())
    tracemalloc.start()
    try:
        for part in attack():  # type: ignore[operator]
            wire.send(part)
            wire.transport.sent, wire.read_bytes = b"", 0
            if wire.over:
                break
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert wire.fault == ENHANCE_YOUR_CALM
    assert wire.core.streams == {}
    assert peak < MOST


def test_other_clients_are_unharmed_by_a_flood() -> None:
    server = HttpServer(Keeper(), LIMITS)
    bad, good = Wire(server=server), Wire(server=server)
    for part in rapid_reset():
        bad.send(part)
        if bad.over:
            break
    assert good.send(get(1))
    assert (bad.fault, good.answers[1].status) == (ENHANCE_YOUR_CALM, 200)


def test_a_client_that_takes_back_some_of_its_requests_is_no_flood() -> None:
    wire = Wire(Forgetful())
    for number in numbers():
        wire.send(get(number))
        if number % 8 == 1:
            wire.send(frames.rst_stream(number, CANCEL))
        wire.send(frames.window_update(0, 12))
    assert not wire.over


def test_a_header_bomb_is_431_and_takes_little_memory() -> None:
    """A field of 4 KB that enters the table, then named 12,000 times in 12 KB: 48 MB if it were believed (RFC 7541, 7.3)."""
    wire = Wire(Deaf())
    value = b"x" * 3900
    enters = b"\x40\x01a\x7f\xbd\x1d" + value
    wire.send(made(frames.HEADERS, LAST, 1, head() + enters))
    tracemalloc.start()
    try:
        wire.send(made(frames.HEADERS, LAST, 3, head() + b"\xbe" * 12_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert wire.answers[3].status == 431
    assert peak < 1024 * 1024


def test_half_open_streams_are_given_up_in_time() -> None:
    wire = Wire(Forgetful())
    tracemalloc.start()
    try:
        for number in numbers(OUR_STREAMS):
            wire.send(begin(number))
        for number in numbers(OUR_STREAMS):
            for _ in range(OUR_WINDOW // 16_384):
                if number in wire.core.streams and wire.core.streams[number].receive_window >= 16_384:
                    wire.send(data(number, bytes(16_384)))
        wire.transport.sent, wire.read_bytes = b"", 0
        gc.collect()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST
    wire.wait(31)
    wire.wait(31)  # those that waited for others have had their own time
    assert {wire.answers[number].status for number in numbers(OUR_STREAMS)} == {408}
    assert wire.core.streams == {}
    assert wire.send(get(401))
    assert wire.answers[401].status == 200


def test_half_open_streams_before_the_settings_are_known_take_little_more() -> None:
    wire = Wire(Forgetful(), greet=False)
    wire.send(frames.PREFACE + frames.settings({}))
    tracemalloc.start()
    try:
        for number in numbers(EARLY_STREAMS):
            wire.send(begin(number))
            for _ in range(OUR_WINDOW // 16_384 if number < 2 * OUR_STREAMS else 0):
                wire.send(data(number, bytes(16_384)))
            if number > 2 * OUR_STREAMS:
                wire.send(data(number, bytes(EARLY_WINDOW - 1)))
        wire.transport.sent, wire.read_bytes = b"", 0
        gc.collect()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(wire.core.streams) == EARLY_STREAMS
    assert peak < MOST
    wire.wait(31)
    assert wire.over


def test_windows_that_never_open_free_their_streams_in_time() -> None:
    class Large(Forgetful):
        def answer(self, exchange) -> None:  # type: ignore[no-untyped-def]
            exchange.respond(200, bytes(100_000), TEXT)

    wire = Wire(Large(), settings={4: 0})
    for number in numbers(OUR_STREAMS):
        wire.send(get(number))
    assert len(wire.core.streams) == OUR_STREAMS
    wire.wait(31)
    wire.wait(1)
    assert wire.core.streams == {}
    assert {wire.answers[number].reset for number in numbers(OUR_STREAMS)} == {ENHANCE_YOUR_CALM}


def test_a_body_in_very_small_frames_takes_little_more_memory_than_it_is_long() -> None:
    wire = Wire(Deaf())
    wire.send(begin(1))
    tracemalloc.start()
    try:
        part = data(1, b"ab") * 500
        for _ in range(200):
            wire.send(part)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_500_000  # of 200,000 bytes


def test_a_client_that_reads_nothing_is_asked_nothing_more() -> None:
    wire = Wire()
    wire.connection.pause_writing()
    assert not wire.transport.reading


def test_the_message_of_an_error_is_short_and_says_nothing_of_us() -> None:
    wire = Wire()
    (goaway,) = wire.send(data(0, b"a"))
    assert (goaway.error_code, goaway.additional_data) == (PROTOCOL_ERROR, b"DATA on stream 0")
