"""A client's end of an HTTP/2 connection without sockets; what the server sends is read by hyperframe and hpack."""

from typing import Any

import hpack
import hyperframe.frame as hyper

from kfunc.config.inference import Limits
from kfunc.http.h2 import frames
from kfunc.http.h2.connection import H2Connection
from kfunc.http.h2.fields import encode_fields
from kfunc.http.server import HttpServer
from kfunc.http.wire import Headers
from tests.http.fakes import Keeper, RecordingTransport

LIMITS = Limits(max_body_bytes=1_000_000, max_header_bytes=16_384, max_headers=50, max_connections=3)
END_HEADERS, END_STREAM = frames.END_HEADERS, frames.END_STREAM
LAST = END_HEADERS | END_STREAM
HUGE = 2**31 - 1 - 65_535


class Answer:
    """What came on a stream: heads (the last may be trailers), body, whether it ended, the code it was reset with."""

    def __init__(self) -> None:
        self.heads: list[dict[bytes, bytes]] = []
        self.body = b""
        self.ended = False
        self.reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.heads[0][b":status"])


class Wire:
    """Sends frames, and reads what is answered. A client that has greeted the server, unless `greet` is false."""

    def __init__(
        self,
        application: Keeper | None = None,
        limits: Limits = LIMITS,
        greet: bool = True,
        settings: dict[int, int] | None = None,
        server: HttpServer | None = None,
    ) -> None:
        self.application = application or Keeper()
        self.server = server or HttpServer(self.application, limits)
        self.transport = RecordingTransport()
        self.connection = H2Connection(self.server)
        self.transport.set_protocol(self.connection)
        self.connection.connection_made(self.transport)
        self.core = self.connection.core
        self.decoder = hpack.Decoder()
        self.answers: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []
        self.last_block = b""
        self.read_bytes = 0
        self.read()
        if greet:
            self.send(frames.PREFACE + frames.settings(settings or {}), frames.frame(frames.SETTINGS, frames.ACK, 0))

    def send(self, *parts: bytes) -> list[Any]:
        """Each part as one segment; returns the frames that came back."""
        for part in parts:
            if not self.transport.closed:
                self.connection.data_received(part)
        return self.read()

    def read(self) -> list[Any]:
        """The frames since the last call."""
        data = self.transport.sent[self.read_bytes :]
        self.read_bytes = len(self.transport.sent)
        found: list[Any] = []
        while data:
            frame, size = hyper.Frame.parse_frame_header(memoryview(data[:9]))
            frame.parse_body(memoryview(data[9 : 9 + size]))
            data = data[9 + size :]
            found.append(frame)
            self._note(frame)
        return found

    def _note(self, frame: hyper.Frame) -> None:
        answer = self.answers.setdefault(frame.stream_id, Answer())
        if isinstance(frame, hyper.HeadersFrame | hyper.ContinuationFrame):
            self.last_block += frame.data
            if "END_HEADERS" in frame.flags:
                fields = self.decoder.decode(self.last_block, raw=True)
                answer.heads.append({bytes(name): bytes(value) for name, value in fields})
                self.last_block = b""
        elif isinstance(frame, hyper.DataFrame):
            answer.body += frame.data
        elif isinstance(frame, hyper.RstStreamFrame):
            answer.reset = frame.error_code
        elif isinstance(frame, hyper.GoAwayFrame):
            self.goaways.append((frame.last_stream_id, frame.error_code))
        answer.ended = answer.ended or "END_STREAM" in frame.flags

    def wait(self, seconds: float) -> list[Any]:
        """Let time pass."""
        self.server.now += seconds
        if self.connection.deadline < self.server.now:
            self.connection.expire()
        return self.read()

    @property
    def over(self) -> bool:
        return self.transport.closed or self.transport.ended

    @property
    def fault(self) -> int | None:
        """The code of the connection's error, if it has one."""
        return self.goaways[-1][1] if self.goaways and self.over else None


def head(method: bytes = b"GET", path: bytes = b"/", fields: Headers | None = None, authority: bytes = b"a") -> bytes:
    """The block of a request's head."""
    pseudo = [(b":method", method), (b":scheme", b"http"), (b":authority", authority), (b":path", path)]
    return encode_fields([*pseudo, *(fields or [])])


def get(stream_id: int = 1, path: bytes = b"/", fields: Headers | None = None) -> bytes:
    return frames.frame(frames.HEADERS, LAST, stream_id, head(b"GET", path, fields))


def begin(stream_id: int = 1, path: bytes = b"/", fields: Headers | None = None) -> bytes:
    """The head of a request with a body."""
    return frames.frame(frames.HEADERS, END_HEADERS, stream_id, head(b"POST", path, fields))


def data(stream_id: int, body: bytes, end: bool = False) -> bytes:
    return frames.frame(frames.DATA, END_STREAM if end else 0, stream_id, body)


def post(stream_id: int, body: bytes, path: bytes = b"/", fields: Headers | None = None) -> bytes:
    return begin(stream_id, path, fields) + data(stream_id, body, end=True)
