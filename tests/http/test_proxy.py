"""Requests and answers through the proxy, with a scripted upstream."""

import asyncio
import socket

import pytest

from kfunc.errors import KfuncError
from kfunc.http.exchange import Exchange
from kfunc.http.proxy import Forward
from tests.http.fakes import chunked, get, post
from tests.http.hops import (
    BIG,
    ROOM,
    Chain,
    Proxy,
    Reader,
    Script,
    Upstream,
    Writer,
    answers,
    chain,
    proxy_to,
    read_answer,
    read_request,
    run,
)

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BLOCK = b"x" * 65536


async def one(script: Script, request: bytes, timeout_s: float = 30.0) -> tuple[int, bytes, bytes]:
    async with chain(script, timeout_s) as made:
        return await made.ask(request)


def answer_of(script: Script, request: bytes, timeout_s: float = 30.0) -> tuple[int, bytes, bytes]:
    found: list[tuple[int, bytes, bytes]] = []

    async def test() -> None:
        found.append(await one(script, request, timeout_s))

    run(test())
    return found[0]


def request_of(request: bytes) -> bytes:
    """What the upstream gets."""
    got: list[bytes] = []

    async def script(reader: Reader, writer: Writer) -> None:
        got.append(await read_request(reader))
        writer.write(OK)

    answer_of(script, request)
    return got[0]


# ---- what passes


def test_status_fields_and_body_pass_and_repeated_fields_stay_apart() -> None:
    status, head, body = answer_of(
        answers(b"HTTP/1.1 418 Tea\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-Y: z\r\ncontent-length: 3\r\n\r\npot"), get()
    )
    assert (status, body) == (418, b"pot")
    assert b"\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-y: z\r\n" in head


def test_hop_by_hop_fields_of_an_answer_do_not_pass() -> None:
    fields = b"connection: keep-alive, x-mine\r\nkeep-alive: timeout=5\r\nx-mine: 1\r\ntrailer: x\r\nupgrade: h2c\r\n"
    _, head, _ = answer_of(answers(b"HTTP/1.1 200 OK\r\n" + fields + b"x-yours: 1\r\ncontent-length: 0\r\n\r\n"), get())
    assert b"x-yours" in head
    for name in (b"keep-alive", b"x-mine", b"trailer", b"upgrade"):
        assert name not in head


@pytest.mark.parametrize("given", [b"", b"x-request-id: %b\r\n" % (b"i" * 129)], ids=["none", "too long"])
def test_each_request_without_a_good_id_gets_one_that_upstream_and_client_see(given: bytes) -> None:
    seen: list[bytes] = []

    async def script(reader: Reader, writer: Writer) -> None:
        while True:
            seen.append(_request_id(await read_request(reader)))
            writer.write(OK)

    async def test() -> None:
        async with chain(script) as made:
            reader, writer = await made.connect()
            answered = []
            for _ in range(4):  # from the third on the head is known
                writer.write(get(b"/", given))
                answered.append(_request_id((await read_answer(reader))[1]))
            writer.close()
            assert answered == seen
            assert len(set(seen)) == 4

    run(test())


def _request_id(head: bytes) -> bytes:
    (line,) = [line for line in head.split(b"\r\n") if line.lower().startswith(b"x-request-id: ")]
    return line


OTHERS = (b"X-Request-Id", b"Traceparent", b"Tracestate", b"X-Correlation-Id", b"X-B3-TraceId", b"Authorization", b"X-Mine")


@pytest.mark.parametrize("names", [*((name,) for name in OTHERS), OTHERS], ids=lambda names: b" ".join(names).decode())
def test_what_differs_from_request_to_request_passes_as_it_came(names: tuple[bytes, ...]) -> None:
    seen: list[bytes] = []

    async def script(reader: Reader, writer: Writer) -> None:
        while True:
            seen.append((await read_request(reader)).lower())
            writer.write(OK)

    async def test() -> None:
        async with chain(script) as made:
            reader, writer = await made.connect()
            for number in range(6):
                writer.write(
                    get(
                        b"/",
                        b"".join(b"%b: v%d\r\nX-Same: 1\r\n" % (name, number) for name in names[:1])
                        + b"".join(b"%b: v%d\r\n" % (name, number) for name in names[1:]),
                    )
                )
                await read_answer(reader)
            writer.close()

    run(test())
    for number, request in enumerate(seen):
        assert [b"%b: v%d\r\n" % (name.lower(), number) in request for name in names] == [True] * len(names)
        assert request.count(b": v") == len(names)


def test_hop_by_hop_fields_of_a_request_do_not_pass() -> None:
    fields = b"connection: x-mine\r\nx-mine: 1\r\nte: trailers\r\nproxy-authorization: b\r\nx-yours: 1\r\nx-yours: 2\r\n"
    request = request_of(get(b"/a?b", b"x-request-id: i\r\n" + fields))
    assert request == b"GET /a?b HTTP/1.1\r\nhost: a\r\nx-yours: 1\r\nx-yours: 2\r\nx-request-id: i\r\n\r\n"


ID = b"x-request-id: i\r\n"
REQUESTS = {
    "small body": (post(b"body"), b"content-length: 4\r\n\r\nbody"),
    "empty body": (post(b""), b"content-length: 0\r\n\r\n"),
    "chunked": (chunked(b"bo", b"dy"), b"content-length: 4\r\n\r\nbody"),
    "absolute target": (get(b"http://a/b", ID), b"GET /b HTTP/1.1\r\nhost: a\r\nx-request-id: i\r\n\r\n"),
}


@pytest.mark.parametrize(("request_bytes", "end"), REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_reaches_the_upstream_with_framing_of_our_own(request_bytes: bytes, end: bytes) -> None:
    got = request_of(request_bytes)
    assert got.endswith(end)
    assert b"transfer-encoding" not in got


ANSWERS = {
    "length": (OK, b"ok"),
    "chunked": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", b"ok"),
    "until the connection ends": (b"HTTP/1.1 200 OK\r\n\r\nok", b"ok"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nok", b"ok"),
    "after 100 Continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
    "after 103 Early Hints": (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, b"ok"),
}


@pytest.mark.parametrize(("answer", "body"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_passes_however_it_is_framed(answer: bytes, body: bytes) -> None:
    status, _, got = answer_of(answers(answer), get())
    assert (status, got) == (200, body)


def test_204_has_no_body_and_the_connection_goes_on() -> None:
    async def test() -> None:
        async with chain(answers(b"HTTP/1.1 204 No Content\r\n\r\n", OK)) as made:
            reader, writer = await made.connect()
            writer.write(get() + get())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 204 ")
            assert (await read_answer(reader))[2] == b"ok"
            writer.close()

    run(test())


def test_head_gets_the_length_and_no_body() -> None:
    async def test() -> None:
        async with chain(answers(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")) as made:
            reader, writer = await made.connect()
            writer.write(get(fields=b"connection: close\r\n").replace(b"GET", b"HEAD"))
            answer = await reader.read()
            assert b"content-length: 5\r\n" in answer
            assert answer.endswith(b"\r\n\r\n")
            writer.close()

    run(test())


def test_many_answers_under_one_head_stay_apart() -> None:
    bodies = [b"aa", b"bb", b"\r\n", b"ccc", b"aa", b"\r\n\r\n", b"dd"]
    script = answers(*[b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body) for body in bodies])

    async def test() -> None:
        async with chain(script) as made:
            reader, writer = await made.connect()
            for body in bodies:
                writer.write(post(body))
                assert (await read_answer(reader))[2] == body
            assert made.upstream.connections == 1
            writer.close()

    run(test())


# ---- large bodies


def test_a_large_answer_streams_and_waits_for_a_slow_reader() -> None:
    sent = 0

    async def script(reader: Reader, writer: Writer) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % BIG)
        while sent < BIG:
            writer.write(BLOCK)
            await writer.drain()
            sent += len(BLOCK)
        await reader.read()

    async def test() -> None:
        async with chain(script) as made:
            reader, writer = await made.connect()
            writer.write(get())
            await asyncio.sleep(0.5)
            assert sent < ROOM
            _, _, body = await read_answer(reader)
            assert len(body) == BIG
            writer.close()

    run(test())


def test_a_large_request_streams_and_waits_for_a_slow_upstream() -> None:
    read = asyncio.Event()
    got = 0

    async def script(reader: Reader, writer: Writer) -> None:
        nonlocal got
        await reader.readuntil(b"\r\n\r\n")
        await read.wait()
        while got < BIG:
            got += len(await reader.read(1 << 20))
        writer.write(OK)

    async def test() -> None:
        async with chain(script) as made:
            reader, writer = await made.connect()
            writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % BIG)
            sent = 0

            async def send() -> None:
                nonlocal sent
                while sent < BIG:
                    writer.write(BLOCK)
                    await writer.drain()
                    sent += len(BLOCK)

            sending = asyncio.create_task(send())
            await asyncio.sleep(0.5)
            assert sent < ROOM
            read.set()
            assert (await read_answer(reader))[2] == b"ok"
            await sending
            writer.close()

    run(test())
    assert got == BIG


def test_a_large_chunked_request_arrives_whole() -> None:
    got: list[bytes] = []

    async def script(reader: Reader, writer: Writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked\r\n" in head
        while size := int(await reader.readuntil(b"\r\n"), 16):
            got.append((await reader.readexactly(size + 2))[:-2])
        writer.write(OK)

    status, _, _ = answer_of(script, chunked(*[BLOCK] * 20))
    assert status == 200
    assert b"".join(got) == BLOCK * 20


def test_a_connection_is_used_again_after_a_slow_reader_held_its_last_bytes() -> None:
    size = 3 * 1024 * 1024
    script = answers(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (size, b"x" * size), OK)

    async def test() -> None:
        async with chain(script) as made:
            reader, writer = await made.connect()
            writer.write(get())
            await asyncio.sleep(0.2)
            assert len((await read_answer(reader))[2]) == size
            writer.write(get())
            assert (await read_answer(reader))[2] == b"ok"
            writer.close()

    run(test())


def test_an_answer_before_the_upload_ends_reaches_the_client() -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await writer.drain()
        await reader.read()

    async def test() -> None:
        async with chain(script) as made:
            reader, writer = await made.connect()
            writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % BIG + BLOCK)
            status, head, body = await read_answer(reader)
            assert (status, body) == (413, b"big")
            assert b"connection: close\r\n" in head
            writer.write(BLOCK)
            writer.close()
            await made.upstream.gone.wait()

    run(test())


# ---- failures


def test_an_upstream_that_is_down_is_503_at_once() -> None:
    async def test() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            async with proxy_to(unused.getsockname()[1], Upstream(answers())) as made:
                async with asyncio.timeout(1):
                    status, head, _ = await made.ask(post(b"x"))
                assert status == 503
                assert b"retry-after: 1\r\n" in head

    run(test())


BROKEN = {
    "garbage": b"hello\r\n\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\n",
    "half a small body": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
    "length and chunked": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
def test_an_answer_that_is_not_one_is_502(answer: bytes) -> None:
    status, _, body = answer_of(answers(answer), post(b"x"))
    assert status == 502
    assert b'{"error":' in body


CUT_OFF = {
    "length": b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 50_000,
    "chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
    "bad chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\nxyz\r\n",
}


@pytest.mark.parametrize("answer", CUT_OFF.values(), ids=CUT_OFF.keys())
def test_a_client_can_tell_that_an_answer_was_cut_off(answer: bytes) -> None:
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        answer_of(answers(answer), get())


def test_an_upstream_that_does_not_answer_in_time_is_504() -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await reader.read()

    status, _, _ = answer_of(script, post(b"x"), timeout_s=0.5)
    assert status == 504


async def warm(made: Chain) -> tuple[Reader, Writer]:
    """A client whose first answer has left a kept connection to the upstream."""
    reader, writer = await made.connect()
    writer.write(get())
    await read_answer(reader)
    return reader, writer


def closing_second() -> tuple[Script, list[bytes]]:
    """An upstream that reads the second request on its first connection, then closes without an answer."""
    got: list[bytes] = []

    async def script(reader: Reader, writer: Writer) -> None:
        first = not got
        while True:
            got.append(await read_request(reader))
            if first and len(got) == 2:
                return
            writer.write(OK)

    return script, got


def test_a_get_on_a_connection_that_went_stale_is_sent_again() -> None:
    script, got = closing_second()

    async def test() -> None:
        async with chain(script) as made:
            reader, writer = await warm(made)
            writer.write(get(b"/again"))
            assert (await read_answer(reader))[0] == 200
            assert made.upstream.connections == 2
            writer.close()

    run(test())
    assert [request.split(b" ")[1] for request in got] == [b"/", b"/again", b"/again"]


NEVER_AGAIN = {
    "POST": post(b"x"),
    "POST without a body": post(b""),
    "DELETE": get().replace(b"GET", b"DELETE"),
    "GET with a body": post(b"x").replace(b"POST", b"GET"),
}


@pytest.mark.parametrize("request_bytes", NEVER_AGAIN.values(), ids=NEVER_AGAIN.keys())
def test_what_may_have_run_is_not_sent_again(request_bytes: bytes) -> None:
    script, got = closing_second()

    async def test() -> None:
        async with chain(script) as made:
            reader, writer = await warm(made)
            writer.write(request_bytes)
            assert (await read_answer(reader))[0] == 502
            writer.close()

    run(test())
    assert len(got) == 2


def test_more_than_an_answer_does_not_become_the_next_ones() -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        await reader.read()

    async def test() -> None:
        async with chain(script) as made:
            reader, writer = await made.connect()
            writer.write(get() + get())
            assert [(await read_answer(reader))[2] for _ in range(2)] == [b"ok", b"ok"]
            writer.close()

    run(test())


def test_an_answer_that_nobody_asked_for_is_dropped_with_its_connection() -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(OK)
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        await reader.read()

    async def test() -> None:
        async with chain(script) as made:
            reader, writer = await warm(made)
            await made.upstream.gone.wait()
            writer.write(get())
            assert (await read_answer(reader))[2] == b"ok"
            writer.close()

    run(test())


GONE = {"small": post(b"x"), "upload": post(b"x" * 200_000)[:100_000]}


@pytest.mark.parametrize("request_bytes", GONE.values(), ids=GONE.keys())
def test_a_client_that_leaves_takes_its_upstream_connection_along(request_bytes: bytes) -> None:
    arrived = asyncio.Event()

    async def script(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await reader.read()

    async def test() -> None:
        async with chain(script) as made:
            _, writer = await made.connect()
            writer.write(request_bytes)
            await arrived.wait()
            writer.close()
            await made.upstream.gone.wait()
            assert [exchange.cancelled for exchange in made.proxy.ended] == [True]

    run(test())


class LookedAt(Proxy):
    """Has someone look on who cannot take a failure."""

    def handle(self, exchange: Exchange) -> None:
        class Looking(Forward):
            def passed_end(self, *, complete: bool, error: KfuncError | None = None) -> None:
                raise ValueError("cannot take it")

        Looking(exchange, self.pool)


def test_a_client_hears_of_a_failure_whatever_those_who_look_on_make_of_it(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with chain(answers()) as made:
            made.server.application = LookedAt(made.proxy.pool)
            assert (await made.ask(post(b"x")))[0] == 502

    run(test())
    assert "did not take up its failure" in caplog.text
