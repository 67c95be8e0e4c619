"""Somebody else's server behind the batcher: MLServer, which speaks V2 alone, and one that speaks V1 alone."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
START_S = 60.0
MODEL = """
import numpy as np
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

class Sums(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (tensor,) = payload.inputs
        sums = np.array(tensor.data.root, np.float64).reshape(tensor.shape).sum(1)
        outputs = [
            ResponseOutput(name="sum", datatype="FP64", shape=[len(sums)], data=sums.tolist()),
            ResponseOutput(name="text", datatype="BYTES", shape=[len(sums)], data=[f"{each:g}" for each in sums]),
        ]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
"""
SETTINGS = {
    "name": "flowers",
    "implementation": "sums.Sums",
    "parameters": {"version": "1"},
    "inputs": [{"name": "rows", "datatype": "FP64", "shape": [-1, 2]}],
}
V1_ONLY = "def predict(rows): return rows.sum(axis=1)\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], folder: Path, **variables: str) -> Iterator[None]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("KFUNC_")}
    process = subprocess.Popen(command, cwd=folder, env={**own, "PYTHONPATH": f"{ROOT}:{folder}", **variables})
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def ask(port: int, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def wait_until_ready(port: int, path: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            if ask(port, path)[0] == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, "the server does not become ready"
        time.sleep(0.1)


@contextmanager
def batcher(upstream: int, speaks: str, folder: Path) -> Iterator[int]:
    port = free_port()
    settings = {"upstream_speaks": speaks, "batcher": {"max_batch_size": 8}, "model": {"name": "flowers"}}
    command = [sys.executable, "-m", "kfunc.batcher_sidecar", "--listen", f"127.0.0.1:{port}"]
    command += ["--upstream", f"127.0.0.1:{upstream}", "--manage", f"127.0.0.1:{free_port()}"]
    with running(command, folder, KFUNC_CONFIG=json.dumps(settings)):
        yield port


@pytest.fixture(scope="module")
def mlserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder, port = tmp_path_factory.mktemp("mlserver"), free_port()
    (folder / "sums.py").write_text(MODEL)
    (folder / "model-settings.json").write_text(json.dumps(SETTINGS))
    own = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 0}
    (folder / "settings.json").write_text(json.dumps(own))
    command = [str(Path(sys.executable).with_name("mlserver")), "start", "."]
    with running(command, folder), batcher(port, "v2", folder) as front:
        wait_until_ready(front, "/v1/models/flowers")
        yield front


@pytest.fixture(scope="module")
def v1_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder, port = tmp_path_factory.mktemp("v1"), free_port()
    (folder / "handler.py").write_text(V1_ONLY)
    settings = {"protocols": ["v1"], "model": {"name": "flowers", "uri": str(folder), "runtime": "python"}}
    command = [sys.executable, "-m", "kfunc.handlers", "--listen", f"127.0.0.1:{port}", "--manage", f"127.0.0.1:{free_port()}"]
    with running(command, folder, KFUNC_CONFIG=json.dumps(settings)), batcher(port, "v1", folder) as front:
        wait_until_ready(front, "/v2/health/ready")
        yield front


def test_mlserver_answers_v1_through_the_batcher(mlserver: int) -> None:
    assert ask(mlserver, "/v1/models/flowers:predict", {"instances": [[1, 2], [3, 4]]}) == (
        200,
        {"predictions": [{"sum": 3.0, "text": "3"}, {"sum": 7.0, "text": "7"}]},
    )
    assert ask(mlserver, "/v1/models/flowers:predict", {"inputs": [[1, 2]]}) == (
        200,
        {"outputs": {"sum": [3.0], "text": ["3"]}},
    )


def test_mlserver_answers_its_own_v2_as_before(mlserver: int) -> None:
    rows = {"name": "rows", "datatype": "FP64", "shape": [1, 2], "data": [1, 2]}
    status, answer = ask(mlserver, "/v2/models/flowers/infer", {"inputs": [rows]})
    assert (status, answer["outputs"][0]["data"]) == (200, [3.0])


def test_mlservers_errors_reach_callers_of_v1(mlserver: int) -> None:
    assert ask(mlserver, "/v1/models/roses:predict", {"instances": [1]})[0] == 404


def test_a_server_of_v1_answers_v2_through_the_batcher(v1_only: int) -> None:
    rows = {"name": "rows", "datatype": "FP64", "shape": [2, 2], "data": [1.5, 2, 3, 4]}
    status, answer = ask(v1_only, "/v2/models/flowers/infer", {"id": "7", "inputs": [rows]})
    assert (status, answer["id"]) == (200, "7")
    assert answer["outputs"] == [{"name": "output-0", "datatype": "FP64", "shape": [2], "data": [3.5, 7.0]}]


def test_a_server_of_v1_says_in_v2_whether_it_is_ready(v1_only: int) -> None:
    assert ask(v1_only, "/v2/models/flowers/ready") == (200, {"name": "flowers", "ready": True})
    assert ask(v1_only, "/v2/models/roses/ready")[0] == 404
