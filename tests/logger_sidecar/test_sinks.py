"""Sinks and the delivery to them: full disks, and HTTP servers that fail in every way."""

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from kfunc.config.logger import Logger
from kfunc.errors import StartupError
from kfunc.logger_sidecar.file_sink import FileSink
from kfunc.logger_sidecar.sinks import Sink, open_sink

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
    open_sink(form.format(tmp_path / "a%20b%25.jsonl"), Logger()).close()
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
        open_sink(target, Logger())


def test_a_file_that_cannot_be_opened_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="cannot be opened"):
        open_sink(f"file:{tmp_path}/file/events.jsonl", Logger())
