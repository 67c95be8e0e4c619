"""What killed processes left: found wherever it lies, and what of it is damaged is counted."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from kfunc.logger_sidecar.intake import intake_in, intake_path
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
