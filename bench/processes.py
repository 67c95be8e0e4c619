"""Processes under measurement: started on a chosen core, read through /proc, always ended."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
SERVING = ROOT / ".venv/bin/python"
TICKS = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 10.0


class BenchError(Exception):
    """A measurement could not be made; the message says why."""


# Servers run on the first core that this process may use, the load and the benchmark itself on the last.
SERVER_CORE, LOAD_CORE = (pick(os.sched_getaffinity(0)) for pick in (min, max))


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A running command. Its output goes to a file that `tail` reads."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], core: int, stdout: int | None = None) -> None:
        self.command = command
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop()
        # The child inherits the affinity: no preexec_fn, so that Popen can vfork and the start stays cheap.
        os.sched_setaffinity(0, {core})
        try:
            self.started = time.perf_counter()
            self.popen = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", "ORT_DISABLE_TELEMETRY": "1", **env},
                stdout=self.log if stdout is None else stdout,
                stderr=self.log,
                start_new_session=True,
            )
        finally:
            os.sched_setaffinity(0, {LOAD_CORE})

    @property
    def pid(self) -> int:
        """Process id of the command itself."""
        return self.popen.pid

    def output(self) -> str:
        """All that it has printed; pread, because the child shares the file's position."""
        return os.pread(self.log.fileno(), os.fstat(self.log.fileno()).st_size, 0).decode(errors="replace")

    def tail(self) -> str:
        """The last 2,000 characters of it."""
        return self.output()[-2000:]

    def check(self) -> None:
        """Raise BenchError if it has ended."""
        if self.popen.poll() is not None:
            raise BenchError(f"{' '.join(self.command)} ended with {self.popen.returncode}:\n{self.tail()}")

    def end(self) -> int:
        """SIGTERM, then SIGKILL for whatever of its session is left; the exit status."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        try:
            status = self.popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            status = -signal.SIGKILL
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()
        return status


@contextmanager
def running(command: Sequence[str], env: Mapping[str, str] | None = None, core: int = SERVER_CORE) -> Iterator[Process]:
    """The command while the block runs; it and its children are ended after it."""
    process = Process(command, env or {}, core)
    try:
        yield process
    finally:
        process.end()
        process.log.close()


def python(*arguments: str) -> list[str]:
    """A command for the interpreter that runs the benchmark."""
    return [sys.executable, *arguments]


def serving_python(*arguments: str) -> list[str]:
    """A command for the environment that `make run` makes: what a function has, and nothing that only clients need."""
    return [str(SERVING if SERVING.exists() else sys.executable), *arguments]


def wait_until(condition: Callable[[], bool], process: Process, seconds: float = 30.0) -> None:
    """Poll each 10 ms until the condition holds. Raises BenchError when the process ends or time is up."""
    deadline = time.monotonic() + seconds
    while not condition():
        process.check()
        if time.monotonic() > deadline:
            raise BenchError(f"{' '.join(process.command)} was not ready after {seconds:.0f} s:\n{process.tail()}")
        time.sleep(0.01)


def tree(pid: int) -> list[int]:
    """The process and all its descendants that are alive."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except FileNotFoundError:
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its children and the children it has waited for."""
    total = 0
    for member in tree(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(field) for field in fields[11:15])
    return total / TICKS


def pss_mb(pid: int) -> float:
    """Proportional set size of a process and its children, MB (10⁶ bytes)."""
    total = 0
    for member in tree(pid):
        for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total * 1024 / 1e6
