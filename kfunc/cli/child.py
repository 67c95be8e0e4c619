"""One process of the pod as a child of `kfunc run`: its start, its standard error, its end."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from selectors import EVENT_READ, BaseSelector

from msgspec import Struct

from kfunc.cli.restarts import Restarts

PR_SET_PDEATHSIG = 1  # linux/prctl.h
READ_BYTES = 65_536


class Program(Struct, frozen=True):
    """What to start: the interpreter's arguments, and the listening sockets that it inherits.

    `relay_output`: what it prints is relayed line by line, as its standard error is. `path`: of the Unix socket at which
    it listens, if it is one.
    """

    name: str
    arguments: list[str]
    environ: Mapping[str, str]
    directory: str
    sockets: list[int] = []
    relay_output: bool = False
    path: str = ""


class Child:
    """A program and, while it runs, its process.

    It leads a session of its own, so that Ctrl-C in the terminal reaches the supervisor alone and
    everything that it started can be killed with it. `due` is the time to start it, if there is one;
    `relay` gets the program's name and each line of its standard error.
    """

    def __init__(self, program: Program, selector: BaseSelector, relay: Callable[[str, bytes], None]) -> None:
        self.name = program.name
        self.path = program.path
        self.restarts = Restarts()
        self.due: float | None = None
        self.told_to_stop = False
        self._program = program
        self._selector = selector
        self._relay = relay
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = -1
        self._partial = b""

    @property
    def alive(self) -> bool:
        return self._process is not None

    def start(self, now: float) -> None:
        """Start the process."""
        self._errors, write_end = os.pipe()
        os.set_blocking(self._errors, False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, *self._program.arguments],
                stdin=subprocess.DEVNULL,
                stdout=write_end if self._program.relay_output else None,
                stderr=write_end,
                env=self._program.environ,
                cwd=self._program.directory,
                pass_fds=self._program.sockets,
                start_new_session=True,
                preexec_fn=_end_with_parent(),
            )
        finally:
            os.close(write_end)
        self._selector.register(self._errors, EVENT_READ)
        self.due = None
        self.restarts.started(now)

    def stop(self) -> None:
        """Ask the process to end."""
        self.told_to_stop = True
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the process and whatever it started, without asking."""
        if self._process is not None:
            _kill_group(self._process.pid)

    def end(self) -> None:
        """Kill, and wait until it is gone."""
        if self._process is not None:
            self.kill()
            self._process.wait()
            self._process = None

    def reap(self) -> int | None:
        """Return the status of the process if it has ended; its last words are passed on before."""
        if self._process is None:
            return None
        # Until it is waited for, a dead leader keeps its group's number, so the kill hits nobody else.
        if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        _kill_group(self._process.pid)
        status = self._process.wait()
        self._process = None
        while self.relay_errors():
            pass
        self._close_errors()
        return status

    def relay_errors(self) -> bool:
        """Pass on the complete lines of one read from standard error; False when there was nothing."""
        if self._errors < 0:
            return False
        try:
            chunk = os.read(self._errors, READ_BYTES)
        except BlockingIOError:
            return False
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        if self._partial and (not chunk or len(self._partial) > READ_BYTES):
            lines.append(self._partial)
            self._partial = b""
        for line in lines:
            self._relay(self.name, line)
        if not chunk:
            self._close_errors()
        return bool(chunk)

    def _close_errors(self) -> None:
        if self._errors >= 0:
            self._selector.unregister(self._errors)
            os.close(self._errors)
            self._errors = -1


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of the dead
        os.killpg(leader, signal.SIGKILL)


def _end_with_parent() -> Callable[[], None] | None:
    """On Linux, what the child runs before exec so that it gets SIGTERM when the supervisor is killed."""
    if sys.platform != "linux":
        return None
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl

    def before_exec() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return before_exec
