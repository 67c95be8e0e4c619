"""The log of this process: appended to by requests, drained to the disk by a thread, read by the sinks.

Appending never waits: it is a copy into shared memory (`intake.py`). What finds no room is held back for a moment,
dropped or blocked, as the settings say.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

from kfunc.logger_sidecar.disk import DiskThread, SegmentInfo, SegmentWriter, post
from kfunc.logger_sidecar.intake import Intake, cursor_key
from kfunc.logger_sidecar.lanes import Lane
from kfunc.logger_sidecar.log import Chunk, Cursor, LogReader
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.record import Origin
from kfunc.logger_sidecar.segments import count_calls, delete_segments

DRAIN_S = 0.02
STALL_S = 0.005
RETRY_S = 1.0
HOUSEKEEPING_S = 1.0
HALF = 0.5
ROOM_AFTER_STALL = 1024 * 1024

GoOn = Callable[[], None]


class Spool:
    """Append, read and keep account. `wake` are called when there is something new to read."""

    def __init__(
        self,
        intake: Intake,
        lane: Lane | None,
        segments: list[SegmentInfo],
        origin: Origin,
        *,
        max_bytes: int,
        segment_bytes: int,
        on_full: str,
        sync: bool,
        notices: Notices,
    ) -> None:
        self.intake = intake
        self.lane = lane
        self.origin = origin
        self.segments = segments
        self.calls = sum(segment.calls for segment in segments)  # of the segments that are counted, and since
        self.found = 0  # of them: earlier processes' that were counted after the start
        self.wake: list[Callable[[], None]] = []
        self._starts_at = intake.drained
        self._drained_calls = self.calls
        self.max_bytes = max_bytes
        self._on_full = on_full
        self._sync = sync and lane is not None
        self._notices = notices
        self._cursors: dict[str, Cursor] = {}
        self._kept = lane.cursors() if lane is not None else {}
        self._disk = DiskThread("kfunc-spool")
        segment_bytes = min(segment_bytes, max_bytes // 8)
        self._writer = SegmentWriter(lane.path, segment_bytes, origin, sync=self._sync) if lane is not None else None
        self._due: asyncio.TimerHandle | None = None
        self._draining = False
        self._waiting: deque[tuple[bytes, GoOn, float]] = deque()
        self._unsynced: deque[tuple[int, GoOn]] = deque()
        self._waiting_bytes = 0
        self.clogged = False  # so much waits for room that no more requests are to come (`on_full: block`)
        self._stalled = False
        self._saved: dict[str, int] = {}
        self._limit = 0
        self._settle()

    # ---- requests

    def append(self, record: bytes, go_on: GoOn) -> bool:
        """Take up a record; False: `go_on` is called when that is decided, and the answer waits for it."""
        intake = self.intake
        if intake.written + len(record) <= self._limit and not self._waiting:
            intake.append(record)
            self.calls += 1
            if self._due is None:
                self._due = asyncio.get_running_loop().call_later(DRAIN_S, self._on_due)
            return not self._sync or self._until_synced(go_on)
        return self._append_later(record, go_on)

    def _until_synced(self, go_on: GoOn) -> bool:
        self._unsynced.append((self.intake.written, go_on))
        self.drain()
        return False

    def _append_later(self, record: bytes, go_on: GoOn) -> bool:
        """There is no room: wait a moment for the disk, or for the sinks, or drop."""
        intake = self.intake
        if len(record) > intake.size:
            self._notices.drop("too large")
            return True
        bound = intake.written + len(record) - self._first() > self.max_bytes
        if self._on_full == "block":
            self._hold(record, go_on, float("inf"))
            self.clogged = self._waiting_bytes > intake.size
            self._notices.say("full", "the spool is full: requests wait until a sink takes events (logger.on_full: block)")
        elif bound and self._on_full == "drop_oldest" and self._drop_oldest():
            if not self._waiting:
                return self.append(record, go_on)
            self._hold_for_a_moment(record, go_on)
        elif bound:
            self._notices.drop("full")
            return True
        elif self._stalled:
            self._notices.drop("stalled")
            return True
        else:
            self._hold_for_a_moment(record, go_on)
        self.drain()
        return False

    def _hold_for_a_moment(self, record: bytes, go_on: GoOn) -> None:
        self._hold(record, go_on, monotonic() + STALL_S)
        asyncio.get_running_loop().call_later(STALL_S, self._expire)

    def _hold(self, record: bytes, go_on: GoOn, until: float) -> None:
        self._waiting.append((record, go_on, until))
        self._waiting_bytes += len(record)

    def _expire(self) -> None:
        """The disk did not make room in time: the answers go out, their events are dropped."""
        now = monotonic() + 0.0005
        while self._waiting and self._waiting[0][2] <= now:
            record, go_on, _ = self._waiting.popleft()
            self._waiting_bytes -= len(record)
            self._stalled = True
            self._notices.drop("stalled")
            go_on()

    def _serve_waiting(self) -> None:
        waiting = self._waiting
        while waiting and self.intake.written + len(waiting[0][0]) <= self._limit:
            record, go_on, _ = waiting.popleft()
            self.intake.append(record)
            self.calls += 1
            self._waiting_bytes -= len(record)
            self.clogged = self._waiting_bytes > self.intake.size
            if not self._sync:
                go_on()
            else:
                self._unsynced.append((self.intake.written, go_on))
        if not waiting and self.intake.written + ROOM_AFTER_STALL <= self._limit:
            self._stalled = False

    # ---- the disk

    def _on_due(self) -> None:
        self._due = None
        self.drain()
        for wake in self.wake:
            wake()

    def drain(self) -> None:
        """Have the disk's thread write what is new."""
        intake, writer = self.intake, self._writer
        if writer is None or self._draining or intake.drained == intake.written:
            return
        self._draining = True
        start = intake.drained if intake.holds(intake.drained) else self._floor()
        end, records = intake.written, intake.read(start, intake.written)
        calls = self.calls
        count = calls - self._drained_calls
        loop = asyncio.get_running_loop()

        def job() -> None:
            try:
                changed = [_copy(segment) for segment in writer.write(start, records, count)]
            except OSError as error:
                post(loop, self._on_failed, error)
            else:
                post(loop, self._on_drained, end, calls, changed)

        self._disk.submit(job)

    def _on_failed(self, error: OSError) -> None:
        self._notices.say(
            "disk", "the spool cannot be written: %s; events are kept in memory, %d bytes at most", error, self.intake.size
        )
        asyncio.get_running_loop().call_later(RETRY_S, self._try_again)

    def _try_again(self) -> None:
        self._draining = False
        self.drain()

    def _on_drained(self, end: int, calls: int, changed: list[SegmentInfo]) -> None:
        self._draining = False
        self._drained_calls = calls
        self.intake.set_drained(max(end, self.intake.drained))
        for segment in changed:
            if self.segments and self.segments[-1].path == segment.path:
                self.segments[-1] = segment
            else:
                self.segments.append(segment)
        self._settle()
        while self._unsynced and self._unsynced[0][0] <= end:
            self._unsynced.popleft()[1]()
        if self.intake.written - end > self.intake.size // 2 or self._unsynced:
            self.drain()

    def _drop_oldest(self) -> bool:
        """Make room: the oldest segment goes, delivered or not."""
        if len(self.segments) < 2:
            return False
        oldest = self.segments[0]
        behind = [cursor for cursor in self._cursors.values() if cursor.position < oldest.end]
        if behind:
            self._notices.drop("full", oldest.calls)
        for cursor in behind:
            cursor.position, cursor.calls = oldest.end, cursor.calls + oldest.calls
        self._settle()
        return True

    # ---- sinks

    def subscribe(self, names: list[str]) -> None:
        """Say which sinks there are: nothing is deleted before. A new one begins with the oldest that there is."""
        for name in names:
            key = cursor_key(name)
            position = min(max(self.intake.cursor(key), self._kept.get(name, 0), self._first()), self.intake.written)
            passed = sum(segment.calls for segment in self.segments if segment.end <= position)
            self._cursors[name] = Cursor(name, key, position, passed)
        self._settle()

    def cursor(self, name: str) -> Cursor:
        """Where the sink of this name is."""
        return self._cursors[name]

    async def read(self, reader: LogReader, position: int, most: int) -> Chunk | None:
        """The log from `position` on, from memory where it is still there."""
        intake = self.intake
        if position >= self._starts_at and intake.holds(position):
            end = min(intake.written, position + most)
            if end <= position:
                return None
            records = intake.read(position, end)
            length = int.from_bytes(records[:4], "little")
            if length > len(records):
                records = intake.read(position, position + length)
            return Chunk(position, position + len(records), records, self.origin)
        segments = list(self.segments)
        chunk = await asyncio.get_running_loop().run_in_executor(None, reader.read, segments, position)
        if chunk is None and position < self._starts_at:  # a gap before this run
            return Chunk(position, self._starts_at, b"", None)
        return chunk

    def advance(self, cursor: Cursor, position: int, calls: int) -> None:
        """A sink has everything before `position`."""
        cursor.calls += calls
        if position > cursor.position:
            cursor.position = position
            if position == self.intake.written:
                cursor.calls = self.calls
            self.intake.set_cursor(cursor.key, position)
            self._settle()

    def _first(self) -> int:
        """Where the log begins, as far as it is kept."""
        return self.segments[0].start if self.segments else self._floor()

    def _lowest(self) -> int:
        return min((cursor.position for cursor in self._cursors.values()), default=self.intake.drained)

    def _floor(self) -> int:
        """Before this nothing is needed in memory: the disk has it, or all sinks have."""
        return max(self.intake.drained, self._lowest()) if self._writer is not None else self._lowest()

    def _settle(self) -> None:
        """Something has moved on: delete what all have, and see how much room there is."""
        lowest = self._lowest()
        if self._cursors:
            done = [segment for segment in self.segments[:-1] if segment.end <= lowest]
            if done:
                del self.segments[: len(done)]
                self._disk.submit(lambda: delete_segments([segment.path for segment in done]))
        self._limit = min(self._floor() + self.intake.size, self._first() + self.max_bytes)
        if self._waiting or self._stalled:
            self._serve_waiting()

    @property
    def used_bytes(self) -> int:
        """What the spool holds."""
        return self.intake.written - self._first()

    @property
    def used(self) -> float:
        """How full the spool is, of 1."""
        return self.used_bytes / self.max_bytes

    def position(self) -> int:
        """The end of the log."""
        return self.intake.written

    def lagging(self) -> list[Cursor]:
        """The cursors of sinks that have not got everything."""
        return [cursor for cursor in self._cursors.values() if cursor.position < self.intake.written]

    # ---- upkeep and end

    def start(self) -> None:
        """Count what earlier processes left; within the loop."""
        loop = asyncio.get_running_loop()
        for segment in self.segments:
            if not segment.is_counted:
                self._disk.submit(lambda path=segment.path: post(loop, self._on_counted, path, count_calls(path)))  # type: ignore[misc]
        self.keep_house()

    def _on_counted(self, path: str, calls: int) -> None:
        self.calls += calls
        self.found += calls
        self._drained_calls += calls
        for cursor in self._cursors.values():
            if cursor.position == self.intake.written:  # it was faster than the count
                cursor.calls = self.calls
        for segment in self.segments:
            if segment.path == path:
                segment.calls, segment.is_counted = calls, True

    def submit(self, job: Callable[[], None]) -> None:
        """Have the disk's thread do something that does not raise."""
        self._disk.submit(job)

    def keep_house(self) -> None:
        """Once a second: keep the positions, delete a last segment that nobody needs."""
        writer, lane, loop = self._writer, self.lane, asyncio.get_running_loop()
        loop.call_later(HOUSEKEEPING_S, self.keep_house)
        if writer is None or lane is None or self._draining:
            return
        self._save_cursors(lane)
        if self.segments and self._lowest() == self.intake.written == self.intake.drained:
            self._forget_segments(writer)

    def _save_cursors(self, lane: Lane) -> None:
        now = {name: cursor.position for name, cursor in self._cursors.items()}
        if now != self._saved:
            self._saved = now
            self._disk.submit(lambda: quietly(lambda: lane.save_cursors(now)))

    def _forget_segments(self, writer: SegmentWriter) -> None:
        paths = [segment.path for segment in self.segments]
        self.segments.clear()

        def job() -> None:
            quietly(writer.finish)
            delete_segments(paths)

        self._disk.submit(job)
        self._settle()

    async def close(self, timeout_s: float) -> bool:
        """Bring everything to the disk; whether it is there, or delivered."""
        loop, ends_at = asyncio.get_running_loop(), monotonic() + timeout_s
        while self._writer is not None and self.intake.drained < self.intake.written and monotonic() < ends_at:
            self.drain()
            await asyncio.sleep(0.005)
        delivered = not self.lagging()
        safe = delivered or (self._writer is not None and self.intake.drained == self.intake.written)
        if self._writer is not None and self.lane is not None:
            self._save_cursors(self.lane)
            if delivered:
                self._forget_segments(self._writer)
            done: asyncio.Future[None] = loop.create_future()
            self._disk.submit(lambda: post(loop, _set, done))
            await asyncio.wait((done,), timeout=max(0.1, ends_at - monotonic()))
        self.intake.close(remove=safe)
        return safe


def _copy(segment: SegmentInfo) -> SegmentInfo:
    """The thread goes on writing to its own."""
    return SegmentInfo(segment.path, segment.start, segment.end, segment.bytes, segment.calls)


def _set(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def quietly(job: Callable[[], None]) -> None:
    """Run a job of the disk's thread that may fail."""
    try:
        job()
    except OSError:
        pass  # a position that is not kept means that some events are sent twice
