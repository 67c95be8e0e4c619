"""HTTP/2 in front of an HTTP/1.1 upstream, over real sockets: what passes, and who waits for whom."""

import asyncio
from collections import defaultdict

import h2.config
import h2.connection
import h2.events
import hyperframe.frame as hyper
import pytest

from kfunc.http.h2 import frames
from kfunc.http.wire import Headers
from tests.http.h2.wires import HUGE, get
from tests.http.hops import BIG, ROOM, Chain, Reader, Writer, answers, chain, read_request, run

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\n\r\nok"
BLOCK = b"x" * 65_536


class Client:
    """The library h2 on a socket. `greedy`: windows are opened as data comes."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self.reader = reader
        self.writer = writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.heads: dict[int, dict[bytes, bytes]] = {}
        self.bodies: dict[int, bytearray] = defaultdict(bytearray)
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.gone = False
        self.leaving = False
        self.greedy = True
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def ask(self, method: bytes, path: bytes, fields: Headers | None = None, end: bool = True) -> int:
        stream_id = self.h2.get_next_available_stream_id()
        pseudo = [(b":method", method), (b":scheme", b"http"), (b":authority", b"a"), (b":path", path)]
        self.h2.send_headers(stream_id, [*pseudo, *(fields or [])], end_stream=end)
        self.flush()
        return stream_id

    async def read(self) -> None:
        """Take what comes next."""
        data = await self.reader.read(65_536)
        self.gone = not data
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.heads[event.stream_id] = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] += event.data
                if self.greedy:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.leaving = True
            elif isinstance(event, h2.events.StreamReset):
                self.resets[event.stream_id] = int(event.error_code)
        self.flush()

    async def answer(self, stream_id: int) -> tuple[int, bytes]:
        while stream_id not in self.ended and stream_id not in self.resets and not self.gone:
            await self.read()
        return int(self.heads[stream_id][b":status"]), bytes(self.bodies[stream_id])

    async def upload(self, stream_id: int, size: int, stalled_s: float = 5.0) -> int:
        """Send up to `size` bytes; returns how many, when the window stays shut for `stalled_s`."""
        sent = 0
        while sent < size:
            room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size, size - sent)
            if room > 0:
                self.h2.send_data(stream_id, b"y" * room)
                sent += room
                self.flush()
                await self.writer.drain()
                continue
            try:
                async with asyncio.timeout(stalled_s):
                    await self.read()
            except TimeoutError:
                break
        return sent


async def connect(made: Chain) -> Client:
    return Client(*await made.connect())


def test_requests_at_once_get_their_own_answers() -> None:
    got: list[bytes] = []

    async def script(reader: Reader, writer: Writer) -> None:
        while True:
            request = await read_request(reader)
            got.append(request)
            path = request.split(b" ")[1]
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(path), path))

    async def test() -> None:
        async with chain(script) as made:
            client = await connect(made)
            streams = [
                client.ask(b"GET", b"/%d" % number, [(b"x-request-id", b"i"), (b"te", b"trailers")]) for number in range(20)
            ]
            assert [await client.answer(stream) for stream in streams] == [(200, b"/%d" % number) for number in range(20)]
            client.writer.close()

    run(test())
    assert b"GET /0 HTTP/1.1\r\nhost: a\r\nx-request-id: i\r\n\r\n" in got


@pytest.mark.parametrize("length", [[], [(b"content-length", b"%d" % BIG)]], ids=["unknown length", "known length"])
def test_a_large_upload_passes_in_parts(length: Headers) -> None:
    counted = 0

    async def script(reader: Reader, writer: Writer) -> None:
        nonlocal counted
        head = await reader.readuntil(b"\r\n\r\n")
        if b"content-length: %d" % BIG in head:
            while counted < BIG:
                counted += len(await reader.read(1 << 20))
        else:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                counted += len((await reader.readexactly(size + 2))[:-2])
            await reader.readexactly(2)
        writer.write(OK)

    async def test() -> None:
        async with chain(script) as made:
            client = await connect(made)
            stream = client.ask(b"POST", b"/", length, end=False)
            assert await client.upload(stream, BIG) == BIG
            client.h2.end_stream(stream)
            client.flush()
            assert await client.answer(stream) == (200, b"ok")
            client.writer.close()

    run(test())
    assert counted == BIG


def test_an_upstream_that_does_not_read_holds_its_stream_and_no_other() -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            writer.write(OK)
        else:
            await asyncio.sleep(30)

    async def test() -> None:
        async with chain(script) as made:
            client = await connect(made)
            stuck = client.ask(b"POST", b"/", end=False)
            assert await client.upload(stuck, BIG, stalled_s=0.5) < ROOM
            assert await client.answer(client.ask(b"GET", b"/")) == (200, b"ok")
            client.writer.close()

    run(test())


def test_a_large_answer_passes_in_parts() -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % BIG)
        for _ in range(BIG // len(BLOCK)):
            writer.write(BLOCK)
            await writer.drain()

    async def test() -> None:
        async with chain(script) as made:
            client = await connect(made)
            client.h2.increment_flow_control_window(1 << 20)
            status, body = await client.answer(client.ask(b"GET", b"/"))
            assert (status, len(body)) == (200, BIG)
            client.writer.close()

    run(test())


def test_a_client_that_does_not_take_its_answer_holds_the_upstream() -> None:
    written = 0

    async def script(reader: Reader, writer: Writer) -> None:
        nonlocal written
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % BIG)
        while written < BIG:
            writer.write(BLOCK)
            await writer.drain()
            written += len(BLOCK)

    async def test() -> None:
        async with chain(script) as made:
            client = await connect(made)
            client.greedy = False
            stream = client.ask(b"GET", b"/")
            while len(client.bodies[stream]) < 65_535:
                await client.read()
            await asyncio.sleep(0.5)
            assert written < ROOM
            client.greedy = True
            client.h2.acknowledge_received_data(65_535, stream)
            client.flush()
            assert len((await client.answer(stream))[1]) == BIG
            client.writer.close()

    run(test())


def test_a_stream_that_is_reset_gives_up_its_call() -> None:
    async def test() -> None:
        begun = asyncio.Event()

        async def script(reader: Reader, writer: Writer) -> None:
            await read_request(reader)
            begun.set()
            assert await reader.read() == b""

        async with chain(script) as made:
            client = await connect(made)
            stream = client.ask(b"GET", b"/")
            await begun.wait()
            client.h2.reset_stream(stream, 8)
            client.flush()
            async with asyncio.timeout(2):
                await made.upstream.gone.wait()
            assert [exchange.cancelled for exchange in made.proxy.ended] == [True]
            client.writer.close()

    run(test())


def test_an_answer_that_breaks_off_is_reset() -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nabc")
        await writer.drain()

    async def test() -> None:
        async with chain(script) as made:
            client = await connect(made)
            stream = client.ask(b"GET", b"/")
            assert (await client.answer(stream))[0] == 200
            assert (client.resets, client.ended) == ({stream: 2}, set())
            client.writer.close()

    run(test())


def test_head_has_the_length_and_no_body() -> None:
    async def test() -> None:
        async with chain(answers(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")) as made:
            client = await connect(made)
            stream = client.ask(b"HEAD", b"/")
            assert await client.answer(stream) == (200, b"")
            assert client.heads[stream][b"content-length"] == b"5"
            client.writer.close()

    run(test())


class Pipeliner:
    """Has four requests in flight, opens no more once it has read a GOAWAY, and reads on until the end."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self.reader = reader
        self.writer = writer
        self.opened = 0
        self.answered: set[int] = set()
        self.refused: set[int] = set()
        self.last = 0
        self.leaving = False
        writer.write(frames.PREFACE + frames.settings({}) + frames.window_update(0, HUGE))

    async def run(self) -> None:
        for _ in range(4):
            self.open()
        while True:
            try:
                head, size = hyper.Frame.parse_frame_header(memoryview(await self.reader.readexactly(9)))
                head.parse_body(memoryview(await self.reader.readexactly(size)))
            except asyncio.IncompleteReadError:
                return
            self.take(head)

    def open(self) -> None:
        self.opened += 1
        self.writer.write(get(2 * self.opened - 1))

    def take(self, frame: hyper.Frame) -> None:
        if isinstance(frame, hyper.PingFrame):
            self.writer.write(frames.frame(frames.PING, frames.ACK, 0, frame.opaque_data))
        elif isinstance(frame, hyper.SettingsFrame):
            self.writer.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        elif isinstance(frame, hyper.GoAwayFrame):
            self.leaving, self.last = True, frame.last_stream_id
        elif isinstance(frame, hyper.RstStreamFrame):
            self.refused.add(frame.stream_id)
        elif "END_STREAM" in frame.flags:
            self.answered.add(frame.stream_id)
            if not self.leaving:
                self.open()


def test_a_drain_answers_all_that_is_in_flight() -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        while True:
            await read_request(reader)
            await asyncio.sleep(0.002)
            writer.write(OK)

    async def test() -> None:
        async with chain(script) as made:
            clients = [Pipeliner(*await made.connect()) for _ in range(5)]
            asking = [asyncio.create_task(client.run()) for client in clients]
            await asyncio.sleep(0.3)
            draining = asyncio.create_task(made.server.drain(8.0))
            await asyncio.gather(*asking)
            for client in clients:
                client.writer.close()
                assert client.opened > 4
                assert client.refused == set()
                assert client.answered == set(range(1, 2 * client.opened, 2))
                assert client.last == 2 * client.opened - 1
            assert await draining

    run(test())


def test_a_drain_loses_nothing_of_clients_that_ask_in_a_loop() -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        while True:
            await read_request(reader)
            writer.write(OK)

    async def ask_until_goaway(client: Client) -> int:
        answered = 0
        while not client.leaving:
            assert await client.answer(client.ask(b"GET", b"/")) == (200, b"ok")
            answered += 1
        return answered

    async def test() -> None:
        async with chain(script) as made:
            clients = [await connect(made) for _ in range(10)]
            asking = [asyncio.create_task(ask_until_goaway(client)) for client in clients]
            await asyncio.sleep(0.2)
            draining = asyncio.create_task(made.server.drain(5.0))
            assert all(answered > 0 for answered in await asyncio.gather(*asking))
            for client in clients:
                client.writer.close()
            assert await draining

    run(test())
