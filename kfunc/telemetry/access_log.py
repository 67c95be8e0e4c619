"""Lines on standard output that never keep the event loop waiting, whoever reads them, or does not."""

import asyncio
import os
import select
import stat

from kfunc.telemetry.metrics import Metrics

STDOUT = 1
FLUSH_S = 0.05
MAX_WAITING_BYTES = 1024 * 1024


class AccessLog:
    """Collects lines and writes them soon. Those that find 1 MiB waiting are dropped and counted."""

    def __init__(self, metrics: Metrics, descriptor: int = STDOUT) -> None:
        self._dropped = metrics.counter("kfunc_access_lines_dropped_total", "Access lines that standard output did not take.")
        self._descriptor = _without_waiting(descriptor)
        self._ready = select.poll()
        self._ready.register(self._descriptor, select.POLLOUT)
        self._waiting = bytearray()
        self._due = False
        self._lost = False

    def add(self, line: str) -> None:
        """Take up a line, with its end."""
        if self._lost:
            return
        if len(self._waiting) > MAX_WAITING_BYTES:
            self._dropped.add()
            return
        self._waiting += line.encode()
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(FLUSH_S, self._on_due)

    def _on_due(self) -> None:
        self._due = False
        self.flush()
        if self._waiting:
            self._due = True
            asyncio.get_running_loop().call_later(FLUSH_S, self._on_due)

    def flush(self) -> None:
        """Write what can be written now; a descriptor that nobody will read again is no reason to stop."""
        try:
            # A pipe with room takes PIPE_BUF bytes at once, even one that could not be opened anew.
            while self._waiting and self._ready.poll(0):
                end = self._waiting.rfind(b"\n", 0, select.PIPE_BUF) + 1 or select.PIPE_BUF
                del self._waiting[: os.write(self._descriptor, self._waiting[:end])]
        except BlockingIOError:
            pass
        except OSError:
            self._lost = True
            self._waiting.clear()


def _without_waiting(descriptor: int) -> int:
    """The same file, opened anew: O_NONBLOCK on the old description would hold for all who share it."""
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor  # a new description would have its own position; a file never waits for a reader
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # a socket, somebody else's pipe, no /proc
        return descriptor
