"""gRPC ModelInfer beside grpcio's own server and KServe's, the same prepared call by h2load; all answer it the same first.

The handler alone, and the whole chain for what a call costs there. The image is a tensor of 602 KB.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import grpc
import numpy as np

from bench.figures import Bound, Figure, ratio
from bench.h2 import COUNTS, RATE, Run
from bench.images import MODEL as IMAGE_MODEL
from bench.images import SHAPE
from bench.pod import FLOWER, Plan, handler_command, settings, start_chain
from bench.processes import BenchError, Process, cpu_seconds, free_port, python, running, wait_until
from bench.rivals import KSERVE
from kfunc.protocol.grpc.answer import decode_response
from kfunc.protocol.grpc.framing import frame
from kfunc.protocol.grpc.request import encode_request
from kfunc.protocol.messages import InferRequest, Tensor

METHOD = "/inference.GRPCInferenceService/ModelInfer"
FIELDS = ("-H", "content-type: application/grpc", "-H", "te: trailers")
KSERVE_OPTIONS = ("--enable_latency_logging", "false", "--configure_logging", "false")
LOADS = {"16 connections": ("-c16", "-m1"), "1 connection × 16 streams": ("-c1", "-m16")}
TINY_TARGETS: dict[str, tuple[Bound, float]] = {"grpcio": ("≥", 2.0), "KServe": ("≥", 5.0), "chain": ("", 0.0)}
IMAGE_TARGETS: dict[str, tuple[Bound, float]] = {"grpcio": ("≥", 1.0), "KServe": ("", 0.0)}
WARM_UP_S = 1
START_S = 60.0

Servers = dict[str, tuple[int, Process]]


def measure(plan: Plan) -> list[Figure]:
    """Ratios of rates: the tiny model in both loads, and the image."""
    tiny = np.array([FLOWER], np.float32)
    pixels = np.random.default_rng(1).random(SHAPE, np.float32)
    figures = []
    with tempfile.TemporaryDirectory() as path, ExitStack() as stack:
        servers = _start(stack, ("kfunc", "grpcio", "KServe", "chain"), plan.model, Path(path))
        body = _prepared(servers, tiny, Path(path) / "tiny")
        for name, load in LOADS.items():
            figures += _figures(f"tiny, {name}", _rounds(servers, body, load, plan), TINY_TARGETS)
    with tempfile.TemporaryDirectory() as path, ExitStack() as stack:
        servers = _start(stack, ("kfunc", "grpcio", "KServe"), str(IMAGE_MODEL), Path(path))
        body = _prepared(servers, pixels, Path(path) / "image")
        figures += _figures("image, 4 connections", _rounds(servers, body, ("-c4", "-m1"), plan), IMAGE_TARGETS)
    return figures


def _start(stack: ExitStack, names: Sequence[str], model: str, folder: Path) -> Servers:
    servers: Servers = {}
    env = settings(model) | {"KFUNC_PROTOCOLS": "v1,v2,grpc"}
    for name in names:
        port = free_port()
        address = f"127.0.0.1:{port}"
        if name == "chain":
            servers[name] = port, start_chain(stack, env, folder, port)["logger"]
            continue
        ports = ("--http_port", str(free_port()), "--grpc_port", str(port))
        commands = {
            "kfunc": handler_command(address),
            "grpcio": python("-m", "bench.servers.grpcio_app", address),
            "KServe": [str(KSERVE), "bench/servers/kserve_app.py", *ports, *KSERVE_OPTIONS],
        }
        if not Path(commands[name][0]).exists():
            raise BenchError(f"{commands[name][0]} is missing; `make bench` makes it")
        needed = env if name == "kfunc" else {"KFUNC_BENCH_MODEL": model}
        servers[name] = port, stack.enter_context(running(commands[name], needed))
    return servers


def _prepared(servers: Servers, array: "np.ndarray[Any, Any]", file: Path) -> Path:
    """The call as a body for h2load. Raises BenchError unless all answer it the same."""
    message = encode_request(InferRequest([Tensor("input", list(array.shape), "FP32", array.ravel())], model_name="iris"))
    file.write_bytes(frame(message))
    answers = {}
    for name, (port, process) in servers.items():
        wait_until(lambda port=port: _answers(port, message), process, START_S)  # type: ignore[misc]
        answers[name] = {
            output.name: np.round(_array(output), 5).tolist() for output in decode_response(_ask(port, message)).outputs
        }
    if any(answer != answers["kfunc"] for answer in answers.values()):
        raise BenchError(f"the servers answer differently: {answers}")
    return file


def _ask(port: int, message: bytes) -> bytes:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer: bytes = channel.unary_unary(METHOD)(message, timeout=5)
        return answer


def _answers(port: int, message: bytes) -> bool:
    try:
        _ask(port, message)
    except grpc.RpcError:
        return False
    return True


def _array(tensor: Tensor) -> "np.ndarray[Any, Any]":
    return np.frombuffer(tensor.data, np.int64 if tensor.datatype == "INT64" else np.float32)


def _rounds(servers: Servers, body: Path, load: tuple[str, ...], plan: Plan) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {name: [] for name in servers}
    for port, process in servers.values():
        _load(port, process, body, load, WARM_UP_S)
    for _ in range(plan.rounds):
        for name, (port, process) in servers.items():
            runs[name].append(_load(port, process, body, load, plan.seconds))
    return runs


def _load(port: int, process: Process, body: Path, load: tuple[str, ...], seconds: float) -> Run:
    if shutil.which("h2load") is None:
        raise BenchError("h2load is not installed: apt-get install nghttp2-client")
    before = cpu_seconds(process.pid)
    command = ["h2load", "-D", str(round(seconds)), *load, *FIELDS, "-d", str(body), f"http://127.0.0.1:{port}{METHOD}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    counts, rate = COUNTS.search(printed), RATE.search(printed)
    if counts is None or rate is None or int(counts[2]) or int(counts[3]) or not int(counts[1]):
        raise BenchError(f"h2load {' '.join(load)} failed: {printed[-1000:]}")
    return Run(float(rate[1]), (cpu_seconds(process.pid) - before) / int(counts[1]) * 1e6)


def _figures(load: str, runs: dict[str, list[Run]], targets: dict[str, tuple[Bound, float]]) -> list[Figure]:
    figures = []
    for name, (bound, target) in targets.items():
        value = ratio([run.rps for run in runs["kfunc"]], [run.rps for run in runs[name]])
        told = " · ".join(
            f"{each} {median(run.rps for run in runs[each]):,.0f} rps, {median(run.cpu_us for run in runs[each]):.0f} µs"
            for each in ("kfunc", name)
        )
        figures.append(Figure(f"grpc {load}: kfunc / {name}", value, "×", bound, target, told))
    return figures
