"""What the logger costs with its spool: CPU per request, events a core delivers, latency added, memory at steady load."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import msgspec

from bench.figures import Figure, interleaved, ratio
from bench.load import Post, answer, answers, wrk
from bench.pod import Plan, handler_command, settings, sidecar_command, start_inner, start_ready
from bench.processes import LOAD_CORE, BenchError, Process, cpu_seconds, free_port, pss_mb, python, running, wait_until

DELIVERED_SECONDS = 60.0
BACKLOG_SECONDS = 3


class Loggers:
    """A handler, reached directly, through a bare proxy, and through loggers with a spool."""

    def __init__(self, stack: ExitStack, model: str, folder: Path) -> None:
        self._stack = stack
        self.sink_port, self.late_port = free_port(), free_port()
        handler = folder / "handler"
        names = ("direct", "bare proxy", "file", "batched", "late")
        self.ports = {name: free_port() for name in names}
        self.start_sink(self.sink_port)
        plain = settings(model)
        start_ready(stack, handler_command(f"127.0.0.1:{self.ports['direct']}"), plain, self.ports["direct"])
        start_inner(stack, handler_command(f"unix:{handler}"), plain, handler)
        bare = python("-m", "bench.servers.bare_proxy", f"127.0.0.1:{self.ports['bare proxy']}", str(handler))
        self.processes = {"bare proxy": start_ready(stack, bare, {}, self.ports["bare proxy"])}
        sinks = {
            "file": f"file:{folder}/events.jsonl",
            "batched": f"http://127.0.0.1:{self.sink_port}/",
            "late": f"http://127.0.0.1:{self.late_port}/",
        }
        for name, sink in sinks.items():
            env = settings(model, sink, spool=str(folder / name), content_mode="structured" if name == "file" else "batched")
            command = sidecar_command("logger_sidecar", f"127.0.0.1:{self.ports[name]}", f"unix:{handler}")
            self.processes[name] = start_ready(stack, command, env, self.ports[name])

    def start_sink(self, port: int) -> None:
        """Start a sink that counts."""
        process = self._stack.enter_context(running(python("-m", "bench.servers.sink", f"127.0.0.1:{port}"), core=LOAD_CORE))
        wait_until(lambda: answers(port, path="/"), process)


def measure(plan: Plan) -> list[Figure]:
    """All of it."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        loggers = Loggers(stack, plan.model, Path(folder))
        for name in ("bare proxy", "file", "batched"):
            wrk(loggers.ports[name], Post(plan.body), 16, 1)
        return [*_cpu(loggers, plan), _latency(loggers, plan), _memory(loggers), _delivered(loggers, plan)]


def _cpu(loggers: Loggers, plan: Plan) -> list[Figure]:
    """µs of CPU per request at 16 connections, delivery of its events included."""

    def spend(name: str) -> float:
        process = loggers.processes[name]
        before = cpu_seconds(process.pid)
        load = wrk(loggers.ports[name], Post(plan.body), 16, plan.seconds)
        time.sleep(0.5)  # what is delivered behind the load
        return (cpu_seconds(process.pid) - before) / load.requests * 1e6

    names = ("bare proxy", "file", "batched")
    samples = interleaved(plan.rounds, [lambda name=name: spend(name) for name in names])  # type: ignore[misc]
    return [
        Figure(
            f"events: CPU of the logger, spool and {name} sink" if name != "bare proxy" else "events: CPU of a bare proxy",
            min(spent),
            "µs/request",
            "≤" if name != "bare proxy" else "",
            25.0,
            f"least of {min(spent):.1f}–{max(spent):.1f}; {ratio(spent, samples[0]):.2f} × the bare proxy",
        )
        for name, spent in zip(names, samples, strict=True)
    ]


def _latency(loggers: Loggers, plan: Plan) -> Figure:
    """p50 at one connection, through the logger less direct."""
    ways = ("direct", "batched")
    samples = interleaved(plan.rounds, [lambda way=way: wrk(loggers.ports[way], Post(plan.body), 1, 1).p50_us for way in ways])  # type: ignore[misc]
    added = median(through - direct for direct, through in zip(*samples, strict=True))
    seen = ", ".join(f"{way} {median(kept):.0f} µs" for way, kept in zip(ways, samples, strict=True))
    return Figure("events: p50 that the logger adds, one connection", added / 1e3, "ms", "≤", 0.15, seen)


def _memory(loggers: Loggers) -> Figure:
    return Figure("events: memory after the load", pss_mb(loggers.processes["batched"].pid), "MB PSS", "≤", 60.0)


def _delivered(loggers: Loggers, plan: Plan) -> Figure:
    """A sink comes back, and the backlog is delivered as fast as one core can."""
    process = loggers.processes["late"]
    load = wrk(loggers.ports["late"], Post(plan.body), 16, BACKLOG_SECONDS)
    loggers.start_sink(loggers.late_port)
    expected = 2 * load.requests
    before = _settled_cpu(process, loggers.late_port)
    ends_at = time.monotonic() + DELIVERED_SECONDS
    while (count := _events(loggers.late_port)) < expected:
        if time.monotonic() > ends_at:
            raise BenchError(f"{count} of {expected} events after {DELIVERED_SECONDS:.0f} s")
        time.sleep(0.02)
    spent = cpu_seconds(process.pid) - before
    return Figure(
        "events: delivered per second of a core", expected / spent, "events/s", "≥", 30_000, f"{expected:,} in {spent:.2f} s"
    )


def _settled_cpu(process: Process, port: int) -> float:
    """CPU seconds before the first event is delivered."""
    before = cpu_seconds(process.pid)
    while not _events(port):
        before = cpu_seconds(process.pid)
        time.sleep(0.002)
    return before


def _events(port: int) -> int:
    return int(msgspec.json.decode(answer(port, "GET", "/")[2])["events"])
