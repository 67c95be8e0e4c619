"""The spool between processes: what was accepted is there after a crash, within bounds, and nothing waits for a disk."""

import asyncio
import errno
import os
import resource
import signal
import threading
from pathlib import Path
from threading import Event as ThreadEvent
from time import monotonic
from typing import Any

import pytest

from kfunc.logger_sidecar.admission import STALL_S
from kfunc.logger_sidecar.disk import SegmentWriter
from kfunc.logger_sidecar.lanes import claim_lane, orphans
from kfunc.logger_sidecar.record import Origin, encode_record
from kfunc.logger_sidecar.segments import read_folder, segment_name, segment_paths
from tests.logger_sidecar.setups import Setup, call, drained, forget_intake, is_so, items_of

SINK = "file:/dev/null"


def setup(folder: Path, **settings: Any) -> Setup:
    return Setup(folder, **{"sink": SINK, **settings})


async def waiting(one: Setup) -> list[int]:
    """The numbers of the calls that are still to be delivered."""
    return [int(item.event.data) for item in await items_of(one)]


def flip(path: Path) -> None:
    """Change a bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("on_disk", [True, False], ids=["on the disk", "in the intake"])
def test_after_a_crash_every_accepted_call_is_there_once_in_order(tmp_path: Path, on_disk: bool) -> None:
    async def main() -> None:
        one = setup(tmp_path)
        assert all(one.add(*range(100)))
        if on_disk:
            await drained(one)
        one.add(*range(100, 120))
        await one.crash()
        other = setup(tmp_path)
        other.add(120)
        assert await waiting(other) == list(range(121))

    asyncio.run(main())


def test_a_crash_between_the_disk_and_the_intakes_account_of_it_doubles_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path)
        one.add(*range(50))
        intake = one.spool.intake
        position = intake.drained
        await drained(one)
        intake.set_drained(position)
        await one.crash()
        assert await waiting(setup(tmp_path)) == list(range(50))

    asyncio.run(main())


def test_ids_stay_the_same_after_a_crash_and_new_ones_are_others(tmp_path: Path) -> None:
    async def ids(one: Setup) -> list[str]:
        return [item.event.id for item in await items_of(one)]

    async def main() -> None:
        one = setup(tmp_path)
        one.add(1, 2)
        before = await ids(one)
        await one.crash()
        other = setup(tmp_path)
        other.add(3)
        first = await ids(other)
        assert first[:2] == before
        assert len({*first}) == len(first)

    asyncio.run(main())


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_torn_tail_is_cut_and_the_rest_is_delivered(tmp_path: Path, cut: int) -> None:
    async def main() -> None:
        one = setup(tmp_path)
        one.add(1)
        await drained(one)
        one.add(2)
        await drained(one)
        await one.crash()
        forget_intake(tmp_path)
        ((_, path),) = segment_paths(str(tmp_path / "spool/n.f/0"))
        os.truncate(path, os.stat(path).st_size - cut)
        other = setup(tmp_path)
        other.add(3)
        assert await waiting(other) == [1, 3]
        assert other.count("dropped") == 1

    asyncio.run(main())


def test_a_damaged_segment_costs_its_own_events_and_no_others(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path, spool_segment_bytes=65536)
        for number in range(3):
            one.add(number, body=b"%d" % number + b" " * 70_000)
            await drained(one)
        await one.crash()
        forget_intake(tmp_path)
        flip(Path(segment_paths(str(tmp_path / "spool/n.f/0"))[1][1]))
        other = setup(tmp_path)
        assert await waiting(other) == [0, 2]
        assert other.count("dropped") == 1

    asyncio.run(main())


def test_segments_that_all_sinks_have_are_deleted_and_what_one_lacks_stays(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path, sink="file:/dev/null", sinks=[{"to": "file:/dev/zero"}], spool_segment_bytes=65536)
        for number in range(3):
            one.add(number, body=b"x" * 70_000)
            await drained(one)
        first, second = one.cursor("file-null"), one.cursor("file-zero")
        one.spool.advance(first, one.spool.position(), 3)
        assert len(one.spool.segments) == 3
        one.spool.advance(second, one.spool.segments[1].end, 2)
        assert len(one.spool.segments) == 1

    asyncio.run(main())


def test_a_reader_of_the_folder_sees_what_is_in_it(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path, run="abc")
        one.add(1, 2)
        await drained(one)
        found = list(read_folder(str(tmp_path / "spool/n.f/0")))
        assert [(each.origin.run, each.call.request.body) for each in found] == [("abc", b"1"), ("abc", b"2")]

    asyncio.run(main())


@pytest.mark.parametrize(("on_full", "kept"), [("drop_newest", "oldest"), ("drop_oldest", "newest")])
def test_past_the_bound_the_newest_or_the_oldest_are_dropped_and_counted(tmp_path: Path, on_full: str, kept: str) -> None:
    async def main() -> None:
        one = setup(tmp_path, spool_max_bytes=1 << 20, spool_segment_bytes=65536, on_full=on_full, max_body_bytes=20_000)
        for number in range(100):
            assert one.add(number, body=b"%d" % number + b" " * 20_000) == [True]
            await drained(one)
        there = await waiting(one)
        assert 40 <= len(there) <= 53
        assert len(there) + one.count("dropped") == 100
        assert there == (list(range(len(there))) if kept == "oldest" else list(range(100 - len(there), 100)))
        assert sum(os.stat(path).st_size for _, path in segment_paths(str(tmp_path / "spool/n.f/0"))) <= 1 << 20

    asyncio.run(main())


def test_with_block_an_answer_waits_until_a_sink_has_taken_events(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path, spool_max_bytes=1 << 20, on_full="block", max_body_bytes=100_000, spool_segment_bytes=65536)
        gone_on: list[int] = []
        for number in range(20):
            record = encode_record(call(number, b"x" * 100_000))
            if one.spool.append(record, lambda number=number: gone_on.append(number)):  # type: ignore[misc]
                gone_on.append(number)
            await drained(one)
        assert gone_on == list(range(10))
        await asyncio.sleep(3 * STALL_S)
        assert len(gone_on) == 10
        one.spool.advance(one.cursor("file-null"), one.spool.position(), 10)
        await drained(one)
        assert gone_on == list(range(len(gone_on)))
        assert len(gone_on) > 10
        assert one.count("dropped") == 0

    asyncio.run(main())


def test_with_block_what_waits_is_bounded_by_the_intake_and_then_no_more_is_to_come(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path, spool_max_bytes=1 << 20, on_full="block", max_body_bytes=100_000, spool_segment_bytes=65536)
        records = 0

        def is_clogged() -> bool:
            return one.spool.admission.clogged

        while not is_clogged():
            one.spool.append(encode_record(call(records, b"x" * 100_000)), lambda: None)
            records += 1
        assert records * 100_000 < one.spool.intake.size + 2 * (1 << 20)
        while is_clogged():
            one.spool.advance(one.cursor("file-null"), one.spool.position(), 1)
            await drained(one)
            await asyncio.sleep(0.01)
        assert one.count("dropped") == 0

    asyncio.run(main())


def test_a_disk_that_hangs_costs_no_request_more_than_a_moment_and_what_does_not_fit_is_dropped(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path, max_body_bytes=1 << 20)
        hung = ThreadEvent()

        def hang() -> None:
            hung.wait(30)

        one.spool.submit(hang)
        body = b"7" + b" " * ((1 << 20) - 1)
        results: list[bool] = []
        slowest = 0.0
        for number in range(20):
            started = monotonic()
            results += one.add(number, body=body)
            slowest = max(slowest, monotonic() - started)
            await asyncio.sleep(2 * STALL_S)
        assert slowest < 2  # and not the 30 s that the disk hangs
        assert results.count(False) == 1  # the first that finds no room waits for a moment, those behind it do not
        assert one.count("dropped") > 5
        hung.set()
        await drained(one)
        assert one.add(100) == [True]
        assert (await waiting(one))[-1] == 100

    asyncio.run(main())


def test_a_full_disk_keeps_events_in_memory_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        try:
            assert all(one.add(*range(1000)))
            one.spool.drain()
            await asyncio.sleep(0.1)
            assert one.spool.intake.drained < one.spool.intake.written
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        await drained(one)
        assert await waiting(one) == list(range(1000))

    asyncio.run(main())


def test_a_spool_that_cannot_be_made_is_said_and_events_are_kept_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        (tmp_path / "file").write_text("")
        one = setup(tmp_path, spool=str(tmp_path / "file/spool"))
        assert all(one.add(*range(10)))
        assert await waiting(one) == list(range(10))
        assert not await one.spool.close(0.1)

    asyncio.run(main())
    assert "cannot be used: Not a directory; events wait in memory" in caplog.text


def test_with_sync_an_answer_waits_until_the_disk_has_it(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path, spool_sync=True)
        done = asyncio.Event()
        assert one.spool.append(encode_record(call(1)), done.set) is False
        async with asyncio.timeout(10):
            await done.wait()
        assert one.spool.intake.drained == one.spool.intake.written

    asyncio.run(main())


def test_a_spool_that_everything_was_delivered_from_leaves_no_events_behind(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path)
        one.add(1, 2, 3)
        await drained(one)
        one.spool.advance(one.cursor("file-null"), one.spool.position(), 3)
        assert await one.spool.close(5)
        assert segment_paths(str(tmp_path / "spool/n.f/0")) == []
        assert not os.path.exists(one.spool.intake.path)  # noqa: ASYNC240 (in memory)

    asyncio.run(main())


def test_after_everything_was_delivered_positions_go_on_and_new_calls_are_not_taken_for_delivered_ones(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path)
        one.add(1, 2, 3)
        one.spool.advance(one.cursor("file-null"), one.spool.position(), 3)
        await one.spool.close(5)
        one.spool.lane.release()  # type: ignore[union-attr]
        other = setup(tmp_path)
        other.add(4)
        assert await waiting(other) == [4]

    asyncio.run(main())


def test_a_larger_body_cap_makes_the_intake_larger_after_what_was_in_it_is_safe(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path)
        one.add(1)
        await one.crash()
        other = setup(tmp_path, max_body_bytes=8 << 20)
        assert other.add(2, body=b"2" + b" " * (8 << 20)) == [True]
        assert await waiting(other) == [1, 2]

    asyncio.run(main())


def test_a_lane_that_cannot_be_had_stands_in_the_way_of_no_other(tmp_path: Path) -> None:
    root = tmp_path / "lanes"
    (root / "0/lock").mkdir(parents=True)  # stands for another user's, or a broken one
    own = claim_lane(str(root))
    assert own.path == str(root / "1")
    for name in "23":
        (root / name).mkdir()
        (root / name / segment_name(0)).touch()
    (root / "3/lock").mkdir()
    (found,) = orphans(str(root), own.path)
    assert found.path == str(root / "2")
    found.release()
    own.release()


def test_what_a_spool_has_opened_is_let_go_when_it_is_closed(tmp_path: Path) -> None:
    def has() -> set[str]:
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        opened = {os.readlink(link) for link in links if os.path.lexists(link)}
        return {name for name in opened if str(tmp_path) in name or "kfunc-" in name}

    def threads() -> int:
        return sum(each.name == "kfunc-spool" for each in threading.enumerate())

    async def main() -> None:
        before, at_first = threads(), has()
        one = Setup(tmp_path, sink=f"file:{tmp_path}/events")
        one.spool.start()
        one.add(*range(10))
        await drained(one)
        assert len(has() - at_first) > 3
        assert await one.spool.close(5)
        await one.pipeline._routes[0].delivery.close()
        await is_so(lambda: has() <= at_first and threads() <= before)

    asyncio.run(main())


def test_behind_a_block_that_stays_torn_another_segment_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SegmentWriter(str(tmp_path), 1 << 20, Origin("r"), sync=True)
    records = [encode_record(call(number, b"x" * 1000)) for number in range(3)]
    ends = [sum(map(len, records[: number + 1])) for number in range(3)]
    writer.write(0, records[0], 1)

    def fails(*values: Any) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("kfunc.logger_sidecar.disk._write_all", fails)
        broken.setattr("kfunc.logger_sidecar.disk.os.ftruncate", fails)
        with pytest.raises(OSError, match="Input/output"):
            writer.write(ends[0], records[1], 1)
    with open(segment_paths(str(tmp_path))[0][1], "ab") as file:
        file.write(b"torn")
    writer.write(ends[0], records[1] + records[2], 2)
    writer.finish()
    assert [int(each.call.correlation) for each in read_folder(str(tmp_path))] == [0, 1, 2]


def test_a_segment_that_cannot_be_begun_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, record = SegmentWriter(str(tmp_path), 1 << 20, Origin("r"), sync=False), encode_record(call(1))

    def fails(*values: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("kfunc.logger_sidecar.disk._write_all", fails)
        with pytest.raises(OSError, match="No space"):
            writer.write(0, record, 1)
    assert segment_paths(str(tmp_path)) == []
    writer.write(0, record, 1)
    writer.finish()
    assert [int(each.call.correlation) for each in read_folder(str(tmp_path))] == [1]


def test_a_full_disk_is_told_as_such_and_costs_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, text: bytes, at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kfunc.logger_sidecar.lanes.os.pwrite", full)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No space left"):
        claim_lane(str(tmp_path / "lanes"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_two_processes_have_lanes_of_their_own(tmp_path: Path) -> None:
    async def main() -> None:
        one, other = setup(tmp_path), setup(tmp_path)
        one.add(1)
        other.add(2)
        assert (await waiting(one), await waiting(other)) == ([1], [2])

    asyncio.run(main())


def test_what_earlier_processes_left_is_counted_behind_the_start(tmp_path: Path) -> None:
    async def main() -> None:
        one = setup(tmp_path, spool_segment_bytes=65536)
        for number in range(5):
            one.add(number, body=b"%d" % number + b" " * 70_000)
            await drained(one)
        await one.crash()
        other = setup(tmp_path)
        other.pipeline.start()
        async with asyncio.timeout(10):
            while other.spool.calls < 5:  # noqa: ASYNC110 (a number tells nobody)
                await asyncio.sleep(0.005)
        await other.reaches("delivered", 5)
        assert (other.count("waiting"), other.spool.calls) == (0, 5)
        await other.pipeline.flush(2)

    asyncio.run(main())


def test_a_volume_that_is_smaller_than_the_bound_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        assert setup(tmp_path, spool_max_bytes=1 << 60).spool.max_bytes < 1 << 60

    asyncio.run(main())
    assert f"not spool_max_bytes ({1 << 60}): the volume of {tmp_path}" in caplog.text
    assert caplog.text.count("give it a larger one") == 1
