"""REST over HTTP/2 beside HTTP/1.1: the same requests by the same generator, to the handler and to the whole chain."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import msgspec

from bench.figures import Figure, ratio
from bench.load import PATH
from bench.pod import Plan, handler_command, settings, start_chain, start_ready
from bench.processes import BenchError, Process, cpu_seconds, free_port

WARM_UP_S = 1
BEFORE = "HTTP/1.1, 16 connections"
LOADS = {
    BEFORE: ("--h1", "-c16"),
    "16 connections": ("-c16", "-m1"),
    "1 connection × 16 streams": ("-c1", "-m16"),
}
COUNTS = re.compile(r"(\d+) succeeded, (\d+) failed, (\d+) errored")
RATE = re.compile(r"finished in .*?, ([\d.]+) req/s")


class Run(msgspec.Struct):
    """What one run of h2load saw: requests per second, and µs of the server's CPU for each."""

    rps: float
    cpu_us: float


def measure(plan: Plan) -> list[Figure]:
    """Ratios of the rates of both versions. New ids for each request: see `paths`."""
    with tempfile.TemporaryDirectory() as path, ExitStack() as stack:
        folder = Path(path)
        (folder / "body").write_bytes(plan.body)
        handler_port, chain_port = free_port(), free_port()
        env = settings(plan.model)
        handler = start_ready(stack, handler_command(f"127.0.0.1:{handler_port}"), env, handler_port)
        chain = start_chain(stack, env, folder, chain_port)
        figures = []
        for name, port, process in (("handler", handler_port, handler), ("chain", chain_port, chain["logger"])):
            runs: dict[str, list[Run]] = {load: [] for load in LOADS}
            once = _once(port, process, folder / "body")
            for options in LOADS.values():
                once(options, WARM_UP_S)
            for _ in range(plan.rounds):
                for load, options in LOADS.items():
                    runs[load].append(once(options, plan.seconds))
            figures += [_figure(name, load, kept, runs[BEFORE]) for load, kept in runs.items() if load != BEFORE]
        return figures


def _figure(name: str, load: str, kept: list[Run], before: list[Run]) -> Figure:
    value = ratio([run.rps for run in kept], [run.rps for run in before])
    seen = " · ".join(f"{version} {_seen(runs)}" for version, runs in (("HTTP/2", kept), ("HTTP/1.1", before)))
    return Figure(f"h2, {name}, {load}: HTTP/2 / HTTP/1.1", value, "×", "≥", 0.4, seen)


def _seen(runs: list[Run]) -> str:
    return f"{median(run.rps for run in runs):,.0f} rps, {median(run.cpu_us for run in runs):.0f} µs"


def _once(port: int, process: Process, body: Path) -> Callable[[tuple[str, ...], float], Run]:
    if shutil.which("h2load") is None:
        raise BenchError("h2load is not installed: apt-get install nghttp2-client")

    def load(options: tuple[str, ...], seconds: float) -> Run:
        before = cpu_seconds(process.pid)
        command = ["h2load", "-D", str(round(seconds)), *options, "-d", str(body), f"http://127.0.0.1:{port}{PATH}"]
        printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        counts, rate = COUNTS.search(printed), RATE.search(printed)
        if counts is None or rate is None or int(counts[2]) or int(counts[3]) or not int(counts[1]):
            raise BenchError(f"h2load {' '.join(options)} failed: {printed[-1000:]}")
        return Run(float(rate[1]), (cpu_seconds(process.pid) - before) / int(counts[1]) * 1e6)

    return load
