"""Calls where the model is in the same process."""

import asyncio
from collections.abc import Awaitable

import pytest

from kfunc.http.exchange import Exchange
from kfunc.protocol.messages import InferRequest, InferResponse, Tensor
from tests.grpc.served import Rest, floats, refused, served, until

INFER = "/v2/models/m/infer"

pytestmark = pytest.mark.integration


def double(exchange: Exchange, request: InferRequest) -> InferResponse:
    (tensor,) = request.inputs
    return InferResponse("m", [Tensor("y", tensor.shape, tensor.datatype, bytes(tensor.data))], "1", request.id)


def test_a_model_in_the_process_is_asked_at_once() -> None:
    async def run() -> None:
        rest = Rest({})
        async with served(rest, double) as client:
            for raw in (True, True, False):
                answer = await client.infer(floats(1.0, raw=raw, id="" if raw else "9"))
                assert answer.outputs[0].name == "y"
        assert (rest.asked, rest.ended) == ([], [(INFER, 200, 0)] * 3)

    asyncio.run(run())


def test_a_model_that_waits_is_cancelled_with_its_call() -> None:
    stopped: list[str] = []

    async def waits() -> InferResponse:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            stopped.append("stopped")
            raise
        raise AssertionError

    def direct(exchange: Exchange, request: InferRequest) -> Awaitable[InferResponse]:
        return waits()

    async def run() -> None:
        rest = Rest({})
        async with served(rest, direct) as client:
            assert (await refused(client.infer(timeout=0.1)))[0] == "DEADLINE_EXCEEDED"
            await until(lambda: bool(stopped))

    asyncio.run(run())
