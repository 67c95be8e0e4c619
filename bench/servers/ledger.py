"""A CloudEvents sink that keeps account of every event: `python -m bench.servers.ledger HOST:PORT FILE`.

A line of FILE for each new event: `q` or `a` (request, answer), its correlation id. `POST /outage` with `503` or `hang`
begins an outage, with nothing ends it. `GET /` answers `{"requests": n, "events": n, "duplicates": n}`.
"""

import asyncio
import signal
import sys
from typing import TextIO

import httptools
import orjson
import uvloop


class Account:
    """What has arrived, and whether there is an outage."""

    def __init__(self, file: TextIO) -> None:
        self.requests = 0
        self.duplicates = 0
        self.outage = b""
        self.ids: set[str] = set()
        self._file = file

    def take(self, body: bytes) -> None:
        """Write down the events of a request."""
        self.requests += 1
        parsed = orjson.loads(body)
        lines = []
        for event in parsed if isinstance(parsed, list) else [parsed]:
            if event["id"] in self.ids:
                self.duplicates += 1
                continue
            self.ids.add(event["id"])
            lines.append(f"{'a' if event['type'].endswith('response') else 'q'} {event['correlationid']}\n")
        self._file.write("".join(lines))
        self._file.flush()

    def counts(self) -> bytes:
        """How much there is."""
        return orjson.dumps({"requests": self.requests, "events": len(self.ids), "duplicates": self.duplicates})


class Ledger(asyncio.Protocol):
    """One connection."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start with the first request."""
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.body = bytearray()

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Keep."""
        self.url = url

    def on_body(self, body: bytes) -> None:
        """Collect."""
        self.body += body

    def on_message_complete(self) -> None:
        """Take up and answer."""
        account, body = self.account, bytes(self.body)
        self.body.clear()
        if self.parser.get_method() == b"GET":
            self._answer(b"200 OK", account.counts())
        elif self.url == b"/outage":
            account.outage = body
            self._answer(b"200 OK", account.counts())
        elif account.outage == b"hang":
            return
        elif account.outage:
            self._answer(account.outage + b" Outage", b"")
        else:
            account.take(body)
            self._answer(b"202 Accepted", b"")

    def _answer(self, status: bytes, body: bytes) -> None:
        self.transport.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))


async def serve(address: str, file: TextIO) -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    host, _, port = address.rpartition(":")
    account = Account(file)
    await loop.create_server(lambda: Ledger(account), host, int(port))
    await stopped.wait()


if __name__ == "__main__":
    with open(sys.argv[2], "a", encoding="ascii") as opened:
        uvloop.run(serve(sys.argv[1], opened))
