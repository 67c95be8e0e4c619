"""Where events go: a file of JSON lines, or an HTTP endpoint such as a Knative broker."""

import asyncio
import logging
import os
import ssl
import stat
from typing import Protocol
from urllib.parse import urlsplit

from kfunc.config.locations import file_path
from kfunc.errors import KfuncError, StartupError
from kfunc.http.address import Address
from kfunc.http.upstream import ResponseHead, UpstreamConnection, UpstreamPool
from kfunc.protocol.cloudevents import CONTENT_TYPE

log = logging.getLogger("kfunc.logger")

POST_TIMEOUT_S = 10.0
POSTS_AT_ONCE = 16
# Knative's delivery rules: these may succeed later, every other 4xx never.
RETRIED = frozenset((404, 408, 409, 429))


class Sink(Protocol):
    """Takes structured events."""

    batch_size: int
    """Events that are handed over at once."""

    refused: int
    """Events so far that can never be delivered."""

    async def deliver(self, events: list[bytes]) -> list[bytes]:
        """Deliver; returns the events that are to be tried again, in order: the next call must begin with them.

        What can never be delivered is not returned, but counted as refused.
        """

    def close(self) -> None:
        """Let go of files and connections."""


class FileSink:
    """Appends JSON lines."""

    batch_size = 1024
    refused = 0

    def __init__(self, path: str) -> None:
        self._written = 0  # bytes of the first undelivered event that are in the file: the disk was full
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StartupError(f"the events file {path} cannot be opened: {error.strerror}; give another --sink") from None
        self._regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    async def deliver(self, events: list[bytes]) -> list[bytes]:
        """One write for all; what a full disk does not take is tried again, a torn line from where it was torn."""
        data = b"".join([event + b"\n" for event in events])[self._written :]
        if self._regular and len(data) <= 64 * 1024:
            count = self._append(data)  # into the page cache: faster than a thread could take it
        else:
            count = await asyncio.get_running_loop().run_in_executor(None, self._append, data)
        written, whole = self._written + count, 0
        while whole < len(events) and written > len(events[whole]):
            written -= len(events[whole]) + 1
            whole += 1
        self._written = written
        return events[whole:]

    def _append(self, data: bytes) -> int:
        """Write as much as is taken; the count of bytes."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            pass  # said by whoever sees that events wait
        return len(data) - len(rest)

    def close(self) -> None:
        """Close the file, without a torn line at its end if nobody else has written after it."""
        try:
            size = os.fstat(self._descriptor).st_size
            if self._written and size == os.lseek(self._descriptor, 0, os.SEEK_CUR):
                os.ftruncate(self._descriptor, size - self._written)
        except OSError:
            pass  # a pipe cannot be shortened
        os.close(self._descriptor)


class HttpSink:
    """POSTs each event, several at once, over kept connections."""

    batch_size = 256

    def __init__(self, url: str) -> None:
        self.refused = 0
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        try:
            port = parts.port or (443 if secure else 80)
        except ValueError:
            raise StartupError(f"the sink {url!r} has a port that is not a number up to 65535") from None
        if not parts.hostname or not url.isascii() or not url.isprintable() or " " in url:
            raise StartupError(f"the sink {url!r} is not a URL: it needs a host, and %-escapes for what is not ASCII")
        context = ssl.create_default_context() if secure else None
        address = Address(host=parts.hostname, port=port)
        self._pool = UpstreamPool(address, POST_TIMEOUT_S, max_connections=POSTS_AT_ONCE, tls=context)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._head = b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: %b\r\n" % (
            path.encode(),
            parts.netloc.rpartition("@")[2].encode(),
            CONTENT_TYPE,
        )
        self._started = False

    async def deliver(self, events: list[bytes]) -> list[bytes]:
        """POST all; returns those that were answered with a code to retry, or not at all."""
        if not self._started:
            self._pool.start()
            self._started = True
        posts = [Post(self._head, event) for event in events]
        for post in posts:
            self._pool.send(post)
        statuses = await asyncio.gather(*[post.done for post in posts])
        refused = [status for status in statuses if 300 <= status < 500 and status not in RETRIED]
        if refused:
            self.refused += len(refused)
            log.warning("the sink refused %d events with status %d: they are dropped", len(refused), refused[-1])
        return [event for event, status in zip(events, statuses, strict=True) if status >= 500 or status in RETRIED]

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


class Post:
    """A Call: one event; `done` is the status of the answer."""

    # An event has its own id: a broker that gets it twice knows.
    idempotent = True
    bodiless = False

    def __init__(self, head: bytes, event: bytes) -> None:
        self._head = head
        self._event = event
        self._verdict: ResponseHead | None = None
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def on_connection(self, connection: UpstreamConnection) -> None:
        """Write the event."""
        connection.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(self._event), self._event))

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """The sink's verdict."""
        if not self.done.done():
            self.done.set_result(head.status)

    def on_head(self, head: ResponseHead, length: int | None) -> None:
        """A long verdict; its body does not matter."""
        self._verdict = head

    def on_chunk(self, chunk: bytes) -> None:
        """Nobody reads it."""

    def on_end(self) -> None:
        """The end of a long verdict."""
        if self._verdict is not None:
            self.on_response(self._verdict, b"")

    def on_failure(self, error: KfuncError) -> None:
        """To be tried again."""
        if not self.done.done():
            self.done.set_result(error.status)

    def on_pressure(self, paused: bool) -> None:
        """An event is small enough to wait in memory."""


def open_sink(target: str) -> Sink:
    """The sink for `file:PATH` or an http(s) URL. Raises StartupError."""
    if target.startswith("file:"):
        path = file_path(target)
        if path is None or "\0" in path:
            raise StartupError(f"the sink {target!r} names no file of this machine; use file:PATH")
        return FileSink(path)
    if target.startswith(("http://", "https://")):
        return HttpSink(target)
    raise StartupError(f"the sink {target!r} is not http://…, https://… or file:PATH")
