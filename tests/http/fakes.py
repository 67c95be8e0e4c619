"""A transport that records instead of sending, and applications that keep what they were given."""

import asyncio
import re
from typing import Any

from kfunc.config.inference import Limits
from kfunc.http.connection import HttpConnection
from kfunc.http.exchange import Exchange
from kfunc.http.server import SWEEP_S, HttpServer

HOST = b"host: a\r\n"
LIMITS = Limits(max_body_bytes=1000, max_header_bytes=2048, max_headers=10, max_connections=3)


class RecordingTransport(asyncio.Transport):
    """Keeps what is written; refuses, as a socket would, what comes after its end."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.reading = True
        self.ended = False  # the sending side is
        self.closed = False
        self.aborted = False
        self.unsent = 0
        self.protocol: Any = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended
        assert not self.closed
        self.sent += data

    def write_eof(self) -> None:
        assert not self.ended
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.unsent


class Keeper:
    """Keeps its exchanges; answers each with its number, method, target and body unless it is told to wait."""

    stream_above = 2**62

    def __init__(self, *, waits: bool = False) -> None:
        self.waits = waits
        self.exchanges: list[Exchange] = []
        self.ended: list[Exchange] = []

    def handle(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        if not self.waits:
            self.answer(exchange)

    def answer(self, exchange: Exchange) -> None:
        exchange.respond(200, b"%b %b %b" % (exchange.method, exchange.target, exchange.body), b"text/plain; charset=utf-8")

    def observe(self, exchange: Exchange) -> None:
        self.ended.append(exchange)

    @property
    def seen(self) -> list[tuple[bytes, bytes, bytes]]:
        return [(each.method, each.target, each.body) for each in self.exchanges]


class Client:
    """A client's end of a connection to a server without sockets."""

    def __init__(self, application: Keeper, limits: Limits = LIMITS, server: HttpServer | None = None) -> None:
        self.server = server or HttpServer(application, limits)
        self.connection = HttpConnection(self.server)
        self.transport = RecordingTransport()
        self.transport.set_protocol(self.connection)
        self.connection.connection_made(self.transport)

    def send(self, *parts: bytes) -> bytes:
        """Send each part as one segment; returns what was answered meanwhile."""
        before = len(self.transport.sent)
        for part in parts:
            if self.transport.closed:
                break
            self.transport.protocol.data_received(part)
        return self.transport.sent[before:]

    def wait(self, seconds: float) -> None:
        """Let time pass: until the server's next sweep, then the rest."""
        sweep = min(SWEEP_S, seconds)
        for step in (sweep, seconds - sweep):
            self.server.now += step
            if self.transport.protocol.deadline < self.server.now:
                self.transport.protocol.expire()

    @property
    def over(self) -> bool:
        return self.transport.closed or self.transport.ended


def statuses(answers: bytes) -> list[int]:
    """The status codes in a stream of answers whose bodies hold no status line."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", answers)]


def get(target: bytes = b"/", fields: bytes = b"") -> bytes:
    return b"GET %b HTTP/1.1\r\n%b%b\r\n" % (target, HOST, fields)


def post(body: bytes, target: bytes = b"/", fields: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\n%b%bcontent-length: %d\r\n\r\n%b" % (target, HOST, fields, len(body), body)


def chunked(*chunks: bytes, target: bytes = b"/") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"POST %b HTTP/1.1\r\n%btransfer-encoding: chunked\r\n\r\n%b0\r\n\r\n" % (target, HOST, body)
