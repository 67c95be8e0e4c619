"""The connections to an upstream, and the calls that wait for one."""

import asyncio
import ssl
import time
from collections import OrderedDict
from typing import cast

from kfunc.errors import NoConnection, Unavailable
from kfunc.http.address import Address, connect_unix
from kfunc.http.head_lines import read_status_line
from kfunc.http.plain import PlainHeads
from kfunc.http.upstream import DROPPED, NOT_YET, Call, UpstreamConnection, plain_answer, tell_failure
from kfunc.http.wire import HOP_BY_HOP

CONNECT_S, SWEEP_S = 5.0, 0.5
# Many servers close an idle connection after five seconds; a call sent at that moment would be lost.
IDLE_S = 4.0


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
        self.waiting: OrderedDict[Call, float] = OrderedDict()  # until when
        self._connecting: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to watch deadlines, and hold a connection to one of our own: it lives while we do."""
        self._tick()
        if self.address.path:
            self._connect()

    def _tick(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(SWEEP_S, self._tick)
        self.now = now = time.monotonic()
        for connection in [each for each in self.connections if each.deadline < now]:
            if connection.deadline == NOT_YET:  # begun since the last sweep; a clock call for each request tells little more
                connection.deadline = now + self.timeout_s
            else:
                connection.expire()
        while self.waiting and next(iter(self.waiting.values())) < now:
            call, _ = self.waiting.popitem(last=False)
            tell_failure(call, Unavailable("the upstream was busy for too long; try again later"))
        if not self.address.path:
            for connection in [each for each in self.idle if now - each.idle_since > IDLE_S]:
                self.idle.remove(connection)
                connection.transport.close()
        elif not self.connections and not self._connecting:
            self._connect()

    def send(self, call: Call) -> None:
        """Send `call` as soon as there is a connection for it; it fails with 503 where there is none."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.transport.is_closing():
                connection.begin(call)
                return
        if len(self.waiting) >= self.max_waiting:
            tell_failure(call, Unavailable("too many requests wait for the upstream; try again later"))
            return
        self.waiting[call] = time.monotonic() + self.timeout_s
        self._connect_if_wanted()

    def forget(self, call: Call) -> None:
        """Drop a call that still waits for a connection."""
        self.waiting.pop(call, None)

    def _connect_if_wanted(self) -> None:
        """Open one connection more if calls wait, and none is on its way for each of them."""
        opening = len(self._connecting)
        if opening < len(self.waiting) and len(self.connections) + opening < self.max_connections:
            self._connect()

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
            self._opened()
            if not self._connecting and not self.connections:  # nothing else could serve those who wait
                waiting, self.waiting = self.waiting, OrderedDict()
                for call in waiting:
                    tell_failure(call, NoConnection(str(self.address), error))
            return
        self._opened()
        self.connections.add(connection)
        self.release(connection)

    def _opened(self) -> None:
        """The task has done its work: what fails or begins now may want another connection at once."""
        self._connecting.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def release(self, connection: UpstreamConnection) -> None:
        """The connection is free: the next call that waits, or the shelf."""
        if not connection.reusable or connection.transport.is_closing():
            connection.transport.close()
        elif self.waiting:
            connection.begin(self.waiting.popitem(last=False)[0])
        else:
            connection.idle_since = self.now
            connection.fresh = False  # from here on the upstream may close it at any time
            self.idle.append(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """The connection is gone: another takes its place, if calls wait or none is left."""
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if self._closed:
            return
        # One of our own lives until its client is gone, so that one connection is always held.
        if self.address.path and not self.connections and not self._connecting:
            self._connect()
        else:
            self._connect_if_wanted()

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for task in list(self._connecting):
            task.cancel()
        for connection in list(self.connections):
            connection.transport.close()
