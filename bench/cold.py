"""Cold starts of PyTorch and TensorFlow beside their bare import and load, and how fast large weights are read.

Their environments are those of `make test-runtimes`; without them there is nothing to measure.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.figures import Figure, interleaved, ratio
from bench.load import first_answer
from bench.pod import Plan
from bench.processes import ROOT, SERVER_CORE, BenchError, Process, free_port, running

TRIALS = 5
ENVIRONMENTS = ROOT / ".venv-runtimes"
FRAMEWORKS = {"torch": "huggingface", "tensorflow": "tensorflow"}
BARE = str(ROOT / "bench/servers/bare_framework.py")
WEIGHTS = str(ROOT / "bench/servers/large_weights.py")
MAKE = {
    "torch": "import torch, sys; net = torch.nn.Linear(4, 3); torch.jit.trace(net, torch.rand(1, 4)).save(sys.argv[1])",
    "tensorflow": (
        "import keras, sys; taken = keras.Input((4,), name='input'); "
        "keras.Model(taken, keras.layers.Dense(3)(taken)).export(sys.argv[1], verbose=False)"
    ),
}
BODY = b'{"instances": [[0.0, 0.0, 0.0, 0.0]]}'
PREDICT = b"POST /v1/models/iris:predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


def measure(plan: Plan) -> list[Figure]:
    """Ratios of start-up times, and of bytes per second."""
    figures: list[Figure] = []
    for framework, home in FRAMEWORKS.items():
        python = ENVIRONMENTS / home / "bin/python"
        if not python.exists():
            print(f"no environment for {framework}: make test-runtimes RUNTIMES={framework} makes one", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            figures.append(_start(framework, str(python), Path(folder)))
            if framework == "torch":
                figures.append(_weights(str(python), Path(folder)))
    return figures


def _start(framework: str, python: str, folder: Path) -> Figure:
    model = str(folder / ("m.pt" if framework == "torch" else "m"))
    subprocess.run([python, "-W", "ignore", "-c", MAKE[framework], model], check=True, capture_output=True)
    env = _environment({"model": {"name": "iris", "uri": model, "runtime": framework}})
    handler, bare = interleaved(TRIALS, [lambda: _handler(python, env), lambda: _bare(python, framework, model)])
    seen = f"{min(handler):.2f}–{max(handler):.2f} s; import, load and one call alone {min(bare):.2f}–{max(bare):.2f} s"
    return Figure(f"cold: {framework}, exec → first 200 on infer", ratio(handler, bare), "×", "≤", 1.3, seen)


def _environment(settings: dict[str, object]) -> dict[str, str]:
    return {"KFUNC_CONFIG": json.dumps(settings), "PYTHONPATH": str(ROOT)}


def _handler(python: str, env: dict[str, str]) -> float:
    port = free_port()
    command = [python, "-m", "kfunc.handlers", "--listen", f"127.0.0.1:{port}", "--manage", f"127.0.0.1:{free_port()}"]
    with running(command, env) as process:
        return first_answer(port, PREDICT, seconds=60) - process.started


def _bare(python: str, framework: str, model: str) -> float:
    process = Process([python, "-W", "ignore", BARE, framework, model], {}, SERVER_CORE, stdout=subprocess.PIPE)
    try:
        if process.popen.stdout is None or not process.popen.stdout.readline():
            raise BenchError(f"{framework} alone failed: {process.tail()}")
        return time.perf_counter() - process.started
    finally:
        process.end()


def _weights(python: str, folder: Path) -> Figure:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([python, WEIGHTS, "write", str(folder)], check=True, env=env)

    def load() -> float:
        return float(subprocess.run([python, WEIGHTS, "load", str(folder)], check=True, env=env, capture_output=True).stdout)

    def cat() -> float:
        subprocess.run([python, WEIGHTS, "drop", str(folder)], check=True, env=env)
        file = folder / "model.safetensors"
        began_at = time.perf_counter()
        subprocess.run(["cat", str(file)], check=True, stdout=subprocess.DEVNULL)
        return file.stat().st_size / (time.perf_counter() - began_at) / 1e9

    loads, cats = interleaved(TRIALS, [load, cat])
    seen = f"{min(loads):.2f}–{max(loads):.2f} GB/s; cat {min(cats):.2f}–{max(cats):.2f} GB/s; not in the page cache"
    return Figure("cold: weights of 2 GB, opened and all read", ratio(loads, cats), "×", "≥", 0.8, seen)
