"""A client's HTTP/1.1 connection: bytes in, exchanges out, answers in order (RFC 9112)."""

import asyncio
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, cast

import httptools

from kfunc.errors import KfuncError, MalformedMessage, RequestTimeout, Unavailable
from kfunc.http.answers import FOREVER, LINGER_S, AnswerWriter
from kfunc.http.exchange import Exchange, Unfinished
from kfunc.http.head import body_too_large, check_head, head_size, is_foreign, is_plain, refuse_connect, too_large
from kfunc.http.plain import Shape
from kfunc.http.wire import END_OF_HEAD, Headers, request_head

if TYPE_CHECKING:
    from kfunc.http.server import HttpServer

PREFACE_START = b"PRI"

# What the connection waits for: it decides what its deadline means.
IDLE, HEAD, BODY, ANSWER, LINGER, CLOSED = range(6)


class HttpConnection(AnswerWriter):
    """Parses requests, hands them to the application one at a time and writes the answers.

    Requests that arrive before the answer to the one before (pipelining) wait, and reading pauses.
    """

    __slots__ = (
        ("state", "deadline", "incoming", "current", "_limits", "_parser", "_failure", "_waiting")
        + ("_headers", "_target", "_segment", "_head_bytes", "_slack", "_body_length", "_unsent")
        + ("_reading_paused", "_write_paused", "_begun", "_early", "_shape", "_refused", "_stepping")
    )

    def __init__(self, server: "HttpServer") -> None:
        self.server = server
        self._limits = server.limits
        self._parser = httptools.HttpRequestParser(self)
        self._headers: Headers = []
        self._target = b""
        self._segment = 0  # bytes of the data that came last
        self._head_bytes = 0  # since the head began, or since the last byte of the body: at most so many
        self._slack = 0  # how many of them may be of the message before
        self._body_length = 0
        self._unsent = 0.0  # bytes, when it was last looked at
        self._failure: KfuncError | None = None
        self._reading_paused = self._write_paused = self._stepping = False
        self._shape: Shape | None = None  # of the plain head before
        self._refused: Exchange | None = None  # the request that `_failure` is about
        self._begun = False  # it has sent something, and that is HTTP/1.1
        self._early = b""  # too little to tell the version
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
            self.refuse(Unavailable("too many connections; try again later"))

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
        self._unsent, self.deadline = FOREVER, self.server.now  # it is counted soon: more may be written just now
        if self.current is not None and self.current.on_pressure is not None:
            self.current.on_pressure(True)

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wait()
        if self.state >= LINGER:
            self.deadline = self.server.now + LINGER_S
        elif self.current is None:
            self._next()
        elif self.current.on_pressure is not None:
            self.current.on_pressure(False)

    def data_received(self, data: bytes) -> None:
        if self.state != IDLE or self._write_paused:
            self._receive(data)
            return
        # A whole request with a plain head needs no parser: the connection is between two messages, and stays so.
        end = data.find(END_OF_HEAD) + 4
        head = data[:end]
        plain = None if self._shape is None else self._shape.read(head)
        if plain is None:
            heads = self.server.heads
            plain = heads.known.get(head) or heads.read(head)
            self._shape = None if plain is None else plain.shape
        if plain is None or plain.length != len(data) - end:
            self._receive(data)
            return
        method, target = plain.start
        self.current = exchange = Exchange(self, method, target, plain.pairs, plain.headers, True)
        exchange.plain = plain
        exchange.memo = plain.memo
        exchange.body = data[end:]
        exchange.complete = self._begun = True
        exchange.started_at = perf_counter()
        self.state = ANSWER
        self.deadline = FOREVER
        self.server.dispatch(exchange)

    def _receive(self, data: bytes) -> None:
        """Whatever is not that: the parser decides what it is."""
        state = self.state
        if self._failure is not None or state >= LINGER:
            return
        if data and not self._begun:
            data = self._early + data
            if data[:3] == PREFACE_START[: len(data)]:
                self._change_version(data)
                return
            if is_foreign(data):
                self.server.count_unread(self)
                self._close(clean=False)
                return
            self._begun = True
        if state in (IDLE, ANSWER):  # between two messages
            self._head_bytes = self._slack = 0
        self._segment = len(data)
        self._head_bytes += len(data)
        self._parse(data)
        state = self.state
        if HEAD <= state <= BODY:
            if state == BODY and not self._reading_paused and not self._write_paused:
                self.deadline = self.server.now + self._limits.body_timeout_s
            if self._head_bytes - self._slack > self._limits.max_header_bytes and self._failure is None:
                self.refuse(too_large(self._limits))

    def _change_version(self, data: bytes) -> None:
        """What came first is, as far as it goes, the preface of HTTP/2 (RFC 9113, 3.3)."""
        self._early, self.state = data, HEAD
        if len(data) >= len(PREFACE_START):
            from kfunc.http.h2.connection import take_over  # most functions never hear of HTTP/2

            self.deadline = FOREVER
            take_over(self, data)

    def _parse(self, data: bytes | memoryview) -> None:
        try:
            while True:
                try:
                    self._parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as upgrade:
                    data = memoryview(data)[upgrade.args[0] :]
                    self._ignore_offer()
        except httptools.HttpParserError as error:
            cause = error.__context__
            self.refuse(cause if isinstance(cause, KfuncError) else MalformedMessage(f"not an HTTP/1.1 request: {error}"))

    def _ignore_offer(self) -> None:
        """Go on in HTTP/1.1 (RFC 9110, 7.8). The parser takes the body that follows for the other protocol:
        another one gets the same head without the offer."""
        old, self._parser = self._parser, httptools.HttpRequestParser(self)
        fields = [field for field in self._headers if field[0] != b"upgrade"]
        self._parser.feed_data(request_head(old.get_method(), self._target, old.get_http_version(), fields))

    # ---- parser

    def on_message_begin(self) -> None:
        if self.state >= LINGER:
            raise MalformedMessage("there is no request after the last one")
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
        limits, parser = self._limits, self._parser
        target, header_list = self._target, self._headers
        if self._head_bytes > limits.max_header_bytes and head_size(target, header_list) > limits.max_header_bytes:
            raise too_large(limits)
        self._head_bytes = self._body_length = self._slack = 0
        if parser.should_upgrade():
            if parser.get_method() == b"CONNECT":
                raise refuse_connect()
            return  # the parser stops after this head, see _ignore_offer
        headers = dict(header_list)
        keep_alive = parser.should_keep_alive()
        self.incoming = exchange = Exchange(self, parser.get_method(), target, header_list, headers, keep_alive)
        self.state = BODY
        chunked = False
        if not (keep_alive and is_plain(headers, len(header_list), target, limits)):
            chunked = check_head(exchange, parser.get_http_version(), limits)
        length = int(headers.get(b"content-length", b"0"))
        if length > limits.max_body_bytes:
            raise body_too_large(self._limits)
        if b"expect" in headers and self.current is None and not self._write_paused and (length or chunked):
            self._invite(exchange)
        if length > self.server.application.stream_above:
            self._admit(exchange)

    def on_body(self, chunk: bytes) -> None:
        exchange = self.incoming
        if exchange is None:
            return  # it was answered before its body was complete
        length = self._body_length
        self._body_length = length + len(chunk)
        self._head_bytes = 0
        if self._body_length > self._limits.max_body_bytes:
            raise body_too_large(self._limits)
        if exchange.receiver is not None:
            exchange.receiver.on_chunk(chunk)
        elif not length:
            exchange.body = chunk
        else:
            exchange.keep_chunk(chunk, self._body_length)
            if not exchange.started_at and self._body_length > self.server.application.stream_above:
                self._admit(exchange)

    def on_message_complete(self) -> None:
        exchange = self.incoming
        if exchange is None:
            return  # it was answered before, or it offers another protocol
        self.incoming = None
        self.state = ANSWER
        self._head_bytes = self._slack = self._segment
        exchange.complete = True
        if self.current is not None:
            self._wait()
            if self._reading_paused and exchange is self.current and not self._waiting:
                self._pause_reading(False)
        if exchange.receiver is not None:
            exchange.end_receiving(exchange.receiver)
            return
        if exchange.chunks is not None:
            exchange.join()
        if not exchange.started_at:
            self._admit(exchange)

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
        """Go on with what came behind an answer, or behind what failed."""
        self._wait()
        if self._stepping:
            return  # an exchange that is handed over below was answered at once
        self._stepping = True
        while self.current is None and self._waiting and not self._write_paused:
            exchange = self._waiting.popleft()
            if exchange is self.incoming:
                self._pause_reading(False)
                self._invite(exchange)
            self._dispatch(exchange)
        self._stepping = False
        if self.current is None and not self._waiting and not self._write_paused and self.state < LINGER:
            if self._failure is not None:  # nobody handles it: its head is known, or nothing of it could be read
                self.current = exchange = self._refused or Exchange(self, b"", b"", [], {}, False)
                exchange.refused = True
                exchange.started_at = perf_counter()
                exchange.fail(self._failure)
                return
            if self._reading_paused:
                self._pause_reading(False)
            if self.state == ANSWER:
                self.state = IDLE
            elif self.incoming is not None:
                self._invite(self.incoming)

    def _ended(self, exchange: Exchange) -> None:
        """`exchange` is answered."""
        self.current = None
        exchange.cancelled = True  # nothing more may be written in its name
        self.server.application.observe(exchange)
        if not exchange.keep_alive:
            self._close(exchange.complete)
        elif self._waiting or self._reading_paused or self._write_paused or self._failure is not None or self.state != ANSWER:
            self._next()
        else:
            self.state = IDLE
            self.deadline = self.server.now + self._limits.idle_timeout_s

    def _close(self, clean: bool) -> None:
        """Close; where the client may still be sending, after it could read the answer (RFC 9112, 9.6)."""
        self._waiting.clear()
        self.incoming = None
        if self.state >= LINGER or self.transport.is_closing():
            self.state = CLOSED
            return
        self._unsent = self.transport.get_write_buffer_size()
        self.deadline = self.server.now + (self._limits.body_timeout_s if self._unsent else LINGER_S)
        if clean and self._failure is None:
            self.state = CLOSED
            self.transport.close()
        else:
            self.state = LINGER
            self.transport.write_eof()
            self._pause_reading(False)

    def _pause_reading(self, paused: bool) -> None:
        if paused != self._reading_paused and not self.transport.is_closing():
            self._reading_paused = paused
            if self.state == BODY:
                self._wait()
            (self.transport.pause_reading if paused else self.transport.resume_reading)()

    # ---- failures and time

    def _wait(self) -> None:
        """The deadline of what the connection waits for now, if not for the client to take what is written."""
        limits, state = self._limits, self.state
        if self._write_paused:
            return
        if state == BODY and not self._reading_paused:
            self.deadline = self.server.now + limits.body_timeout_s
        elif self.current is not None or state == BODY:  # the client cannot send while nobody reads
            self.deadline = FOREVER
        else:
            self.deadline = self.server.now + (limits.header_timeout_s if state == HEAD else limits.idle_timeout_s)

    def refuse(self, error: KfuncError) -> None:
        """Nothing that comes after can be read: answer what came before, then the error, then close."""
        if self.state >= LINGER:
            return
        error.close = True
        self._failure = error
        exchange, self.incoming = self.incoming, None
        if exchange is not None and exchange is self.current:
            if exchange.on_cancel is not None:
                exchange.on_cancel()
            exchange.fail(error)
        elif exchange is not None:
            if exchange in self._waiting:
                self._waiting.remove(exchange)
            exchange.drop_body(self._body_length)  # its turn may come late, and the server counts it no more
            self._refused = exchange
        if self.current is None:
            self._next()

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline = FOREVER
        unsent = self.transport.get_write_buffer_size()
        if 0 < unsent < self._unsent and (self._write_paused or self.state >= LINGER):  # slowly, but it is read
            self._unsent = unsent
            self.deadline = self.server.now + self._limits.body_timeout_s
            return
        if self.state in (HEAD, BODY) and self._failure is None and not self._write_paused:
            self.refuse(RequestTimeout(f"the request's {'head' if self.state == HEAD else 'body'} did not arrive in time"))
        else:
            self.transport.abort()

    def unfinished(self) -> tuple[Unfinished, ...]:
        there = self.incoming is not None and self.incoming.receiver is None
        return (Unfinished(self.deadline, self._body_length, self.refuse),) if there else ()

    def drain(self) -> None:
        """Close if nothing is being answered or arrives; else when that is answered."""
        if self.current is not None:
            self.current.keep_alive = False  # its head may be sent already
        elif not self._waiting and self._failure is None and self.state in (IDLE, ANSWER):
            self._close(clean=True)

    def hold(self, exchange: Exchange, paused: bool) -> None:
        if exchange is self.current and not exchange.complete:
            self._pause_reading(paused)
