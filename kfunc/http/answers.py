"""Writing the answers of a connection in HTTP/1.1: heads, framing, chunks (RFC 9112, 6). No state of its own."""

import asyncio
from abc import abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING

from kfunc.http.exchange import Exchange
from kfunc.http.wire import status_line

if TYPE_CHECKING:
    from kfunc.http.server import HttpServer

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE = b"connection: close\r\n"
KEEP_ALIVE = b"connection: keep-alive\r\n"
OK_LINE = status_line(200)
FOREVER = float("inf")
LINGER_S = 2.0  # for the client to read its last answer


class AnswerWriter(asyncio.Protocol):
    """The writing half of a connection; `_ended` hears of each answer that is whole."""

    __slots__ = ("server", "transport")

    server: "HttpServer"
    transport: asyncio.Transport

    @abstractmethod
    def _ended(self, exchange: Exchange) -> None:
        """`exchange` is answered."""

    def _invite(self, exchange: Exchange) -> None:
        """The client may send its body, if it has asked."""
        if b"expect" in exchange.headers and exchange.version == "1.1":
            self.transport.write(CONTINUE)

    def _own_lines(self, exchange: Exchange) -> bytes:
        """The fields that the server adds to each answer: who asked, and where the time went."""
        lines = timing_line(exchange) if exchange.compute_s or exchange.batch_s else b""
        return b"x-request-id: %b\r\n%b" % (exchange.request_id, lines) if self.server.outermost else lines

    def _head(self, exchange: Exchange, lines: bytes) -> bytes:
        """The head of an answer but for its framing."""
        date = b"" if exchange.forwarded else self.server.date_line
        lines += self._own_lines(exchange)
        if not exchange.keep_alive or not exchange.complete or self.server.draining:
            exchange.keep_alive = False
            lines += CLOSE
        elif exchange.version != "1.1":
            lines += KEEP_ALIVE
        return status_line(exchange.status) + date + lines

    def send_response(self, exchange: Exchange, lines: bytes, body: bytes) -> None:
        exchange.sent_length = length = len(body)
        server = self.server
        if exchange.plain is not None and exchange.status == 200 and not server.draining:
            start = OK_LINE if exchange.forwarded else server.ok_lines
            times = timing_line(exchange) if exchange.compute_s or exchange.batch_s else b""
            if server.outermost:
                parts = (start, lines, exchange.request_id, times, length, body)
                self.transport.write(b"%b%bx-request-id: %b\r\n%bcontent-length: %d\r\n\r\n%b" % parts)
            else:
                self.transport.write(b"%b%b%bcontent-length: %d\r\n\r\n%b" % (start, lines, times, length, body))
        else:
            self._send_unusual(exchange, lines, body)
        self._ended(exchange)

    def _send_unusual(self, exchange: Exchange, lines: bytes, body: bytes) -> None:
        head = self._head(exchange, lines)
        if exchange.status == 204 or exchange.status == 304:
            self.transport.write(head + b"\r\n")
        elif exchange.method == b"HEAD":
            self.transport.write(b"%bcontent-length: %d\r\n\r\n" % (head, len(body)))
        else:
            self.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))

    def send_head(self, exchange: Exchange, lines: bytes, length: int | None) -> None:
        framing = b""
        if length is not None:
            framing = b"content-length: %d\r\n" % length
        elif exchange.version == "1.1" and exchange.method != b"HEAD" and exchange.status not in (204, 304):
            framing = b"transfer-encoding: chunked\r\n"
            exchange.chunked = True
        elif exchange.version != "1.1":
            exchange.keep_alive = False  # the end of the connection is the end of the body
        self.transport.write(self._head(exchange, lines) + framing + b"\r\n")

    def send_chunk(self, exchange: Exchange, chunk: bytes) -> None:
        if chunk and exchange.method != b"HEAD":
            exchange.sent_length += len(chunk)
            self.transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if exchange.chunked else chunk)

    def send_end(self, exchange: Exchange) -> None:
        if exchange.chunked:
            self.transport.write(b"0\r\n\r\n")
        self._ended(exchange)

    def reset(self, exchange: Exchange) -> None:
        exchange.keep_alive = False
        self.transport.abort()


def timing_line(exchange: Exchange) -> bytes:
    """Server-Timing as a line."""
    return b"server-timing: %b\r\n" % timing(exchange)


def timing(exchange: Exchange) -> bytes:
    """Milliseconds in the queue, in the batch and in the model (Server-Timing, W3C)."""
    if exchange.batch_s:
        return _batch(round(exchange.batch_s * 1e5))
    return _queue_and_compute(round(exchange.queue_s * 1e5), round(exchange.compute_s * 1e5))


@lru_cache(1024)
def _batch(hundredths: int) -> bytes:
    return b"batch;dur=%.2f" % (hundredths / 100)


@lru_cache(1024)
def _queue_and_compute(queue: int, compute: int) -> bytes:
    return b"queue;dur=%.2f, compute;dur=%.2f" % (queue / 100, compute / 100)
