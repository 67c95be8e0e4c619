"""From exec to work: the handler and each sidecar, beside a bare script that does the unavoidable."""

import compileall
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.figures import Bound, Figure, interleaved, ratio
from bench.load import first_answer, first_connect, infer_request
from bench.pod import BARE_SESSION, Plan, handler_command, settings, sidecar_command
from bench.processes import ROOT, SERVER_CORE, BenchError, Process, free_port, running, serving_python

TRIALS = 15
SIDECARS = ("batcher_sidecar", "logger_sidecar")
BARE_LISTEN = str(Path(__file__).parent / "servers" / "bare_listen.py")


def measure(plan: Plan) -> list[Figure]:
    """Ratios of start-up times, medians of interleaved trials, with .pyc files present."""
    for package in ("kfunc", "bench"):
        compileall.compile_dir(str(ROOT / package), quiet=2)
    env = settings(plan.model)
    with tempfile.TemporaryDirectory() as folder:
        bare_session, bare_listen, handler, ceiling, *sidecars = interleaved(
            TRIALS,
            [
                lambda: _bare_session(plan.model),
                _bare_listen,
                lambda: _handler(env, plan.body),
                lambda: _ceiling(plan),
                *(lambda name=name: _sidecar(name, env, Path(folder)) for name in SIDECARS),
            ],
        )
    alone = "onnxruntime and session alone"
    figures = [
        _figure("handler, exec → first 200 on infer", handler, bare_session, alone),
        _figure("the ceiling, which has no target", ceiling, bare_session, alone, bound=""),
    ]
    for name, samples in zip(SIDECARS, sidecars, strict=True):
        figures.append(_figure(f"{name}, exec → accepts", samples, bare_listen, "imports and listen alone"))
    return figures


def _figure(name: str, samples: list[float], floor: list[float], what: str, bound: Bound = "≤") -> Figure:
    took, least = median(samples) * 1e3, median(floor) * 1e3
    seen = f"{took:.0f} ms ({min(samples) * 1e3:.0f}–{max(samples) * 1e3:.0f}); {what} {least:.0f} ms"
    return Figure(f"startup: {name}", ratio(samples, floor), "×", bound, 1.4, seen)


def _bare_session(model: str) -> float:
    """Seconds from exec until the script says that the session is open."""
    process = Process(serving_python(BARE_SESSION, model), {}, SERVER_CORE, stdout=subprocess.PIPE)
    try:
        assert process.popen.stdout is not None
        if not process.popen.stdout.readline():
            raise BenchError(f"the bare session failed: {process.tail()}")
        return time.perf_counter() - process.started
    finally:
        process.end()


def _bare_listen() -> float:
    port = free_port()
    with running(serving_python(BARE_LISTEN, str(port))) as process:
        return first_connect(port) - process.started


def _handler(env: dict[str, str], body: bytes) -> float:
    port = free_port()
    with running(handler_command(f"127.0.0.1:{port}"), env) as process:
        return first_answer(port, infer_request(body)) - process.started


def _ceiling(plan: Plan) -> float:
    """asyncio, uvloop, httptools and orjson beside the session, and nothing else."""
    port = free_port()
    with running(serving_python("-m", "bench.servers.ceiling", f"127.0.0.1:{port}", plan.model)) as process:
        return first_answer(port, infer_request(plan.body)) - process.started


def _sidecar(name: str, env: dict[str, str], folder: Path) -> float:
    """Nothing is upstream: a sidecar must not wait for it."""
    port = free_port()
    with running(sidecar_command(name, f"127.0.0.1:{port}", f"unix:{folder}/absent"), env) as process:
        return first_connect(port) - process.started
