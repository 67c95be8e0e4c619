"""Connections to an upstream HTTP/1.1 server, pooled: one call on each at a time."""

import asyncio
import ssl
import time
from collections import deque
from typing import Protocol, cast

import httptools

from kfunc.errors import BadGateway, DeadlineExceeded, KfuncError, NoConnection, Unavailable
from kfunc.http.address import Address, connect_unix
from kfunc.http.head_lines import read_status_line
from kfunc.http.plain import PlainHead, PlainHeads
from kfunc.http.wire import END_OF_HEAD, HOP_BY_HOP, Headers, forwarded_headers, header_lines

SMALL_BODY = 64 * 1024
CONNECT_S, SWEEP_S = 5.0, 0.5
FOREVER = float("inf")
# Many servers close an idle connection after five seconds; a call sent at that moment would be lost.
IDLE_S = 4.0


# The client gets the id of its request from the outermost process, once.
DROPPED = frozenset((b"x-request-id",))


class ResponseHead:
    """Status and fields (names in lower case) of an answer; shared by answers whose heads are the same bytes."""

    __slots__ = ("_lines", "headers", "length", "status")

    def __init__(self, status: int, headers: Headers, length: int = 0, lines: bytes | None = None) -> None:
        self.status = status
        self.headers = headers
        self.length = length  # of a plain one's body
        self._lines = lines

    @property
    def lines(self) -> bytes:
        """The end-to-end fields but for the framing, as they are passed on."""
        if self._lines is None:
            self._lines = header_lines([field for field in forwarded_headers(self.headers) if field[0] not in DROPPED])
        return self._lines


def plain_answer(head: PlainHead) -> ResponseHead:
    """What the pool's calls get of a head that was read without the parser."""
    return ResponseHead(head.start, head.pairs, head.length, head.forwarded)


class Call(Protocol):
    """A request to the upstream, and who takes its answer: a whole one, or head, chunks and end."""

    idempotent: bool
    bodiless: bool

    def on_connection(self, connection: "UpstreamConnection") -> None:
        """Write the request now."""

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """A whole answer, in one piece."""

    def on_head(self, head: ResponseHead, length: int | None) -> None:
        """A large answer, or one of unknown length, begins."""

    def on_chunk(self, chunk: bytes) -> None:
        """Part of an answer that began with `on_head`."""

    def on_end(self) -> None:
        """The end of an answer that began with `on_head`."""

    def on_failure(self, error: KfuncError) -> None:
        """There is no answer, or no complete one."""

    def on_pressure(self, paused: bool) -> None:
        """The upstream does not take more of the request now, or does again."""


class UpstreamConnection(asyncio.Protocol):
    """One connection of the pool."""

    __slots__ = (
        "pool",
        "transport",
        "call",
        "deadline",
        "answered",
        "fresh",
        "reusable",
        "idle_since",
        "_parser",
        "_complete",
    ) + ("_head", "_headers", "_parts", "_streaming", "_until_close", "_held")

    def __init__(self, pool: "UpstreamPool") -> None:
        self.pool = pool
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._parser = httptools.HttpResponseParser(self)
        self._headers: Headers = []
        self._parts: list[bytes] = []
        self._head = ResponseHead(0, self._headers)
        self._streaming = False
        self._until_close = False
        self._complete = False  # the answer is, but the call has not heard of it
        self._held = False
        self.call: Call | None = None
        self.answered = False  # bytes of the answer have arrived
        self.reusable = True
        self.fresh = True  # no call has been answered on it yet
        self.deadline = FOREVER
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def begin(self, call: Call) -> None:
        """Send `call` on this connection."""
        self.call = call
        self.answered = False
        self.deadline = self.pool.now + self.pool.timeout_s
        call.on_connection(self)

    def abort(self) -> None:
        """Break off; the upstream sees that nobody waits any more."""
        self.call = None
        self.transport.abort()

    # ---- transport

    def data_received(self, data: bytes) -> None:
        call = self.call
        if call is None:  # an answer that nobody asked for; it must not become that of the next call
            self.transport.abort()
            return
        if not self.answered:  # between two messages: a whole answer with a plain head needs no parser
            end = data.find(END_OF_HEAD) + 4
            heads = self.pool.heads
            head = heads.known.get(data[:end]) or heads.read(data[:end])
            if head is not None and head.length == len(data) - end and not call.bodiless:
                self._release()
                call.on_response(head, data[end:])
                return
        self.answered = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.reusable = False
            if not self._complete:
                self._fail(BadGateway("the upstream's answer is not HTTP/1.1"))
                self.transport.abort()
                return
        if self._complete:
            self._deliver()

    def hold(self, paused: bool) -> None:
        """Stop or go on reading the answer."""
        if paused != self._held and not self.transport.is_closing():
            self._held = paused
            if paused:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        call = self.call
        self.pool.lost(self)
        if call is None:
            return
        if self._until_close and exc is None:
            self.call = None
            call.on_end()
        elif not self.answered and not self.fresh and call.idempotent:
            self.call = None
            self.pool.send(call)
        else:
            self._fail(BadGateway("the upstream closed the connection before its answer was complete"))

    def pause_writing(self) -> None:
        if self.call is not None:
            self.call.on_pressure(True)

    def resume_writing(self) -> None:
        if self.call is not None:
            self.call.on_pressure(False)

    def _fail(self, error: KfuncError) -> None:
        call, self.call = self.call, None
        if call is not None:
            call.on_failure(error)

    def expire(self) -> None:
        """The upstream took too long."""
        self._fail(DeadlineExceeded("the upstream did not answer in time"))
        self.transport.abort()

    # ---- parser

    def on_message_begin(self) -> None:
        if self._complete:
            raise BadGateway("the upstream sent more than its answer")
        self._headers = []
        self._parts = []
        self._streaming = self._until_close = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        call = self.call
        status = self._parser.get_status_code()
        if call is None or status < 200:
            return
        length, chunked = None, False
        for name, value in self._headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                chunked = True
        self._head = head = ResponseHead(status, self._headers)
        if call.bodiless:
            # The parser cannot be told that this answer has no body: it ends here, and so does the connection.
            self.call, self.reusable = None, False
            call.on_head(head, length)
            call.on_end()
            self.transport.close()
        elif chunked or (length is None and status not in (204, 304)) or (length or 0) > SMALL_BODY:
            self._streaming = True
            self._until_close = length is None and not chunked
            call.on_head(head, length)

    def on_body(self, chunk: bytes) -> None:
        if self._streaming:
            self.deadline = self.pool.now + self.pool.timeout_s  # a stream may go on for as long as it moves
            if self.call is not None:
                self.call.on_chunk(chunk)
        else:
            self._parts.append(chunk)

    def on_message_complete(self) -> None:
        call = self.call
        if call is None or self._parser.get_status_code() < 200:
            return
        self._complete = True
        if not self._parser.should_keep_alive():
            self.reusable = False

    def _deliver(self) -> None:
        call, parts, head, streaming = self.call, self._parts, self._head, self._streaming
        self._complete = False
        self._parts = []
        self._release()
        if call is None:
            return
        if streaming:
            call.on_end()
        else:
            call.on_response(head, parts[0] if len(parts) == 1 else b"".join(parts))

    def _release(self) -> None:
        """Back to the pool, before the call hears of its answer: what it does next may need a connection."""
        self.call = None
        self.fresh = False
        self.deadline = FOREVER
        if self._held:
            self.hold(False)
        self.pool.release(self)


class UpstreamPool:
    """Sends calls to one address over at most `max_connections` connections, the rest wait, bounded."""

    def __init__(
        self,
        address: Address,
        timeout_s: float,
        max_connections: int = 256,
        max_waiting: int = 10_000,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address = address
        self._tls = tls
        self.timeout_s = timeout_s
        self.max_connections = max_connections
        self.max_waiting = max_waiting
        self.now = time.monotonic()
        # A plain head needs a Content-Length: without one the body ends with the connection.
        self.heads = PlainHeads(read_status_line, plain_answer, b"content-length", private=HOP_BY_HOP | DROPPED)
        self.connections: set[UpstreamConnection] = set()
        self.idle: list[UpstreamConnection] = []
        self.waiting: deque[Call] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to watch deadlines, and hold a connection to one of our own: it lives while we do."""
        self._tick()
        if self.address.path:
            self._connect()

    def _tick(self) -> None:
        self.now = now = time.monotonic()
        for connection in [each for each in self.connections if each.deadline < now]:
            connection.expire()
        if not self.address.path:
            for connection in [each for each in self.idle if now - each.idle_since > IDLE_S]:
                self.idle.remove(connection)
                connection.transport.close()
        elif not self.connections and not self._connecting:
            self._connect()
        self._sweep = asyncio.get_running_loop().call_later(SWEEP_S, self._tick)

    def send(self, call: Call) -> None:
        """Send `call` as soon as there is a connection for it; it fails with 503 where there is none."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.transport.is_closing():
                connection.begin(call)
                return
        if len(self.waiting) >= self.max_waiting:
            call.on_failure(Unavailable("too many requests wait for the upstream; try again later"))
            return
        self.waiting.append(call)
        if len(self._connecting) < len(self.waiting) and len(self.connections) + len(self._connecting) < self.max_connections:
            self._connect()

    def forget(self, call: Call) -> None:
        """Drop a call that still waits for a connection."""
        if call in self.waiting:
            self.waiting.remove(call)

    def _connect(self) -> None:
        task = asyncio.get_running_loop().create_task(self._open())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                if self.address.path:
                    own = connect_unix(self.address.path)
                    _, connection = await loop.create_unix_connection(lambda: UpstreamConnection(self), sock=own)
                else:
                    host, port = self.address.host, self.address.port
                    _, connection = await loop.create_connection(lambda: UpstreamConnection(self), host, port, ssl=self._tls)
        except (OSError, UnicodeError, TimeoutError) as error:  # UnicodeError: a name that no resolver is asked for
            # What fails now may send the next call at once: that one needs a try of its own.
            self._connecting.discard(cast("asyncio.Task[None]", asyncio.current_task()))
            if not self._connecting and not self.connections:  # nothing else could serve those who wait
                waiting, self.waiting = self.waiting, deque()
                for call in waiting:
                    call.on_failure(NoConnection(str(self.address), error))
            return
        self.connections.add(connection)
        self.release(connection)

    def release(self, connection: UpstreamConnection) -> None:
        """The connection is free: the next call that waits, or the shelf."""
        if not connection.reusable or connection.transport.is_closing():
            connection.transport.close()
        elif self.waiting:
            connection.begin(self.waiting.popleft())
        else:
            connection.idle_since = self.now
            connection.fresh = False  # from here on the upstream may close it at any time
            self.idle.append(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """The connection is gone; if calls wait for one, open another."""
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        # One of our own lives until its client is gone, so that one connection is always held.
        held = self.address.path and not self.connections and not self._closed
        if (self.waiting or held) and not self._connecting:
            self._connect()

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for task in list(self._connecting):
            task.cancel()
        for connection in list(self.connections):
            connection.transport.close()
