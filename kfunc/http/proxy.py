"""Forwarding an exchange to an upstream: small bodies in one piece, large ones streamed both ways."""

from kfunc.errors import KfuncError
from kfunc.http.exchange import Exchange
from kfunc.http.head_lines import PER_REQUEST, REQUEST_ID
from kfunc.http.pool import UpstreamPool
from kfunc.http.upstream import ResponseHead, UpstreamConnection
from kfunc.http.wire import forwarded_headers, header_lines

STREAM_ABOVE = 64 * 1024
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS"))
LIVE_PATH = b"/v2/health/live"
LIVE = b'{"live":true}'


def pass_on(exchange: Exchange, pool: UpstreamPool) -> None:
    """Forward to the upstream, but answer for our own liveness: it must not fail while a model is restarted."""
    if exchange.target == LIVE_PATH and exchange.method in (b"GET", b"HEAD"):
        exchange.respond(200, LIVE)
    else:
        Forward(exchange, pool)


def forwarded_head(exchange: Exchange) -> bytes:
    """The head for the next hop, but for its framing, with an x-request-id in any case."""
    memo, headers = exchange.memo, exchange.headers
    if memo is not None:
        head = memo.get("forward")
        if head is None:
            memo["forward"] = head = request_head(exchange, PER_REQUEST)
        for name in PER_REQUEST[1:]:
            if name in headers:
                head += b"%b: %b\r\n" % (name, headers[name])
    elif exchange.plain is not None and exchange.plain.headers is headers and headers.get(REQUEST_ID) is exchange.request_id:
        return b"%b %b HTTP/1.1\r\n%b" % (exchange.method, exchange.target, exchange.plain.forwarded)
    else:
        head = request_head(exchange, PER_REQUEST[:1])
    return b"%bx-request-id: %b\r\n" % (head, exchange.request_id)


def request_head(exchange: Exchange, without: tuple[bytes, ...]) -> bytes:
    """Request line and end-to-end fields, but for the framing and for those named."""
    fields = [field for field in forwarded_headers(exchange.header_list) if field[0] not in without]
    return b"%b %b HTTP/1.1\r\n%b" % (exchange.method, exchange.target, header_lines(fields))


class Forward:
    """One exchange on its way through: a Call of the pool.

    Subclasses look at what passes: `passed_head`, `passed_chunk`, `passed_end`, and `sent_chunk` for
    the parts of a streamed request. A request with a body is never sent twice: it may have run.
    """

    __slots__ = ("bodiless", "connection", "exchange", "idempotent", "pool")

    def __init__(self, exchange: Exchange, pool: UpstreamPool) -> None:
        self.exchange = exchange
        self.pool = pool
        self.idempotent = exchange.complete and not exchange.body and exchange.method in IDEMPOTENT
        self.bodiless = exchange.method == b"HEAD"
        self.connection: UpstreamConnection | None = None
        exchange.on_cancel = self.on_cancel
        if not exchange.complete:
            exchange.hold(True)
        pool.send(self)

    # ---- request

    def on_connection(self, connection: UpstreamConnection) -> None:
        """Write the request."""
        exchange = self.exchange
        self.connection = connection
        head = forwarded_head(exchange)
        length = exchange.headers.get(b"content-length")
        if not exchange.complete:
            framing = b"transfer-encoding: chunked" if length is None else b"content-length: " + length
            connection.transport.write(b"%b%b\r\n\r\n" % (head, framing))
            Upload(self, connection, chunked=length is None)
        elif exchange.body or length is not None or b"transfer-encoding" in exchange.headers:
            connection.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(exchange.body), exchange.body))
        else:
            connection.transport.write(head + b"\r\n")

    def on_pressure(self, paused: bool) -> None:
        """The upstream is slower than the client."""
        self.exchange.hold(paused)

    def on_cancel(self) -> None:
        """The client is gone: so is the reason for the call."""
        if self.connection is not None and self.connection.call is self:
            self.connection.abort()
        else:
            self.pool.forget(self)
        self.passed_end(complete=False)

    # ---- answer

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """A whole answer."""
        self.passed_head(head)
        if body:
            self.passed_chunk(body)
        self.passed_end(complete=True)
        self.exchange.on_cancel = None  # it knows the exchange: both would wait for the collector, with the body
        self.exchange.relay(head.status, head.lines, body)

    def on_head(self, head: ResponseHead, length: int | None) -> None:
        """The answer begins."""
        self.passed_head(head)
        self.exchange.forwarded = True
        self.exchange.on_pressure = self._hold_upstream
        self.exchange.start(head.status, head.lines, length)

    def on_chunk(self, chunk: bytes) -> None:
        """Part of the answer."""
        self.passed_chunk(chunk)
        self.exchange.write(chunk)

    def on_end(self) -> None:
        """The answer is complete."""
        self.passed_end(complete=True)
        self.exchange.on_cancel = self.exchange.on_pressure = None
        self.exchange.finish()

    def on_failure(self, error: KfuncError) -> None:
        """No answer, or not all of it."""
        try:
            self.passed_end(complete=False, error=error)
        finally:  # whatever who looks on makes of it: the client would wait for ever
            self.exchange.on_cancel = self.exchange.on_pressure = None
            self.exchange.fail(error)

    def _hold_upstream(self, paused: bool) -> None:
        if self.connection is not None and self.connection.call is self:
            self.connection.hold(paused)

    # ---- for those who look on

    def sent_chunk(self, chunk: bytes) -> None:
        """Part of a request that is streamed."""

    def passed_head(self, head: ResponseHead) -> None:
        """The upstream's answer begins."""

    def passed_chunk(self, chunk: bytes) -> None:
        """Part of the upstream's answer."""

    def passed_end(self, *, complete: bool, error: KfuncError | None = None) -> None:
        """The upstream's answer ends, or there is none: `error`, or the client is gone."""


class Upload:
    """The body of a request, streamed: a Receiver. Until its end the connection cannot be used again."""

    __slots__ = ("_chunked", "_connection", "_forward")

    def __init__(self, forward: Forward, connection: UpstreamConnection, *, chunked: bool) -> None:
        self._forward = forward
        self._connection = connection
        self._chunked = chunked
        connection.reusable = False
        forward.exchange.hold(False)
        forward.exchange.receive(self)

    def on_chunk(self, chunk: bytes) -> None:
        """Send a part on."""
        self._forward.sent_chunk(chunk)
        if self._connection.call is self._forward:
            self._connection.transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked else chunk)

    def on_end(self) -> None:
        """The body is complete."""
        if self._connection.call is self._forward:
            self._connection.reusable = True
            if self._chunked:
                self._connection.transport.write(b"0\r\n\r\n")
