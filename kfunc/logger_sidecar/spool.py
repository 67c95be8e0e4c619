"""The log of this process: appended to by requests, drained to the disk by a thread, read by the sinks.

Here its parts meet: what comes in (`admission.py`), the way to the disk (`draining.py`), and how far the sinks are
(`progress.py`).
"""

import asyncio
from time import monotonic

from kfunc.logger_sidecar.admission import Admission
from kfunc.logger_sidecar.disk import SegmentInfo, SegmentWriter
from kfunc.logger_sidecar.draining import Drain
from kfunc.logger_sidecar.intake import Intake
from kfunc.logger_sidecar.lanes import Lane
from kfunc.logger_sidecar.log import Chunk, Cursor, LogReader
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.progress import Progress
from kfunc.logger_sidecar.record import Origin
from kfunc.logger_sidecar.tail import Tail

HOUSEKEEPING_S = 1.0
HALF = 0.5


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
        self.max_bytes = max_bytes
        self._notices = notices
        self._starts_at = intake.drained
        self._next_look: asyncio.TimerHandle | None = None
        writer = None
        if lane is not None:
            writer = SegmentWriter(lane.path, min(segment_bytes, max_bytes // 8), origin, sync=sync)
        self.tail = Tail(intake, sum(segment.calls for segment in segments), self.drain)
        self._progress = Progress(self.tail, lane)
        self._drain = Drain(self.tail, self._progress, segments, writer, notices=notices, on_moved=self._settle)
        self.admission = Admission(
            intake,
            max_bytes=max_bytes,
            on_full=on_full,
            sync=sync and lane is not None,
            notices=notices,
            make_room=self._drop_oldest,
            drain=self.drain,
            later=lambda seconds, call: asyncio.get_running_loop().call_later(seconds, call),
        )
        self.append = self.admission.admit  # on the path of each request
        self.wake = self.tail.wake
        self.submit = self._drain.disk.submit
        self.lagging = self._progress.lagging
        self._settle()

    @property
    def calls(self) -> int:
        """Calls of the segments that are counted, and of this process."""
        return self.tail.calls

    @property
    def segments(self) -> list[SegmentInfo]:
        """What is on the disk, oldest first."""
        return self._drain.segments

    def drain(self) -> None:
        """Have the disk's thread write what is new."""
        self._drain.kick()

    def _settle(self) -> None:
        """Something has moved on: delete what all have, let answers go, and see how much room there is."""
        drain, progress = self._drain, self._progress
        if progress.cursors:
            drain.delete_before(progress.lowest)
        floor, bound = drain.floor, drain.first + self.max_bytes
        self.admission.room(min(floor + self.intake.size, bound), bound)
        self.admission.safe(floor)

    def _drop_oldest(self) -> bool:
        """Make room: the oldest segment goes, delivered or not."""
        drain = self._drain
        if len(drain.segments) < 2:
            return False
        lost = self._progress.skip(drain.segments[0].end, drain.calls_before(1))
        if lost:
            self._notices.drop("full", lost)
        self._settle()
        return True

    # ---- sinks

    def subscribe(self, names: list[str]) -> None:
        """Say which sinks there are: what any of them lacks is kept from here on."""
        self._progress.subscribe(names, self._drain.first, self.segments)
        self._settle()

    def cursor(self, name: str) -> Cursor:
        """Where the sink of this name is."""
        return self._progress.cursors[name]

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
        """A sink has everything before `position`, `calls` more than before."""
        if self._progress.advance(cursor, position, calls):
            self._settle()

    @property
    def used_bytes(self) -> int:
        """What the spool holds."""
        return self.intake.written - self._drain.first

    @property
    def used(self) -> float:
        """How full the spool is, of 1."""
        return self.used_bytes / self.max_bytes

    def position(self) -> int:
        """The end of the log."""
        return self.intake.written

    # ---- upkeep and end

    def start(self) -> None:
        """Count what earlier processes left; within the loop."""
        self._drain.count_found()
        self.keep_house()

    def keep_house(self) -> None:
        """Once a second: keep the positions, delete a last segment that nobody needs."""
        self._next_look = asyncio.get_running_loop().call_later(HOUSEKEEPING_S, self.keep_house)
        if self.lane is None or self._drain.is_busy:
            return
        self._progress.save(self.submit)
        if self.segments and self._progress.lowest == self.intake.written == self.intake.drained:
            self._drain.forget()
            self._settle()

    def abandon(self) -> None:
        """Let go where the start fails, before anything is delivered: what was found stays for the next process."""
        self.tail.stop()
        self._drain.disk.end()
        self.intake.close(remove=not self.segments and self.intake.drained == self.intake.written)
        if self.lane is not None:
            self.lane.release()

    async def close(self, timeout_s: float) -> bool:
        """Bring everything to the disk, and let go; whether it is there, or delivered."""
        ends_at = monotonic() + timeout_s
        if self._next_look is not None:
            self._next_look.cancel()
        written = await self._drain.finish(ends_at)
        delivered = not self.lagging()
        self._progress.save(self.submit)
        if self.lane is not None and delivered:
            self._drain.forget()
        is_idle = await self._drain.close(ends_at)
        self.tail.stop()
        self.intake.close(remove=delivered or written)
        if self.lane is not None and is_idle:  # else the thread may still write there
            self.lane.release()
        return delivered or written
