"""200 small models in one process: the memory they take together, and what they cost the one that is asked."""

import http.client
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from bench.figures import Figure, interleaved, ratio
from bench.load import JSON, Post, wrk
from bench.pod import Plan, handler_command, start_ready
from bench.processes import BenchError, Process, free_port, pss_mb
from kfunc.config import pod
from kfunc.config.residency import Residency

MODELS = 200
MEMORY_MB = 512.0
WAIT_S = 30.0


def measure(plan: Plan) -> list[Figure]:
    """Memory after each model was asked once; then p99 of one of them, beside the same model in a process alone."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        crowd = _models(Path(folder, "crowd"), plan.model, MODELS)
        alone = _models(Path(folder, "alone"), plan.model, 1)
        many, many_port = stack.enter_context(_served(crowd))
        _, one_port = stack.enter_context(_served(alone))
        for name in sorted(each.name for each in crowd.iterdir()):
            _ask(many_port, name, plan.body)
        memory = pss_mb(many.pid)
        slow, quick = interleaved(plan.rounds, [lambda: _p99(many_port, plan), lambda: _p99(one_port, plan)])
        usual, least = interleaved(plan.rounds, [lambda: _p50(many_port, plan), lambda: _p50(one_port, plan)])
    middle = f"{min(usual):.0f} µs; alone {min(least):.0f} µs"
    seen = f"{min(slow):.0f} µs; alone {min(quick):.0f} µs"
    return [
        Figure(f"residents: {MODELS} models, all in memory", memory, "MB", "≤", MEMORY_MB, f"{memory / MODELS:.2f} MB a model"),
        Figure("residents: p99 of one of them", ratio(slow, quick), "×", "≤", 1.2, seen),
        Figure("residents: p50 of one of them", ratio(usual, least), "×", "≤", 1.2, middle),
    ]


def _models(folder: Path, model: str, count: int) -> Path:
    for number in range(count):
        place = folder / ("iris" if number == 0 else f"m{number:03}")
        place.mkdir(parents=True)
        shutil.copy(model, place / "model.onnx")
    return folder


@contextmanager
def _served(folder: Path) -> Iterator[tuple[Process, int]]:
    config = pod.PodConfig(
        function="iris",
        model=pod.PodModel(name="iris", uri=str(folder), threads=1),
        accelerator="cpu",
        residency=Residency(max_bytes=round(MEMORY_MB * 1e6), wait_s=WAIT_S),
    )
    port = free_port()
    with ExitStack() as stack:
        yield start_ready(stack, handler_command(f"127.0.0.1:{port}"), {pod.VARIABLE: pod.encode(config)}, port), port


def _ask(port: int, name: str, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", f"/v2/models/{name}/infer", body, JSON)
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    if answer.status != 200:
        raise BenchError(f"{name}: {answer.status} {msgspec.json.decode(told)}")


def _p99(port: int, plan: Plan) -> float:
    return wrk(port, Post(plan.body), 1, plan.seconds).p99_us


def _p50(port: int, plan: Plan) -> float:
    return wrk(port, Post(plan.body), 1, plan.seconds).p50_us
