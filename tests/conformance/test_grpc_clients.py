"""gRPC clients of others against a function: Triton's, plain and asyncio, KServe's, and gRPC's health and reflection.

They need other versions of our test packages, and Triton's and KServe's messages exclude one another: a script for each,
in an environment of its own, makes the calls; `make test` makes that environment.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.serving import ROOT, Served, serve

PYTHON = ROOT / ".venv-conformance/bin/python"
FOLDER = ROOT / "tests/conformance"

pytestmark = pytest.mark.integration

INTEGERS = [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
TRITON: dict[str, Any] = {
    "live": True,
    "ready": True,
    "model ready": True,
    "version ready": True,
    "server metadata": "kfunc",
    "model metadata": [{"name": "input", "datatype": "FP32", "shape": ["-1", "4"]}],
    "index": ["counter", "echo", "echo", "halves", "iris", "slow"],
    "infer": ["call-7", "1", ["label"]],
    "infer later": [2],
    "infer, large and compressed": True,
    "infer with headers": [2],
    **{f"echo {datatype}": True for datatype in ("BOOL", *INTEGERS, "FP16", "BF16", "FP32", "FP64", "BYTES")},
    "stream": [[0], [1], [2], "refused", [4]],
    "decoupled": [0, 1, 2, 3],
    "unload": None,
    "index, ready only": ["counter", "echo", "iris", "slow"],
    "load": None,
    "infer after load": True,
    "aio live": True,
    "aio infer": True,
    "aio metadata": "iris",
    "aio stream": [0, 0, 1, 0, 1, 2],
}
TRITON_REFUSED = {
    "other model": ("NOT_FOUND", "no model 'rose' here"),
    "other version": ("NOT_FOUND", "no version '7'"),
    "wrong shape": ("INVALID_ARGUMENT", "input 'input': shape [-1, 4] expected"),
    "load on the port of inference": ("NOT_FOUND", "management port"),
    "statistics": ("UNIMPLEMENTED", "ModelStatistics"),
    "out of time": ("DEADLINE_EXCEEDED", ""),
}
NUMBERS: dict[str, list[Any]] = {
    "BOOL": [True, False],
    **{datatype: [1, 100] for datatype in INTEGERS},
    "FP32": [0.5, -2.0],
    "FP64": [0.5, -2.0],
    "BYTES": ["flower", ""],
}
KSERVE: dict[str, Any] = {
    "live": True,
    "ready": True,
    "model ready": True,
    "infer": ["iris", "call-7", ["label", "probabilities"]],
    "infer, one output": [["label", [2]]],
    **{f"{each} {form}": [each, [1, 2], NUMBERS[each]] for each in NUMBERS for form in ("raw", "typed")},
    "FP16 raw": ["FP16", [1, 2], [0.5, -2.0]],
    "health": 1,
    "watched health": 1,
    "services": [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    ],
    "methods": [
        *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer", "ModelStreamInfer"),
        *("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
    ],
}
KSERVE_REFUSED = {
    "other model": ("NOT_FOUND", "no model 'rose' here"),
    "wrong shape": ("INVALID_ARGUMENT", "input 'input': shape [-1, 4] expected"),
}


@pytest.fixture(scope="module")
def own_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A function of this file's own: models are unloaded and loaded."""
    with serve(tmp_path_factory.mktemp("served")) as running:
        yield running


def answers(script: str, *arguments: str) -> dict[str, Any]:
    """What each call gave, by its name."""
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON.parent.parent.name} is missing: make test makes it")
    done = subprocess.run([PYTHON, FOLDER / script, *arguments], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def triton(own_served: Served) -> dict[str, Any]:
    return answers("triton_grpc_calls.py", own_served.address, own_served.management)


@pytest.fixture(scope="module")
def kserve(own_served: Served) -> dict[str, Any]:
    return answers("kserve_grpc_calls.py", own_served.address)


@pytest.mark.parametrize("call", TRITON)
def test_triton_s_calls_are_answered(triton: dict[str, Any], call: str) -> None:
    assert triton[call] == TRITON[call]


@pytest.mark.parametrize("call", TRITON_REFUSED)
def test_triton_s_wrong_calls_are_refused(triton: dict[str, Any], call: str) -> None:
    code, words = TRITON_REFUSED[call]
    assert triton[call]["status"] == f"StatusCode.{code}"
    assert words in triton[call]["message"]


@pytest.mark.parametrize("call", KSERVE)
def test_kserve_s_and_grpc_s_calls_are_answered(kserve: dict[str, Any], call: str) -> None:
    assert kserve[call] == KSERVE[call]


@pytest.mark.parametrize("call", KSERVE_REFUSED)
def test_kserve_s_wrong_calls_are_refused(kserve: dict[str, Any], call: str) -> None:
    code, words = KSERVE_REFUSED[call]
    assert kserve[call]["code"] == code
    assert words in kserve[call]["details"]


def test_every_call_of_the_scripts_is_looked_at(triton: dict[str, Any], kserve: dict[str, Any]) -> None:
    assert triton.keys() == TRITON.keys() | TRITON_REFUSED.keys()
    assert kserve.keys() == KSERVE.keys() | KSERVE_REFUSED.keys()


def test_the_descriptors_are_those_of_the_proto_files(tmp_path: Path) -> None:
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON.parent.parent.name} is missing: make test makes it")
    folder = ROOT / "kfunc/protocol/grpc"
    files = sorted(str(path.relative_to(folder / "proto")) for path in (folder / "proto").rglob("*.proto"))
    made = tmp_path / "descriptors.binpb"
    command = [str(PYTHON), "-m", "grpc_tools.protoc", f"-I{folder / 'proto'}", f"--descriptor_set_out={made}", *files]
    subprocess.run(command, check=True, timeout=60)
    assert made.read_bytes() == (folder / "descriptors.binpb").read_bytes()
