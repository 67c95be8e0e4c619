"""How calls end before their answers, and that nothing stays of those that have ended."""

import asyncio
import gc

import pytest

from kfunc.grpc.unary import InferCall
from kfunc.http.h2.exchange import H2Exchange
from tests.grpc.served import Rest, echo, refused, served, until

INFER = "/v2/models/m/infer"

pytestmark = pytest.mark.integration


def test_a_deadline_ends_the_call_and_what_is_asked_for_it() -> None:
    async def run() -> None:
        rest = Rest({INFER: lambda exchange: None})
        async with served(rest) as client:
            assert (await refused(client.infer(timeout=0.1)))[0] == "DEADLINE_EXCEEDED"
            await asyncio.sleep(0.05)
        (asked,) = rest.asked
        assert asked.cancelled
        assert b"grpc-timeout" in asked.headers
        assert rest.ended in ([(INFER, 504, 4)], [(INFER, 0, 1)])  # the client may be the first to give up

    asyncio.run(run())


def test_a_cancelled_call_cancels_what_is_asked_for_it() -> None:
    async def run() -> None:
        rest = Rest({INFER: lambda exchange: None})
        cancelled: list[bool] = []
        rest.answers = {INFER: lambda exchange: setattr(exchange, "on_cancel", lambda: cancelled.append(True))}
        async with served(rest) as client:
            call = client.infer()
            await until(lambda: bool(rest.asked))
            call.cancel()
            await until(lambda: bool(rest.ended))
        assert (cancelled, rest.ended) == ([True], [(INFER, 0, 1)])

    asyncio.run(run())


def test_an_answer_after_the_end_of_the_call_goes_nowhere() -> None:
    async def run() -> None:
        rest = Rest({INFER: lambda exchange: None})
        async with served(rest) as client:
            await refused(client.infer(timeout=0.05))
            await until(lambda: bool(rest.ended))
            rest.asked[0].respond(200, b"{}")
            rest.answers = {INFER: echo}
            assert await client.infer()
        assert len(rest.ended) == 2

    asyncio.run(run())


def test_a_call_that_has_ended_leaves_nothing_to_the_collector() -> None:
    """A message of many MB would stay in memory until the collector comes."""

    async def run() -> list[object]:
        rest = Rest({INFER: echo})
        async with served(rest) as client:
            await client.infer()
            gc.collect()
            gc.disable()
            try:
                for _ in range(20):
                    await client.infer()
                await asyncio.sleep(0)
                rest.asked.clear()
                return [each for each in gc.get_objects() if isinstance(each, InferCall | H2Exchange)]
            finally:
                gc.enable()

    assert asyncio.run(run()) == []
