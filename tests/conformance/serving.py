"""The function that foreign clients ask: `kfunc run` with the whole chain, five models, one of them in two versions."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_S = 30.0
FUNC_YAML = """\
specVersion: 0.36.0
name: echo
runtime: python
inference:
  model: {uri: ./models, name: echo}
  model_management: true
  grace_s: 5
  batcher: {max_batch_size: 32, max_latency_ms: 5}
  logger: {mode: all}
"""
# The older version answers with the same tensors too; only its number tells it from the newer one.
ECHO = """\
import kfunc


class Echo(kfunc.Handler):
    def predict(self, inputs):
        return dict(inputs)

    def explain(self, inputs):
        return {f"{name} explained": value for name, value in inputs.items()}
"""
# numpy has no BF16: what is one, only a model that says so can tell.
HALVES = """\
import kfunc


class Halves(kfunc.Handler):
    inputs = outputs = [kfunc.TensorSpec("x", "BF16", [-1, -1])]

    def predict(self, inputs):
        return dict(inputs)
"""
# Answers in parts, and a model that takes its time.
COUNTER = """\
import numpy as np


def predict(n):
    for index in range(int(n[0])):
        yield {"index": np.array([index])}
"""
SLOW = """\
import time


def predict(x):
    time.sleep(1.5)
    return x
"""


class Served:
    """Addresses of a function that runs."""

    def __init__(self, url: str, management: str, batcher: str) -> None:
        self.url = url
        self.address = url.removeprefix("http://")
        self.management = management  # the handler's
        self.batcher = batcher  # its management address


@contextmanager
def serve(folder: Path) -> Iterator[Served]:
    """`kfunc run` on free ports until the block ends; it must end well then."""
    (folder / "func.yaml").write_text(FUNC_YAML)
    for version in ("1", "2"):
        (folder / "models/echo" / version).mkdir(parents=True)
        (folder / "models/echo" / version / "handler.py").write_text(ECHO)
    (folder / "models/halves").mkdir()
    (folder / "models/halves/handler.py").write_text(HALVES)
    for name, text in (("counter", COUNTER), ("slow", SLOW)):
        (folder / "models" / name).mkdir()
        (folder / "models" / name / "handler.py").write_text(text)
    (folder / "models/iris/1").mkdir(parents=True)
    shutil.copyfile(ROOT / "examples/iris/model.onnx", folder / "models/iris/1/model.onnx")
    command = [sys.executable, "-m", "kfunc", "run", str(folder), "--port", "0"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    output = folder / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environ)
    try:
        yield _ready(process, output)
    finally:
        process.terminate()
        try:
            status = process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
    assert status == 0, output.read_text()


def _ready(process: "subprocess.Popen[bytes]", output: Path) -> Served:
    deadline = time.monotonic() + START_S
    while "ready: http" not in output.read_text():
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.02)
    lines = output.read_text().splitlines()
    url = next(line for line in lines if line.startswith("ready: ")).removeprefix("ready: ")
    addresses = next(line for line in lines if line.startswith("metrics: "))
    handler, batcher = (addresses.partition(f"{name} http://")[2].partition("/")[0] for name in ("handler", "batcher"))
    return Served(url.strip(), handler, batcher)
