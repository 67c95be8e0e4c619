"""Writing the answers of a connection in HTTP/1.1: heads, framing, chunks (RFC 9112, 6). No state of its own."""

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING

from kfunc.http.exchange import Exchange
from kfunc.http.wire import status_line

if TYPE_CHECKING:
    from kfunc.http.server import HttpServer

CLOSE = b"connection: close\r\n"
KEEP_ALIVE = b"connection: keep-alive\r\n"


class AnswerWriter(asyncio.Protocol):
    """The writing half of a connection; `_ended` hears of each answer that is whole."""

    __slots__ = ("server", "transport")

    server: "HttpServer"
    transport: asyncio.Transport

    @abstractmethod
    def _ended(self, exchange: Exchange) -> None:
        """`exchange` is answered."""

    def _head(self, exchange: Exchange, lines: bytes) -> bytes:
        """The head of an answer but for its framing."""
        date = b"" if exchange.forwarded else self.server.date_line
        if not exchange.keep_alive or not exchange.complete or self.server.draining:
            exchange.keep_alive = False
            lines += CLOSE
        elif exchange.version != "1.1":
            lines += KEEP_ALIVE
        return status_line(exchange.status) + date + lines

    def send_response(self, exchange: Exchange, lines: bytes, body: bytes) -> None:
        exchange.sent_length = length = len(body)
        server = self.server
        if exchange.memo is not None and exchange.status == 200 and not (exchange.forwarded or server.draining):
            # A plain request that repeats (see _learn): HTTP/1.1, kept alive, complete, not HEAD.
            self.transport.write(b"%b%bcontent-length: %d\r\n\r\n%b" % (server.ok_lines, lines, length, body))
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
