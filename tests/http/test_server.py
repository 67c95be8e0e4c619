"""The server on real sockets: many clients, slow ones, and the drain at the end."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kfunc.config.inference import Limits
from kfunc.http.address import listen, parse_address
from kfunc.http.exchange import Exchange
from kfunc.http.server import HttpServer, date_line
from tests.http.fakes import Keeper, get, post
from tests.http.hops import read_answer, run


@asynccontextmanager
async def serving(application: Keeper) -> AsyncIterator[tuple[HttpServer, int]]:
    server = HttpServer(application, Limits())
    listener = listen(parse_address("127.0.0.1:0"))
    await server.start(listener)
    try:
        yield server, listener.getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0.01)


async def ask_until_closed(port: int) -> int:
    """A closed-loop client: asks, waits for the answer, asks again; returns how many were answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answered = 0
    try:
        while True:
            writer.write(post(b"x"))
            status, head, _ = await read_answer(reader)
            assert status == 200
            answered += 1
            if b"connection: close\r\n" in head:
                return answered
            await asyncio.sleep(0.001)
    finally:
        writer.close()


def test_clients_that_ask_in_a_loop_lose_nothing_in_a_drain() -> None:
    async def test() -> None:
        async with serving(Keeper()) as (server, port):
            clients = [asyncio.create_task(ask_until_closed(port)) for _ in range(20)]
            await asyncio.sleep(0.2)
            assert await server.drain(5.0)
            assert all(answered > 0 for answered in await asyncio.gather(*clients))

    run(test())


def test_an_idle_connection_gets_one_more_answer_in_a_drain() -> None:
    async def test() -> None:
        async with serving(Keeper()) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get())
            await read_answer(reader)
            draining = asyncio.create_task(server.drain(5.0))
            await asyncio.sleep(0.2)
            writer.write(get(b"/last"))
            _, head, body = await read_answer(reader)
            assert (b"connection: close\r\n" in head, body) == (True, b"GET /last ")
            assert await draining
            writer.close()

    run(test())


def test_connections_that_stay_idle_are_closed_half_a_second_into_a_drain() -> None:
    async def test() -> None:
        async with serving(Keeper()) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.05)
            before = asyncio.get_running_loop().time()
            assert await server.drain(5.0)
            assert 0.4 < asyncio.get_running_loop().time() - before < 2
            assert await reader.read() == b""
            writer.close()

    run(test())


def test_bodies_that_have_stood_still_for_longest_are_refused_when_all_are_too_much() -> None:
    async def test() -> None:
        async with serving(application := Keeper()) as (server, port):
            server.most_held = 250_000
            clients = []
            for _ in range(4):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(post(b"x" * 100_000)[:-1])
                clients.append((reader, writer))
                await asyncio.sleep(0.6)  # deadlines are as exact as the server's sweeps
            for reader, writer in clients[2:]:
                writer.write(b"x")
                assert (await read_answer(reader))[0] == 200
            for reader, writer in clients[:2]:
                status, head, _ = await read_answer(reader)
                assert status == 503
                assert b"retry-after: 1\r\n" in head
                writer.close()
            assert len(application.seen) == 2
            assert [each.unfinished() for each in server.connections if each.unfinished()] == []
            for _, writer in clients:
                writer.close()

    run(test())


@pytest.mark.parametrize(("memory", "most"), [(2**40, 2**29), (2**29, 2**28), (2**20, 2**26)])
def test_bodies_hold_half_of_the_memory_at_most_and_one_has_its_room_in_any_case(memory: int, most: int) -> None:
    assert HttpServer(Keeper(), Limits(max_body_bytes=2**26), memory).most_held == most


def test_a_drain_without_connections_takes_no_time() -> None:
    async def test() -> None:
        async with serving(Keeper()) as (server, _):
            async with asyncio.timeout(0.2):
                assert await server.drain(5.0)

    run(test())


def test_a_drain_waits_for_what_is_being_answered() -> None:
    async def test() -> None:
        async with serving(application := Keeper(waits=True)) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get())
            await asyncio.sleep(0.05)
            draining = asyncio.create_task(server.drain(5.0))
            await asyncio.sleep(0.8)
            application.answer(application.exchanges[0])
            assert (await read_answer(reader))[0] == 200
            assert await draining
            writer.close()

    run(test())


def test_a_drain_waits_for_a_request_that_is_arriving() -> None:
    async def test() -> None:
        async with serving(Keeper()) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get()[:10])
            await asyncio.sleep(0.05)
            draining = asyncio.create_task(server.drain(5.0))
            await asyncio.sleep(0.8)
            writer.write(get()[10:])
            assert (await read_answer(reader))[0] == 200
            assert await draining
            writer.close()

    run(test())


def test_a_drain_ends_a_connection_with_the_answer_whose_head_is_sent() -> None:
    async def test() -> None:
        async with serving(application := Keeper(waits=True)) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get())
            await asyncio.sleep(0.05)
            application.exchanges[0].start(200, b"")
            draining = asyncio.create_task(server.drain(5.0))
            await asyncio.sleep(0.8)
            application.exchanges[0].write(b"last")
            application.exchanges[0].finish()
            async with asyncio.timeout(1):
                assert await draining
            assert (await reader.read()).endswith(b"4\r\nlast\r\n0\r\n\r\n")
            writer.close()

    run(test())


def test_a_drain_cuts_off_what_takes_longer_than_its_grace() -> None:
    async def test() -> None:
        async with serving(application := Keeper(waits=True)) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get())
            await asyncio.sleep(0.05)
            assert not await server.drain(0.7)
            await asyncio.sleep(0.05)
            assert [exchange.cancelled for exchange in application.ended] == [True]
            assert await reader.read() == b""
            writer.close()

    run(test())


def test_a_draining_server_accepts_no_connection() -> None:
    async def test() -> None:
        async with serving(Keeper(waits=True)) as (server, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get())
            await asyncio.sleep(0.05)
            draining = asyncio.create_task(server.drain(0.6))
            await asyncio.sleep(0.05)
            with pytest.raises(ConnectionError):
                await asyncio.open_connection("127.0.0.1", port)
            await draining
            writer.close()

    run(test())


def test_a_client_that_leaves_cancels_its_exchange() -> None:
    async def test() -> None:
        gone = asyncio.Event()

        class Watched(Keeper):
            def handle(self, exchange: Exchange) -> None:
                exchange.on_cancel = gone.set

        async with serving(Watched()) as (_, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get())
            await asyncio.sleep(0.05)
            writer.close()
            await gone.wait()

    run(test())


def test_a_client_that_pipelines_and_does_not_read_holds_few_answers_in_memory() -> None:
    body = b"x" * 1_000_000

    class Large(Keeper):
        def answer(self, exchange: Exchange) -> None:
            exchange.respond(200, body)

    async def test() -> None:
        async with serving(application := Large()) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get() * 100)
            await asyncio.sleep(0.3)
            assert len(application.exchanges) < 15
            for _ in range(100):
                assert len((await read_answer(reader))[2]) == len(body)
            writer.close()

    run(test())


def test_a_refused_client_can_read_why_while_it_still_sends() -> None:
    async def test() -> None:
        async with serving(Keeper()) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n")
            for _ in range(50):
                writer.write(b"x" * 65536)
                await asyncio.sleep(0.001)
            assert (await read_answer(reader))[0] == 413
            writer.close()

    run(test())


def test_a_unix_socket_replaces_the_one_of_a_dead_process(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen(parse_address(f"unix:{path}")).close()
    assert path.exists()
    with listen(parse_address(f"unix:{path}")), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_the_date_is_that_of_the_standard() -> None:
    assert date_line(784111777.9) == b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
