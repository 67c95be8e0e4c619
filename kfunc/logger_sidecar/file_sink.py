"""Events as JSON lines at the end of a file: whole lines, also on a disk that fills up."""

import asyncio
import os
import stat

from kfunc.errors import StartupError

WRITTEN_AT_ONCE = 256 * 1024  # bytes: into the page cache, faster than a thread could take them


class FileSink:
    """Appends JSON lines."""

    batch_size = 512
    refused = 0

    def __init__(self, path: str) -> None:
        self._written = 0  # bytes of the first undelivered event that are in the file: the disk was full
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StartupError(f"the events file {path} cannot be opened: {error.strerror}; give another --sink") from None
        self._regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    async def deliver(self, events: list[bytes]) -> list[bytes]:
        """One write for all; what a full disk does not take is tried again, a torn line from where it was torn."""
        data = b"".join([event + b"\n" for event in events])[self._written :]
        if self._regular and len(data) <= WRITTEN_AT_ONCE:
            count = self._append(data)
        else:
            count = await asyncio.get_running_loop().run_in_executor(None, self._append, data)
        written, whole = self._written + count, 0
        while whole < len(events) and written > len(events[whole]):
            written -= len(events[whole]) + 1
            whole += 1
        self._written = written
        return events[whole:]

    def _append(self, data: bytes) -> int:
        """Write as much as is taken; the count of bytes."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            pass  # said by whoever sees that events wait
        return len(data) - len(rest)

    def close(self) -> None:
        """Close the file, without a torn line at its end if nobody else has written after it."""
        try:
            size = os.fstat(self._descriptor).st_size
            if self._written and size == os.lseek(self._descriptor, 0, os.SEEK_CUR):
                os.ftruncate(self._descriptor, size - self._written)
        except OSError:
            pass  # a pipe cannot be shortened
        os.close(self._descriptor)
