"""The logger through an outage of its sink and SIGKILLs at random: which accepted events are missing, what it costs.

`python -m bench.soak [--events N] [--outage SECONDS] [--kills N]`; every answer that the sender got is an accepted call.
"""

import argparse
import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter

import msgspec

from bench.figures import Figure, table
from bench.load import answer, answers
from bench.pod import MODEL, Plan, handler_command, plan, settings, start_inner
from bench.processes import LOAD_CORE, ROOT, SERVER_CORE, BenchError, free_port, pss_mb, python, running, wait_until
from bench.sender import Sender, p99_ms
from kfunc.config import pod
from kfunc.config.logger import Logger

MARGIN = 0.2  # of the time before the outage, and as much after it
CONNECTIONS = 8
AFTER_KILL_S = 1.5
SETTLE_S = 120.0


class LoggerUnderTest:
    """A logger that is started again, on one listening socket that outlives it."""

    def __init__(self, upstream: Path, settings: Logger) -> None:
        config = pod.PodConfig(function="iris", model=pod.PodModel(name="iris", version="1"), grace_s=10.0, logger=settings)
        self._env = {**os.environ, pod.VARIABLE: pod.encode(config)}
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self.kills: list[float] = []
        self.growth_mb = self.largest_mb = self._first_mb = 0.0
        self.start()

    def start(self) -> None:
        """Start it; what is accepted waits in the socket's queue until it is there."""
        number = self._listener.fileno()
        command = python("-m", "kfunc.logger_sidecar", "--listen", f"fd:{number}", "--upstream", f"unix:{self._upstream}")
        os.sched_setaffinity(0, {SERVER_CORE})
        self.process = subprocess.Popen(
            [*command, "--manage", "none"],
            cwd=ROOT,
            env=self._env,
            pass_fds=(number,),
            stderr=self.log,
            start_new_session=True,
        )
        os.sched_setaffinity(0, {LOAD_CORE})
        self._started_at, self._first_mb = perf_counter(), 0.0

    def kill(self) -> None:
        """SIGKILL to watcher and logger at once, and a new one."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.kills.append(perf_counter())
        self.start()

    def look(self) -> None:
        """Take up its memory, once it has been running for a moment."""
        if perf_counter() - self._started_at < 1.0:
            return
        now_mb = pss_mb(self.process.pid)
        self._first_mb = self._first_mb or now_mb
        self.growth_mb = max(self.growth_mb, now_mb - self._first_mb)
        self.largest_mb = max(self.largest_mb, now_mb)

    def end(self) -> None:
        """SIGTERM, and wait for its orderly end."""
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60) != 0:
            raise BenchError(f"the logger ended with {self.process.returncode}: {self.said()}")

    def said(self) -> str:
        """What it printed."""
        return os.pread(self.log.fileno(), 1 << 20, 0).decode()


class Sink:
    """The ledger's process."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.port = free_port()
        self.path = folder / "ledger.txt"
        command = python("-m", "bench.servers.ledger", f"127.0.0.1:{self.port}", str(self.path))
        process = stack.enter_context(running(command, core=LOAD_CORE))
        wait_until(lambda: answers(self.port, path="/"), process)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events"

    def outage(self, kind: str) -> None:
        """Begin one, or end it with nothing."""
        answer(self.port, "POST", "/outage", kind.encode() or None)

    def counts(self) -> dict[str, int]:
        counted: dict[str, int] = msgspec.json.decode(answer(self.port, "GET", "/")[2])
        return counted

    def arrived(self) -> set[str]:
        return set(self.path.read_text().splitlines())


async def soak(logger: LoggerUnderTest, sink: Sink, body: bytes, options: argparse.Namespace) -> Sender:
    """Requests at an even rate, an outage in the middle, SIGKILLs at random."""
    requests = options.events // 2
    whole_s = options.outage * (1 + 2 * MARGIN)
    sender = Sender(logger.port, body, CONNECTIONS, requests / whole_s)
    began_at = perf_counter()
    kills = sorted(random.uniform(0.02, 0.98) * whole_s for _ in range(options.kills))
    outage = [(MARGIN * options.outage, options.kind), ((1 + MARGIN) * options.outage, "")]
    task = asyncio.create_task(sender.run(lambda: len(sender.answered) >= requests))
    while not task.done():
        await asyncio.sleep(0.1)
        passed_s = perf_counter() - began_at
        if kills and passed_s >= kills[0]:
            kills.pop(0)
            await asyncio.to_thread(logger.kill)
        if outage and passed_s >= outage[0][0]:
            await asyncio.to_thread(sink.outage, outage.pop(0)[1])
        await asyncio.to_thread(logger.look)
    for _, kind in outage:
        await asyncio.to_thread(sink.outage, kind)
    await task
    return sender


def missing(sender: Sender, arrived: set[str]) -> int:
    """Events of answered requests that are nowhere."""
    return sum(f"{side} s-{each.number}" not in arrived for each in sender.answered for side in "qa")


def wait_for_all(sender: Sender, sink: Sink) -> None:
    """Until everything has arrived, or nothing more does."""
    ends_at = time.monotonic() + SETTLE_S
    while time.monotonic() < ends_at and missing(sender, sink.arrived()):
        time.sleep(0.5)


def measure_outage(stack: ExitStack, body: bytes, handler: Path, folder: Path, options: argparse.Namespace) -> list[Figure]:
    """None missing, memory, and the ratio of p99 in interleaved rounds without SIGKILLs."""
    sink = Sink(stack, folder)
    logger = LoggerUnderTest(handler, Logger(sink=sink.url, spool=str(folder / "spool"), content_mode=options.content_mode))
    wait_up(logger)
    ratio, rounds = asyncio.run(ratio_of_p99(logger, sink, body, options))
    sender = asyncio.run(soak(logger, sink, body, options))
    wait_for_all(sender, sink)
    logger.end()
    counts, lost = sink.counts(), missing(sender, sink.arrived())
    seen = f"of {2 * len(sender.answered):,}; {len(logger.kills)} SIGKILLs, {sender.broken} requests broken off by them, "
    seen += f"{counts['duplicates']} sent twice"
    return [
        Figure("soak: accepted events missing", lost, "", "≤", 0.0, seen),
        Figure("soak: memory growth", logger.growth_mb, "MB", "≤", 64 * 1.048576, f"at most {logger.largest_mb:.0f} MB PSS"),
        Figure("soak: p99 in the outage / before", ratio, "×", "≤", 1.3, rounds),
    ]


def wait_up(logger: LoggerUnderTest) -> None:
    ends_at = time.monotonic() + 30
    while not answers(logger.port):
        if time.monotonic() > ends_at:
            raise BenchError(f"the logger does not answer: {logger.said()}")
        time.sleep(0.02)


async def ratio_of_p99(logger: LoggerUnderTest, sink: Sink, body: bytes, options: argparse.Namespace) -> tuple[float, str]:
    """p99 at a constant rate with the sink up and down in turns."""
    seen: dict[str, list[float]] = {"": [], options.kind: []}
    for number in range(2 * options.rounds):
        kind = options.kind if number % 2 else ""
        await asyncio.to_thread(sink.outage, kind)
        await asyncio.sleep(1.0)
        sender = Sender(logger.port, body, CONNECTIONS, options.rate, prefix="r")
        ends_at = perf_counter() + options.seconds
        await sender.run(lambda ends_at=ends_at: perf_counter() >= ends_at)  # type: ignore[misc]
        seen[kind].append(p99_ms(sender.answered))
    await asyncio.to_thread(sink.outage, "")
    up, down = median(seen[""]), median(seen[options.kind])
    return down / up, f"p99 {up:.2f} ms up, {down:.2f} ms down; {options.rounds} rounds of {options.seconds:.0f} s each"


def measure_deleted_pod(stack: ExitStack, body: bytes, handler: Path, folder: Path, options: argparse.Namespace) -> Figure:
    """The pod goes away in the outage, its spool with it: what the sink lacks is in the overflow."""
    folder.mkdir()
    sink, overflow, spool = Sink(stack, folder), folder / "overflow.jsonl", folder / "spool"
    config = Logger(sink=sink.url, spool=str(spool), content_mode=options.content_mode, overflow=f"file:{overflow}")
    sender: Sender | None = None
    for pod_number in range(2):
        logger = LoggerUnderTest(handler, config)
        wait_up(logger)
        if pod_number == 0:
            sender = asyncio.run(_one_pod(logger, sink, body, options))
            logger.end()
            shutil.rmtree(spool)
            sink.outage("")
        else:
            time.sleep(2.0)
            logger.end()
    if sender is None:
        raise BenchError("no requests were sent")
    arrived = sink.arrived()
    for line in overflow.read_bytes().splitlines():
        event = msgspec.json.decode(line)
        arrived.add(f"{'a' if event['type'].endswith('response') else 'q'} {event['correlationid']}")
    seen = f"of {2 * len(sender.answered):,}, {sink.counts()['events']:,} of them in the sink"
    return Figure("soak: missing after the pod was deleted", missing(sender, arrived), "", "≤", 0.0, seen)


async def _one_pod(logger: LoggerUnderTest, sink: Sink, body: bytes, options: argparse.Namespace) -> Sender:
    requests = options.events // 10
    sender = Sender(logger.port, body, CONNECTIONS, 1000)
    await sender.run(lambda: len(sender.answered) >= requests // 3)
    await asyncio.to_thread(sink.outage, options.kind)
    await sender.run(lambda: len(sender.answered) >= requests)
    return sender


def main() -> int:
    """Exit status 0 when every target is met."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="events that are accepted in all (default 100000)")
    parser.add_argument("--outage", type=float, default=600.0, help="seconds that the sink is down (default 600)")
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs of the logger (default 20)")
    parser.add_argument("--kind", choices=("503", "hang"), default="503", help="what the sink does meanwhile (default 503)")
    parser.add_argument("--content-mode", choices=("structured", "batched"), default="batched")
    parser.add_argument("--rounds", type=int, default=7, help="rounds with the sink up and down, for p99 (default 7)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a round (default 5)")
    parser.add_argument("--rate", type=float, default=500.0, help="requests per second in a round (default 500)")
    options = parser.parse_args()
    shared: Plan = plan(MODEL, options.rounds, options.seconds)
    os.sched_setaffinity(0, {LOAD_CORE})
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        handler = folder / "handler"
        start_inner(stack, handler_command(f"unix:{handler}"), settings(shared.model), handler)
        figures = measure_outage(stack, shared.body, handler, folder, options)
        figures.append(measure_deleted_pod(stack, shared.body, handler, folder / "pod", options))
    print(table(figures))
    return int(any(figure.ok is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
