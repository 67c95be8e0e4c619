"""The spool's disk: one thread that writes segments, so that a disk which hangs stops nothing else."""

import asyncio
import logging
import os
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

from msgspec import Struct

from kfunc.logger_sidecar.record import BLOCK_HEAD, Origin, encode_block_head, encode_segment_head, whole_records
from kfunc.logger_sidecar.segments import delete_segments, segment_name

log = logging.getLogger("kfunc.logger")

MAX_BLOCK = 1024 * 1024


class SegmentInfo(Struct):
    """A segment on the disk: positions of its records in the log, bytes of the file, and how many calls are in it."""

    path: str
    start: int
    end: int
    bytes: int
    calls: int
    is_counted: bool = True


class DiskThread:
    """Runs one job after the other. It is a daemon: a process must be able to end while its disk hangs."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, job: Callable[[], Any]) -> None:
        """Run `job` behind those before it; it must not raise."""
        self._jobs.put(job)

    def end(self) -> None:
        """End behind what it was asked for before."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:  # those behind it are to run
                log.exception("the spool's thread failed")


def post(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *values: Any) -> None:
    """Call something in the loop, from the disk's thread; nobody waits for it where the loop has ended."""
    try:
        loop.call_soon_threadsafe(callback, *values)
    except RuntimeError:
        pass


def quietly(job: Callable[[], None]) -> None:
    """Run a job of the disk's thread that may fail."""
    try:
        job()
    except OSError:
        pass  # a position that is not kept means that some events are sent twice


class SegmentWriter:
    """Writes blocks into segments of about `segment_bytes`; used by the disk's thread only. Raises OSError."""

    def __init__(self, folder: str, segment_bytes: int, origin: Origin, *, sync: bool) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._origin = origin
        self._sync = sync
        self._descriptor = -1
        self.current: SegmentInfo | None = None

    def write(self, position: int, records: bytes, count: int = 0) -> list[SegmentInfo]:
        """Write whole records, `count` of them if that is known; the segments that have changed.

        What a full disk has taken in part is taken back.
        """
        changed: list[SegmentInfo] = []
        at = 0
        while at < len(records):
            end = len(records)
            if not count or end > MAX_BLOCK:
                end, count = whole_records(records, MAX_BLOCK, at)
                if end == at:
                    raise OSError("what is to be written is no record")
            segment = self._segment(position + at)
            self._write_block(segment, position + at, records[at:end])
            segment.calls += count
            if segment not in changed:
                changed.append(segment)
            at = end
        if self._sync and self._descriptor >= 0:
            os.fdatasync(self._descriptor)
        return changed

    def _segment(self, position: int) -> SegmentInfo:
        """The segment for a block at `position`: a new one where the last is full, or ends elsewhere."""
        segment = self.current
        if segment is None or segment.bytes >= self._segment_bytes or segment.end != position:
            self.finish()
            path = os.path.join(self._folder, segment_name(position))
            os.makedirs(self._folder, exist_ok=True)
            self._descriptor, size = self._begin(path)
            self.current = segment = SegmentInfo(path, position, position, size, 0)
        return segment

    def _begin(self, path: str) -> tuple[int, int]:
        """Open a segment with its head, and its bytes; one without it does not stay: nothing in it could be read."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            size = _write_all(descriptor, (encode_segment_head(self._origin),))
            if self._sync:
                _sync_folder(self._folder)  # else the file's name may be lost with the node
        except OSError:
            os.close(descriptor)
            delete_segments([path])
            raise
        return descriptor, size

    def _write_block(self, segment: SegmentInfo, position: int, records: bytes) -> None:
        try:
            _write_all(self._descriptor, (encode_block_head(position, records), records))
        except OSError:
            self._take_back(segment)
            raise
        segment.bytes += BLOCK_HEAD.size + len(records)
        segment.end = position + len(records)

    def _take_back(self, segment: SegmentInfo) -> None:
        """Shorten to what is whole; where even that fails the segment ends here, since nothing behind a torn block is read."""
        try:
            os.ftruncate(self._descriptor, segment.bytes)
            os.lseek(self._descriptor, segment.bytes, os.SEEK_SET)
        except OSError:
            descriptor, self._descriptor, self.current = self._descriptor, -1, None
            os.close(descriptor)

    def finish(self) -> None:
        """Close the segment; the next block begins another."""
        if self._descriptor >= 0:
            if self._sync:
                os.fdatasync(self._descriptor)
            os.close(self._descriptor)
        self._descriptor, self.current = -1, None


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, parts: tuple[bytes, ...]) -> int:
    total = sum(map(len, parts))
    written = os.writev(descriptor, parts)
    if written < total:
        rest = memoryview(b"".join(parts))[written:]
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    return total
