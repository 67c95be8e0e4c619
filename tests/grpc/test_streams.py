"""Calls with streams: inference in parts, the health that is watched, reflection."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2

from kfunc.errors import InvalidRequest, NotFound, Unavailable
from kfunc.http.exchange import Exchange
from kfunc.protocol.parts import encode
from tests.grpc.served import SERVICE, Client, Rest, answer_of, echo, fails, floats, says, served, streams, until
from tests.protocol.grpc.library import message

STREAM, INFER, READY = "/v2/models/m/infer_stream", "/v2/models/m/infer", "/v2/health/ready"

pytestmark = pytest.mark.integration


def stream(client: Client, **options: Any) -> Any:
    stub = client.channel.stream_stream(
        f"/{SERVICE}/ModelStreamInfer",
        request_serializer=lambda each: each.SerializeToString(),
        response_deserializer=message("inference.ModelStreamInferResponse").FromString,
    )
    return stub(**options)


async def exchanged(client: Client, *requests: Any, **options: Any) -> list[Any]:
    """The answers to requests that are sent at once."""
    call = stream(client, **options)
    for request in requests:
        await call.write(request)
    await call.done_writing()
    return [answer async for answer in call]


def told(answer: Any) -> tuple[str, str, int]:
    response = answer.infer_response
    return answer.error_message, response.id, response.parameters["index"].int64_param


def test_each_request_gets_its_parts_in_order() -> None:
    async def run() -> None:
        rest = Rest({STREAM: streams(3)})
        async with served(rest) as client:
            answers = await exchanged(client, floats(1.0, id="a"), floats(2.0, id="b"), metadata=(("x-tenant", "blue"),))
        assert [told(answer) for answer in answers] == [("", name, index) for name in "ab" for index in range(3)]
        assert answers[3].infer_response.raw_output_contents[0] == b"\0\0\0\x40"
        assert rest.asked[0].headers[b"x-tenant"] == b"blue"
        assert rest.ended == [(STREAM, 200, 0)] * 2

    asyncio.run(run())


def test_parts_are_sent_as_they_come() -> None:
    async def run() -> None:
        rest = Rest({STREAM: lambda exchange: exchange.start(200, b"content-type: application/vnd.kfunc.parts\r\n")})
        async with served(rest) as client:
            call = stream(client)
            await call.write(floats())
            await until(lambda: bool(rest.asked))
            (asked,) = rest.asked
            for index in range(2):
                asked.write(encode(*answer_of(asked, index)))
                assert told(await call.read()) == ("", "", index)
            asked.finish()
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF

    asyncio.run(run())


def test_an_error_is_the_answer_to_its_request_alone() -> None:
    answers = iter([fails(InvalidRequest("wrong")), streams(1), fails(Unavailable("busy"))])

    async def run() -> None:
        async with served(Rest({STREAM: lambda exchange: next(answers)(exchange)})) as client:
            got = await exchanged(client, floats(id="a"), floats(id="b"), floats(id="c"))
        assert [told(answer)[:2] for answer in got] == [("wrong", "a"), ("", "b"), ("busy", "c")]

    asyncio.run(run())


def test_a_message_that_cannot_be_read_is_answered_and_the_stream_goes_on() -> None:
    async def run() -> None:
        async with served(Rest({STREAM: streams(1)})) as client:
            wrong = floats(model="")
            got = await exchanged(client, wrong, floats(id="b"))
        assert [told(answer)[:2] for answer in got] == [("the name of the model is missing", ""), ("", "b")]

    asyncio.run(run())


def test_an_error_behind_parts_is_told() -> None:
    def breaks(exchange: Exchange) -> None:
        exchange.start(200, b"content-type: application/vnd.kfunc.parts\r\n")
        exchange.write(encode(*answer_of(exchange)) + encode(b'{"error":"failed"}', 0))
        exchange.finish()

    async def run() -> None:
        async with served(Rest({STREAM: breaks})) as client:
            got = await exchanged(client, floats(id="a"))
        assert [told(answer)[0] for answer in got] == ["", "failed"]

    asyncio.run(run())


def test_a_server_that_does_not_stream_is_asked_once() -> None:
    async def run() -> None:
        rest = Rest({STREAM: fails(NotFound("no such path")), INFER: echo})
        async with served(rest) as client:
            (answer,) = await exchanged(client, floats(id="a"))
        assert (answer.error_message, answer.infer_response.id) == ("", "a")
        assert rest.ended == [(STREAM, 404, 5), (INFER, 200, 0)]

    asyncio.run(run())


def test_triton_s_final_answer_is_sent_to_those_who_ask_for_it() -> None:
    async def run() -> None:
        request = floats(id="a")
        request.parameters["triton_enable_empty_final_response"].bool_param = True
        async with served(Rest({STREAM: streams(1)})) as client:
            got = await exchanged(client, request)
        assert [answer.infer_response.parameters["triton_final_response"].bool_param for answer in got] == [False, True]

    asyncio.run(run())


def test_a_cancelled_stream_cancels_what_is_asked_for_it() -> None:
    async def run() -> None:
        rest = Rest({STREAM: lambda exchange: None})
        async with served(rest) as client:
            call = stream(client)
            await call.write(floats())
            await until(lambda: bool(rest.asked))
            call.cancel()
            await until(lambda: bool(rest.ended))
        assert rest.asked[0].cancelled
        assert rest.ended == [(STREAM, 0, 1)]

    asyncio.run(run())


def test_a_stream_s_deadline_ends_it() -> None:
    async def run() -> None:
        rest = Rest({STREAM: lambda exchange: None})
        async with served(rest) as client:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await exchanged(client, floats(), timeout=0.2)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            await until(lambda: bool(rest.ended))

    asyncio.run(run())


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_streams_may_be_compressed(compression: grpc.Compression) -> None:
    async def run() -> None:
        async with served(Rest({STREAM: streams(1)})) as client:
            got = await exchanged(
                client, *[floats(*[0.0] * 1000, id=str(index)) for index in range(3)], compression=compression
            )
        assert [told(answer)[:2] for answer in got] == [("", str(index)) for index in range(3)]

    asyncio.run(run())


def test_a_hundred_requests_on_one_stream_are_answered_in_order() -> None:
    async def run() -> None:
        async with served(Rest({STREAM: streams(1)})) as client:
            got = await exchanged(client, *[floats(*[0.0] * 5000, id=str(index)) for index in range(100)])
        assert [answer.infer_response.id for answer in got] == [str(index) for index in range(100)]

    asyncio.run(run())


# ---- health


def watch(client: Client, service: str = "") -> Any:
    stub = client.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=lambda each: each.SerializeToString(),
        response_deserializer=message("grpc.health.v1.HealthCheckResponse").FromString,
    )
    return stub(message("grpc.health.v1.HealthCheckRequest")(service=service))


def test_health_is_told_when_it_changes() -> None:
    async def run() -> None:
        rest = Rest({READY: fails(Unavailable("loading"))})
        async with served(rest) as client:
            call = watch(client)
            assert (await call.read()).status == 2
            rest.answers = {READY: says({"ready": True})}
            assert (await call.read()).status == 1
            rest.answers = {READY: fails(Unavailable("died"))}
            assert (await call.read()).status == 2
            call.cancel()

    asyncio.run(run())


def test_an_unknown_service_is_watched_in_vain() -> None:
    async def run() -> None:
        async with served(Rest({})) as client:
            call = watch(client, "other")
            assert (await call.read()).status == 3
            call.cancel()

    asyncio.run(run())


# ---- reflection


async def reflected(client: Client, version: str, *questions: Any) -> list[Any]:
    name = f"grpc.reflection.{version}"
    stub = client.channel.stream_stream(
        f"/{name}.ServerReflection/ServerReflectionInfo",
        request_serializer=lambda each: each.SerializeToString(),
        response_deserializer=message(f"{name}.ServerReflectionResponse").FromString,
    )

    async def asked() -> AsyncIterator[Any]:
        for question in questions:
            yield message(f"{name}.ServerReflectionRequest")(**question)

    return [answer async for answer in stub(asked())]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_tells_of_services_and_files(version: str) -> None:
    async def run() -> list[Any]:
        async with served(Rest({})) as client:
            return await reflected(
                client,
                version,
                {"list_services": ""},
                {"file_containing_symbol": "inference.GRPCInferenceService"},
                {"file_containing_symbol": "inference.ModelInferRequest.InferInputTensor"},
                {"file_by_filename": "grpc/health/v1/health.proto"},
                {"file_containing_symbol": "nothing"},
                {"all_extension_numbers_of_type": "inference.ModelInferRequest"},
                {"file_containing_extension": {"containing_type": "x", "extension_number": 1}},
            )

    services, by_service, by_message, by_name, missing, numbers, extension = asyncio.run(run())
    assert {each.name for each in services.list_services_response.service} == {
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(answer.file_descriptor_response.file_descriptor_proto[0])
        for answer in (by_service, by_message, by_name)
    ]
    assert [file.name for file in files] == ["inference.proto", "inference.proto", "grpc/health/v1/health.proto"]
    assert services.original_request.list_services == ""
    assert missing.error_response.error_code == extension.error_response.error_code == 5
    assert numbers.all_extension_numbers_response.base_type_name == "inference.ModelInferRequest"
