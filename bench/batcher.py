"""The batcher in front of a model that costs 5 ms and 0.1 ms a row, and of a tiny one.

Beside it in the same call: an ideal client that sends whole batches itself, MLServer's adaptive batching, the tiny
model in-process, a bare proxy.
"""

import http.client
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import msgspec
import numpy as np
import onnxruntime as ort

from bench.figures import Figure, interleaved, ratio
from bench.load import PATH, Load, Post, answers, post_exactly, wrk
from bench.models.slow.handler import CALL_S, ROW_S
from bench.pod import FLOWER, Plan, handler_command, settings, sidecar_command, start_inner, start_ready
from bench.processes import ROOT, BenchError, Process, cpu_seconds, free_port, pss_mb, python, running, wait_until
from bench.rivals import MLSERVER, START_S
from kfunc.config import pod

CONNECTIONS = 64
SIZES = (8, 16, 32, 64)
SLOW = ROOT / "bench" / "models" / "slow" / "handler.py"
QUIET = "/v2/models/iris/versions/1/infer"
QUIET_CALLS = 100
REQUESTS = 100_000
# The model makes one call at a time.
BATCHER = {"KFUNC_BATCHER_MAX_BATCH_SIZE": str(CONNECTIONS), "KFUNC_BATCHER_MAX_IN_FLIGHT": "1"}


def measure(plan: Plan) -> list[Figure]:
    """Throughput, tail, added latency, CPU, memory, fairness."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        return [*_slow(plan, stack), *_tiny(plan, stack, Path(folder))]


def rows(count: int) -> Post:
    """A request of that many rows."""
    tensor = {"name": "input", "shape": [count, 4], "datatype": "FP32", "data": FLOWER * count}
    return Post(msgspec.json.encode({"inputs": [tensor]}))


# ---- the model that costs something


def _slow(plan: Plan, stack: ExitStack) -> Iterator[Figure]:
    config = pod.decode(settings(plan.model))
    model = msgspec.structs.replace(config.model, uri=str(SLOW), runtime="python", execution="thread")
    env = {pod.VARIABLE: pod.encode(msgspec.structs.replace(config, model=model))}
    direct, front = free_port(), free_port()
    start_ready(stack, handler_command(f"127.0.0.1:{direct}"), env, direct)
    command = sidecar_command("batcher_sidecar", f"127.0.0.1:{front}", f"127.0.0.1:{direct}")
    start_ready(stack, command, {**env, **BATCHER}, front)
    rival = _mlserver(stack, plan.model)
    wrk(front, rows(1), CONNECTIONS, 2)
    ideal = {size: wrk(direct, rows(size), CONNECTIONS // size, plan.seconds).rps * size for size in SIZES}
    best = max(ideal, key=lambda size: ideal[size])
    loads: list[Load] = []

    def batched() -> float:
        loads.append(wrk(front, rows(1), CONNECTIONS, plan.seconds))
        return loads[-1].rps

    def by_itself() -> float:
        return wrk(direct, rows(best), CONNECTIONS // best, plan.seconds).rps * best

    def others() -> float:
        return wrk(rival, rows(1), CONNECTIONS, plan.seconds).rps if rival else 1.0

    ours, least, mlserver = interleaved(plan.rounds, [batched, by_itself, others])
    batch_ms = (CALL_S + ROW_S * best) * 1e3
    p50, p99 = (median(getattr(load, name) for load in loads) / 1e3 for name in ("p50_us", "p99_us"))
    beside = f"; MLServer {median(mlserver):,.0f}" if rival else ""
    seen = f"{median(ours):,.0f} rows/s; ideal client {median(least):,.0f} with batches of {best}{beside}"
    yield Figure("batcher: rows/s of the ideal client's, 64 connections", ratio(ours, least), "", "≥", 0.9, seen)
    yield Figure("batcher: p99 of the batch time", p99 / batch_ms, "×", "≤", 2.0, f"p50/p99 {p50:.1f}/{p99:.1f} ms")
    yield _alone(plan, direct, front, rival)
    yield _flood(direct, front)


def _alone(plan: Plan, direct: int, front: int, rival: int) -> Figure:
    """One connection: nothing to wait for."""
    ports = [direct, front, *([rival] if rival else [])]
    samples = interleaved(plan.rounds, [lambda port=port: wrk(port, rows(1), 1, plan.seconds).p50_us for port in ports])  # type: ignore[misc]
    added = median(b - a for a, b in zip(samples[0], samples[1], strict=True)) / 1e3
    names = ("direct", "batcher", "MLServer with batching")
    seen = ", ".join(f"{name} {median(kept) / 1e3:.2f}" for name, kept in zip(names, samples, strict=False))
    return Figure("batcher: p50 added, one connection", added, "ms", "≤", 0.25, f"{seen} ms")


def _flood(direct: int, front: int) -> Figure:
    """Calls of another model, one after the other, while the first is flooded."""
    alone = _quiet(front)
    shares: list[list[float]] = []
    for port in (front, direct):
        flood = threading.Thread(target=wrk, args=(port, rows(1), 256, 6))
        flood.start()
        time.sleep(1)
        shares.append(_quiet(port))
        flood.join()
    p99 = [sorted(kept)[-2] * 1e3 for kept in (alone, *shares)]
    seen = f"p99 {p99[0]:.1f} ms alone, {p99[1]:.1f} beside 256 connections; without the batcher {p99[2]:.1f}"
    return Figure(
        "batcher: another model's p99 in a flood, of two batch times", p99[1] / (2e3 * (CALL_S + ROW_S * 64)), "×", seen=seen
    )


def _quiet(port: int) -> list[float]:
    """Seconds of calls over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    kept = []
    for _ in range(QUIET_CALLS):
        began_at = time.perf_counter()
        connection.request("POST", QUIET, rows(1).body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise BenchError(f"answered {response.status}")
        kept.append(time.perf_counter() - began_at)
        if sum(kept) > 4:
            break
    connection.close()
    return kept


def _mlserver(stack: ExitStack, model: str) -> int:
    """The port of MLServer with its batching and a model of the same cost; 0 where it is not installed."""
    if not MLSERVER.exists():
        return 0
    port = free_port()
    env = {"KFUNC_BENCH_MODEL": model, "KFUNC_BENCH_SLOW": f"{CALL_S},{ROW_S},{CONNECTIONS}"}
    process = stack.enter_context(running([str(MLSERVER), "bench/servers/mlserver_app.py", str(port)], env))
    post = rows(1)
    wait_until(lambda: answers(port, "POST", PATH, post.body, post.fields), process, START_S)
    return port


# ---- the tiny model


def _tiny(plan: Plan, stack: ExitStack, folder: Path) -> Iterator[Figure]:
    env, handler = settings(plan.model), folder / "handler"
    start_inner(stack, handler_command(f"unix:{handler}"), env, handler)
    ports = {"batcher": free_port(), "bare proxy": free_port()}
    commands = {
        "batcher": sidecar_command("batcher_sidecar", f"127.0.0.1:{ports['batcher']}", f"unix:{handler}"),
        "bare proxy": python("-m", "bench.servers.bare_proxy", f"127.0.0.1:{ports['bare proxy']}", str(handler)),
    }
    processes = {name: start_ready(stack, command, env, ports[name]) for name, command in commands.items()}
    loads: dict[str, list[Load]] = {name: [] for name in ports}

    def spend(name: str) -> float:
        before = cpu_seconds(processes[name].pid)
        load = wrk(ports[name], Post(plan.body), CONNECTIONS, plan.seconds)
        loads[name].append(load)
        return (cpu_seconds(processes[name].pid) - before) / load.requests * 1e6

    ours, bare = interleaved(plan.rounds, [lambda: spend("batcher"), lambda: spend("bare proxy")])
    rates = ", ".join(f"{name} {median(load.rps for load in kept):,.0f} requests/s" for name, kept in loads.items())
    seen = f"least {min(ours):.1f}; bare proxy {median(bare):.1f}; {rates}; in-process {_in_process(plan):,.0f} rows/s"
    yield Figure("batcher: CPU per request, tiny model, 64 connections", median(ours), "µs", "≤", 15.0, seen)
    yield _memory(plan, ports["batcher"], processes["batcher"])


def _in_process(plan: Plan) -> float:
    """Rows/s of onnxruntime alone at the best of SIZES."""
    session = ort.InferenceSession(plan.model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    best = 0.0
    for size in SIZES:
        values = np.array([FLOWER] * size, np.float32)
        began_at = time.perf_counter()
        for _ in range(500):
            session.run(None, {name: values})
        best = max(best, 500 * size / (time.perf_counter() - began_at))
    return best


def _memory(plan: Plan, port: int, process: Process) -> Figure:
    before = pss_mb(process.pid)
    post_exactly(port, plan.body, REQUESTS, CONNECTIONS)
    after = pss_mb(process.pid)
    return Figure("batcher: PSS", after, "MB", "≤", 50.0, f"{before:.1f} before {REQUESTS:,} requests more, {after:.1f} after")
