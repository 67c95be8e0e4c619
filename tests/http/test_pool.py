"""The calls of a pool: each hears how it ends, whatever becomes of its connection or of what takes its answer."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kfunc.errors import KfuncError, Unavailable
from kfunc.http.address import parse_address
from kfunc.http.pool import SWEEP_S, UpstreamPool
from kfunc.http.upstream import ResponseHead, UpstreamConnection
from tests.http.fakes import get
from tests.http.hops import Reader, Script, Writer, answers, read_request, run

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab"
PARSED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx: 1\r\nx: 2\r\n\r\nab"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nab"


class Asking:
    """A call whose `failing` method raises; `outcome` is how it ended."""

    idempotent = False
    bodiless = False

    def __init__(self, failing: str = "") -> None:
        self._failing = failing
        self.outcome: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def _take(self, method: str) -> None:
        if method == self._failing:
            raise ValueError(method)

    def on_connection(self, connection: UpstreamConnection) -> None:
        self._take("on_connection")
        connection.transport.write(get())

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        self._take("on_response")
        self.outcome.set_result(head.status)

    def on_head(self, head: ResponseHead, length: int | None) -> None:
        self._take("on_head")

    def on_chunk(self, chunk: bytes) -> None:
        self._take("on_chunk")

    def on_end(self) -> None:
        self._take("on_end")
        self.outcome.set_result("end")

    def on_failure(self, error: KfuncError) -> None:
        self.outcome.set_result(error)
        self._take("on_failure")

    def on_pressure(self, paused: bool) -> None:
        pass


@asynccontextmanager
async def pool_to(script: Script, timeout_s: float = 30.0, max_connections: int = 256) -> AsyncIterator[UpstreamPool]:
    async def serve(reader: Reader, writer: Writer) -> None:
        try:
            await script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    pool = UpstreamPool(parse_address(f"127.0.0.1:{port}"), timeout_s, max_connections)
    pool.start()
    try:
        yield pool
    finally:
        pool.close()
        listener.close()


def test_a_call_waits_for_a_connection_no_longer_than_for_an_answer() -> None:
    async def stream(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(CHUNKED[:-5])
        while True:
            writer.write(b"1\r\na\r\n")
            await writer.drain()
            await asyncio.sleep(0.1)

    async def test() -> None:
        async with pool_to(stream, timeout_s=1.0, max_connections=1) as pool:
            streamed, waiting = Asking(), Asking()
            pool.send(streamed)
            pool.send(waiting)
            error = await asyncio.wait_for(waiting.outcome, 3)
            assert isinstance(error, Unavailable)
            assert error.retry_after == 1  # it has not run
            assert not streamed.outcome.done()

    run(test())


def test_a_call_has_all_its_time_whenever_it_begins() -> None:
    async def silent(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        await asyncio.sleep(5)

    async def test() -> None:
        async with pool_to(silent, timeout_s=0.6) as pool:
            await asyncio.sleep(SWEEP_S - 0.1)
            call, begin = Asking(), time.monotonic()
            pool.send(call)
            assert "timeout_s: 0.6" in str(await asyncio.wait_for(call.outcome, 3))
            assert time.monotonic() - begin >= 0.6

    run(test())


def test_a_call_that_cannot_take_its_failure_is_nobody_elses_affair(caplog: pytest.LogCaptureFixture) -> None:
    async def silent(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        await asyncio.sleep(5)

    async def test() -> None:
        async with pool_to(silent, timeout_s=0.2) as pool:
            for failing in ("on_failure", ""):
                call = Asking(failing)
                pool.send(call)
                assert "in time" in str(await asyncio.wait_for(call.outcome, 3))

    run(test())
    assert "did not take up its failure" in caplog.text


def test_a_call_that_is_forgotten_is_not_sent() -> None:
    async def test() -> None:
        async with pool_to(answers(WHOLE, WHOLE), max_connections=1) as pool:
            first, second, third = Asking(), Asking(), Asking()
            for call in (first, second, third):
                pool.send(call)
            pool.forget(second)
            assert [await first.outcome, await third.outcome] == [200, 200]
            assert not second.outcome.done()

    run(test())


def test_lost_connections_are_replaced_for_all_calls_that_wait() -> None:
    async def test() -> None:
        together = asyncio.Barrier(4)

        async def once(reader: Reader, writer: Writer) -> None:
            await read_request(reader)
            await together.wait()
            writer.write(WHOLE.replace(b"OK\r\n", b"OK\r\nconnection: close\r\n"))

        async with pool_to(once, max_connections=4) as pool:
            calls = [Asking() for _ in range(12)]
            for call in calls:
                pool.send(call)
            assert [await call.outcome for call in calls] == [200] * 12

    run(test())


FAILING = {
    "whole": (WHOLE, "on_response", False),
    "parsed": (PARSED, "on_response", False),
    "head": (CHUNKED, "on_head", False),
    "chunk": (CHUNKED, "on_chunk", False),
    "end": (CHUNKED, "on_end", False),
    "end with the connection": (UNTIL_CLOSE, "on_end", False),
    "head without a body": (WHOLE[:-2], "on_head", True),
    "end without a body": (WHOLE[:-2], "on_end", True),
    "request": (WHOLE, "on_connection", False),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_call_that_cannot_take_its_answer_fails_and_the_next_one_is_answered(
    case: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer, method, bodiless = FAILING[case]

    async def test() -> None:
        async def script(reader: Reader, writer: Writer) -> None:
            while True:
                await read_request(reader)
                writer.write(answer)
                if answer is UNTIL_CLOSE:
                    return

        async with pool_to(script, max_connections=1) as pool:
            call, following = Asking(method), Asking()
            call.bodiless = following.bodiless = bodiless
            pool.send(call)
            pool.send(following)
            error = await asyncio.wait_for(call.outcome, 3)
            assert isinstance(error, KfuncError)
            assert error.status == 500
            assert await asyncio.wait_for(following.outcome, 3) in (200, "end")

    run(test())
    assert f"ValueError: {method}" in caplog.text
