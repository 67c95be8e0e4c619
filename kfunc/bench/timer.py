"""A timer that is exact to microseconds where the system has one: the event loop's own are exact to milliseconds."""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from time import perf_counter

TFD_NONBLOCK = os.O_NONBLOCK  # linux/timerfd.h
TFD_CLOEXEC = os.O_CLOEXEC
CLOCK_MONOTONIC = 1
LEAST_NS = 1_000


class TimeSpecs(ctypes.Structure):
    """struct itimerspec: interval and value, each in seconds and nanoseconds."""

    _fields_ = [("parts", ctypes.c_long * 4)]


class Timer:
    """Calls `due` once at the time that was set last (perf_counter's seconds)."""

    def __init__(self, due: Callable[[], None]) -> None:
        self._due = due
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._library = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        self._descriptor = -1
        if self._library is not None:
            self._descriptor = self._library.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self._descriptor >= 0:
            self._loop.add_reader(self._descriptor, self._expired)

    def set(self, at: float) -> None:
        """Call at that time, or at once if it has passed."""
        wait_s = max(0.0, at - perf_counter())
        if self._descriptor < 0 or self._library is None:
            if self._handle is not None:
                self._handle.cancel()
            self._handle = self._loop.call_later(wait_s, self._due)
            return
        seconds, rest = divmod(max(LEAST_NS, int(wait_s * 1e9)), 1_000_000_000)
        specs = TimeSpecs((0, 0, seconds, rest))
        self._library.timerfd_settime(self._descriptor, 0, ctypes.byref(specs), None)

    def _expired(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return
        self._due()

    def close(self) -> None:
        """Never call again."""
        if self._handle is not None:
            self._handle.cancel()
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
