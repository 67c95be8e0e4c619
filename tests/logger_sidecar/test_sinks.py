"""Sinks and the delivery to them: full disks, and HTTP servers that fail in every way."""

import asyncio
import os
import resource
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kfunc.config.logger import Logger, SinkSettings, sinks_of
from kfunc.errors import StartupError
from kfunc.logger_sidecar.contract import Outcome, Sink
from kfunc.logger_sidecar.event import Attributes
from kfunc.logger_sidecar.sinks import open_sink, progress_names, sink_names, without_secrets
from tests.logger_sidecar.setups import CONTEXT


class Line:
    """An event that is no more than its line."""

    def __init__(self, line: bytes) -> None:
        self.id, self.key, self.data, self.is_response = "", b"", line, False
        self._line = line

    def structured(self) -> bytes:
        return self._line

    def attributes(self) -> Attributes:
        return {}


EVENTS = [Line(b'{"n":%d}' % number) for number in range(10)]
LINES = [event.structured() for event in EVENTS]


def open_file(target: str, **settings: Any) -> Sink:
    (sink,) = sinks_of(Logger(sink=target, **settings))
    return open_sink(sink, CONTEXT)


def close(sink: Sink) -> None:
    asyncio.run(sink.close())


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


def deliver(sink: Sink, events: Sequence[Line]) -> int:
    """How many of them are delivered: the first ones."""
    outcomes: list[Outcome] = asyncio.run(sink.deliver(list(events), True))
    count = outcomes.count(None)
    assert outcomes[:count] == [None] * count
    return count


def test_a_file_gets_one_line_for_each_event_after_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "events.jsonl"
    for _ in range(2):
        sink = open_file(f"file:{path}")
        assert deliver(sink, EVENTS) == 10
        close(sink)
    assert path.read_bytes().splitlines() == LINES * 2


@pytest.mark.parametrize("room", [0, 1, 7, 8, 9, 15, 16, 79])
@pytest.mark.parametrize("padding", [b"", b"x" * 20_000], ids=["small", "large"])
def test_on_a_full_disk_whole_lines_are_done_and_the_rest_follows_without_a_torn_or_double_line(
    tmp_path: Path, room: int, padding: bytes
) -> None:
    path, events = tmp_path / "events.jsonl", [Line(line + padding) for line in LINES]
    sink = open_file(f"file:{path}")
    with full_disk(room + len(padding)):
        count = deliver(sink, events)
    assert count < len(events)
    assert deliver(sink, events[count:]) == len(events) - count
    close(sink)
    assert path.read_bytes().splitlines() == [line + padding for line in LINES]


def test_a_line_that_stays_torn_is_taken_away_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = open_file(f"file:{path}")
    with full_disk(12):
        assert deliver(sink, EVENTS) == 1
        close(sink)
    assert path.read_bytes() == LINES[0] + b"\n"


@pytest.mark.parametrize("room", [0, 1])
def test_a_line_that_a_killed_process_left_torn_is_ended_before_the_first_event(tmp_path: Path, room: int) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(LINES[0] + b"\n" + LINES[1][:4])
    sink = open_file(f"file:{path}")
    with full_disk(path.stat().st_size + room):
        assert deliver(sink, EVENTS[1:]) == 0
    assert deliver(sink, EVENTS[1:]) == 9
    close(sink)
    assert path.read_bytes().splitlines() == [LINES[0], LINES[1][:4], *LINES[1:]]


def test_a_torn_line_is_left_if_somebody_has_written_after_it(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = open_file(f"file:{path}")
    with full_disk(12):
        deliver(sink, EVENTS)
    with path.open("ab") as other:
        other.write(b"another's\n")
    close(sink)
    assert path.read_bytes().endswith(b"another's\n")


@pytest.mark.parametrize("other", [b"", b"another's\n"], ids=["at the end", "with another's line behind it"])
@pytest.mark.parametrize("next_one", [b"short", b"a longer line than the one before"])
def test_where_another_event_comes_than_the_torn_one_neither_is_damaged(tmp_path: Path, next_one: bytes, other: bytes) -> None:
    path, torn = tmp_path / "events.jsonl", Line(b"one that is torn")
    sink = open_file(f"file:{path}")
    with full_disk(10):
        assert deliver(sink, [torn]) == 0
    with path.open("ab") as another:
        another.write(other)
    assert [deliver(sink, [Line(next_one)]), deliver(sink, [torn])] == [1, 1]
    close(sink)
    assert path.read_bytes().splitlines()[-2:] == [next_one, torn.structured()]
    assert path.read_bytes().endswith(b"\n")


def test_a_file_that_is_full_is_put_aside_and_only_so_many_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = open_file(f"file:{path}", rotate_bytes=25, rotate_keep=2)
    for number in range(0, 10, 2):
        assert deliver(sink, EVENTS[number : number + 2]) == 2
    close(sink)
    names = ("events.jsonl.2", "events.jsonl.1", "events.jsonl")
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(names)
    assert [line for name in names for line in (tmp_path / name).read_bytes().splitlines()] == LINES[4:]


def test_a_file_that_cannot_be_put_aside_goes_on_and_none_that_is_kept_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "events.jsonl"
    sink = open_file(f"file:{path}", rotate_bytes=5, rotate_keep=2)
    for each in EVENTS[:5]:
        deliver(sink, [each])
    kept = [file.read_bytes() for file in (tmp_path / "events.jsonl.2", tmp_path / "events.jsonl.1", path)]
    (tmp_path / "events.jsonl.new").mkdir()
    for each in EVENTS[5:]:
        assert deliver(sink, [each]) == 1
    after = [file.read_bytes() for file in (tmp_path / "events.jsonl.2", tmp_path / "events.jsonl.1", path)]
    assert after == [*kept[:2], b"".join(line + b"\n" for line in LINES[4:])]
    assert caplog.text.count("cannot be put aside") == 1
    close(sink)


@pytest.mark.parametrize("how", ["deleted", "moved", "with its folder"])
def test_a_file_that_somebody_takes_away_is_begun_anew(tmp_path: Path, how: str) -> None:
    path = tmp_path / "folder" / "events.jsonl"
    sink = open_file(f"file:{path}")
    assert deliver(sink, EVENTS[:1]) == 1
    if how == "moved":
        path.rename(tmp_path / "events.1")
    else:
        path.unlink()
    if how == "with its folder":
        path.parent.rmdir()
    assert deliver(sink, EVENTS[1:2]) == 1
    assert path.read_bytes() == LINES[1] + b"\n"
    close(sink)


def test_a_sink_that_was_closed_opens_its_file_again_and_writes_to_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = open_file(f"file:{path}")
    close(sink)
    close(sink)
    with open(tmp_path / "other", "wb"):
        asyncio.run(sink.open())
        assert deliver(sink, EVENTS[:1]) == 1
    assert (path.read_bytes(), (tmp_path / "other").read_bytes()) == (LINES[0] + b"\n", b"")
    close(sink)


def test_a_pipe_that_nobody_reads_does_not_hold_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    async def main() -> int:
        sink = open_file(f"file:{path}")
        delivery = asyncio.create_task(sink.deliver([Line(b"x" * 300_000)], True))
        await asyncio.sleep(0.05)
        assert not delivery.done()
        count = 0
        while not delivery.done():
            with suppress(BlockingIOError):
                count += len(os.read(reader, 1 << 20))
            await asyncio.sleep(0.001)
        assert await delivery == [None]
        with suppress(BlockingIOError):
            count += len(os.read(reader, 1 << 20))
        await sink.close()
        return count

    assert asyncio.run(main()) == 300_001
    os.close(reader)


@pytest.mark.parametrize("form", ["file:{}", "file://{}", "file://localhost{}"])
def test_the_path_of_a_file_uri_is_unquoted(tmp_path: Path, form: str) -> None:
    close(open_file(form.format(tmp_path / "a%20b%25.jsonl")))
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
        open_file(target)


def test_a_file_that_cannot_be_opened_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="cannot be opened"):
        open_file(f"file:{tmp_path}/file/events.jsonl")


def test_sinks_are_named_by_scheme_and_place_without_secrets_and_each_otherwise() -> None:
    targets = ("http://user:pw@broker.example.com/a?b=c", "http://broker.example.com/x", "file:/srv/events.jsonl")
    sinks = sinks_of(msgspec.convert({"sinks": [{"to": to} for to in targets] + [{"to": "file:b", "name": "mine"}]}, Logger))
    assert sink_names(sinks) == ["http-broker.example.com", "http-broker.example.com-2", "file-events.jsonl", "mine"]


def test_progress_is_kept_by_the_whole_address_or_by_the_name_that_is_given() -> None:
    def keys(*addresses: str) -> list[str]:
        return progress_names([SinkSettings(to=address) for address in addresses])

    both = keys("http://hub/a", "http://hub/b")
    assert both[1:] == keys("http://hub/b")
    assert len(set(both) | set(keys("amqp://h?queue=a", "amqp://h?queue=b"))) == 4
    assert keys("http://me:old@hub/a") == keys("http://me:new@hub/a") == both[:1]
    assert progress_names([SinkSettings(to="http://hub/a", name="audit")]) == ["audit"]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("https://me:secret@hub.example.com/in?key=1", "https://hub.example.com/in"),
        ("kafka://u:p%40@a:9092,b:9092/topic?sasl=PLAIN", "kafka://a:9092,b:9092/topic"),
        ("broker:default", "broker:default"),
        ("file:/a@b", "file:/a@b"),
    ],
)
def test_an_address_is_told_without_what_is_secret_in_it(target: str, told: str) -> None:
    assert without_secrets(target) == told
