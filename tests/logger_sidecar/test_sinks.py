"""Sinks and the delivery to them: full disks, and HTTP servers that fail in every way."""

import asyncio
import json
import os
import resource
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from kfunc.config.inference import Logger
from kfunc.errors import StartupError
from kfunc.logger_sidecar.delivery import Delivery
from kfunc.logger_sidecar.events import CallRecord, EventWriter
from kfunc.logger_sidecar.sinks import FileSink, HttpSink, Sink, open_sink
from kfunc.telemetry.metrics import Metrics

EVENTS = [b'{"n":%d}' % number for number in range(10)]


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Files cannot grow past `size` bytes: what is written over it is written in part, then fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def deliver(sink: Sink, events: list[bytes]) -> list[bytes]:
    return asyncio.run(sink.deliver(events))


def test_a_file_gets_one_line_for_each_event_after_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "events.jsonl"
    for _ in range(2):
        sink = FileSink(str(path))
        assert deliver(sink, EVENTS) == []
        sink.close()
    assert path.read_bytes() == b"".join(event + b"\n" for event in EVENTS) * 2


@pytest.mark.parametrize("room", [0, 1, 7, 8, 9, 15, 16, 79])
@pytest.mark.parametrize("padding", [b"", b"x" * 20_000], ids=["small", "large"])
def test_on_a_full_disk_whole_lines_are_done_and_the_rest_follows_without_a_torn_or_double_line(
    tmp_path: Path, room: int, padding: bytes
) -> None:
    path, events = tmp_path / "events.jsonl", [event + padding for event in EVENTS]
    sink = FileSink(str(path))
    with full_disk(room + len(padding)):
        left = deliver(sink, events)
    assert 0 < len(left) <= len(events)
    assert left == events[-len(left) :]
    assert deliver(sink, left) == []
    sink.close()
    assert path.read_bytes().splitlines() == events


def test_a_line_that_stays_torn_is_taken_away_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = FileSink(str(path))
    with full_disk(12):
        assert deliver(sink, EVENTS) == EVENTS[1:]
        sink.close()
    assert path.read_bytes() == EVENTS[0] + b"\n"


def test_a_torn_line_is_left_if_somebody_has_written_after_it(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = FileSink(str(path))
    with full_disk(12):
        deliver(sink, EVENTS)
    with path.open("ab") as other:
        other.write(b"another's\n")
    sink.close()
    assert path.read_bytes().endswith(b"another's\n")


def test_a_pipe_that_nobody_reads_does_not_hold_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    async def main() -> int:
        sink = FileSink(str(path))
        delivery = asyncio.create_task(sink.deliver([b"x" * 300_000]))
        await asyncio.sleep(0.05)
        assert not delivery.done()
        count = 0
        while not delivery.done():
            with suppress(BlockingIOError):
                count += len(os.read(reader, 1 << 20))
            await asyncio.sleep(0.001)
        assert await delivery == []
        with suppress(BlockingIOError):
            count += len(os.read(reader, 1 << 20))
        sink.close()
        return count

    assert asyncio.run(main()) == 300_001
    os.close(reader)


@pytest.mark.parametrize("form", ["file:{}", "file://{}", "file://localhost{}"])
def test_the_path_of_a_file_uri_is_unquoted(tmp_path: Path, form: str) -> None:
    open_sink(form.format(tmp_path / "a%20b%25.jsonl")).close()
    assert (tmp_path / "a b%.jsonl").exists()


@pytest.mark.parametrize(
    "target",
    [
        "file:",
        "file://host/path",
        "file:/a%00b",
        "ftp://broker/",
        "broker",
        "http://",
        "http://:80/",
        "http://broker:port/",
        "http://broker:99999/",
        "http://broker/a b",
        "http://broker/a\r\nx: y",
        "http://broker/ä",
    ],
)
def test_a_sink_that_cannot_work_is_refused_at_the_start(target: str) -> None:
    with pytest.raises(StartupError):
        open_sink(target)


def test_a_file_that_cannot_be_opened_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="cannot be opened"):
        open_sink(f"file:{tmp_path}/file/events.jsonl")


class Broker:
    """An HTTP sink that answers each POST as the next of `verdicts` says, the last one for ever.

    A verdict is a status, raw bytes, "reset" or "hang".
    """

    def __init__(self, *verdicts: int | bytes | str) -> None:
        self.verdicts = list(verdicts)
        self.taken: list[bytes] = []
        self.posts = 0
        self.heads: list[bytes] = []

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Coroutine[Any, Any, None]:
        return self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
                self.posts += 1
                self.heads.append(head)
                verdict = self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]
                if verdict == "reset":
                    break
                if verdict == "hang":
                    await reader.read()
                    break
                if isinstance(verdict, bytes):
                    writer.write(verdict)
                    continue
                if isinstance(verdict, int) and verdict < 300:
                    self.taken.append(body)
                writer.write(f"HTTP/1.1 {verdict} X\r\ncontent-length: 0\r\n\r\n".encode())
        writer.close()


class Setup:
    """A delivery to a broker."""

    def __init__(self, url: str, settings: Logger) -> None:
        self.metrics = Metrics("logger")
        self.delivery = Delivery(settings, open_sink(url), EventWriter("f", "n", "1", "p"), self.metrics)

    def add(self, count: int) -> None:
        for number in range(count):
            record = CallRecord(is_response=False, correlation=str(number), target=b"/v2/models/m/infer", time_s=0.0)
            record.body = b"%d" % number
            record.size = len(record.body)
            self.delivery.add(record)

    def count(self, name: str) -> int:
        line = next(each for each in self.metrics.exposition().splitlines() if each.startswith(f"kfunc_events_{name}"))
        return int(float(line.split()[-1]))

    async def reaches(self, name: str, count: int) -> None:
        async with asyncio.timeout(30):
            while self.count(name) < count:  # noqa: ASYNC110 (a counter tells nobody)
                await asyncio.sleep(0.005)


def with_broker(broker: Broker, test: Callable[[Setup], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def main() -> None:
        server = await asyncio.start_server(broker, "127.0.0.1", 0)
        setup = Setup(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/path?q=1", Logger(**settings))
        try:
            await test(setup)
        finally:
            await setup.delivery.flush(0.2)
            server.close()
            await asyncio.sleep(0.05)

    asyncio.run(main())


def numbers(broker: Broker) -> list[int]:
    return [json.loads(event)["data"] for event in broker.taken]


@pytest.mark.integration
@pytest.mark.parametrize(
    "fault",
    [500, 503, 429, 408, 404, "reset", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"],
    ids=str,
)
def test_after_a_fault_that_may_pass_every_event_is_sent_again_until_it_is_taken(fault: int | str | bytes) -> None:
    broker = Broker(fault, fault, fault, 202)

    async def test(setup: Setup) -> None:
        setup.add(20)
        await setup.reaches("delivered", 20)
        assert setup.count("dropped") == 0

    with_broker(broker, test)
    assert sorted(set(numbers(broker))) == list(range(20))


@pytest.mark.integration
@pytest.mark.parametrize("verdict", [400, 401, 403, 410, 413, 301])
def test_an_event_that_is_refused_for_good_is_dropped_counted_and_said(verdict: int, caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker(verdict, 202)

    async def test(setup: Setup) -> None:
        setup.add(3)
        await setup.reaches("delivered", 2)
        assert (setup.count("delivered"), setup.count("dropped")) == (2, 1)

    with_broker(broker, test)
    assert broker.posts == 3
    assert f"refused 1 events with status {verdict}" in caplog.text


@pytest.mark.integration
def test_a_sink_that_is_down_is_tried_again_ever_less_often() -> None:
    broker = Broker(503)

    async def test(setup: Setup) -> None:
        setup.add(1)
        await asyncio.sleep(1.2)
        assert 2 <= broker.posts <= 5

    with_broker(broker, test)


@pytest.mark.integration
def test_past_the_bound_new_events_are_dropped_and_counted_and_none_within_it_is_lost() -> None:
    broker = Broker(503, 503, 503, 202)

    async def test(setup: Setup) -> None:
        setup.add(50)
        assert (setup.count("accepted"), setup.count("dropped")) == (10, 40)
        await setup.reaches("delivered", 10)

    with_broker(broker, test, max_queue=10)
    assert sorted(numbers(broker)) == list(range(10))


@pytest.mark.integration
def test_the_bytes_of_bodies_that_wait_are_bounded_too() -> None:
    async def test(setup: Setup) -> None:
        setup.add(10)
        assert (setup.count("accepted"), setup.count("dropped")) == (5, 5)

    with_broker(Broker(202), test, max_queue_bytes=5)


@pytest.mark.integration
def test_an_event_is_posted_as_structured_cloudevent_to_the_sinks_path() -> None:
    broker = Broker(202)

    async def test(setup: Setup) -> None:
        setup.add(1)
        await setup.reaches("delivered", 1)

    with_broker(broker, test)
    assert broker.heads[0].startswith(b"POST /path?q=1 HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"content-type: application/cloudevents+json; charset=utf-8\r\n" in broker.heads[0]


@pytest.mark.integration
def test_a_hanging_sink_ends_the_flush_at_its_grace_and_the_lost_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def test(setup: Setup) -> None:
        setup.add(40)
        await asyncio.sleep(0.1)
        await setup.delivery.flush(0.3)
        assert setup.count("dropped") == 40

    async def main() -> None:
        server = await asyncio.start_server(Broker("hang"), "127.0.0.1", 0)
        await test(Setup(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", Logger()))
        server.close()
        await asyncio.sleep(0.05)

    asyncio.run(main())
    assert "40 events could not be delivered" in caplog.text


@pytest.mark.integration
def test_events_that_are_tried_again_keep_their_order() -> None:
    async def main() -> list[bytes]:
        server = await asyncio.start_server(Broker(202, 503, 202, 503, 503, 202), "127.0.0.1", 0)
        sink = HttpSink(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        left = await sink.deliver(EVENTS)
        sink.close()
        server.close()
        await asyncio.sleep(0.05)
        return left

    left = asyncio.run(main())
    assert len(left) == 3
    assert left == [event for event in EVENTS if event in left]
