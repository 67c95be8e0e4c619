"""Where events go: a file of JSON lines, or an HTTP endpoint such as a Knative broker."""

import asyncio
import os
import ssl
from typing import Protocol
from urllib.parse import urlsplit

from kfunc.errors import KfuncError, StartupError
from kfunc.http.address import Address
from kfunc.http.upstream import ResponseHead, UpstreamConnection, UpstreamPool
from kfunc.protocol.cloudevents import CONTENT_TYPE

POST_TIMEOUT_S = 10.0
POSTS_AT_ONCE = 16
# Knative's delivery rules: these may succeed later, every other 4xx never.
RETRIED = frozenset((404, 408, 409, 429))


class Sink(Protocol):
    """Takes structured events."""

    batch_size: int
    """Events that are handed over at once."""

    async def deliver(self, events: list[bytes]) -> list[bytes]:
        """Deliver; returns the events that are to be tried again. What can never be delivered is not returned."""

    def close(self) -> None:
        """Let go of files and connections."""


class FileSink:
    """Appends JSON lines."""

    batch_size = 1024

    def __init__(self, path: str) -> None:
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StartupError(f"the events file {path} cannot be opened: {error.strerror}; give another --sink") from None

    async def deliver(self, events: list[bytes]) -> list[bytes]:
        """One write for all; on a full disk they are tried again."""
        data = b"".join([event + b"\n" for event in events])
        loop = asyncio.get_running_loop()
        try:
            if len(data) <= 64 * 1024:
                written = os.write(self._descriptor, data)  # into the page cache: faster than a thread could take it
            else:
                written = await loop.run_in_executor(None, os.write, self._descriptor, data)
        except OSError:
            return events
        return events if written < len(data) else []

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class HttpSink:
    """POSTs each event, several at once, over kept connections."""

    batch_size = 256

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        if not parts.hostname:
            raise StartupError(f"the sink {url!r} has no host")
        port = parts.port or (443 if secure else 80)
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
        accepted = await asyncio.gather(*[post.done for post in posts])
        return [event for event, done in zip(events, accepted, strict=True) if not done]

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


class Post:
    """A Call: one event; `done` tells whether it need not be sent again."""

    # An event has its own id: a broker that gets it twice knows.
    idempotent = True
    bodiless = False

    def __init__(self, head: bytes, event: bytes) -> None:
        self._head = head
        self._event = event
        self._verdict: ResponseHead | None = None
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def on_connection(self, connection: UpstreamConnection) -> None:
        """Write the event."""
        connection.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(self._event), self._event))

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """The sink's verdict."""
        if not self.done.done():
            self.done.set_result(head.status < 500 and head.status not in RETRIED)

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
            self.done.set_result(False)

    def on_pressure(self, paused: bool) -> None:
        """An event is small enough to wait in memory."""


def open_sink(target: str) -> Sink:
    """The sink for `file:PATH` or an http(s) URL. Raises StartupError."""
    if target.startswith("file:"):
        return FileSink(target.removeprefix("file:").removeprefix("//"))
    return HttpSink(target)
