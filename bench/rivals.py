"""Servers beside one another under the same requests: same answers first, then interleaved rounds of load."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np

from bench.load import PATH, Load, Post, answer, answers, wrk
from bench.pod import handler_command, settings, start_ready
from bench.processes import ROOT, BenchError, Process, cpu_seconds, free_port, python, running, wait_until

UNDISTURBED = 0.9
WARM_UP_S = 1
START_S = 60.0
KSERVE = ROOT / ".venv-bench-kserve/bin/python"
MLSERVER = ROOT / ".venv-bench-mlserver/bin/python"
KSERVE_OPTIONS = ("--enable_grpc", "false", "--enable_latency_logging", "false", "--configure_logging", "false")
DTYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype(np.float32), "INT64": np.dtype(np.int64)}
LENGTH = "inference-header-content-length"

Outputs = dict[str, tuple[str, list[int], list[float]]]


class Rival(msgspec.Struct):
    """A server that answers."""

    name: str
    port: int
    process: Process


class Run(msgspec.Struct):
    """One run of load on one server; `cpu` in seconds, of the server with its children."""

    load: Load
    cpu: float

    @property
    def cpu_us(self) -> float:
        """µs of CPU for a request."""
        return self.cpu / self.load.requests * 1e6


Runs = dict[str, list[Run]]


def start(stack: ExitStack, names: Sequence[str], model: str, post: Post) -> list[Rival]:
    """The servers of these names, all with the model, each answering the request. Raises BenchError."""
    rivals = [_start(stack, name, model) for name in names]
    for rival in rivals:
        wait_until(lambda rival=rival: answers(rival.port, "POST", PATH, post.body, post.fields), rival.process, START_S)  # type: ignore[misc]
    return rivals


def _start(stack: ExitStack, name: str, model: str) -> Rival:
    port = free_port()
    address = f"127.0.0.1:{port}"
    if name == "kfunc":
        return Rival(name, port, start_ready(stack, handler_command(address), settings(model), port))
    gthread = ("-k", "gthread", "-w", "1", "--threads", "4")
    commands = {
        "ceiling": python("-m", "bench.servers.ceiling", address, model),
        "uvicorn": python("-m", "bench.servers.uvicorn_app", address, model),
        "Flask": python("-m", "gunicorn", *gthread, "-b", address, "bench.servers.flask_app:app"),
        "KServe": [str(KSERVE), "bench/servers/kserve_app.py", "--http_port", str(port), *KSERVE_OPTIONS],
        "MLServer": [str(MLSERVER), "bench/servers/mlserver_app.py", str(port)],
    }
    command = commands[name]
    if not Path(command[0]).exists():
        raise BenchError(f"{command[0]} is missing; `make bench` makes it")
    return Rival(name, port, stack.enter_context(running(command, {"KFUNC_BENCH_MODEL": model})))


def same_answers(rivals: Sequence[Rival], post: Post) -> None:
    """Raise BenchError unless all answer the same outputs: only then do their rates compare."""
    answered = {rival.name: outputs(rival.port, post) for rival in rivals}
    if any(each != answered[rivals[0].name] for each in answered.values()):
        raise BenchError(f"the servers answer differently: {answered}")


def outputs(port: int, post: Post) -> Outputs:
    """Outputs by name; rounded, since an FP32 may be written with the digits of a double."""
    status, fields, body = answer(port, "POST", PATH, post.body, post.fields)
    if status != 200:
        raise BenchError(f"port {port} answered {status}: {body[:500]!r}")
    at = int(fields.get(LENGTH, len(body)))
    found = {}
    for each in msgspec.json.decode(body[:at])["outputs"]:
        data = each.get("data")
        if data is None:
            size = each["parameters"]["binary_data_size"]
            data = np.frombuffer(body[at : at + size], DTYPES[each["datatype"]]).tolist()
            at += size
        found[each["name"]] = (each["datatype"], each["shape"], [round(value, 5) for value in data])
    return found


def rounds(rivals: Sequence[Rival], post: Post, connections: int, count: int, seconds: float, *, vary: bool = False) -> Runs:
    """Load on each in turn, `count` times (A B … A B …), after a warm-up of each."""
    runs: Runs = {rival.name: [] for rival in rivals}
    for rival in rivals:
        wrk(rival.port, post, connections, WARM_UP_S, vary=vary)
    for _ in range(count):
        for rival in rivals:
            before = cpu_seconds(rival.process.pid)
            load = wrk(rival.port, post, connections, seconds, vary=vary)
            runs[rival.name].append(Run(load, cpu_seconds(rival.process.pid) - before))
    return runs


def rates(runs: Runs, name: str) -> list[float]:
    """Requests per second of each round."""
    return [run.load.rps for run in runs[name]]


def seen(runs: Runs, name: str) -> str:
    """Medians. A server that is the bottleneck has its core to itself, or the figure is disturbed."""
    kept = runs[name]
    rps, p50, p99 = (median(getattr(run.load, field) for run in kept) for field in ("rps", "p50_us", "p99_us"))
    core = median(run.cpu / run.load.seconds for run in kept)
    disturbed = ": DISTURBED" if core < UNDISTURBED else ""
    return f"{name} {rps:,.0f} rps, p50/p99 {p50 / 1e3:.2f}/{p99 / 1e3:.2f} ms, {core:.0%} of the core{disturbed}"
