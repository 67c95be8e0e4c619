"""The way of the log from memory to the disk: segments, which of them there are, and how many calls are in them."""

import asyncio
from collections.abc import Callable
from time import monotonic

from kfunc.logger_sidecar.disk import DiskThread, SegmentInfo, SegmentWriter, post, quietly
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.progress import Progress
from kfunc.logger_sidecar.segments import count_calls, delete_segments
from kfunc.logger_sidecar.tail import Tail

RETRY_S = 1.0


class Drain:
    """Has the disk's thread write what is new, one job at a time; without a `writer` all stays in memory.

    `on_moved` is called when the disk has more.
    """

    def __init__(
        self,
        tail: Tail,
        progress: Progress,
        segments: list[SegmentInfo],
        writer: SegmentWriter | None,
        *,
        notices: Notices,
        on_moved: Callable[[], None],
    ) -> None:
        self.segments = segments
        self.disk = DiskThread("kfunc-spool")
        self.is_busy = False
        self._is_asked = False  # something came in while the disk was at work
        self.writer = writer
        self._tail = tail
        self._progress = progress
        self._notices = notices
        self._on_moved = on_moved
        self._written = 0  # records of this process that are on the disk

    # ---- where the log is

    @property
    def floor(self) -> int:
        """Before this nothing is needed in memory: the disk has it, or all sinks have."""
        lowest = self._progress.lowest
        return max(self._tail.intake.drained, lowest) if self.writer is not None else lowest

    @property
    def first(self) -> int:
        """Where the log begins, as far as it is kept."""
        return self.segments[0].start if self.segments else self.floor

    def calls_before(self, number: int) -> int:
        """How many calls stand before the segment of that number."""
        in_memory = self._tail.intake.appended - self._written
        return self._tail.calls - in_memory - sum(segment.calls for segment in self.segments[number:])

    # ---- what is new

    def kick(self) -> None:
        """Have the disk's thread write what is new; while it is at it, when it is done."""
        intake, writer = self._tail.intake, self.writer
        self._is_asked = self.is_busy
        if writer is None or self.is_busy or intake.drained == intake.written:
            return
        self.is_busy = True
        start = intake.drained if intake.holds(intake.drained) else self.floor
        end, records, appended = intake.written, intake.read(start, intake.written), intake.appended
        count = appended - self._written if start == intake.drained else 0
        loop = asyncio.get_running_loop()

        def job() -> None:
            try:
                changed = [_copy(segment) for segment in writer.write(start, records, count)]
            except Exception as error:  # whatever it is: what waits is to be tried again
                post(loop, self._on_failed, error)
            else:
                post(loop, self._on_drained, end, appended, changed)

        self.disk.submit(job)

    def _on_failed(self, error: Exception) -> None:
        message = "the spool cannot be written: %s; events are kept in memory, %d bytes at most"
        self._notices.say("disk", message, str(error) or type(error).__name__, self._tail.intake.size)
        asyncio.get_running_loop().call_later(RETRY_S, self._try_again)

    def _try_again(self) -> None:
        self.is_busy = False
        self.kick()

    def _on_drained(self, end: int, appended: int, changed: list[SegmentInfo]) -> None:
        self.is_busy = False
        self._written = appended
        intake = self._tail.intake
        intake.set_drained(max(end, intake.drained))
        for segment in changed:
            if self.segments and self.segments[-1].path == segment.path:
                self.segments[-1] = segment
            else:
                self.segments.append(segment)
        self._on_moved()
        if self._is_asked or intake.written - end > intake.size // 2:
            self.kick()

    # ---- what is old

    def delete_before(self, position: int) -> None:
        """Delete segments that nobody needs; the last one is written to."""
        done = [segment.path for segment in self.segments[:-1] if segment.end <= position]
        if done:
            del self.segments[: len(done)]
            self.disk.submit(lambda: delete_segments(done))

    def forget(self) -> None:
        """Delete all segments: the log goes on in a new one."""
        writer, paths = self.writer, [segment.path for segment in self.segments]
        self.segments.clear()

        def job() -> None:
            if writer is not None:
                quietly(writer.finish)
            delete_segments(paths)

        self.disk.submit(job)

    def count_found(self) -> None:
        """Count what earlier processes left; within the loop."""
        loop = asyncio.get_running_loop()
        for segment in self.segments:
            if not segment.is_counted:
                self.disk.submit(lambda path=segment.path: post(loop, self._on_counted, path, count_calls(path)))  # type: ignore[misc]

    def _on_counted(self, path: str, calls: int) -> None:
        self._tail.find(calls)
        end = 0
        for segment in self.segments:
            if segment.path == path:
                segment.calls, segment.is_counted, end = calls, True, segment.end
        self._progress.found(end, calls)

    # ---- the end

    async def finish(self, ends_at: float) -> bool:
        """Write all that there is, until `ends_at` (monotonic); whether it is on the disk."""
        intake = self._tail.intake
        while self.writer is not None and intake.drained < intake.written and monotonic() < ends_at:
            self.kick()
            await asyncio.sleep(0.005)
        return self.writer is not None and intake.drained == intake.written

    async def close(self, ends_at: float) -> bool:
        """Close the segment, and wait for the thread to do what it was asked for; whether it has."""
        loop, writer = asyncio.get_running_loop(), self.writer
        done: asyncio.Future[None] = loop.create_future()
        if writer is not None:
            self.disk.submit(lambda: quietly(writer.finish))
        self.disk.submit(lambda: post(loop, _set, done))
        self.disk.end()
        await asyncio.wait((done,), timeout=max(0.1, ends_at - monotonic()))
        self.writer = None  # what is tried again later finds nothing to do
        return done.done()


def _copy(segment: SegmentInfo) -> SegmentInfo:
    """The thread goes on writing to its own."""
    return SegmentInfo(segment.path, segment.start, segment.end, segment.bytes, segment.calls)


def _set(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
