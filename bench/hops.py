"""What the sidecars cost: CPU per request at 16 connections, latency of the whole chain at one, events lost."""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import msgspec

from bench.figures import Figure, interleaved, ratio
from bench.load import Load, Post, answer, answers, post_exactly, wrk
from bench.pod import Plan, handler_command, settings, sidecar_command, start_inner, start_ready
from bench.processes import LOAD_CORE, BenchError, Process, cpu_seconds, free_port, python, running, wait_until

COUNTED_REQUESTS = 20_000
SETTLE_SECONDS = 20.0


class Hops:
    """Ways to one handler: direct, through a bare proxy, through one sidecar each, through both."""

    def __init__(self, stack: ExitStack, model: str, folder: Path) -> None:
        self.sink_port = free_port()
        handler, batcher = folder / "handler", folder / "batcher"
        self.ports = {name: free_port() for name in ("direct", "bare proxy", "logger", "logger to HTTP", "batcher", "chain")}
        self._stack = stack
        sink = python("-m", "bench.servers.sink", f"127.0.0.1:{self.sink_port}")
        process = stack.enter_context(running(sink, core=LOAD_CORE))
        wait_until(lambda: answers(self.sink_port, path="/"), process)
        plain = settings(model)
        start_ready(stack, handler_command(self._tcp("direct")), plain, self.ports["direct"])
        start_inner(stack, handler_command(f"unix:{handler}"), plain, handler)
        start_inner(stack, sidecar_command("batcher_sidecar", f"unix:{batcher}", f"unix:{handler}"), plain, batcher)
        to_file = settings(model, f"file:{folder}/alone.jsonl", str(folder / "spool"))
        to_http = settings(model, f"http://127.0.0.1:{self.sink_port}/", str(folder / "http-spool"), content_mode="batched")
        bare = python("-m", "bench.servers.bare_proxy", self._tcp("bare proxy"), str(handler))
        self.bare = start_ready(stack, bare, {}, self.ports["bare proxy"])
        self.batcher = self._outer("batcher", "batcher_sidecar", handler, plain)
        self.logger = self._outer("logger", "logger_sidecar", handler, to_file)
        self.http_logger = self._outer("logger to HTTP", "logger_sidecar", handler, to_http)
        self.chain = self._outer(
            "chain", "logger_sidecar", batcher, settings(model, f"file:{folder}/chain.jsonl", str(folder / "chain-spool"))
        )

    def _tcp(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def _outer(self, name: str, module: str, upstream: Path, env: dict[str, str]) -> Process:
        command = sidecar_command(module, self._tcp(name), f"unix:{upstream}")
        return start_ready(self._stack, command, env, self.ports[name])

    def sink_events(self) -> int:
        """Events that the HTTP sink has counted."""
        return int(msgspec.json.decode(answer(self.sink_port, "GET", "/")[2])["events"])


def measure(plan: Plan) -> list[Figure]:
    """CPU of each hop, latency of all, and that every event of a counted load arrives."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        hops = Hops(stack, plan.model, Path(folder))
        for port in hops.ports.values():
            wrk(port, Post(plan.body), 16, 1)
        return [*_cpu(hops, plan), *_latency(hops, plan), *_events(hops, plan, Path(folder))]


def _cpu(hops: Hops, plan: Plan) -> list[Figure]:
    """µs of CPU per request of a sidecar; the processes behind it are not counted.

    The targets are absolute, so a bare proxy at the same place tells what the machine gives at best.
    """
    cases: list[tuple[str, str, Process, float]] = [
        ("bare proxy, the floor", "bare proxy", hops.bare, 0.0),
        ("logger, file sink", "logger", hops.logger, 25.0),
        ("logger, HTTP sink", "logger to HTTP", hops.http_logger, 25.0),
        ("batcher", "batcher", hops.batcher, 20.0),
        ("logger in the chain", "chain", hops.chain, 25.0),
    ]
    kept: dict[str, list[Load]] = {name: [] for name, *_ in cases}

    def spend(name: str, port: int, process: Process) -> Callable[[], float]:
        def once() -> float:
            before = cpu_seconds(process.pid)
            load = wrk(port, Post(plan.body), 16, plan.seconds)
            kept[name].append(load)
            return (cpu_seconds(process.pid) - before) / load.requests * 1e6

        return once

    samples = interleaved(plan.rounds, [spend(name, hops.ports[way], process) for name, way, process, _ in cases])
    floor = samples[0]
    return [
        Figure(
            f"hops: CPU of {name}",
            median(spent),
            "µs/request",
            "≤" if target else "",
            target,
            f"{ratio(spent, floor):.1f} × the bare proxy; {_seen(kept[name], spent)}",
        )
        for (name, _, _, target), spent in zip(cases, samples, strict=True)
    ]


def _seen(loads: list[Load], spent: list[float]) -> str:
    rps, p50, p99 = (median(getattr(load, field) for load in loads) for field in ("rps", "p50_us", "p99_us"))
    return f"{min(spent):.1f}–{max(spent):.1f} µs; {rps:,.0f} rps, p50/p99 {p50 / 1e3:.2f}/{p99 / 1e3:.2f} ms"


def _latency(hops: Hops, plan: Plan) -> list[Figure]:
    """p50 at one connection: through all three processes, less direct."""
    ways = ("direct", "batcher", "logger", "chain")
    samples = interleaved(plan.rounds, [lambda way=way: wrk(hops.ports[way], Post(plan.body), 1, 1).p50_us for way in ways])  # type: ignore[misc]
    added = median(chain - direct for direct, chain in zip(samples[0], samples[-1], strict=True))
    seen = ", ".join(f"{way} {median(kept):.0f} µs" for way, kept in zip(ways, samples, strict=True))
    return [Figure("hops: p50 added by all, one connection", added / 1e3, "ms", "≤", 0.3, seen)]


def _events(hops: Hops, plan: Plan, folder: Path) -> list[Figure]:
    """Events that did not arrive, of a load in which every request is counted."""
    expected = 2 * COUNTED_REQUESTS
    figures = []
    for name, way, count in (
        ("file sink", "logger", lambda: _lines(folder / "alone.jsonl")),
        ("HTTP sink", "logger to HTTP", hops.sink_events),
    ):
        before = _settled(count)
        post_exactly(hops.ports[way], plan.body, COUNTED_REQUESTS)
        lost = expected - (_settled(count, before + expected) - before)
        figures.append(Figure(f"hops: events lost, {name}", lost, "", "≤", 0.0, f"of {expected:,}"))
    return figures


def _lines(path: Path) -> int:
    with path.open("rb") as events:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: events.read(1 << 20), b""))


def _settled(count: Callable[[], int], expected: int | None = None) -> int:
    """The count once it is what is expected, or has not changed for a second."""
    deadline = time.monotonic() + SETTLE_SECONDS
    last, since = count(), time.monotonic()
    while last != expected and time.monotonic() - since < 1.0:
        time.sleep(0.1)
        now = count()
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() > deadline:
            raise BenchError(f"events still arrive {SETTLE_SECONDS:.0f} s after the load")
    return last
