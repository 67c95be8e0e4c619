"""Events as JSON lines at the end of a file: whole lines, also on a disk that fills up; the file is rotated."""

import asyncio
import logging
import os
import stat
from collections.abc import Sequence
from itertools import pairwise
from time import monotonic

from msgspec import UNSET

from kfunc.config.locations import file_path
from kfunc.config.logger import SinkSettings
from kfunc.errors import StartupError
from kfunc.logger_sidecar.contract import Event, Outcome, Retry, SinkContext

log = logging.getLogger("kfunc.logger")

ROTATE_AGAIN_S = 60.0


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
        self._torn = 0  # bytes of an undelivered event's line that are in the file: the disk was full
        self._torn_line = b""
        self._rotate_at = 0.0
        self._error = ""
        self._descriptor = -1
        try:
            self._open()
        except OSError as error:
            raise StartupError(f"the events file {path} cannot be opened: {error.strerror}; give another --sink") from None

    def _open(self) -> None:
        os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
        self._use(_append_to(self._path), self._path)

    def _use(self, descriptor: int, path: str) -> None:
        status = os.fstat(descriptor)
        self._descriptor = descriptor
        self._regular = stat.S_ISREG(status.st_mode)
        self._size = status.st_size if self._regular else 0
        self._unended = self._size > 0 and not _ends_a_line(path)

    async def open(self) -> None:
        """It is open since it was made; here after it was closed. Raises OSError."""
        if self._descriptor < 0:
            await asyncio.get_running_loop().run_in_executor(None, self._open)

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        """One write for all; what a full disk does not take is tried again, a torn line from where it was torn.

        Where another one comes first, the torn line is taken away.
        """
        lines = [event.structured() for event in events]
        given_up = bool(self._torn) and lines[0] != self._torn_line
        data = b"\n".join([*lines, b""])[0 if given_up else self._torn :]
        count = await asyncio.get_running_loop().run_in_executor(None, self._append, data, given_up)
        if count == len(data):
            self._torn = 0
            return [None] * len(lines)
        written, whole = self._torn + count, 0
        while whole < len(lines) and written > len(lines[whole]):
            written -= len(lines[whole]) + 1
            whole += 1
        self._torn = written
        self._torn_line = lines[whole] if written else b""
        done: list[Outcome] = [None] * whole
        return done if whole == len(lines) else [*done, Retry(f"{self._path}: {self._error}", answered=False)]

    def _append(self, data: bytes, given_up: bool) -> int:
        """Write as much as is taken; the count of bytes. In a thread: a disk may hang, and a pipe may have no reader."""
        rest = memoryview(data)
        if given_up and not self._take_torn_away(self._descriptor):
            self._unended = True
        try:
            if self._regular and not self._torn:
                self._follow()
            if self._unended:
                # Ended, not cut: it may be somebody else's, and a process that is about to end may be writing it.
                self._size += os.write(self._descriptor, b"\n")
                self._unended = False
            full = self._regular and self._size and 0 < self._rotate_bytes < self._size + len(data)
            if full and not self._torn and monotonic() >= self._rotate_at:
                self._rotate()
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self._error = error.strerror or type(error).__name__  # said by whoever sees that events wait
        count = len(data) - len(rest)
        self._size += count
        return count

    def _follow(self) -> None:
        """Begin a new file where somebody has moved or deleted this one. Raises OSError."""
        try:
            is_there = os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            is_there = False
        if not is_there:
            gone = self._descriptor
            self._open()
            os.close(gone)

    def _rotate(self) -> None:
        """Begin a new file; where that fails the old one goes on, and nothing that is kept has been lost."""
        new = -1
        try:
            new = _append_to(f"{self._path}.new")
            names = [self._path, *[f"{self._path}.{number + 1}" for number in range(self._keep)]]
            for name, older in reversed(list(pairwise(names))):
                if os.path.exists(name):
                    os.replace(name, older)
            os.replace(f"{self._path}.new", self._path)
        except OSError as error:
            if new >= 0:
                os.close(new)
            self._rotate_at = monotonic() + ROTATE_AGAIN_S
            log.warning("%s cannot be put aside: %s; it grows", self._path, error)
            return
        os.close(self._descriptor)
        self._use(new, self._path)

    async def close(self) -> None:
        """Close the file, without a torn line at its end if nobody else has written after it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        self._take_torn_away(descriptor)
        os.close(descriptor)

    def _take_torn_away(self, descriptor: int) -> bool:
        """Whether no torn line is left at the end: one behind which somebody else has written stays."""
        torn, self._torn = self._torn, 0
        if not torn:
            return True
        try:
            size = os.fstat(descriptor).st_size
            if size != os.lseek(descriptor, 0, os.SEEK_CUR):
                return False
            os.ftruncate(descriptor, size - torn)
        except OSError:
            return False  # a pipe cannot be shortened
        self._size -= torn
        return True


def _append_to(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _ends_a_line(path: str) -> bool:
    """Whether the last line of a file is whole: a process that was killed on a full disk leaves half a line."""
    try:
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
    except OSError:
        return False  # an empty line does no harm
