"""Events as JSON lines at the end of a file: whole lines, also on a disk that fills up; the file is rotated."""

import asyncio
import os
import stat

from msgspec import UNSET

from kfunc.config.locations import file_path
from kfunc.config.logger import SinkSettings
from kfunc.errors import StartupError
from kfunc.logger_sidecar.contract import Outcome, Retry, SinkContext
from kfunc.logger_sidecar.event import Event

DISK_FULL = Retry("the disk does not take it", answered=False)


class FileSink:
    """Appends JSON lines; past `rotate_bytes` the file becomes PATH.1, and an older one PATH.2 and so on."""

    max_events = 256
    max_bytes = 4 * 1024 * 1024
    linger_s = 0.0

    def __init__(self, settings: SinkSettings, context: SinkContext) -> None:
        path = file_path(settings.to)
        if path is None or "\0" in path:
            raise StartupError(f"the sink {settings.to!r} names no file of this machine; use file:PATH")
        self._path = path
        self._rotate_bytes = settings.rotate_bytes if settings.rotate_bytes is not UNSET else 0
        self._keep = settings.rotate_keep if settings.rotate_keep is not UNSET else 1
        self._torn = 0  # bytes of the first undelivered event that are in the file: the disk was full
        try:
            self._open()
        except OSError as error:
            raise StartupError(f"the events file {path} cannot be opened: {error.strerror}; give another --sink") from None

    def _open(self) -> None:
        os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
        flags = os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, os.O_WRONLY | flags, 0o640)
        status = os.fstat(self._descriptor)
        self._regular = stat.S_ISREG(status.st_mode)
        self._size = status.st_size if self._regular else 0

    async def open(self) -> None:
        """It is open since it was made."""

    async def deliver(self, events: list[Event], in_order: bool) -> list[Outcome]:
        """One write for all; what a full disk does not take is tried again, a torn line from where it was torn."""
        lines = [event.structured() for event in events]
        data = b"".join([line + b"\n" for line in lines])[self._torn :]
        count = await asyncio.get_running_loop().run_in_executor(None, self._append, data)
        written, whole = self._torn + count, 0
        while whole < len(lines) and written > len(lines[whole]):
            written -= len(lines[whole]) + 1
            whole += 1
        self._torn = written
        done: list[Outcome] = [None] * whole
        return done if whole == len(lines) else [*done, DISK_FULL]

    def _append(self, data: bytes) -> int:
        """Write as much as is taken; the count of bytes. In a thread: a disk may hang, and a pipe may have no reader."""
        rest = memoryview(data)
        try:
            full = self._regular and self._size and 0 < self._rotate_bytes < self._size + len(data)
            if full and not self._torn:
                self._rotate()
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            pass  # said by whoever sees that events wait
        count = len(data) - len(rest)
        self._size += count
        return count

    def _rotate(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            if os.path.exists(f"{self._path}.{number}"):
                os.replace(f"{self._path}.{number}", f"{self._path}.{number + 1}")
        os.replace(self._path, f"{self._path}.1")
        os.close(self._descriptor)
        self._open()

    async def close(self) -> None:
        """Close the file, without a torn line at its end if nobody else has written after it."""
        try:
            size = os.fstat(self._descriptor).st_size
            if self._torn and size == os.lseek(self._descriptor, 0, os.SEEK_CUR):
                os.ftruncate(self._descriptor, size - self._torn)
        except OSError:
            pass  # a pipe cannot be shortened
        os.close(self._descriptor)
