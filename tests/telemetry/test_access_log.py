"""Access lines: written soon, in order, and never waited for."""

import asyncio
import fcntl
import os
import select
import time
from collections.abc import Iterator

import pytest

from kfunc.telemetry.access_log import FLUSH_S, MAX_WAITING_BYTES, AccessLog
from kfunc.telemetry.metrics import Metrics

LINE = "x" * 99 + "\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass


def read_all(reader: int) -> bytes:
    """What is there now."""
    found = b""
    while select.select([reader], [], [], 0.2)[0]:
        part = os.read(reader, 1 << 20)
        if not part:
            break
        found += part
    return found


def dropped(metrics: Metrics) -> float:
    return float(metrics.exposition().rpartition("} ")[2])


def test_lines_are_written_in_order_and_soon(pipe: tuple[int, int]) -> None:
    async def main() -> None:
        log = AccessLog(Metrics("handler"), pipe[1])
        log.add("a\n")
        log.add("b\n")
        await asyncio.sleep(2 * FLUSH_S)

    asyncio.run(main())
    assert read_all(pipe[0]) == b"a\nb\n"


def test_nobody_who_reads_keeps_the_loop_waiting_and_lines_past_the_bound_are_counted(pipe: tuple[int, int]) -> None:
    metrics = Metrics("handler")
    count = 2 * MAX_WAITING_BYTES // len(LINE)

    async def main() -> float:
        log = AccessLog(metrics, pipe[1])
        for _ in range(count):
            log.add(LINE)
        began_at = time.monotonic()
        await asyncio.sleep(3 * FLUSH_S)
        log.flush()
        return time.monotonic() - began_at

    assert asyncio.run(main()) < 1.0
    assert dropped(metrics) > count / 3
    text = read_all(pipe[0])
    assert text
    assert text == LINE.encode() * (len(text) // len(LINE))


def test_a_reader_that_comes_late_gets_what_waited(pipe: tuple[int, int]) -> None:
    async def main() -> bytes:
        log = AccessLog(Metrics("handler"), pipe[1])
        for _ in range(2000):
            log.add(LINE)
        await asyncio.sleep(2 * FLUSH_S)
        found = b""
        while len(found) < 2000 * len(LINE):
            found += await asyncio.to_thread(os.read, pipe[0], 1 << 20)
        return found

    assert asyncio.run(main()) == LINE.encode() * 2000


def test_a_pipe_whose_reader_is_gone_ends_the_lines_and_nothing_else(pipe: tuple[int, int]) -> None:
    async def main() -> None:
        log = AccessLog(Metrics("handler"), pipe[1])
        os.close(pipe[0])
        log.add(LINE)
        log.flush()
        log.add(LINE)
        log.flush()

    asyncio.run(main())


def test_the_descriptor_that_others_share_stays_as_it_was(pipe: tuple[int, int]) -> None:
    AccessLog(Metrics("handler"), pipe[1])
    assert not fcntl.fcntl(pipe[1], fcntl.F_GETFL) & os.O_NONBLOCK


def test_a_file_is_appended_to(tmp_path: object) -> None:
    path = os.path.join(str(tmp_path), "out")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)

    async def main() -> None:
        os.write(descriptor, b"ready\n")
        log = AccessLog(Metrics("handler"), descriptor)
        log.add("a\n")
        log.flush()
        os.write(descriptor, b"b\n")

    asyncio.run(main())
    os.close(descriptor)
    with open(path, "rb") as file:
        assert file.read() == b"ready\na\nb\n"
