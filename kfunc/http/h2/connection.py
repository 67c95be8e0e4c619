"""A client's HTTP/2 connection: drives the core, makes exchanges of its streams and writes their answers (RFC 9113)."""

import asyncio
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, cast

from kfunc.errors import KfuncError, RequestTimeout
from kfunc.http.answers import FOREVER, LINGER_S
from kfunc.http.exchange import Exchange, Unfinished
from kfunc.http.h2.answers import CONTINUE, NO_BODY, answer_block
from kfunc.http.h2.core import H2Core
from kfunc.http.h2.exchange import Backlog, H2Exchange
from kfunc.http.h2.faults import ENHANCE_YOUR_CALM, INTERNAL_ERROR, REFUSED_STREAM, ConnectionFault
from kfunc.http.h2.fields import encode_fields
from kfunc.http.h2.heads import RequestHead
from kfunc.http.h2.limits import CHECK_S
from kfunc.http.h2.outbox import ROOM
from kfunc.http.h2.patience import busy, check
from kfunc.http.h2.settings import EARLY_WINDOW
from kfunc.http.h2.streams import Stream
from kfunc.http.head import body_too_large
from kfunc.http.wire import Headers

if TYPE_CHECKING:
    from kfunc.http.connection import HttpConnection
    from kfunc.http.server import HttpServer


class H2Connection(asyncio.Protocol):
    """Events of the core in, answers of the application out; many exchanges at once."""

    __slots__ = ("_backlog", "_lingering", "_taking", "_unsent", "core", "deadline", "server", "transport")

    transport: asyncio.Transport

    def __init__(self, server: "HttpServer") -> None:
        self.server = server
        self.core = H2Core(self, server.limits, server.now, server.h2_heads)
        self.deadline = server.now + CHECK_S
        self._backlog = Backlog(server.limits.max_body_bytes)
        self._taking = False  # within data_received, which sends at its end
        self._lingering = False
        self._unsent = 0

    # ---- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if not self.server.opened(self):
            self.core.fail(ConnectionFault(ENHANCE_YOUR_CALM, "too many connections; try again later"))
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.closed(self)
        self.deadline = FOREVER
        self.core.abandon()

    def eof_received(self) -> bool:
        return False  # a client that has shut down its side counts as gone, so that its work can be dropped

    def data_received(self, data: bytes) -> None:
        core, now = self.core, self.server.now
        self._taking = True
        core.receive(data, now)
        self._taking = False
        self._send()
        if self.deadline > now + CHECK_S and not self._lingering and busy(core):
            self.deadline = now + CHECK_S

    def pause_writing(self) -> None:
        """The client reads too slowly: nothing more is asked of it, and no answers are made for it."""
        self.core.out.paused = True
        self._unsent = self.transport.get_write_buffer_size()
        self.deadline = self.server.now + self.server.limits.body_timeout_s
        if not self._lingering:
            self.transport.pause_reading()
            for stream in list(self.core.streams.values()):
                self._press(stream.owner, True)

    def resume_writing(self) -> None:
        self.core.out.paused = False
        self.deadline = self.server.now + CHECK_S
        if not self._lingering:
            self.transport.resume_reading()
            self._at_work()
            self.core.out.pump()
            self._send()
            for stream in list(self.core.streams.values()):
                if stream.pending_bytes < ROOM:
                    self._press(stream.owner, False)

    def _send(self) -> None:
        """Write what the core has; close when it is over."""
        if self._taking:
            return
        out = self.core.out
        while data := out.take():
            if self.transport.is_closing() or self._lingering:
                return
            self.transport.write(data)
            if out.more:
                out.pump()
        if self.core.over and not self._lingering and not self.transport.is_closing():
            self._lingering = True
            self._unsent = self.transport.get_write_buffer_size()
            self.deadline = self.server.now + LINGER_S
            self.transport.write_eof()  # the client can read what it was sent before the connection goes (RFC 9112, 9.6)

    # ---- events of the core

    def on_request(self, stream: Stream, head: RequestHead, complete: bool) -> None:
        application = self.server.grpc(head.target) if head.grpc else self.server.application
        stream.owner = exchange = H2Exchange(self, stream, head, application)
        if head.refusal is not None:
            exchange.complete = complete
            self._refuse(exchange, head.refusal)
        elif complete:
            exchange.complete = True
            self._admit(exchange)
        else:
            if head.expects:
                self.core.out.headers(stream, CONTINUE)
            if stream.early and application.stream_above < EARLY_WINDOW:
                self.core.reset(stream, REFUSED_STREAM)  # it would be begun before its body is here
            elif application.stream_above < 0:  # both sides speak for as long as they like
                stream.patient = True
                self._admit(exchange)
            elif head.length is not None and head.length > application.stream_above:
                self._admit(exchange)

    def on_body(self, stream: Stream, chunk: bytes) -> None:
        exchange: H2Exchange = stream.owner
        if exchange.cancelled:
            return  # it is answered, but not all of the answer is sent
        if stream.received > self.server.limits.max_body_bytes and not stream.patient:
            self._give_up(exchange, body_too_large(self.server.limits))
        elif exchange.receiver is not None:
            exchange.receiver.on_chunk(chunk)
        else:
            exchange.keep_chunk(chunk, stream.received)
            if exchange.admitted:
                return
            if stream.received > exchange.application.stream_above:
                self._release(exchange)
                self._admit(exchange)
            elif stream.received != stream.expected and not self._backlog.add(exchange, len(chunk)):
                stream.crowded = True
                self.core.hold(stream, True)

    def on_end(self, stream: Stream, trailers: Headers) -> None:
        exchange: H2Exchange = stream.owner
        if exchange.cancelled:
            return
        exchange.complete = True
        if trailers:
            exchange.received_trailers = trailers
        self._release(exchange)
        if exchange.receiver is not None:
            exchange.end_receiving(exchange.receiver)
            return
        exchange.join()
        if not exchange.admitted:
            self._admit(exchange)

    def on_cancelled(self, stream: Stream) -> None:
        exchange: H2Exchange = stream.owner
        self._release(exchange)
        if not exchange.cancelled:
            exchange.cancel()
            self._observe(exchange)

    def on_room(self, stream: Stream) -> None:
        if not self.core.out.paused:
            self._press(stream.owner, False)

    def on_late(self, stream: Stream) -> None:
        self._give_up(stream.owner, RequestTimeout("the request's body did not arrive in time"))

    def on_malformed(self) -> None:
        self.server.count_unread(self)

    # ---- exchanges

    def _admit(self, exchange: H2Exchange) -> None:
        exchange.admitted = True
        exchange.started_at = perf_counter()
        self.server.dispatch(exchange, exchange.application)

    def _refuse(self, exchange: H2Exchange, error: KfuncError) -> None:
        """Answer in place of the application."""
        exchange.refused, exchange.received = not exchange.admitted, exchange.stream.received
        exchange.admitted = True
        exchange.started_at = exchange.started_at or perf_counter()
        exchange.fail(error)

    def _give_up(self, exchange: H2Exchange, error: KfuncError) -> None:
        """The body will not be whole: whoever has begun with it hears that, and the client what is wrong."""
        self._release(exchange)
        if not exchange.cancelled:
            if exchange.on_cancel is not None:
                exchange.on_cancel()
            self._refuse(exchange, error)

    def _release(self, exchange: H2Exchange) -> None:
        if exchange.counted:
            for each in [exchange, *self._backlog.remove(exchange)]:
                if each.stream.crowded:
                    each.stream.crowded = False
                    self.core.hold(each.stream, False)

    def _observe(self, exchange: H2Exchange) -> None:
        exchange.started_at = exchange.started_at or perf_counter()
        exchange.application.observe(exchange)

    def _ended(self, exchange: Exchange) -> None:
        """`exchange` is answered."""
        exchange.cancelled = True  # nothing more may be written in its name
        cast(H2Exchange, exchange).application.observe(exchange)
        if self.server.draining:
            self.core.drain(self.server.now)
        self._send()

    def _press(self, exchange: H2Exchange, paused: bool) -> None:
        if exchange.pressed != paused:
            exchange.pressed = paused
            if exchange.on_pressure is not None and not exchange.cancelled:
                exchange.on_pressure(paused)

    # ---- answers

    def _at_work(self) -> None:
        """The core has no clock: this is the time at which an answer goes on."""
        self.core.now = self.core.out.now = self.server.now

    def _block(self, exchange: Exchange, lines: bytes, length: int | None) -> bytes:
        return answer_block(exchange, lines, length, self.server.date_line, self.server.outermost)

    def send_response(self, exchange: Exchange, lines: bytes, body: bytes) -> None:
        self._at_work()
        out, stream = self.core.out, cast(H2Exchange, exchange).stream
        exchange.sent_length = length = len(body)
        block = self._block(exchange, lines, length)
        if exchange.method == b"HEAD" or exchange.status in NO_BODY:
            body = b""
        trailers = encode_fields(exchange.trailers) if exchange.trailers else b""
        if not out.whole(stream, block, body, trailers):
            out.headers(stream, block, end=not body and not trailers)
            if body or trailers:
                out.data(stream, body, end=True, trailers=trailers)
        self._ended(exchange)

    def send_head(self, exchange: Exchange, lines: bytes, length: int | None) -> None:
        self.core.out.headers(cast(H2Exchange, exchange).stream, self._block(exchange, lines, length))
        self._send()

    def send_chunk(self, exchange: Exchange, chunk: bytes) -> None:
        if chunk and exchange.method != b"HEAD":
            self._at_work()
            exchange.sent_length += len(chunk)
            stream = cast(H2Exchange, exchange).stream
            self.core.out.data(stream, chunk, end=False)
            self._send()
            if stream.pending_bytes > ROOM or self.core.out.paused:
                self._press(cast(H2Exchange, exchange), True)

    def send_end(self, exchange: Exchange) -> None:
        self._at_work()
        trailers = encode_fields(exchange.trailers or [])
        self.core.out.data(cast(H2Exchange, exchange).stream, b"", end=True, trailers=trailers)
        self._ended(exchange)

    def reset(self, exchange: Exchange) -> None:
        exchange.cancelled = True
        self.core.reset(cast(H2Exchange, exchange).stream, INTERNAL_ERROR)
        cast(H2Exchange, exchange).application.observe(exchange)
        self._send()

    def hold(self, exchange: Exchange, paused: bool) -> None:
        self.core.hold(cast(H2Exchange, exchange).stream, paused)
        self._send()

    # ---- time

    def unfinished(self) -> list[Unfinished]:
        bodies, timeout_s = [], self.server.limits.body_timeout_s
        for exchange, size in self._backlog.waiting.items():
            late_at = FOREVER if exchange.stream.held else exchange.stream.moved_at + timeout_s
            bodies.append(Unfinished(late_at, size, partial(self._give_up, exchange)))
        return bodies

    def expire(self) -> None:
        """The deadline has passed."""
        now = self.server.now
        if self._lingering or self.core.out.paused:
            unsent = self.transport.get_write_buffer_size()
            if 0 < unsent < self._unsent:  # slowly, but it is read
                self._unsent = unsent
                self.deadline = now + self.server.limits.body_timeout_s
            else:
                self.deadline = FOREVER
                self.transport.abort()
            return
        self.deadline = check(self.core, now)
        self._send()

    def drain(self) -> None:
        """Finish what is open, and close."""
        self.core.drain(self.server.now)
        self.deadline = min(self.deadline, self.server.now + CHECK_S)
        self._send()


def take_over(before: "HttpConnection", data: bytes) -> None:
    """Go on with a connection whose first bytes are `data`, the preface of HTTP/2 or its beginning."""
    server, transport = before.server, before.transport
    connection = H2Connection(server)
    server.connections.discard(before)
    transport.set_protocol(connection)
    connection.connection_made(transport)
    connection.data_received(data)
