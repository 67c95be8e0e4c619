"""The life of a process of the pod: loop, signals, heartbeat, orderly end, exit status."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import Any, NoReturn, Protocol

import uvloop

from kfunc.errors import ConfigError, StartupError
from kfunc.http.server import HttpServer
from kfunc.process.watcher import STOP_SIGNALS, Heartbeat, Note
from kfunc.telemetry import log_lines

BEAT_S = 0.5
RECONNECT_S = 0.1
GC_THRESHOLD = 20_000
MAX_FILES = 65_536


class Pulse(Protocol):
    """Whoever ends a process that is stuck: the watcher, or gunicorn's arbiter."""

    note: Note

    def promise(self, silent_s: float) -> None:
        """Another promise will follow within `silent_s` seconds; 0: the process is stuck."""

    def orphaned(self) -> bool:
        """Whether nobody watches any more."""


Main = Callable[["Life"], Coroutine[Any, Any, None]]


class Life:
    """What a main needs to know of its process: when to stop, and how to say that it is alive.

    `orphaned`: it stops since nobody watches any more.
    """

    def __init__(self, heartbeat: Pulse | None) -> None:
        self.stop = asyncio.Event()
        self.orphaned = False
        self.note = Note() if heartbeat is None else heartbeat.note
        self._heartbeat = heartbeat
        self._hang_timeout_s = 0.0
        self._stuck: Callable[[], bool] = lambda: False

    def watch(self, hang_timeout_s: float, stuck: Callable[[], bool] | None = None) -> None:
        """From now on the loop must turn within `hang_timeout_s`, and `stuck` must stay false."""
        if stuck is not None:
            self._stuck = stuck
        started, self._hang_timeout_s = self._hang_timeout_s > 0, hang_timeout_s
        if self._heartbeat is not None and not started:
            self._beat(self._heartbeat)
        elif self._heartbeat is not None:
            self._heartbeat.promise(hang_timeout_s)

    def _beat(self, heartbeat: Pulse) -> None:
        asyncio.get_running_loop().call_later(min(BEAT_S, self._hang_timeout_s / 4), self._beat, heartbeat)
        if not self.orphaned and heartbeat.orphaned():
            self.orphaned = True
            self.stop.set()
        if self._stuck():
            heartbeat.note.end()  # a call hangs: what is loaded beside it has not ended the process
            heartbeat.promise(0.0)  # broken at once
        else:
            heartbeat.promise(self._hang_timeout_s)


def run(main: Main, heartbeat: Pulse | None) -> int:
    """Run `main` to its end. The exit status: 0, or 2 for a StartupError, whose message is printed."""
    log_lines.configure()
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    life = Life(heartbeat)
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, life.stop.set)
    # Once the loop turns: a signal that waits since before would be lost on one that does not.
    loop.call_soon(signal.pthread_sigmask, signal.SIG_UNBLOCK, STOP_SIGNALS)
    try:
        loop.run_until_complete(main(life))
    except StartupError as error:
        report(error)
        return 2
    return 0


def keep_memory() -> None:
    """What is loaded stays: keep the collector from walking it while requests run. It takes no time, as nothing is walked."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    gc.enable()


def allow_connections() -> None:
    """Open files as many as may be: where the usual limit is 1,024, it is met before limits.max_connections."""
    from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit  # start-up time: nobody waits for it here

    soft, hard = getrlimit(RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            setrlimit(RLIMIT_NOFILE, (wanted, hard))


def exit_now(status: int) -> NoReturn:
    """Leave without waiting for threads: one may be in a model call that never ends."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def use_form(form: str, heartbeat: Heartbeat) -> None:
    """From now on this process and its watcher write lines as `text` or `json`."""
    log_lines.use(form)
    if log_lines.is_json():
        heartbeat.use_json()


def report(error: StartupError) -> None:
    """Print what keeps a process from starting, and what to do about it."""
    problems = error.problems if isinstance(error, ConfigError) else []
    for problem in problems:
        hint = f" ({problem.suggestion})" if problem.suggestion else ""
        sys.stderr.write(log_lines.error_line(f"{error.args[0].partition(':')[0]}: {problem.message}{hint}"))
    if not problems:
        sys.stderr.write(log_lines.error_line(error.message))


async def wind_down(server: HttpServer, *, inner: bool, grace_s: float) -> None:
    """End a server: an inner one when its client is gone, the outermost when its answers are given."""
    if inner and server.seen_client:
        ends_at = monotonic() + grace_s
        while True:
            await server.clients_gone(max(0.0, ends_at - monotonic()))
            await asyncio.sleep(RECONNECT_S)  # a client that lost its last connection opens another at once
            if not server.connections or monotonic() >= ends_at:
                break
        server.close()
    else:
        await server.drain(grace_s)
    await asyncio.sleep(0)  # what was cut off is reported in the next turn of the loop
