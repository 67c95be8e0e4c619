"""A client's HTTP/1.1 connection: bytes in, exchanges out, answers in order (RFC 9112)."""

import asyncio
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, cast

import httptools

from kfunc.errors import KfuncError, MalformedMessage, PayloadTooLarge, RequestTimeout, Unavailable
from kfunc.http.exchange import Exchange
from kfunc.http.head import check_head, head_size, is_plain, too_large
from kfunc.http.wire import END_OF_HEAD, Headers, status_line

if TYPE_CHECKING:
    from kfunc.http.server import HttpServer

FOREVER = float("inf")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE = b"connection: close\r\n"
KEEP_ALIVE = b"connection: keep-alive\r\n"
LINGER_S = 2.0
MAX_REPEATED = 4096
MAX_LEARNED = 8

# What the connection waits for: it decides what its deadline means.
IDLE, HEAD, BODY, ANSWER, LINGER = range(5)


class HttpConnection(asyncio.Protocol):
    """Parses requests, hands them to the application one at a time and writes the answers.

    Requests that arrive before the answer to the one before (pipelining) wait, and reading pauses.
    """

    __slots__ = (
        "_body_length",
        "_failure",
        "_head_bytes",
        "_headers",
        "_learned",
        "_limits",
        "_parser",
        "_plain",
        "_reading_paused",
        "_repeat",
        "_repeat_head",
        "_repeat_length",
        "_target",
        "_waiting",
        "_write_paused",
        "current",
        "deadline",
        "incoming",
        "server",
        "state",
        "transport",
    )

    def __init__(self, server: "HttpServer") -> None:
        self.server = server
        self._limits = server.limits
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._parser = httptools.HttpRequestParser(self)
        self._headers: Headers = []
        self._target = b""
        self._head_bytes = 0
        self._body_length = 0
        self._failure: KfuncError | None = None
        self._plain: Exchange | None = None  # the last one, if its head had nothing special
        self._repeat: Exchange | None = None
        self._repeat_head = b""
        self._repeat_length = -1
        self._learned = 0  # heads since one was met again
        self._reading_paused = False
        self._write_paused = False
        self._waiting: deque[Exchange] = deque()
        self.incoming: Exchange | None = None  # its head is complete, its body is not
        self.current: Exchange | None = None  # the one that is being answered
        self.state = IDLE
        self.deadline = FOREVER

    # ---- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.deadline = self.server.now + self._limits.header_timeout_s
        if not self.server.opened(self):
            self._break(Unavailable("too many connections; try again later"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.closed(self)
        self.deadline = FOREVER
        gone = [self.current, *self._waiting]
        self.current = self.incoming = None
        self._waiting.clear()
        for exchange in gone:
            if exchange is not None and not exchange.cancelled:
                exchange.cancel()
                self.server.application.observe(exchange)

    def eof_received(self) -> bool:
        return False  # a client that has shut down its side counts as gone, so that its work can be dropped

    def pause_writing(self) -> None:
        self._write_paused = True
        if self.current is None:
            self.deadline = self.server.now + self._limits.body_timeout_s
        elif self.current.on_pressure is not None:
            self.current.on_pressure(True)

    def resume_writing(self) -> None:
        self._write_paused = False
        if self.current is None:
            self.deadline = self.server.now + self._limits.idle_timeout_s
            self._next()
        elif self.current.on_pressure is not None:
            self.current.on_pressure(False)

    def data_received(self, data: bytes) -> None:
        idle = self.state == IDLE
        if idle and len(data) == self._repeat_length and data.startswith(self._repeat_head) and not self._write_paused:
            self._repeated(data)
            return
        if self._failure is not None or self.state == LINGER:
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # The offer to change the protocol is ignored (RFC 9110, 7.8): HTTP/1.1 goes on after that request.
            self._parser = httptools.HttpRequestParser(self)
            self._head_bytes = 0
            self.data_received(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._break(cause if isinstance(cause, KfuncError) else MalformedMessage(f"not an HTTP/1.1 request: {error}"))
            return
        state = self.state
        if state == BODY:
            self.deadline = self.server.now + self._limits.body_timeout_s
        elif state == HEAD and self._head_bytes > self._limits.max_header_bytes:
            self._break(too_large(self._limits))
        elif idle and self._plain is not None and self._learned < MAX_LEARNED:
            self._learn(data, self._plain)

    # ---- heads that repeat

    def _learn(self, data: bytes, exchange: Exchange) -> None:
        """Keep the bytes of a head: a client that keeps its connection tends to send the same again.

        The same bytes at the same place, between two messages, mean the same; they need no parser.
        """
        self._plain = None
        self._learned += 1
        head = data[: len(data) - self._body_length]
        # One message and nothing else: its head ends where the body begins, and there is no other end of a head.
        if (
            exchange.method != b"HEAD"
            and len(head) <= MAX_REPEATED
            and head.endswith(END_OF_HEAD)
            and head.count(END_OF_HEAD) == 1
        ):
            exchange.memo = {}
            self._repeat_head, self._repeat_length, self._repeat = head, len(data), exchange

    def _repeated(self, data: bytes) -> None:
        """A whole request whose head was here before."""
        self._learned = 0
        known = cast(Exchange, self._repeat)
        self.current = exchange = Exchange(self, known.method, known.target, known.header_list, known.headers, True)
        exchange.memo = known.memo
        exchange.body = data[len(self._repeat_head) :]
        exchange.complete = True
        exchange.started_at = perf_counter()
        self.state = ANSWER
        self.deadline = FOREVER
        self.server.dispatch(exchange)

    # ---- parser

    def on_message_begin(self) -> None:
        self.state = HEAD
        self._target, self._headers = b"", []
        if self.current is None:
            self.deadline = self.server.now + self._limits.header_timeout_s

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.state == HEAD:  # else it is a trailer field, which nothing here asks for
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        limits = self._limits
        parser = self._parser
        target, header_list = self._target, self._headers
        if self._head_bytes > limits.max_header_bytes and head_size(target, header_list) > limits.max_header_bytes:
            raise too_large(limits)
        self._head_bytes = self._body_length = 0
        headers = dict(header_list)
        keep_alive = parser.should_keep_alive()
        self.incoming = exchange = Exchange(self, parser.get_method(), target, header_list, headers, keep_alive)
        self.state = BODY
        chunked = False
        self._plain = exchange
        if not (keep_alive and is_plain(headers, len(header_list), target, limits)):
            self._plain = None
            chunked = check_head(exchange, parser.get_http_version(), limits)
        length = int(headers.get(b"content-length", b"0"))
        if length > limits.max_body_bytes:
            raise self._body_too_large()
        if b"expect" in headers and self.current is None and (length or chunked):
            self.transport.write(CONTINUE)
        if length > self.server.application.stream_above:
            self._admit(exchange)

    def on_body(self, chunk: bytes) -> None:
        exchange = cast(Exchange, self.incoming)
        if not self._body_length and exchange.receiver is None:
            self._body_length = len(chunk)
            exchange.body = chunk
            return
        self._body_length += len(chunk)
        if self._body_length > self._limits.max_body_bytes:
            raise self._body_too_large()
        if exchange.receiver is not None:
            exchange.receiver.on_chunk(chunk)
            return
        if exchange.chunks is None:
            exchange.chunks = [exchange.body]
        exchange.chunks.append(chunk)
        if not exchange.started_at and self._body_length > self.server.application.stream_above:
            self._admit(exchange)

    def on_message_complete(self) -> None:
        exchange = self.incoming
        if exchange is None:
            return  # it was answered before its body was complete
        self.incoming = None
        self.state = ANSWER
        self._head_bytes = 0
        exchange.complete = True
        if exchange.receiver is not None:
            exchange.receiver.on_end()
            return
        if exchange.chunks is not None:
            exchange.body, exchange.chunks = b"".join(exchange.chunks), None
        if not exchange.started_at:
            self._admit(exchange)

    def _body_too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"the body is larger than {self._limits.max_body_bytes} bytes (limits.max_body_bytes)")

    # ---- exchanges, in order

    def _admit(self, exchange: Exchange) -> None:
        """Hand an exchange over, or queue it behind the one that is being answered."""
        exchange.started_at = perf_counter()
        if self.current is None and not self._write_paused:
            self._dispatch(exchange)
        else:
            self._waiting.append(exchange)
            self._pause_reading(True)

    def _dispatch(self, exchange: Exchange) -> None:
        self.current = exchange
        self.deadline = FOREVER
        self.server.dispatch(exchange)

    def _next(self) -> None:
        """The answer before is written: go on with what waits behind it."""
        while self.current is None and self._waiting and not self._write_paused:
            self._dispatch(self._waiting.popleft())
        if self.current is None and not self._waiting and not self._write_paused:
            if self._failure is not None:
                self._answer_failure()
            elif self._reading_paused:
                self._pause_reading(False)

    def _ended(self, exchange: Exchange) -> None:
        """`exchange` is answered."""
        self.current = None
        exchange.cancelled = True  # nothing more may be written in its name
        self.server.application.observe(exchange)
        if exchange.keep_alive:
            self.deadline = self.server.now + (
                self._limits.body_timeout_s if self._write_paused else self._limits.idle_timeout_s
            )
            if self._waiting or self._reading_paused or self._failure is not None:
                self._next()
            elif self.state == ANSWER:
                self.state = IDLE
        else:
            self._close(exchange.complete)

    def _close(self, clean: bool) -> None:
        """Close; where the client may still be sending, after it could read the answer (RFC 9112, 9.6)."""
        self._waiting.clear()
        if clean and self._failure is None:
            self.transport.close()
        elif not self.transport.is_closing():
            self.state = LINGER
            self.incoming = None
            self.deadline = self.server.now + LINGER_S
            self.transport.write_eof()
            self._pause_reading(False)

    def _pause_reading(self, paused: bool) -> None:
        if paused != self._reading_paused and not self.transport.is_closing():
            self._reading_paused = paused
            if paused:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # ---- failures and time

    def _break(self, error: KfuncError) -> None:
        """Nothing that comes after can be read: answer what came before, then the error, then close."""
        error.close = True
        self._failure = error
        exchange, self.incoming = self.incoming, None
        if exchange is not None and exchange is self.current:
            if exchange.on_cancel is not None:
                exchange.on_cancel()
            exchange.fail(error)
        elif exchange is not None and exchange in self._waiting:
            self._waiting.remove(exchange)
        if self.current is None and self.state != LINGER:
            self._next()

    def _answer_failure(self) -> None:
        """An error that belongs to no request that could be read."""
        self.current = exchange = Exchange(self, b"", b"", [], {}, False)
        exchange.started_at = perf_counter()
        exchange.fail(cast(KfuncError, self._failure))

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline = FOREVER
        if self.state in (HEAD, BODY) and self._failure is None and not self._write_paused:
            what = "head" if self.state == HEAD else "body"
            self._break(RequestTimeout(f"the request's {what} did not arrive in time"))
        else:
            self.transport.abort()

    def drain(self) -> None:
        """No further request: close now if nothing is being answered, else after the answer."""
        if self.current is None and not self._waiting and self.incoming is None and self.state != LINGER:
            self.transport.close()

    # ---- answers

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

    def reset(self, exchange: Exchange) -> None:
        exchange.keep_alive = False
        self.transport.abort()

    def hold(self, exchange: Exchange, paused: bool) -> None:
        if exchange is self.current and not exchange.complete:
            self._pause_reading(paused)
