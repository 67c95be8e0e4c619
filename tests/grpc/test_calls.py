"""Unary calls: what REST is asked in their place, and how they end."""

import asyncio
import gzip
import json
from typing import Any

import grpc
import pytest

from kfunc.config.inference import Limits
from kfunc.errors import InvalidRequest, KfuncError, NotFound, Unavailable, WorkerDied
from kfunc.http.exchange import Exchange
from tests.grpc.served import Rest, echo, fails, floats, refused, says, served
from tests.protocol.grpc.library import ModelInferRequest

INFER = "/v2/models/m/infer"

pytestmark = pytest.mark.integration


def test_inference_is_asked_as_v2_in_binary() -> None:
    async def run() -> None:
        rest = Rest({INFER: echo})
        async with served(rest) as client:
            request = floats(1.5, 2.5, id="7")
            request.parameters["a"].int64_param = 3
            request.outputs.add(name="x")
            answer = await client.infer(request, metadata=(("x-tenant", "blue"), ("x-request-id", "r1")))
        assert (answer.model_name, answer.id, list(answer.outputs[0].shape)) == ("m", "7", [1, 2])
        assert answer.raw_output_contents[0] == request.raw_input_contents[0]
        (asked,) = rest.asked
        length = int(asked.headers[b"inference-header-content-length"])
        document = json.loads(asked.body[:length])
        assert document == {
            "id": "7",
            "parameters": {"a": 3, "binary_data_output": True},
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}],
            "outputs": [{"name": "x"}],
        }
        assert asked.body[length:] == request.raw_input_contents[0]
        assert (asked.headers[b"x-tenant"], asked.request_id) == (b"blue", b"r1")
        assert not {b"te", b"grpc-accept-encoding"} & asked.headers.keys()
        assert asked.headers[b"content-type"] == b"application/octet-stream"
        assert rest.ended == [(INFER, 200, 0)]

    asyncio.run(run())


def test_answers_have_the_form_of_their_requests() -> None:
    async def run() -> None:
        async with served(Rest({INFER: echo})) as client:
            for _ in range(3):  # what is remembered of a form answers as what is read anew
                raw = await client.infer(floats(1.0, 2.0))
                assert (len(raw.raw_output_contents), raw.outputs[0].HasField("contents")) == (1, False)
                typed = await client.infer(floats(1.0, 2.0, raw=False))
                assert list(typed.outputs[0].contents.fp32_contents) == [1.0, 2.0]
                assert not typed.raw_output_contents

    asyncio.run(run())


def test_a_server_that_knows_only_json_is_read_too() -> None:
    outputs = [
        {"name": "a", "datatype": "INT32", "shape": [1, 2], "data": [[-1, 300]]},
        {"name": "b", "datatype": "FP32", "shape": [1], "data": [None]},
        {"name": "c", "datatype": "BYTES", "shape": [1], "data": ["é"]},
    ]

    async def run() -> None:
        async with served(Rest({INFER: says({"model_name": "m", "outputs": outputs})})) as client:
            typed = await client.infer(floats(raw=False))
            raw = await client.infer(floats())
        assert list(typed.outputs[0].contents.int_contents) == [-1, 300]
        assert typed.outputs[1].contents.fp32_contents[0] != typed.outputs[1].contents.fp32_contents[0]
        assert typed.outputs[2].contents.bytes_contents[0].decode() == "é"
        assert raw.raw_output_contents[2] == b"\2\0\0\0\xc3\xa9"

    asyncio.run(run())


def test_metadata_of_the_answer_are_rest_s_fields() -> None:
    async def run() -> dict[str, str]:
        async with served(Rest({INFER: echo})) as client:
            call = client.infer()
            await call
            return {name: str(value) for name, value in await call.initial_metadata()}

    metadata = asyncio.run(run())
    assert metadata["server-timing"] == "compute;dur=1.00"
    assert "x-request-id" in metadata
    assert "inference-header-content-length" not in metadata


def test_many_calls_at_once_each_get_their_own_answer() -> None:
    async def run() -> None:
        async with served(Rest({INFER: echo})) as client:
            requests = [floats(*map(float, range(index % 7 + 1)), id=str(index) if index % 3 else "") for index in range(200)]
            answers = await asyncio.gather(*[client.infer(request) for request in requests])
        for request, answer in zip(requests, answers, strict=True):
            assert answer.id == request.id
            assert answer.raw_output_contents == request.raw_input_contents

    asyncio.run(run())


def test_tensors_without_elements_travel_too() -> None:
    async def run() -> Any:
        async with served(Rest({INFER: echo})) as client:
            request = ModelInferRequest(model_name="m", raw_input_contents=[b""])
            request.inputs.add(name="x", datatype="FP32", shape=[0, 4])
            return await client.infer(request)

    answer = asyncio.run(run())
    assert (list(answer.outputs[0].shape), list(answer.raw_output_contents)) == ([0, 4], [b""])


def test_inputs_of_bytes_travel_in_binary() -> None:
    async def run() -> Any:
        async with served(Rest({INFER: echo})) as client:
            request = ModelInferRequest(model_name="m")
            tensor = request.inputs.add(name="x", datatype="BYTES", shape=[2])
            tensor.contents.bytes_contents.extend([b"a", b"\xff"])
            return await client.infer(request)

    assert list(asyncio.run(run()).outputs[0].contents.bytes_contents) == [b"a", b"\xff"]


ERRORS: list[tuple[KfuncError, tuple[str, str]]] = [
    (InvalidRequest("input 'x': wrong – ‰"), ("INVALID_ARGUMENT", "input 'x': wrong – ‰")),
    (NotFound("no model"), ("NOT_FOUND", "no model")),
    (Unavailable("busy"), ("UNAVAILABLE", "busy")),
    (WorkerDied("died"), ("UNAVAILABLE", "died")),
]


@pytest.mark.parametrize(("error", "expected"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])
def test_rest_s_errors_are_grpc_s(error: KfuncError, expected: tuple[str, str]) -> None:
    async def run() -> None:
        rest = Rest({INFER: fails(error)})
        async with served(rest) as client:
            assert await refused(client.infer()) == expected
        assert rest.ended[0][1] == error.status

    asyncio.run(run())


def test_an_answer_that_is_none_is_the_upstream_s_fault() -> None:
    wrong = {"model_name": "m", "outputs": [{"name": "x", "datatype": "FP32", "shape": [2]}]}
    documents: list[Any] = [[], {"outputs": []}, wrong]

    async def run() -> None:
        for document in documents:
            async with served(Rest({INFER: says(document)})) as client:
                code, words = await refused(client.infer())
                assert (code, words) == ("UNAVAILABLE", "the upstream's answer is not as the V2 protocol says")

    asyncio.run(run())


def test_a_fault_of_ours_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def breaks(exchange: Exchange) -> None:
        raise ZeroDivisionError("secret")

    async def run() -> tuple[str, str]:
        async with served(Rest({INFER: breaks})) as client:
            return await refused(client.infer())

    code, words = asyncio.run(run())
    assert code == "INTERNAL"
    assert "secret" not in words


def test_unknown_methods_and_services_are_not_implemented() -> None:
    async def run() -> None:
        rest = Rest({})
        async with served(rest) as client:
            assert (await refused(client.raw("Nothing", b"")))[0] == "UNIMPLEMENTED"
            assert (
                await refused(client.call("Check", floats(), service="other.Service", gives="inference.ModelInferResponse"))
            )[0] == ("UNIMPLEMENTED")
        assert [status for _, status, _ in rest.ended] == [501, 501]

    asyncio.run(run())


def test_where_grpc_is_not_offered_the_caller_hears_how_it_would_be() -> None:
    async def run() -> tuple[str, str]:
        async with served(Rest({}), offered=False) as client:
            return await refused(client.infer())

    assert asyncio.run(run()) == (
        "UNIMPLEMENTED",
        "gRPC is not served here; inference.protocols: [v1, v2, grpc] in func.yaml offers it",
    )


def test_a_message_without_a_model_s_name_is_refused() -> None:
    async def run() -> tuple[str, str]:
        async with served(Rest({})) as client:
            return await refused(client.infer(floats(model="")))

    assert asyncio.run(run()) == ("INVALID_ARGUMENT", "the name of the model is missing")


def test_broken_messages_are_the_caller_s_fault() -> None:
    async def run() -> None:
        rest = Rest({})
        async with served(rest) as client:
            for body in (b"\xff\xff\xff", b"\x2a\xff\xff\xff\xff\x0f", floats().SerializeToString()[:-3]):
                assert (await refused(client.raw("ModelInfer", body)))[0] == "INVALID_ARGUMENT"
        assert [status for _, status, _ in rest.ended] == [400, 400, 400]

    asyncio.run(run())


# ---- sizes and compression


def test_a_message_over_the_limit_is_refused() -> None:
    async def run() -> None:
        rest = Rest({INFER: echo})
        async with served(rest, limits=Limits(max_body_bytes=100_000)) as client:
            assert (await refused(client.infer(floats(*[0.0] * 50_000))))[0] == "RESOURCE_EXHAUSTED"
            code, words = await refused(client.infer(floats(*[0.0] * 500_000), compression=grpc.Compression.Gzip))
            assert code == "RESOURCE_EXHAUSTED"
            assert "limits.max_body_bytes" in words
        assert [status for _, status, _ in rest.ended] == [413, 413]

    asyncio.run(run())


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate, grpc.Compression.NoCompression])
@pytest.mark.parametrize("count", [2, 5_000, 500_000])
def test_compressed_calls_are_answered_so(compression: grpc.Compression, count: int) -> None:
    async def run() -> None:
        async with served(Rest({INFER: echo}), options=[("grpc.max_receive_message_length", -1)]) as client:
            request = floats(*[0.5] * count)
            call = client.infer(request, compression=compression)
            answer = await call
            metadata = dict(await call.initial_metadata())
        assert answer.raw_output_contents[0] == request.raw_input_contents[0]
        compressed = int(metadata["content-length"]) < 4 * count  # grpcio keeps grpc-encoding to itself
        assert compressed == (count > 2 and compression != grpc.Compression.NoCompression)

    asyncio.run(run())


def test_a_compressed_message_that_is_broken_is_refused() -> None:
    async def run() -> None:
        async with served(Rest({})) as client:
            metadata = (("grpc-internal-encoding-request", "gzip"),)
            assert await refused(client.raw("ModelInfer", gzip.compress(b"x" * 100)[:-9], metadata=metadata))

    asyncio.run(run())
