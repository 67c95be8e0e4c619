"""`kfunc deploy` and `kfunc status` say why a function does not come up, in the terms of whoever wrote its func.yaml."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.cluster import Namespace

FUNC_YAML = """\
specVersion: 0.36.0
name: broken
runtime: python
{top}
deploy:
  options:
    scale: {{min: 0, max: 1}}
    resources: {{requests: {{cpu: 50m, memory: 64Mi}}, limits: {{cpu: "1", memory: {memory}}}}}
inference:
  model: {{uri: {uri}}}
{inference}
"""
HANDLER = '''\
"""Does on loading what the variable BREAK says."""

import os
import time

import numpy as np

from kfunc.handlers.contract import Handler
from kfunc.protocol.messages import TensorSpec


class Broken(Handler):
    """Never gets far."""

    inputs = [TensorSpec("x", "FP32", [-1, 1])]
    outputs = [TensorSpec("y", "FP32", [-1, 1])]

    def load(self, path):
        way = os.environ.get("BREAK", "")
        print("loading, to break by", way, flush=True)
        if way == "crash":
            os._exit(3)
        if way == "memory":
            self.kept = [np.ones(8 * 1024 * 1024) for _ in range(100)]
        if way == "sleep":
            time.sleep(3600)

    def predict(self, inputs):
        return {"y": inputs["x"]}
'''


class Broken(NamedTuple):
    """What is wrong, and what must be said of it."""

    name: str
    code: str
    said: str
    top: str = ""
    memory: str = "256Mi"
    uri: str = "."
    inference: str = ""
    options: tuple[str, ...] = ("--timeout", "90")


def variable(way: str) -> str:
    return f"run: {{envs: [{{name: BREAK, value: {way}}}]}}"


CASES = [
    Broken("image", "image-pull", "is not in its registry", options=("--timeout", "60", "--image", "{registry}/e2e/none:1")),
    Broken("crash", "crash-loop", "the container handler ended with exit status 3", top=variable("crash")),
    Broken("model", "bad-model", "the handler refuses to start: ", uri="./model.onnx"),  # which its image does not have
    Broken("package", "missing-package", "runtime onnx needs onnxruntime", uri="./model.onnx"),
    Broken("memory", "out-of-memory", "it needs more memory than its limit (256Mi)", top=variable("memory")),
    Broken("gpu", "unschedulable", "no node has nvidia.com/gpu free", inference="  gpu: {count: 1}"),
    Broken("sleep", "never-ready", "not ready after 15 s, still loading", top=variable("sleep"), options=("--timeout", "15")),
    Broken("secret", "missing-object", "the namespace has no Secret none", inference="  storage: {env_secret: none}"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A function that breaks as it is told, and a model that is none."""
    made = tmp_path_factory.mktemp("broken")
    (made / "handler.py").write_text(HANDLER)
    (made / "model.onnx").write_text("no model")
    return made


@pytest.fixture(scope="module")
def image(folder: Path, build: Callable[..., str]) -> str:
    (folder / "func.yaml").write_text(text(CASES[0]))
    return build(folder, "broken")


def text(case: Broken) -> str:
    return FUNC_YAML.format(top=case.top, memory=case.memory, uri=case.uri, inference=case.inference)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_deployment_that_cannot_work_ends_with_its_cause(
    case: Broken, folder: Path, image: str, iris_image: str, kfunc: Callable[..., str], namespace: Namespace
) -> None:
    (folder / "func.yaml").write_text(text(case))
    options = [option.format(registry=namespace.cluster.registry) for option in case.options]
    used = iris_image if case.name == "model" else image
    given = options if "--image" in options else [*options, "--image", used]
    command = [sys.executable, "-m", "kfunc", "deploy", str(folder), "-n", namespace.name, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert case.said in done.stderr
    if case.code == "never-ready":  # nothing is wrong that status could know of
        return
    told = json.loads(kfunc("status", "broken", "-n", namespace.name, "--output", "json", status=1))
    assert case.code in [cause["code"] for cause in told["causes"]], told


def test_a_quota_that_is_used_up_is_named(folder: Path, image: str, namespace: Namespace) -> None:
    hard = {"limits.memory": "128Mi", "limits.cpu": "8"}
    namespace.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": hard}})
    queue_proxy = "  resources: {queue_proxy: {limits: {cpu: 100m, memory: 64Mi}}}"
    (folder / "func.yaml").write_text(text(Broken("quota", "quota", "", inference=queue_proxy)))
    command = [sys.executable, "-m", "kfunc", "deploy", str(folder), "-n", namespace.name, "--image", image, "--timeout", "60"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "exceeded quota: small" in done.stderr) == (1, True), done.stderr
