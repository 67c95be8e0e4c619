"""A fast CloudEvents sink that only counts: `python -m bench.servers.sink HOST:PORT`.

Every POST is 202; one event, or the length of the JSON array where the body is a batch.
`GET /` answers `{"requests": n, "events": n}`.
"""

import asyncio
import signal
import sys

import httptools
import orjson
import uvloop


class Count:
    """What has arrived."""

    requests = 0
    events = 0


class Sink(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start with the first request."""
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.body = bytearray()

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Collect."""
        self.body += body

    def on_message_complete(self) -> None:
        """Count and answer."""
        if self.parser.get_method() == b"GET":
            answer = orjson.dumps({"requests": Count.requests, "events": Count.events})
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
            return
        Count.requests += 1
        Count.events += len(orjson.loads(self.body)) if self.body[:1] == b"[" else 1
        self.body.clear()
        self.transport.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")


async def serve(address: str) -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    host, _, port = address.rpartition(":")
    await loop.create_server(Sink, host, int(port))
    await stopped.wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
