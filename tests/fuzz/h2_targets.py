"""Targets: an HTTP/2 connection, from raw bytes and from frames that are whole with anything in them; and header blocks."""

import hpack

from kfunc.config.inference import Limits
from kfunc.errors import MalformedMessage
from kfunc.http.h2 import frames
from kfunc.http.h2.faults import ConnectionFault
from kfunc.http.h2.fields import FieldDecoder
from kfunc.http.h2.settings import EARLY_STREAMS, OUR_CONNECTION_WINDOW
from tests.fuzz.engine import Target
from tests.fuzz.mutation import MAX_SIZE
from tests.http.fakes import Keeper
from tests.http.h2.wires import Wire, begin, data, get, head, post

LIMITS = Limits(max_body_bytes=2000, max_header_bytes=MAX_SIZE, max_headers=10)
GREETING = frames.PREFACE + frames.settings({}) + frames.frame(frames.SETTINGS, frames.ACK, 0)
RECORD_HEAD = 4


class Checker(Keeper):
    """Answers at once but /wait; knows that each exchange ends once, and with a status below 500 or 501."""

    def handle(self, exchange) -> None:  # type: ignore[no-untyped-def]
        self.exchanges.append(exchange)
        if exchange.target != b"/wait":
            self.answer(exchange)


def check(wire: Wire, application: Checker) -> str:
    """What holds whatever came; the kind of the connection's end."""
    core = wire.core
    ended = [id(exchange) for exchange in application.ended]
    assert len(ended) == len(set(ended)), "an exchange ended twice"
    assert len(core.streams) <= EARLY_STREAMS
    assert 0 <= core._receive_window <= OUR_CONNECTION_WINDOW or core.over
    assert core.over == wire.over, "the connection should be closed, or should not"
    assert not (core.over and core.streams)
    for exchange in application.ended:
        assert exchange.status < 500 or exchange.status == 501, f"status {exchange.status}"
    resets = sorted({answer.reset for answer in wire.answers.values() if answer.reset is not None})
    return f"{wire.fault} {resets} {sorted({exchange.status for exchange in application.ended})}"


def fuzz_one(content: bytes) -> str:
    """Send `content` behind a greeting: at once, in two parts, and byte by byte; the application must see the same."""
    half = len(content) // 2
    kinds, seen = set(), []
    for parts in ([content], [content[:half], content[half:]], [content[at : at + 7] for at in range(0, len(content), 7)]):
        application = Checker()
        wire = Wire(application, LIMITS, greet=False)
        wire.send(GREETING, *parts)
        kinds.add(check(wire, application))
        seen.append(application.seen)
        wire.wait(100)
        wire.connection.connection_lost(None)
        assert len(application.ended) >= len(application.exchanges)
    assert seen[0] == seen[1] == seen[2], "in parts other requests than at once"
    assert len(kinds) == 1, f"in parts another end than at once: {kinds}"
    return kinds.pop()


def records(content: bytes) -> bytes:
    """Frames out of any bytes: type, flags, stream and size of each are a byte."""
    built = []
    while len(content) >= RECORD_HEAD:
        kind, flags, stream_id, size = content[:RECORD_HEAD]
        built.append(frames.frame(kind % 11, flags, stream_id % 16, content[RECORD_HEAD : RECORD_HEAD + size]))
        content = content[RECORD_HEAD + size :]
    return b"".join(built)


def to_records(written: bytes) -> bytes:
    """The other way, for seeds."""
    built = []
    for kind, flags, stream_id, payload in frames.FrameReader(MAX_SIZE).read(written):
        built.append(bytes((kind, flags, stream_id, len(payload))) + payload)
    return b"".join(built)


def call_frames(content: bytes) -> str:
    return fuzz_one(records(content))


def call_fields(content: bytes) -> str:
    """Two blocks, the first one's size is the first byte: they mean what they mean to the library."""
    size = content[0] if content else 0
    theirs, ours = hpack.Decoder(1 << 20), FieldDecoder(1 << 20)
    count = 0
    for block in (content[1 : 1 + size], content[1 + size :]):
        try:
            expected = [(bytes(name), bytes(value)) for name, value in theirs.decode(block, raw=True)]
        except (hpack.HPACKError, IndexError) as error:
            try:
                ours.decode(block)
            except ConnectionFault as fault:
                raise MalformedMessage(fault.message) from error
            raise
        assert ours.decode(block)[0] == expected
        count += len(expected)
    return f"{count} fields"


LIBRARY = hpack.Encoder()
BLOCKS = [LIBRARY.encode([(b":method", b"GET"), (b"x-a", b"b"), (b"cookie", b"c")]), LIBRARY.encode([(b"x-a", b"b")])]
SEEDS = [
    get(1, b"/wait") + frames.rst_stream(1, 8) + get(3),
    post(1, b"abc", b"/x", [(b"content-length", b"3")]) + post(3, b""),
    begin(1) + data(1, b"a" * 100) + frames.window_update(1, 1) + data(1, b"", end=True) + frames.window_update(0, 10),
    frames.settings({4: 1, 5: 20_000, 1: 0})
    + get(1)
    + frames.settings({4: 100})
    + get(3, b"/wait")
    + frames.window_update(1, 99),
    frames.frame(1, 1, 1, head()[:5]) + frames.frame(9, 0, 1, head()[5:9]) + frames.frame(9, 4, 1, head()[9:]),
    begin(1) + frames.frame(0, 8, 1, b"\3abc\0\0\0") + frames.frame(1, 5, 1, b"\0\1x\1y"),
    frames.frame(1, 0x2D, 1, b"\2\0\0\0\0\x10" + head() + b"\0\0") + frames.frame(2, 0, 3, bytes(5)) + get(3),
    frames.frame(6, 0, 0, bytes(8)) + frames.goaway(0, 0) + get(1),
    get(1, b"/", [(b"expect", b"100-continue"), (b"x-a", b"b" * 50)])
    + begin(3, b"/", [(b"expect", b"100-continue")])
    + data(3, b"a", True),
]

TARGETS = [
    Target("h2", SEEDS, fuzz_one),
    Target("h2_frames", [to_records(seed) for seed in SEEDS], call_frames),
    Target("h2_fields", [bytes((len(BLOCKS[0]),)) + b"".join(BLOCKS), b"\0" + BLOCKS[0]], call_fields),
]
