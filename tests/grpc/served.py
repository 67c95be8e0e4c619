"""A server of gRPC in front of a made-up application of REST, and grpcio's client for it, in one event loop."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc

from kfunc.config.inference import Limits
from kfunc.errors import KfuncError
from kfunc.grpc.front import Direct
from kfunc.grpc.offer import offer
from kfunc.http.exchange import Exchange
from kfunc.http.server import HttpServer
from kfunc.protocol import parts
from tests.protocol.grpc.library import ModelInferRequest, message

SERVICE = "inference.GRPCInferenceService"
Answer = Callable[[Exchange], None]


class Rest:
    """Answers by a table of paths; keeps what it was asked, and what it was told of the ends."""

    stream_above = 2**62

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = answers
        self.asked: list[Exchange] = []
        self.ended: list[tuple[str, int, int]] = []  # path, HTTP status, gRPC status

    def handle(self, exchange: Exchange) -> None:
        self.asked.append(exchange)
        self.answers[exchange.target.decode()](exchange)

    def observe(self, exchange: Exchange) -> None:
        self.ended.append((exchange.target.decode(), exchange.status, exchange.grpc_status))


def echo(exchange: Exchange) -> None:
    """A model that answers with its inputs, as V2 in binary."""
    length = int(exchange.headers[b"inference-header-content-length"])
    document = json.loads(exchange.body[:length])
    outputs = [
        {**tensor, "parameters": {"binary_data_size": tensor["parameters"]["binary_data_size"]}}
        for tensor in document["inputs"]
    ]
    head = json.dumps({"model_name": "m", "model_version": "1", "id": document.get("id", ""), "outputs": outputs}).encode()
    fields = [(b"inference-header-content-length", b"%d" % len(head)), (b"server-timing", b"compute;dur=1.00")]
    exchange.respond(200, head + exchange.body[length:], b"application/octet-stream", fields)


def says(document: Any) -> Answer:
    """JSON."""
    return lambda exchange: exchange.respond(200, json.dumps(document).encode())


def fails(error: KfuncError) -> Answer:
    """An error."""
    return lambda exchange: exchange.fail(error)


class Client:
    """grpcio's, with the messages of the protobuf library."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel

    def call(self, method: str, request: Any, *, service: str = SERVICE, gives: str = "", **options: Any) -> Any:
        answer = message(gives or f"inference.{method}Response")
        stub = self.channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda each: each.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return stub(request, **options)

    def raw(self, method: str, body: bytes, **options: Any) -> Any:
        """A call whose message is these bytes; its answer as bytes."""
        return self.channel.unary_unary(f"/{SERVICE}/{method}")(body, **options)

    def infer(self, request: Any = None, **options: Any) -> Any:
        return self.call("ModelInfer", request or floats(), **options)


def floats(*values: float, model: str = "m", raw: bool = True, **more: Any) -> Any:
    """A request for one row of FP32."""
    values = values or (1.0, 2.0)
    request = ModelInferRequest(model_name=model, **more)
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, len(values)])
    if raw:
        request.raw_input_contents.append(struct.pack(f"<{len(values)}f", *values))
    else:
        tensor.contents.fp32_contents.extend(values)
    return request


@asynccontextmanager
async def serving(
    rest: Rest, direct: Direct | None = None, limits: Limits | None = None, *, offered: bool = True
) -> AsyncIterator[int]:
    """The server; its port."""
    server = HttpServer(rest, limits or Limits())
    if offered:
        offer(server, direct)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.start(listener)
    try:
        yield listener.getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def served(
    rest: Rest, direct: Direct | None = None, limits: Limits | None = None, *, offered: bool = True, **options: Any
) -> AsyncIterator[Client]:
    """The server and a client of it."""
    async with (
        serving(rest, direct, limits, offered=offered) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", **options) as channel,
    ):
        yield Client(channel)


async def refused(call: Awaitable[Any]) -> tuple[str, str]:
    """The code and the message that a call ends with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    raise AssertionError("the call was answered")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what comes soon."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come")


def answer_of(exchange: Exchange, index: int = 0) -> tuple[bytes, int]:
    """What echo would answer, with a parameter `index`."""
    length = int(exchange.headers[b"inference-header-content-length"])
    document = json.loads(exchange.body[:length])
    names = ("name", "datatype", "shape", "parameters")
    outputs = [{name: tensor[name] for name in names} for tensor in document["inputs"]]
    told = {"model_name": "m", "id": document.get("id", ""), "parameters": {"index": index}, "outputs": outputs}
    head = json.dumps(told).encode()
    return head + exchange.body[length:], len(head)


def streams(count: int) -> Answer:
    """A model that answers in parts."""

    def answer(exchange: Exchange) -> None:
        exchange.start(200, b"content-type: application/vnd.kfunc.parts\r\n")
        for index in range(count):
            part = parts.encode(*answer_of(exchange, index))
            exchange.write(part[:7])
            exchange.write(part[7:])
        exchange.finish()

    return answer
