"""A connection to an upstream HTTP/1.1 server: one call at a time, its answer whole or in parts."""

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from kfunc.errors import BadGateway, DeadlineExceeded, KfuncError
from kfunc.http.plain import PlainHead
from kfunc.http.wire import END_OF_HEAD, Headers, forwarded_headers, header_lines

if TYPE_CHECKING:
    from kfunc.http.pool import UpstreamPool

log = logging.getLogger("kfunc.http")

SMALL_BODY = 64 * 1024
FOREVER = float("inf")
NOT_YET = -1.0  # a deadline that the pool's next sweep sets: a sweep's time is past, and what counts from it ends early

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

    __slots__ = ("pool", "transport", "call", "deadline", "answered", "fresh", "reusable", "idle_since") + (
        "_parser",
        "_complete",
        "_head",
        "_headers",
        "_parts",
        "_streaming",
        "_until_close",
        "_held",
    )

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
        self.deadline = NOT_YET
        try:
            call.on_connection(self)
        except Exception as error:  # it may have been begun where another call's answer is on its way
            self.abort()
            tell_failure(call, failure_of(error))

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
                try:
                    call.on_response(head, data[end:])
                except Exception as error:
                    tell_failure(call, failure_of(error))
                return
        self.answered = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.reusable = False
            if not self._complete:
                cause = error.__context__ or BadGateway("the upstream's answer is not HTTP/1.1")
                self._fail(failure_of(cause))
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
            _end(call)
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
            tell_failure(call, error)

    def expire(self) -> None:
        """The upstream took too long."""
        self._fail(DeadlineExceeded(f"there was no answer in time (timeout_s: {self.pool.timeout_s:g})"))
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
            call.on_head(head, length)
            self.call, self.reusable = None, False
            _end(call)
            self.transport.close()
        elif chunked or (length is None and status not in (204, 304)) or (length or 0) > SMALL_BODY:
            self._streaming = True
            self._until_close = length is None and not chunked
            call.on_head(head, length)

    def on_body(self, chunk: bytes) -> None:
        if self._streaming:
            self.deadline = NOT_YET  # a stream may go on for as long as it moves
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
            _end(call)
            return
        try:
            call.on_response(head, parts[0] if len(parts) == 1 else b"".join(parts))
        except Exception as error:
            tell_failure(call, failure_of(error))

    def _release(self) -> None:
        """Back to the pool, before the call hears of its answer: what it does next may need a connection."""
        self.call = None
        self.fresh = False
        self.deadline = FOREVER
        if self._held:
            self.hold(False)
        self.pool.release(self)


def failure_of(error: BaseException) -> KfuncError:
    """What a caller hears of an error in what takes its answer: nobody else would tell it."""
    if isinstance(error, KfuncError):
        return error
    log.error("an answer of the upstream was not passed on", exc_info=error)
    return KfuncError("internal error; the log of the server says more")


def _end(call: Call) -> None:
    try:
        call.on_end()
    except Exception as error:
        tell_failure(call, failure_of(error))


def tell_failure(call: Call, error: KfuncError) -> None:
    """Tell a call that there is no answer: what it raises then is its own affair, and no other call's."""
    try:
        call.on_failure(error)
    except Exception as raised:
        log.error("a call did not take up its failure (%s)", error.message, exc_info=raised)
