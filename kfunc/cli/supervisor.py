"""Keeps the processes of one function running: starts them, passes on what they say, restarts, stops.

One thread and one selector: signals, the children's standard error and the readiness probe wake it.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from selectors import EVENT_READ, BaseSelector, DefaultSelector
from socket import socket
from typing import Protocol

from kfunc.cli.child import Child, Program
from kfunc.cli.console import Console
from kfunc.cli.exit_status import FAILED
from kfunc.cli.readiness import Readiness
from kfunc.cli.restarts import HOPELESS, describe

KILL_AFTER_S = 5.0
REPLACE_GRACE_S = 3.0  # for requests in flight when files have changed


class Observer(Protocol):
    """Something that looks on beside the children; `due` is the next time to call `step`, None for no time."""

    due: float | None

    def step(self, now: float) -> None:
        """Go on as far as possible."""

    def close(self) -> None:
        """Stop."""


class Replacements(Protocol):
    """Says when the children are to be replaced by others (`--reload`)."""

    due: float

    def step(self, now: float) -> Sequence[Program] | None:
        """The programs to start instead, if it is time for that."""


class Supervisor:
    """The children of one `kfunc run`.

    `programs` stand outermost first, the order in which they are stopped: each finishes what it has
    in hand while those behind it still serve, within `grace_s` and `kill_after_s` together. The
    outermost listens on `listener`; `on_ready` is called each time it begins to answer that it is ready.
    `observe` makes what looks on, again after each replacement.
    With `replacements` a child that cannot start waits for the next of them, instead of ending all; the outermost of those
    that replace others is started when the one behind it is ready: who calls meanwhile waits in the listener's queue.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        listener: socket,
        grace_s: float,
        on_ready: Callable[[], None],
        kill_after_s: float = KILL_AFTER_S,
        console: Console | None = None,
        observe: Callable[[BaseSelector], Observer] | None = None,
        replacements: Replacements | None = None,
    ) -> None:
        self._selector = DefaultSelector()
        self._console = console or Console()
        self._observe = observe
        self._observer = observe(self._selector) if observe is not None else None
        self._replacements = replacements
        self._next: Sequence[Program] | None = None  # to start when those that run have ended
        self._children = self._made(programs)
        self._listener = listener
        self._readiness = Readiness(self._selector, listener.getsockname()[:2])
        self._inner: Readiness | None = None  # of the one behind the outermost, which is not started before
        self._grace_s = grace_s
        self._kill_after_s = kill_after_s
        self._on_ready = on_ready
        self._has_been_ready = False
        self._kill_at: float | None = None
        self._status = 0

    def run(self, signals: int) -> int:
        """Serve until a signal comes from `catch_signals`, or until a child gives up; returns the exit status.

        A second SIGINT kills. No child is left when this returns or raises.
        """
        self._selector.register(signals, EVENT_READ)
        try:
            self._start_due(time.monotonic(), self._children)
            while self._kill_at is None or self._next is not None or any(child.alive for child in self._children):
                self._selector.select(self._timeout(time.monotonic()))
                self._step(time.monotonic(), _pending(signals))
        finally:
            for child in self._children:
                child.end()
            if self._observer is not None:
                self._observer.close()
            self._console.close()
            self._selector.close()
        return self._status

    def _step(self, now: float, signals: bytes) -> None:
        for number in signals:
            self._take_signal(now, number)
        for child in self._children:
            child.relay_errors()
            status = child.reap()
            if status is not None:
                self._take_end(now, child, status)
        if self._observer is not None:
            self._observer.step(now)
        if self._kill_at is None:
            self._go_on(now)
        if self._kill_at is None:
            return
        if self._next is not None and not any(child.alive for child in self._children):
            self._start_next(now, self._next)
        else:
            self._stop_next(now, self._kill_at)

    def _go_on(self, now: float) -> None:
        if self._inner is not None and self._inner.step(now):
            self._start_outermost(now)
        self._start_due(now, [child for child in self._children if child.due is not None and child.due <= now])
        if self._readiness.step(now):
            self._has_been_ready = True
            self._on_ready()
        programs = self._replacements.step(now) if self._replacements is not None else None
        if programs is not None:
            self._next = programs
            self._kill_at = now + self._patience_s()
            self._forget_readiness()

    def _start_next(self, now: float, programs: Sequence[Program]) -> None:
        """From the inside: callers who came meanwhile wait in the listener's queue, and none meets a model that loads."""
        self._next = self._kill_at = None
        if self._observe is not None and self._observer is not None:  # other processes may stand where it looked
            self._observer.close()
            self._observer = self._observe(self._selector)
        self._children = self._made(programs)
        inner = self._children[1:]
        if not inner:
            self._start_due(now, self._children)
            return
        for child in inner:
            child.start(now)
        self._inner = Readiness(self._selector, inner[0].path)
        self._inner.ask(now)

    def _start_outermost(self, now: float) -> None:
        """What it stands in front of is ready, or will not be soon, which callers are to hear."""
        if self._inner is not None:
            self._inner.close()
            self._inner = None
            self._children[0].due = now

    def _forget_readiness(self) -> None:
        self._readiness.close()
        if self._inner is not None:
            self._inner.close()
            self._inner = None

    def _made(self, programs: Sequence[Program]) -> list[Child]:
        return [Child(program, self._selector, self._console.relay) for program in programs]

    def _start_due(self, now: float, children: list[Child]) -> None:
        for child in children:
            child.start(now)
            self._readiness.ask(now)

    def _take_signal(self, now: float, number: int) -> None:
        if number == signal.SIGINT and self._kill_at is not None and self._next is None:
            self._kill(now, "killed")
        elif number != signal.SIGCHLD:
            self._stop(now)

    def _take_end(self, now: float, child: Child, status: int) -> None:
        if self._kill_at is not None:
            if child.told_to_stop and status > 0 and self._next is None:  # something was not finished
                self._console.say(f"{child.name} ended ({describe(status)})")
                self._status = self._status or FAILED
            return
        self._start_outermost(now)
        child.due = child.restarts.ended(now, status)
        if child.due is None:
            waits = self._replacements is not None
            hint = "; waiting for the next change" if waits else ""
            self._console.say(f"{child.name} cannot start ({describe(status)}){hint}")
            if not waits:
                self._status = HOPELESS
                self._stop(now)
        else:
            self._console.say(f"{child.name} ended ({describe(status)}), starting it again in {child.due - now:.1f} s")

    def _stop(self, now: float) -> None:
        if self._kill_at is None or self._next is not None:
            self._next = None
            self._kill_at = now + self._patience_s()
            self._forget_readiness()
            self._listener.close()  # or callers who come now would wait in its queue for nobody

    def _stop_next(self, now: float, kill_at: float) -> None:
        """Ask the outermost of those that still run to end; past the time, end all."""
        outermost = next((child for child in self._children if child.alive), None)
        if outermost is None:
            return
        if now >= kill_at:
            self._kill(now, f"killed after {self._patience_s():g} s")
        elif not outermost.told_to_stop:
            outermost.stop()

    def _kill(self, now: float, how: str) -> None:
        alive = [child for child in self._children if child.alive]
        for child in alive:
            child.kill()
        self._console.say(f"{', '.join(child.name for child in alive)}: {how}")
        self._status = self._status or (FAILED if self._next is None else 0)
        self._kill_at = now + self._patience_s()

    def _patience_s(self) -> float:
        """Before the model was ready there are no requests to finish."""
        grace_s = self._grace_s if self._next is None else min(self._grace_s, REPLACE_GRACE_S)
        return self._kill_after_s + (grace_s if self._has_been_ready else 0.0)

    def _timeout(self, now: float) -> float | None:
        times: list[float | None] = [child.due for child in self._children] if self._kill_at is None else [self._kill_at]
        times += [each.due for each in (self._readiness, self._inner) if each is not None]
        times += [self._observer.due] if self._observer is not None else []
        times += [self._replacements.due] if self._replacements is not None and self._kill_at is None else []
        waits = [due - now for due in times if due is not None]
        return max(0.0, min(waits)) if waits else None


def catch_signals() -> int:
    """Have the numbers of SIGINT, SIGTERM, SIGHUP and SIGCHLD written to a pipe; returns the end to read from."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, lambda *_: None)
    return read_end


def _pending(signals: int) -> bytes:
    try:
        return os.read(signals, 4096)
    except BlockingIOError:
        return b""
