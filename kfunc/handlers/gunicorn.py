"""Several handler processes: gunicorn's arbiter starts, watches and replaces them, our worker class serves.

Every worker loads the model itself; they share the listening sockets and the metrics' memory.
"""

import logging
import mmap
import os
import signal
import socket
import sys
from math import ceil
from time import monotonic
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from kfunc.config.pod import PodConfig
from kfunc.handlers.serving import LOAD_HANG_S, Crew, HandlerMetrics, serve
from kfunc.http.address import listen
from kfunc.process.arguments import Arguments
from kfunc.process.lifecycle import Life, exit_now, run
from kfunc.process.watcher import NOTE_BYTES, STOP_SIGNALS, Note, told
from kfunc.telemetry import log_lines

log = logging.getLogger("kfunc.handlers")

BOOT_FAILED = Arbiter.WORKER_BOOT_ERROR


class Shared:
    """What is made before the first fork."""

    def __init__(self, config: PodConfig, arguments: Arguments) -> None:
        self.config = config
        self.arguments = arguments
        self.metrics = HandlerMetrics(config.workers)
        self.listener = listen(arguments.listen)
        self.manage = listen(arguments.manage, "--manage") if arguments.manage is not None else None
        self.crew = Crew(config.workers)
        self.free_slabs = list(range(config.workers))
        page = mmap.mmap(-1, config.workers * NOTE_BYTES)
        self.notes = [Note(page, number * NOTE_BYTES) for number in range(config.workers)]


class ArbiterHeartbeat:
    """The heartbeat of a worker, kept by gunicorn as the time of a file: one older than `timeout_s` is killed."""

    def __init__(self, descriptor: int, timeout_s: float, arbiter: int, note: Note) -> None:
        self.note = note
        self._descriptor = descriptor
        self._timeout_s = timeout_s
        self._arbiter = arbiter

    def promise(self, silent_s: float) -> None:
        """Renew it; `silent_s` of 0 says that the worker is stuck: it ends here, and is replaced."""
        if silent_s <= 0:
            sys.stderr.write(log_lines.error_line("a model call is stuck for longer than hang_timeout_s; ending the worker"))
            exit_now(1)
        at = max(0.0, monotonic() + silent_s - self._timeout_s)
        os.utime(self._descriptor, (at, at))

    def orphaned(self) -> bool:
        """Whether the arbiter is gone."""
        return os.getppid() != self._arbiter


class PassingLogger(Logger):  # type: ignore[misc]
    """What gunicorn says goes the way of what we say, in the same form."""

    def setup(self, cfg: Any) -> None:
        """Let the root's handler write it."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class HandlerWorker(Worker):  # type: ignore[misc]
    """Runs the same server as a single handler does."""

    slab: int

    def init_signals(self) -> None:
        """The event loop handles signals."""

    def run(self) -> None:
        """Serve until SIGTERM, and exit."""
        shared: Shared = self.app.shared
        shared.metrics.metrics.attach(self.slab)
        heartbeat = ArbiterHeartbeat(self.tmp.fileno(), self.cfg.timeout, self.ppid, shared.notes[self.slab])

        async def main(life: Life) -> None:
            life.watch(LOAD_HANG_S)
            manage = _own(shared.manage) if shared.manage is not None else None
            await serve(
                shared.config,
                shared.arguments,
                _own(self.sockets[0].sock),
                manage,
                shared.metrics,
                life,
                shared.crew.member(self.slab),
            )

        try:
            status = run(main, heartbeat)
        except Exception:
            log.exception("a worker failed")  # it would fail again at once: the arbiter is to stop, not to try for ever
            status = BOOT_FAILED
        heartbeat.note.end()  # it ends by itself
        exit_now(BOOT_FAILED if status else 0)


class Workers(BaseApplication):  # type: ignore[misc]
    """gunicorn's application: settings, no WSGI."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        super().__init__()

    def load_config(self) -> None:
        """Set what gunicorn needs to know."""
        config = self.shared.config
        settings: dict[str, Any] = {
            "bind": f"fd://{self.shared.listener.fileno()}",
            "workers": config.workers,
            "worker_class": HandlerWorker,
            "timeout": max(1, round(config.hang_timeout_s)),
            "graceful_timeout": ceil(config.grace_s) + 1,  # the worker itself drains within grace_s
            "loglevel": "warning",
            "logger_class": PassingLogger,
            # One path for all functions of a user, and nobody asked for it.
            "control_socket_disable": True,
            "pre_fork": self._take_slab,
            "child_exit": self._free_slab,
        }
        for key, value in settings.items():
            self.cfg.set(key, value)

    def load(self) -> None:
        """There is no WSGI application."""

    def _take_slab(self, arbiter: Any, worker: HandlerWorker) -> None:
        free = self.shared.free_slabs
        worker.slab = free.pop(0) if free else 0

    def _free_slab(self, arbiter: Any, worker: HandlerWorker) -> None:
        note = self.shared.notes[worker.slab]
        if end := told(note):
            log.error("a worker ended%s", end)
            note.count()
            note.end()
        if worker.slab not in self.shared.free_slabs:
            self.shared.free_slabs.append(worker.slab)


class HandlerArbiter(Arbiter):  # type: ignore[misc]
    """An arbiter that was given its socket: the path of a Unix one is not its to remove."""

    def start(self) -> None:
        """Start, as if a socket had been handed over by systemd."""
        super().start()
        self.systemd = True

    def spawn_worker(self) -> int:
        """Fork a worker with SIGTERM held back until its event loop takes it: the arbiter's own handler would lose it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            return int(super().spawn_worker())
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _own(listener: socket.socket) -> socket.socket:
    """A worker's own handle of a shared listening socket."""
    return socket.socket(fileno=os.dup(listener.fileno()))


def manage_workers(config: PodConfig, arguments: Arguments) -> int:
    """Run the arbiter; the exit status, 2 where the workers cannot start. Raises StartupError."""
    log_lines.configure()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # the watcher left them blocked for a loop to take
    try:
        HandlerArbiter(Workers(Shared(config, arguments))).run()
    except SystemExit as exit_request:
        code = exit_request.code
        return 2 if code == BOOT_FAILED else int(code or 0)
    return 0
