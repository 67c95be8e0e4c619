"""Messages that take long to read, or are larger than their method takes."""

import asyncio
from typing import Any

import grpc
import pytest

from kfunc.config.inference import Limits
from kfunc.protocol.grpc.wire import length_delimited, varint
from kfunc.protocol.messages import InferRequest, InferResponse, Tensor
from tests.grpc.served import SERVICE, Client, Rest, echo, refused, says, served, streams
from tests.protocol.grpc.library import ModelInferRequest, message

INFER, STREAM, LIVE = "/v2/models/m/infer", "/v2/models/m/infer_stream", "/v2/health/live"
SLOW = 500_000  # elements of an input, each read by itself

pytestmark = pytest.mark.integration


def texts(count: int) -> Any:
    request = ModelInferRequest(model_name="m")
    request.inputs.add(name="x", datatype="BYTES", shape=[count]).contents.bytes_contents.extend([b"a"] * count)
    return request


def test_others_are_answered_while_a_large_message_is_read() -> None:
    async def run() -> None:
        async with served(Rest({INFER: echo, LIVE: says({"live": True})})) as client:
            await client.call("ServerLive", message("inference.ServerLiveRequest")())
            numbers = length_delimited(3, b"\x81\x01" * 4_000_000)  # large ones, read one by one
            tensor = length_delimited(1, b"x") + length_delimited(2, b"INT64") + length_delimited(3, varint(4_000_000))
            body = length_delimited(1, b"m") + length_delimited(5, tensor + length_delimited(5, numbers))
            large = asyncio.ensure_future(refused(client.raw("ModelInfer", body + b"\x0a\x01\xff")))  # wrong at its end
            answered = 0
            while not large.done():
                await client.call("ServerLive", message("inference.ServerLiveRequest")())
                answered += 1
            assert (await large)[0] == "INVALID_ARGUMENT"
            assert answered > 5

    asyncio.run(run())


def test_a_large_message_is_read_as_a_small_one_is() -> None:
    async def run() -> None:
        rest = Rest({INFER: echo})
        async with served(rest) as client:
            await client.infer(texts(SLOW))
        (asked,) = rest.asked
        assert asked.body.endswith(b"\x01\0\0\0a" * SLOW)

    asyncio.run(run())


def test_a_model_in_the_process_gets_large_messages_too() -> None:
    def count(exchange: Any, request: InferRequest) -> InferResponse:
        return InferResponse("m", [Tensor("y", [1], "INT32", len(request.inputs[0].data).to_bytes(4, "little"))])

    async def run() -> None:
        async with served(Rest({}), count) as client:
            answer = await client.infer(texts(SLOW))
        assert list(answer.outputs[0].contents.int_contents) == [5 * SLOW]

    asyncio.run(run())


def test_a_call_that_ends_while_its_message_is_read_asks_nothing() -> None:
    async def run() -> None:
        rest = Rest({INFER: echo})
        async with served(rest) as client:
            assert (await refused(client.infer(texts(SLOW), timeout=0.15)))[0] == "DEADLINE_EXCEEDED"
            await asyncio.sleep(1)  # the thread ends
        assert rest.asked == []

    asyncio.run(run())


async def streamed(client: Client, *bodies: bytes) -> list[Any]:
    stub = client.channel.stream_stream(
        f"/{SERVICE}/ModelStreamInfer", response_deserializer=message("inference.ModelStreamInferResponse").FromString
    )
    return [answer async for answer in stub(iter(bodies))]


def test_large_messages_of_a_stream_are_read_or_refused_each() -> None:
    async def run() -> None:
        good, rest = texts(100_000).SerializeToString(), Rest({STREAM: streams(1)})
        async with served(rest) as client:
            answers = await streamed(client, good, b"\x78\x01" * 200_000, good)
        assert [bool(answer.error_message) for answer in answers] == [False, True, False]
        assert "too many fields" in answers[1].error_message
        assert len(rest.asked) == 2

    asyncio.run(run())


@pytest.mark.parametrize("count", [10_000, 300_000])
def test_numbers_in_contents_may_not_become_larger_than_a_body(count: int) -> None:
    async def run() -> None:
        request = ModelInferRequest(model_name="m")
        request.inputs.add(name="x", datatype="INT64", shape=[count]).contents.int64_contents.extend([1] * count)
        rest, most = Rest({}), 4 * count
        async with served(rest, limits=Limits(max_body_bytes=most)) as client:
            words = f"the inputs have {8 * count} bytes or more, {most} are allowed (limits.max_body_bytes)"
            assert await refused(client.infer(request)) == ("RESOURCE_EXHAUSTED", words)
            assert [answer.error_message for answer in await streamed(client, request.SerializeToString())] == [words]
        assert rest.asked == []

    asyncio.run(run())


QUESTIONS = ("grpc.health.v1.Health/Watch", "grpc.reflection.v1.ServerReflection/ServerReflectionInfo")


@pytest.mark.parametrize("method", QUESTIONS)
def test_streams_that_watch_the_server_take_small_messages_only(method: str) -> None:
    async def run() -> None:
        async with served(Rest({})) as client:
            call = client.channel.stream_stream(f"/{method}")(iter([b"\x78\x01" * 200_000]))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert caught.value.details() == "the message has 400000 bytes; this method takes 262144"

    asyncio.run(run())
