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

FORM, NOTE = 8, 16  # where the page says in which form lines are, and what the child does; the promise stands before
NOTE_BYTES, LENGTHS = 2048, struct.Struct("HH")
KEPT_S = 86_400
CHECK_S = 0.25
BROKEN_CHECKS = 4
STOP_SIGNALS = frozenset((signal.SIGTERM, signal.SIGINT))
PASSED_SIGNALS = STOP_SIGNALS | {signal.SIGHUP, signal.SIGQUIT}


CURE = (
    "the file is damaged, or its library has a fault: fetch it again or save it anew; "
    "with model.execution: process only a process of the model's own ends"
)


class Note:
    """What a process does that may end it, in memory that whoever outlives it sees too: a text, and a file.

    `begin` and `end` are for the process itself, the rest for the other one.
    """

    def __init__(self, page: mmap.mmap | bytearray | None = None, at: int = 0) -> None:
        self._page = bytearray(NOTE_BYTES) if page is None else page
        self._at = at

    def begin(self, what: str, record: str = "") -> None:
        """From now on the process does `what`; its end is to be counted in the file `record`, if there is one."""
        room = NOTE_BYTES - LENGTHS.size
        name = os.fsencode(record)
        name = name if len(name) < room // 2 else b""
        text = what.encode("utf-8", "replace")[: room - len(name)]
        first = self._at + LENGTHS.size
        self._page[first : first + len(text) + len(name)] = text + name
        LENGTHS.pack_into(self._page, self._at, len(text), len(name))  # last: now the rest is there

    def end(self) -> None:
        """It is done."""
        LENGTHS.pack_into(self._page, self._at, 0, 0)

    def read(self) -> tuple[str, str]:
        """What was begun and did not end, and its file; both empty where there is nothing."""
        text, name = LENGTHS.unpack_from(self._page, self._at)
        first = self._at + LENGTHS.size
        whole = bytes(self._page[first : first + text + name])
        return whole[:text].decode("utf-8", "replace"), os.fsdecode(whole[text:])

    def count(self) -> None:
        """The process has ended at it: the file grows by a byte, and old ones beside it go."""
        record = self.read()[1]
        if not record:
            return
        try:
            folder = os.path.dirname(record)
            os.makedirs(folder, 0o700, exist_ok=True)
            for each in os.scandir(folder):
                if time.time() - each.stat().st_mtime > KEPT_S:
                    os.unlink(each)
            with open(record, "ab") as file:
                file.write(b".")
        except OSError:  # a place that is read-only here
            pass


class Heartbeat:
    """Until when the child may be silent, in monotonic seconds; 0 before the first promise. `note` is what it does."""

    def __init__(self, page: mmap.mmap, watcher: int) -> None:
        self._page = page
        self._watcher = watcher
        self.note = Note(page, NOTE)

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
            stuck = "the event loop or a model call was stuck for longer than hang_timeout_s; it has been ended"
            heartbeat.say(stuck + told(heartbeat.note))
            heartbeat.note.count()
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
                heartbeat.say(f"ended by {signal.Signals(-code).name}{told(heartbeat.note, killed=-code == signal.SIGKILL)}")
                heartbeat.note.count()
            return code if code >= 0 else 128 - code


def told(note: Note, *, killed: bool = False) -> str:
    """What a process that has ended did then, and what to do about it; empty where it told nothing."""
    what = note.read()[0]
    if not what:
        return ""
    memory = "memory may be short: give the container more; or " if killed else ""
    return f" while it {what}: {memory}{CURE}"
