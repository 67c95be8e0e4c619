"""The floor under a hop: a proxy that finds where messages end and passes their bytes on as they came.

No headers are looked at, nothing is recorded, limited or answered by it.
`python -m bench.servers.bare_proxy HOST:PORT UNIX_SOCKET`
"""

import asyncio
import signal
import sys

import httptools
import uvloop


class Upstream(asyncio.Protocol):
    """A connection to the server behind; one message at a time."""

    def __init__(self, idle: list["Upstream"]) -> None:
        self.idle = idle
        self.client: Client | None = None
        self.parts: list[bytes] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep what every answer needs."""
        self.write = transport.write
        self.feed = httptools.HttpResponseParser(self).feed_data

    def data_received(self, data: bytes) -> None:
        """Parse; httptools calls `on_message_complete`."""
        self.parts.append(data)
        self.feed(data)

    def on_message_complete(self) -> None:
        """Back to the client."""
        client, self.client = self.client, None
        data, self.parts = b"".join(self.parts), []
        self.idle.append(self)
        if client is not None:
            client.write(data)


class Client(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, idle: list[Upstream], path: str) -> None:
        self.idle = idle
        self.path = path
        self.parts: list[bytes] = []
        self.connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep what every request needs."""
        self.write = transport.write
        self.feed = httptools.HttpRequestParser(self).feed_data

    def connection_lost(self, exc: Exception | None) -> None:
        """An answer that is still to come goes nowhere."""
        self.write = lambda data: None

    def data_received(self, data: bytes) -> None:
        """Parse; httptools calls `on_message_complete`."""
        self.parts.append(data)
        self.feed(data)

    def on_message_complete(self) -> None:
        """Pass on over an idle connection, or a new one."""
        data, self.parts = b"".join(self.parts), []
        if self.idle:
            self.send(self.idle.pop(), data)
        else:
            self.connecting = asyncio.get_running_loop().create_task(self.connect(data))

    def send(self, upstream: Upstream, data: bytes) -> None:
        """Pass on."""
        upstream.client = self
        upstream.write(data)

    async def connect(self, data: bytes) -> None:
        """Pass on over a new connection."""
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_unix_connection(lambda: Upstream(self.idle), self.path)
        self.send(upstream, data)


async def serve(address: str, path: str) -> None:
    """Serve until SIGTERM."""
    idle: list[Upstream] = []
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    host, _, port = address.rpartition(":")
    await loop.create_server(lambda: Client(idle, path), host, int(port))
    await stopped.wait()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:]))
