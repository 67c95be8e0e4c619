"""A proxy between a raw client and a scripted upstream, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from kfunc.config.inference import Limits
from kfunc.http.address import listen, parse_address
from kfunc.http.exchange import Exchange
from kfunc.http.pool import UpstreamPool
from kfunc.http.proxy import STREAM_ABOVE, Forward
from kfunc.http.server import HttpServer

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Script = Callable[[Reader, Writer], Awaitable[None]]

PATIENCE_S = 10.0
BIG = 32 * 1024 * 1024
ROOM = 20 * 1024 * 1024
"""More than the buffers of four sockets hold, and far less than BIG."""


class Proxy:
    """Forwards everything."""

    stream_above = STREAM_ABOVE

    def __init__(self, pool: UpstreamPool) -> None:
        self.pool = pool
        self.ended: list[Exchange] = []

    def handle(self, exchange: Exchange) -> None:
        Forward(exchange, self.pool)

    def observe(self, exchange: Exchange) -> None:
        self.ended.append(exchange)


class Upstream:
    """Counts connections and runs the script on each."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.gone = asyncio.Event()
        """A connection has ended, from whichever side."""

    async def serve(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        try:
            await self.script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.gone.set()


class Chain:
    """What a test sees of client, proxy and upstream."""

    def __init__(self, proxy: Proxy, server: HttpServer, upstream: Upstream, port: int) -> None:
        self.proxy = proxy
        self.server = server
        self.upstream = upstream
        self.port = port

    async def connect(self) -> tuple[Reader, Writer]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, request: bytes) -> tuple[int, bytes, bytes]:
        """One request on a connection of its own: status, head and body of the answer."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            return await read_answer(reader)
        finally:
            writer.close()


@asynccontextmanager
async def chain(script: Script, timeout_s: float = 30.0) -> AsyncIterator[Chain]:
    upstream = Upstream(script)
    listener = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    address = parse_address(f"127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    try:
        async with proxy_to(address.port, upstream, timeout_s) as made:
            yield made
    finally:
        listener.close()


@asynccontextmanager
async def proxy_to(port: int, upstream: Upstream, timeout_s: float = 30.0) -> AsyncIterator[Chain]:
    pool = UpstreamPool(parse_address(f"127.0.0.1:{port}"), timeout_s)
    pool.start()
    proxy = Proxy(pool)
    server = HttpServer(proxy, Limits())
    listener = listen(parse_address("127.0.0.1:0"))
    await server.start(listener)
    try:
        yield Chain(proxy, server, upstream, listener.getsockname()[1])
    finally:
        server.close()
        pool.close()
        await asyncio.sleep(0.01)


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test on the loop that the processes use."""

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await test

    uvloop.run(bounded())


async def read_request(reader: Reader) -> bytes:
    """A request's head and, where Content-Length gives one, its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(content_length(head) or 0)


async def read_answer(reader: Reader) -> tuple[int, bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = content_length(head)
    if length is not None:
        body = await reader.readexactly(length)
    elif b"transfer-encoding: chunked" in head:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    else:
        body = await reader.read()
    return int(head[9:12]), head, body


def content_length(head: bytes) -> int | None:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return None


def answers(*scripted: bytes) -> Script:
    """Each request gets the next of these answers; after the last the connection is closed."""

    async def script(reader: Reader, writer: Writer) -> None:
        for answer in scripted:
            await read_request(reader)
            writer.write(answer)
            await writer.drain()

    return script
