"""The watcher: a parent that ends a process whose event loop is stuck, native code included.

It forks before anything heavy is imported, so it costs a few pages. It forwards signals, reaps its
child and passes the child's exit status on. Promises are times in a shared page.
"""

import gc
import mmap
import os
import signal
import struct
import sys
import time

FORM = 8  # where the page says in which form lines are; the promise stands before it
CHECK_S = 0.25
BROKEN_CHECKS = 4
STOP_SIGNALS = frozenset((signal.SIGTERM, signal.SIGINT))
PASSED_SIGNALS = STOP_SIGNALS | {signal.SIGHUP, signal.SIGQUIT}


class Heartbeat:
    """Until when the child may be silent, in monotonic seconds; 0 before the first promise."""

    def __init__(self, page: mmap.mmap, watcher: int) -> None:
        self._page = page
        self._watcher = watcher

    def promise(self, silent_s: float) -> None:
        """Within `silent_s` seconds from now another promise will follow."""
        struct.pack_into("d", self._page, 0, time.monotonic() + silent_s)

    def expired(self) -> bool:
        """Whether a promise was broken."""
        (expires_at,) = struct.unpack_from("d", self._page, 0)
        return bool(expires_at and time.monotonic() > expires_at)

    def use_json(self) -> None:
        """What the watcher says is to be JSON too."""
        self._page[FORM] = 1

    def say(self, message: str) -> None:
        """Say why the child ended, in the form that it has chosen; nothing of that is imported before."""
        from kfunc.telemetry import log_lines

        log_lines.use("json" if self._page[FORM] else "text")
        sys.stderr.write(log_lines.error_line(message))
        sys.stderr.flush()

    def orphaned(self) -> bool:
        """Whether the watcher is gone, so that nobody would notice if this process hung."""
        return os.getppid() != self._watcher


def watch() -> Heartbeat:
    """Fork. Returns in the child, with SIGTERM and SIGINT blocked until it can handle them.

    The child collects no garbage until `lifecycle.keep_memory`: imports make none, and looking for it among what
    they make takes a twentieth of the start.

    The parent stays in here and exits with the child's status; 1 where the child was stuck.
    """
    heartbeat = Heartbeat(mmap.mmap(-1, mmap.PAGESIZE), os.getpid())
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_SIGNALS | {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        gc.disable()
        signal.pthread_sigmask(signal.SIG_SETMASK, STOP_SIGNALS)
        return heartbeat
    os.closerange(3, 256)  # sockets that were handed to the child must not stay open here
    os._exit(_watch(child, heartbeat))


def _watch(child: int, heartbeat: Heartbeat) -> int:
    broken = 0
    while True:
        received = signal.sigtimedwait(PASSED_SIGNALS | {signal.SIGCHLD}, CHECK_S)
        if received is not None and received.si_signo != signal.SIGCHLD:
            os.kill(child, received.si_signo)
        status = _reap(child, heartbeat)
        if status is not None:
            return status
        # More than once: after a freeze of both processes the child must get its turn to renew the promise.
        broken = broken + 1 if heartbeat.expired() else 0
        if broken >= BROKEN_CHECKS:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            heartbeat.say("the event loop or a model call was stuck for longer than hang_timeout_s; it has been ended")
            return 1


def _reap(child: int, heartbeat: Heartbeat) -> int | None:
    """The exit status of `child`, None while it lives; as PID 1, orphans are reaped too."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return None
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            if code < 0:
                heartbeat.say(f"ended by {signal.Signals(-code).name}")
            return code if code >= 0 else 128 - code
