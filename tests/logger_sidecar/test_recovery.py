"""What killed processes left: found wherever it lies, and what of it is damaged is counted."""

import asyncio
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kfunc.logger_sidecar.disk import SegmentInfo, SegmentWriter
from kfunc.logger_sidecar.intake import HEAD_BYTES, ORIGIN_BYTES_AT, Intake, intake_in, intake_path
from kfunc.logger_sidecar.left_behind import LeftBehind
from kfunc.logger_sidecar.log import Chunk, LogReader
from kfunc.logger_sidecar.segments import segment_paths
from tests.logger_sidecar.setups import Setup, drained, forget_intake, is_so, items_of

SINK = "file:/dev/null"


def setup(folder: Path, **settings: Any) -> Setup:
    return Setup(folder, **{"sink": SINK, "spool_segment_bytes": 65536, **settings})


def lane(folder: Path, number: int = 0) -> str:
    return str(folder / f"spool/n.f/{number}")


def flip(path: str) -> None:
    """Change a bit in the middle of a file."""
    data = bytearray(Path(path).read_bytes())
    data[len(data) // 2] ^= 1
    Path(path).write_bytes(data)


@contextmanager
def looked_into(path: str) -> Iterator[None]:
    """Another process has an intake, as one that brings what is in it to the disk."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)
        os.unlink(path)


@contextmanager
def kept_from_us(path: str) -> Iterator[None]:
    """Another process has an intake, and leaves it as it is."""
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


async def numbers(one: Setup) -> list[int]:
    """The calls that are still to be delivered."""
    return [int(item.event.key) for item in await items_of(one)]


async def killed_beside_its_segments(folder: Path, *calls: int) -> None:
    """A process that had to take an intake in its lane."""
    os.makedirs(lane(folder))
    with looked_into(intake_path(lane(folder))):
        one = setup(folder)
    assert one.spool.intake.path == intake_in(lane(folder))
    one.add(*calls)
    await one.crash()


def test_what_was_in_an_intake_beside_the_segments_is_there_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfunc.logger_sidecar.recovery.LOOK_S", 0.001)

    async def main() -> None:
        await killed_beside_its_segments(tmp_path, 1, 2)
        other = setup(tmp_path)
        assert other.spool.intake.path == intake_path(lane(tmp_path))
        assert not os.path.exists(intake_in(lane(tmp_path)))  # noqa: ASYNC240
        other.add(3)
        assert await numbers(other) == [1, 2, 3]

    asyncio.run(main())


def test_what_was_in_an_intake_beside_the_segments_is_delivered_by_a_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfunc.logger_sidecar.recovery.LOOK_S", 0.001)

    async def main() -> None:
        await killed_beside_its_segments(tmp_path, 1, 2)
        os.rename(lane(tmp_path), lane(tmp_path, 7))
        other = setup(tmp_path)
        other.pipeline.start()
        await other.reaches("delivered", 2)
        await other.pipeline.flush(2)
        assert not os.path.exists(lane(tmp_path, 7))  # noqa: ASYNC240

    asyncio.run(main())


def test_an_intake_that_is_looked_into_for_a_moment_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.makedirs(lane(tmp_path))
    with ExitStack() as looks:
        looks.enter_context(looked_into(intake_path(lane(tmp_path))))
        monkeypatch.setattr("kfunc.logger_sidecar.recovery.time.sleep", lambda seconds: looks.close())
        assert setup(tmp_path).spool.intake.path == intake_path(lane(tmp_path))


def test_a_spool_whose_segments_cannot_be_read_is_let_go_with_its_intake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*args: Any, **settings: Any) -> list[SegmentInfo]:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("kfunc.logger_sidecar.recovery.find_segments", unreadable)
        assert setup(tmp_path).spool.lane is None
    other = setup(tmp_path)
    assert other.spool.lane is not None
    assert (other.spool.lane.path, other.spool.intake.path) == (lane(tmp_path), intake_path(lane(tmp_path)))


async def delivered_by(one: Setup, count: int) -> list[str]:
    """What it delivers, its own and what others left, in any order."""
    one.pipeline.start()
    await one.reaches("delivered", count)
    await one.pipeline.flush(2)
    lines = Path(one.settings.sink.removeprefix("file:")).read_bytes().splitlines()  # type: ignore[union-attr] # noqa: ASYNC240
    return sorted(msgspec.json.decode(line)["correlationid"] for line in lines)


@pytest.mark.parametrize("second", ["shared memory", "beside the segments"])
def test_a_run_that_could_not_have_the_intake_of_the_one_before_takes_nothing_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    monkeypatch.setattr("kfunc.logger_sidecar.recovery.LOOK_S", 0.001)
    places = [intake_path(lane(tmp_path)), intake_in(lane(tmp_path))]

    async def main() -> None:
        if second == "shared memory":
            await killed_beside_its_segments(tmp_path, 1, 2)
            places.reverse()
        else:
            one = setup(tmp_path)
            one.add(1, 2)
            await one.crash()
        assert os.path.exists(places[0])  # noqa: ASYNC240
        with kept_from_us(places[0]):
            other = setup(tmp_path)
        assert other.spool.intake.path == places[1]
        other.add(*range(10, 20))
        await drained(other)
        await other.crash()
        third = setup(tmp_path, sink=f"file:{tmp_path}/events.jsonl")
        told = await delivered_by(third, 12)
        assert told == sorted(["1", "2", *map(str, range(10, 20))])
        assert third.count("dropped") == 0

    asyncio.run(main())


def test_a_lane_that_another_pod_has_written_to_meanwhile_costs_no_event_of_ours(tmp_path: Path) -> None:
    """The other pod has no sight of our shared memory."""

    async def main() -> None:
        one = setup(tmp_path)
        one.add(1, 2)
        await one.crash()
        ours = intake_path(lane(tmp_path))
        left = Path(ours).read_bytes()  # noqa: ASYNC240
        os.unlink(ours)
        other = setup(tmp_path)
        other.add(10, 11, 12)
        await drained(other)
        await other.crash()
        os.unlink(ours)
        Path(ours).write_bytes(left)  # noqa: ASYNC240
        third = setup(tmp_path, sink=f"file:{tmp_path}/events.jsonl")
        assert await delivered_by(third, 5) == ["1", "10", "11", "12", "2"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("at", "left"),
    [(HEAD_BYTES + 114, [1]), (HEAD_BYTES + 136, [1]), (ORIGIN_BYTES_AT + 8, [])],
    ids=["length", "part", "origin"],
)
def test_damage_in_an_intake_is_counted(tmp_path: Path, at: int, left: list[int]) -> None:
    async def main() -> None:
        one = setup(tmp_path)
        one.add(1, 2, 3)
        one.spool.intake._map[at] ^= 1
        await one.crash()
        other = setup(tmp_path)
        assert await numbers(other) == left
        assert other.count("dropped") == 1

    asyncio.run(main())


def test_what_is_said_of_memory_that_cannot_be_had_ends_with_what_a_kill_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_room(descriptor: int, start: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kfunc.logger_sidecar.intake.os.posix_fallocate", no_room)
    assert setup(tmp_path).spool.intake.path == ""
    said = [record.getMessage() for record in caplog.records]
    assert [intake_path(lane(tmp_path)) in said[0], intake_in(lane(tmp_path)) in said[1]] == [True, True]
    assert "what a kill takes with it is lost" in said[2]


def test_what_cannot_be_brought_to_a_full_disk_leaves_no_part_there_and_is_brought_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, blocks = SegmentWriter._write_block, [1]

    def fails_at_the_second(self: SegmentWriter, segment: SegmentInfo, position: int, records: bytes) -> None:
        if not blocks:
            raise OSError(errno.ENOSPC, "No space left on device")
        blocks.pop()
        write(self, segment, position, records)

    async def main() -> None:
        one = setup(tmp_path)
        for number in range(8):
            one.add(number, body=b"x" * 200_000)
        await one.crash()
        with monkeypatch.context() as patch:
            patch.setattr(SegmentWriter, "_write_block", fails_at_the_second)
            other = setup(tmp_path)
            assert segment_paths(lane(tmp_path)) == []
        await other.crash()
        assert await numbers(setup(tmp_path)) == list(range(8))

    asyncio.run(main())


async def killed_with_segments(folder: Path, count: int) -> list[str]:
    """A process that has written a segment for each call; their paths."""
    one = setup(folder)
    for number in range(count):
        one.add(number, body=b"x" * 70_000)
        await drained(one)
    await one.crash()
    return [path for _, path in segment_paths(lane(folder))]


def test_damage_in_what_another_process_left_is_counted(tmp_path: Path) -> None:
    async def main() -> None:
        paths = await killed_with_segments(tmp_path, 4)
        flip(paths[1])
        flip(paths[3])
        forget_intake(tmp_path)
        os.rename(lane(tmp_path), lane(tmp_path, 7))
        other = setup(tmp_path)
        other.pipeline.start()
        await other.reaches("delivered", 2)
        await is_so(lambda: not os.path.exists(lane(tmp_path, 7)))
        assert other.count("dropped") == 2
        await other.pipeline.flush(2)

    asyncio.run(main())


@pytest.mark.parametrize("intake_is_left", [True, False])
def test_damage_in_our_last_segment_is_counted(tmp_path: Path, intake_is_left: bool) -> None:
    async def main() -> None:
        paths = await killed_with_segments(tmp_path, 2)
        flip(paths[1])
        if not intake_is_left:
            forget_intake(tmp_path)
        other = setup(tmp_path)
        other.add(2)
        assert await numbers(other) == [0, 2]
        assert other.count("dropped") == 1

    asyncio.run(main())


def test_behind_a_damaged_end_nothing_waits(tmp_path: Path) -> None:
    async def main() -> None:
        paths = await killed_with_segments(tmp_path, 3)
        flip(paths[2])
        other = setup(tmp_path)
        other.pipeline.start()
        await other.reaches("delivered", 2)
        await is_so(lambda: not other.spool.lagging())
        assert (other.count("dropped"), other.count("waiting")) == (1, 0)
        await other.pipeline.flush(2)

    asyncio.run(main())


@pytest.mark.parametrize("places", [1, 2])
def test_each_place_where_the_intake_cannot_be_is_said_and_what_that_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, places: int
) -> None:
    refused = [intake_path(lane(tmp_path)), intake_in(lane(tmp_path))][:places]

    def full(path: str, size: int, key: int) -> Intake:
        if path in refused:
            raise OSError(28, "No space left on device")
        return Intake(path, size, key)

    monkeypatch.setattr("kfunc.logger_sidecar.recovery.Intake", full)
    setup(tmp_path)
    assert [path in caplog.text for path in refused] == [True] * places
    assert ("what a kill takes with it is lost" in caplog.text) == (places == 2)


def test_what_could_not_be_read_is_looked_at_again_on_a_function_that_nobody_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfunc.logger_sidecar.delivery.READ_AGAIN_S", 0.05)
    read, failures = LeftBehind.read, [OSError(5, "Input/output error")]

    async def fails_once(self: LeftBehind, reader: LogReader, position: int, most: int) -> Chunk | None:
        if failures:
            raise failures.pop()
        return await read(self, reader, position, most)

    monkeypatch.setattr(LeftBehind, "read", fails_once)

    async def main() -> None:
        await killed_with_segments(tmp_path, 2)
        os.rename(lane(tmp_path), lane(tmp_path, 7))
        other = setup(tmp_path)
        other.pipeline.start()
        await other.reaches("delivered", 2, timeout_s=5)
        await other.pipeline.flush(2)

    asyncio.run(main())


def test_a_spool_too_small_for_a_call_with_the_longest_bodies_says_so_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    setup(tmp_path, spool_max_bytes=1 << 20, max_body_bytes=1 << 20)
    assert "such calls are dropped; give it a larger volume or spool_max_bytes" in caplog.text
