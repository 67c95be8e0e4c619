"""A listening server: its connections, their deadlines, and the drain at the end."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, Protocol

from kfunc.config.inference import Limits
from kfunc.errors import KfuncError, Unavailable, Unsupported
from kfunc.http.address import BACKLOG
from kfunc.http.connection import HttpConnection
from kfunc.http.exchange import Application, Exchange, Transmitter, Unfinished
from kfunc.http.plain import request_heads
from kfunc.http.wire import status_line

log = logging.getLogger("kfunc.http")

SWEEP_S = 0.5
LAST_REQUESTS_S = 0.5
MOST_HELD = 512 * 1024 * 1024
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def date_line(now: float) -> bytes:
    """The Date field for `now`, seconds since the epoch (RFC 9110, 5.6.7); independent of the locale."""
    at = time.gmtime(now)
    day, month = DAYS[at.tm_wday], MONTHS[at.tm_mon - 1]
    clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    return f"date: {day}, {at.tm_mday:02} {month} {at.tm_year} {clock} GMT\r\n".encode()


class Connection(Protocol):
    """One of a server's connections, of whatever version of HTTP."""

    transport: asyncio.Transport
    deadline: float

    def expire(self) -> None:
        """The deadline has passed."""

    def drain(self) -> None:
        """Finish what is open, and close."""

    def unfinished(self) -> Iterable[Unfinished]:
        """Bodies that have begun, and are handed over when they are whole."""


class NotServed:
    """Answers calls of gRPC where there is none: `words` say where it is."""

    stream_above = 2**62

    def __init__(self, words: str) -> None:
        self._words = words

    def handle(self, exchange: Exchange) -> None:
        """Say what is to be done."""
        raise Unsupported(self._words)

    def observe(self, exchange: Exchange) -> None:
        """Such calls are not counted."""


NOT_SERVED = NotServed("gRPC is not served here; inference.protocols: [v1, v2, grpc] in func.yaml offers it")


class HttpServer:
    """Serves one application on one listening socket.

    `now` is monotonic seconds, renewed every half second: exact enough for deadlines, and free.
    """

    def __init__(self, application: Application, limits: Limits, memory_bytes: int = 2**62) -> None:
        self.application = application
        self.limits = limits
        self.most_held = max(limits.max_body_bytes, min(memory_bytes // 2, max(MOST_HELD, 8 * limits.max_body_bytes)))
        self.heads = request_heads(limits)
        self.grpc: Callable[[bytes], Application] = lambda target: NOT_SERVED
        """What answers the calls of a gRPC method, by its path."""
        self.h2_heads: dict[Any, Any] = {}  # kfunc.http.h2.reading.KnownHeads; most servers need none
        self.outermost = True  # clients come from elsewhere: its answers carry x-request-id
        self.connections: set[Connection] = set()
        self.draining = False
        self.now = time.monotonic()
        self._renew_date()
        self.seen_client = False
        self._listener: asyncio.Server | None = None
        self._idle: asyncio.Future[None] | None = None
        self._sweep: asyncio.TimerHandle | None = None

    def _renew_date(self) -> None:
        self.date_line = date_line(time.time())
        self.ok_lines = status_line(200) + self.date_line

    async def start(self, listener: socket.socket) -> None:
        """Accept connections on `listener`."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        self.outermost = listener.family != socket.AF_UNIX
        if not self.outermost:
            self._listener = await loop.create_unix_server(lambda: HttpConnection(self), sock=listener, backlog=BACKLOG)
        else:
            self._listener = await loop.create_server(lambda: HttpConnection(self), sock=listener, backlog=BACKLOG)
        self._tick()

    def _tick(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(SWEEP_S, self._tick)
        self.now = now = time.monotonic()
        self._renew_date()
        for connection in [each for each in self.connections if each.deadline < now]:
            connection.expire()
        bodies = [body for each in self.connections for body in each.unfinished()]
        held = sum([body.size for body in bodies])
        if held > self.most_held:
            self._give_up(bodies, held - self.most_held)

    def _give_up(self, bodies: list[Unfinished], size: int) -> None:
        """Refuse bodies of at least `size` bytes, those first that have stood still for longest."""
        for body in sorted(bodies, key=lambda each: each.late_at):
            if size <= 0:
                break
            size -= body.size
            body.refuse(Unavailable("too many bodies of requests are on their way; try again later"))

    def opened(self, connection: Connection) -> bool:
        """Take up a connection; false if there are too many."""
        self.connections.add(connection)
        self.seen_client = True
        return len(self.connections) <= self.limits.max_connections

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if not self.connections and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def dispatch(self, exchange: Exchange, application: Application | None = None) -> None:
        """Hand an exchange to the application, or to another one; what it raises becomes the answer."""
        try:
            (application or self.application).handle(exchange)
        except KfuncError as error:
            exchange.fail(error)
        except Exception:
            about = (exchange.method.decode(), exchange.target.decode("latin-1"))
            log.exception("a request failed: %s %s", *about, extra={"exchange": exchange})
            exchange.fail(KfuncError("internal error; the log of the server says more"))

    def count_unread(self, transmitter: Transmitter) -> None:
        """Count a request that is too wrong for an answer."""
        exchange = Exchange(transmitter, b"", b"", [], {}, False)
        exchange.started_at, exchange.status, exchange.refused = perf_counter(), 400, True
        self.application.observe(exchange)

    async def clients_gone(self, timeout_s: float) -> bool:
        """Wait until no connection is open; false after `timeout_s`."""
        if self.connections:
            self._idle = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait_for(self._idle, timeout_s)
            except TimeoutError:
                return False
        return True

    async def drain(self, grace_s: float) -> bool:
        """Accept nothing more, finish what is being answered; false if `grace_s` cut something off.

        A client may be sending on an idle connection just now: for a moment it still gets an answer, its last there.
        """
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        last_requests_s = min(LAST_REQUESTS_S, grace_s)
        finished = await self.clients_gone(last_requests_s)
        if not finished:
            for connection in list(self.connections):
                connection.drain()
            finished = await self.clients_gone(grace_s - last_requests_s)
        self.close()
        return finished

    def close(self) -> None:
        """Stop at once."""
        if self._listener is not None:
            self._listener.close()
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self.connections):
            connection.transport.abort()
