"""The way from memory to the disk: what comes in late gets there, each counts once, answers wait no longer than needed."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event as ThreadEvent
from typing import Any

import pytest

from kfunc.logger_sidecar.disk import SegmentInfo
from kfunc.logger_sidecar.event import event_maker
from kfunc.logger_sidecar.feed import Feed, Item
from kfunc.logger_sidecar.record import encode_record
from kfunc.logger_sidecar.tail import DRAIN_S
from tests.logger_sidecar.setups import Setup, call, drained, is_so, items_of

SINK = "file:/dev/null"


def setup(folder: Path, **settings: Any) -> Setup:
    return Setup(folder, **{"sink": SINK, **settings})


@pytest.mark.parametrize("sync", [False, True], ids=["", "sync"])
def test_what_waited_for_room_is_brought_to_the_disk_told_and_answered(tmp_path: Path, sync: bool) -> None:
    async def main() -> None:
        settings = {"on_full": "block", "spool_sync": sync, "max_body_bytes": 200_000}
        one = setup(tmp_path, spool_max_bytes=1 << 20, spool_segment_bytes=65536, **settings)
        told: list[int] = []
        one.spool.wake.append(lambda: told.append(one.spool.intake.written))
        one.spool.start()
        answered: list[int] = []
        for number in range(10):
            record = encode_record(call(number, b"x" * 200_000))
            if one.spool.append(record, lambda number=number: answered.append(number)):  # type: ignore[misc]
                answered.append(number)
        await is_so(lambda: len(answered) == 5)
        one.spool.advance(one.cursor("file-null"), one.spool.position(), 5)
        await is_so(lambda: len(answered) == 10 and one.spool.intake.drained == one.spool.intake.written)
        await is_so(lambda: told[-1:] == [one.spool.intake.written])
        assert answered == list(range(10))

    asyncio.run(main())


@contextmanager
def held_up(one: Setup) -> Iterator[None]:
    """A disk that is at its next write as long."""
    writer, goes_on = one.spool._drain.writer, ThreadEvent()
    assert writer is not None
    write = writer.write

    def late(position: int, records: bytes, count: int = 0) -> list[SegmentInfo]:
        goes_on.wait(10)
        writer.write = write  # type: ignore[method-assign]
        return write(position, records, count)

    writer.write = late  # type: ignore[method-assign]
    try:
        yield
    finally:
        goes_on.set()


def is_safe(one: Setup) -> bool:
    return one.spool.intake.drained == one.spool.intake.written


def test_what_comes_in_while_the_disk_is_at_work_gets_there_though_nobody_calls_again(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path)
        with held_up(one):
            one.add(1)
            await is_so(lambda: one.spool._drain.is_busy)
            one.add(2)
            await asyncio.sleep(2 * DRAIN_S)
        await is_so(lambda: is_safe(one))

    asyncio.run(main())


def test_with_sync_and_a_disk_that_hangs_an_answer_goes_out_when_all_sinks_have_its_event(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path, spool_sync=True)
        hung, answered = ThreadEvent(), asyncio.Event()
        one.spool.submit(lambda: hung.wait(30) and None)
        assert one.spool.append(encode_record(call(1)), answered.set) is False
        await asyncio.sleep(0.05)
        assert not answered.is_set()
        one.spool.advance(one.cursor("file-null"), one.spool.position(), 1)
        assert answered.is_set()
        hung.set()
        await drained(one)

    asyncio.run(main())


def test_what_is_counted_while_the_disk_is_written_belongs_to_no_new_segment(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path, spool_segment_bytes=65536)
        for number in range(3):
            one.add(number, body=b"x" * 70_000)
            await drained(one)
        await one.crash()
        other = setup(tmp_path)
        other.spool.start()
        other.add(3, 4)
        other.spool.drain()  # behind the counts of two segments
        await is_so(lambda: other.spool.calls == 5)
        await drained(other)
        other.add(5)
        await drained(other)
        assert sum(segment.calls for segment in other.spool.segments) == other.spool.calls == 6

    asyncio.run(main())


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError(), ValueError("a fault of ours")])
def test_whatever_the_disks_thread_fails_with_is_said_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    monkeypatch.setattr("kfunc.logger_sidecar.draining.RETRY_S", 0.01)

    async def main() -> None:
        one = setup(tmp_path)
        writer, failures = one.spool._drain.writer, [error]
        assert writer is not None
        write = writer.write

        def failing(*values: Any) -> Any:
            if failures:
                raise failures.pop()
            return write(*values)

        writer.write = failing  # type: ignore[assignment,method-assign]
        one.add(1)
        await drained(one)

    asyncio.run(main())
    assert "the spool cannot be written" in caplog.text


def test_a_sink_that_had_passed_a_segment_before_waits_for_the_others_only(tmp_path: Path) -> None:
    sinks = [{"to": "file:/dev/null", "name": "one"}, {"to": "file:/dev/zero", "name": "two"}]

    async def main() -> None:
        one = Setup(tmp_path, sinks=sinks, spool_segment_bytes=65536)
        for number in range(3):
            one.add(number, body=b"x" * 70_000)
            await drained(one)
        one.spool.advance(one.cursor("one"), one.spool.segments[0].end, 1)
        await one.crash()
        other = Setup(tmp_path, sinks=sinks)
        other.spool.start()
        await is_so(lambda: other.spool.calls == 3)
        assert [other.spool.calls - other.cursor(name).calls for name in ("one", "two")] == [2, 3]

    asyncio.run(main())


def test_what_was_dropped_while_it_was_under_way_is_counted_once(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path, spool_max_bytes=1 << 20, spool_segment_bytes=65536, on_full="drop_oldest", max_body_bytes=70_000)
        feed = Feed(one.spool, one.cursor("file-null"), event_maker("none"), one.pipeline._notices)
        items: list[Item] = []
        for number in range(20):
            one.add(number, body=b"x" * 70_000)
            await drained(one)
            items += await feed.take(1, 1) if number < 10 else []
        for item in items:
            item.passed.open -= 1
        feed.settle()
        left = len(await items_of(one))
        assert one.count("waiting") == left
        assert left + one.count("dropped") >= 10

    asyncio.run(main())
