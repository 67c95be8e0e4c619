"""Runs against a server in the same event loop: what is counted is what happened."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from kfunc.bench.http1 import Http1Connection
from kfunc.bench.results import Plan, Result, summarize
from kfunc.bench.running import Run
from kfunc.errors import KfuncError

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def at_once(writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


async def never(writer: asyncio.StreamWriter) -> None:
    pass


async def measured(plan: Plan, answer: Answer) -> tuple[Result, int, float]:
    """The result, how many requests the server saw, and the processor time of the client."""
    seen = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                seen += 1
                await answer(writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()[:2]
        run = Run(plan, (host, port), lambda done, lost: Http1Connection(b"GET / HTTP/1.1\r\n\r\n", done, lost))
        await run.measure()
        await asyncio.sleep(0)
    return summarize(plan, run.recorder, run.cpu_s, run.unsent)[0], seen, run.cpu_s


@pytest.mark.parametrize("rate", [None, 200.0])
def test_what_is_answered_is_counted_once(rate: float | None) -> None:
    result, seen, cpu_s = asyncio.run(measured(Plan(2, 0.3, 0.0, 5.0, rate), at_once))
    assert (result.errors, result.unsent) == ({}, 0)
    assert result.requests == seen > 50
    assert cpu_s > 0
    assert rate is None or result.requests == 60


@pytest.mark.parametrize("rate", [None, 20.0])
def test_a_request_that_is_given_up_is_one_timeout_and_nothing_else(rate: float | None) -> None:
    result, seen, _ = asyncio.run(measured(Plan(2, 0.8, 0.0, 0.2, rate), never))
    assert list(result.errors) == ["no answer within 0.2 s"]
    assert result.requests == 0
    if rate is None:
        assert sum(result.errors.values()) == seen
    else:
        assert sum(result.errors.values()) + result.unsent == 16


@pytest.mark.parametrize("warmup_s", [0.0, 0.2])
def test_a_server_that_hangs_does_not_look_like_an_idle_one(warmup_s: float) -> None:
    result, _, _ = asyncio.run(measured(Plan(2, 0.2, warmup_s, 0.5), never))
    assert result.errors == {"no answer within 0.5 s": 2}


def test_an_answer_that_comes_after_the_end_counts_for_the_time_in_which_it_was_asked() -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.4)
        writer.write(OK)

    result, _, _ = asyncio.run(measured(Plan(2, 0.2, 0.0, 5.0), late))
    assert (result.requests, result.errors) == (2, {})
    assert result.latency_ms["p50"] > 350


def test_connections_that_the_server_closes_are_made_anew() -> None:
    async def once(writer: asyncio.StreamWriter) -> None:
        writer.write(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        writer.close()

    result, seen, _ = asyncio.run(measured(Plan(1, 0.5, 0.0, 5.0), once))
    assert result.errors == {}
    assert result.requests == seen > 2


def test_a_server_that_is_not_there_is_an_error() -> None:
    run = Run(Plan(1, 0.1, 0.0, 1.0), ("127.0.0.1", 1), lambda done, lost: Http1Connection(b"", done, lost))
    with pytest.raises(KfuncError, match=r"no connection to 127\.0\.0\.1:1"):
        asyncio.run(run.measure())
