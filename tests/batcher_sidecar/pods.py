"""The batcher between real sockets: concurrent clients, the real server and pool, an upstream that counts."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple

from kfunc.batcher_sidecar.application import BatcherApplication
from kfunc.config.batcher import Batcher
from kfunc.config.inference import Limits
from kfunc.http.address import Address
from kfunc.http.exchange import Application
from kfunc.http.pool import UpstreamPool
from kfunc.http.server import HttpServer
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.requests import RequestRecorder

V1, V2 = "/v1/models/m:predict", "/v2/models/m/infer"
ROW = {"name": "x", "shape": [1, 2], "datatype": "FP32"}
METADATA = {
    **{"name": "m", "versions": ["1"], "platform": "test"},
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
}


class Message(NamedTuple):
    """A request or an answer: its first line, its fields with lower-case names, its body."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def status(self) -> int:
        return int(self.line.split()[1])

    @property
    def path(self) -> str:
        return self.line.split()[1]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def read_message(reader: asyncio.StreamReader) -> Message:
    line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields if field)}
    return Message(line, headers, await reader.readexactly(int(headers.get("content-length", 0))))


Answer = Callable[["Upstream", Message], Awaitable[Any]]


class Upstream:
    """A server that records requests and answers as `answer` says: status, body, perhaps fields; None closes the connection."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[Message] = []
        self.metadata: tuple[int, object] = (200, METADATA)
        self.gate = asyncio.Event()
        self.gate.set()
        self.gone = asyncio.Event()

    @property
    def calls(self) -> list[Message]:
        return [request for request in self.requests if request.line.startswith("POST")]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await read_message(reader)
                self.requests.append(request)
                if request.line.startswith("GET"):
                    status, document = self.metadata
                    answer: Any = (status, json.dumps(document).encode())
                else:
                    await self._opened(reader)
                    answer = await self.answer(self, request)
                if answer is None:
                    break
                status, body, *more = answer
                fields = {"content-type": "application/json", "x-from": "upstream", "content-length": len(body)}
                head = "".join(f"{name}: {value}\r\n" for name, value in {**fields, **(more[0] if more else {})}.items())
                writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body)
        self.gone.set()
        writer.close()

    async def _opened(self, reader: asyncio.StreamReader) -> None:
        while not self.gate.is_set():
            if reader.at_eof():
                raise ConnectionError
            await asyncio.sleep(0.001)


async def echo(_: Upstream, request: Message) -> tuple[int, bytes]:
    """Rows come back as they are; a row of strings is refused."""
    document = request.json
    if '"bad"' in request.body.decode():
        return 400, b'{"error": "a bad row"}'
    if "instances" in document:
        return 200, json.dumps({"predictions": document["instances"]}).encode()
    outputs = [{**each, "name": "y"} for each in document["inputs"]]
    return 200, json.dumps({"model_name": "m", "outputs": outputs}).encode()


async def forgiving(_: Upstream, request: Message) -> tuple[int, bytes]:
    return 200, b'{"model_name": "m", "outputs": []}'


async def hang_up(_: Upstream, request: Message) -> None:
    return None


class Pod:
    """The batcher in front of an upstream."""

    def __init__(self, upstream: Upstream, port: int, metrics: Metrics, recorder: RequestRecorder) -> None:
        self.upstream = upstream
        self.recorder = recorder
        self.port = port
        self.metrics = metrics

    async def send(self, path: str, body: object, **headers: str) -> Message:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request_bytes(path, body, headers))
            return await read_message(reader)
        finally:
            writer.close()

    async def waits(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 (counters tell nobody)
                await asyncio.sleep(0.001)

    async def waiting(self, count: int) -> None:
        line = f'kfunc_batch_queue_length{{component="batcher"}} {count}\n'
        await self.waits(lambda: line in self.metrics.exposition())

    async def behind_one(self, *requests: Coroutine[Any, Any, Message], row: object = 0) -> list[Message]:
        """The answers to requests that are all collected while one with `row`, of the same form, is in flight."""
        self.upstream.gate.clear()
        calls = len(self.upstream.calls)
        first = asyncio.create_task(self.send(V1, {"instances": [row]}))
        await self.waits(lambda: len(self.upstream.calls) > calls)
        tasks = []
        for count, request in enumerate(requests, 1):
            tasks.append(asyncio.create_task(request))
            await self.waiting(count)
        self.upstream.gate.set()
        await first
        return list(await asyncio.gather(*tasks))


def request_bytes(path: str, body: object, headers: dict[str, str]) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nhost: test\r\n{fields}content-length: {len(data)}\r\n\r\n".encode() + data


def row(*values: object, **more: object) -> dict[str, object]:
    return {"inputs": [{**ROW, "data": list(values)}], **more}


def serve(
    test: Callable[[Pod], Coroutine[Any, Any, None]],
    answer: Answer = echo,
    keep: int = 0,
    timeout_s: float = 30.0,
    around: Callable[[Application], Application] = lambda batcher: batcher,
    **settings: Any,
) -> None:
    """Run `test` with a batcher that waits for the batch in flight only, and an upstream that answers with `answer`.

    `around` gives what stands around the batcher in its process.
    """

    async def main() -> None:
        upstream = Upstream(answer)
        server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
        pool = UpstreamPool(Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1]), timeout_s)
        metrics = Metrics("batcher")
        recorder = RequestRecorder(metrics, access_log=False, keep=keep)
        application = BatcherApplication(Batcher(**{"max_latency_ms": 0, **settings}), pool, metrics, recorder)
        batcher = HttpServer(around(application), Limits())
        listener = socket.create_server(("127.0.0.1", 0))
        await batcher.start(listener)
        pool.start()
        try:
            async with asyncio.timeout(60):
                await test(Pod(upstream, listener.getsockname()[1], metrics, recorder))
        finally:
            batcher.close()
            pool.close()
            server.close()
            await asyncio.sleep(0.05)

    asyncio.run(main())
