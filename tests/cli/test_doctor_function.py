"""`kfunc doctor DIR`: what one function needs of this machine."""

import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest

from kfunc.cli.doctor_function import function_findings, needed_runtimes, read
from kfunc.cli.doctor_local import VERSIONS, ended, start
from kfunc.config.load import load_function
from kfunc.handlers.accelerators.facts import Facts, Gpu
from kfunc.handlers.accelerators.selection import Offer
from kfunc.handlers.accelerators.survey import refusal
from tests.cli.conftest import FUNC_YAML, Command

NOWHERE = Facts((), {"nvidia": "no NVIDIA GPU here"})
GPU = Facts((Gpu("nvidia", "NVIDIA L4"),), {}, "580.95.05", (13, 0))


def found(folder: Path, more: str = "", model: str = "./model.onnx") -> list[tuple[str, str]]:
    """Verdicts and texts about a function's needs."""
    (folder / "func.yaml").write_text(FUNC_YAML.replace("./model.onnx", model) + more)
    function, problems = read(folder / "func.yaml")
    findings = problems if function is None else problems + list(function_findings(function, folder))
    return [(each.verdict, each.text) for each in findings]


def test_a_function_with_all_that_it_needs_has_no_findings(folder: Path) -> None:
    assert found(folder) == []


def test_a_model_that_is_not_there_is_bad(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    assert found(folder) == [("bad", f"inference.model.uri: there is no {folder}/model.onnx")]
    assert needed_runtimes(load_function(folder / "func.yaml"), folder) == ["onnx"]


def test_another_version_than_the_pinned_one_is_bad(folder: Path) -> None:
    ((verdict, text),) = found(folder, model="./model.onnx, runtime: onnx==1.2.3")
    assert (verdict, text.startswith("func.yaml wants onnxruntime 1.2.3 (inference.model.runtime), installed is ")) == (
        "bad",
        True,
    )


def test_an_accelerator_that_a_runtime_cannot_have_is_bad(folder: Path) -> None:
    ((verdict, text),) = found(folder, "  accelerator: rocm\n")
    assert (verdict, text.startswith("onnx: accelerator rocm is not available: ")) == ("bad", True)


def test_whether_code_uses_an_accelerator_is_a_note(folder: Path) -> None:
    (folder / "handler.py").write_text("def predict(a): return a")
    assert found(folder, "  accelerator: rocm\n", "./handler.py") == [
        ("note", "python: whether accelerator rocm is used is left to the model's own code")
    ]


def test_a_runtime_that_breaks_when_it_is_asked_is_bad(folder: Path) -> None:
    def start(*_: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-S", "-c", "raise SystemExit('no libgomp')"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    (folder / "func.yaml").write_text(FUNC_YAML + "  accelerator: cuda\n")
    (finding,) = function_findings(load_function(folder / "func.yaml"), folder, start)
    assert (finding.verdict, finding.text) == ("bad", "onnx: no libgomp")


def test_what_another_server_runs_is_not_looked_for(folder: Path) -> None:
    server = "  server: {kind: triton, image: example.com/triton:1, sidecar_image: example.com/kfunc:1}\n"
    assert found(folder, server, "pvc://models/iris") == []


@pytest.mark.parametrize(
    ("runtime", "wanted", "facts", "words"),
    [
        ("onnx", "cuda", GPU, ""),
        ("onnx", "cuda", NOWHERE, "no NVIDIA GPU here"),
        ("onnx", "rocm", GPU, "onnx as it is installed offers cuda, openvino, cpu"),
        ("onnx", "openvino", NOWHERE, ""),
        ("openvino", "openvino", NOWHERE, ""),
        ("sklearn", "cuda", GPU, "the runtime sklearn computes on the processor only"),
        ("python", "cuda", NOWHERE, ""),
    ],
)
def test_a_runtime_says_why_it_cannot_have_an_accelerator(runtime: str, wanted: str, facts: Facts, words: str) -> None:
    offers = [Offer("cuda", "nvidia"), Offer("openvino", "intel"), Offer("cpu")]
    told = refusal(runtime, wanted, facts, lambda _: offers)
    assert words in told
    assert bool(told) == bool(words)


@pytest.mark.integration
def test_doctor_tells_what_the_function_lacks(kfunc: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(folder / "none"))
    (folder / "model.onnx").unlink()
    result = kfunc("doctor", folder)
    assert (result.status, f"function\n  ✗ inference.model.uri: there is no {folder}/model.onnx" in result.out) == (1, True)


def test_nothing_of_the_functions_folder_is_run_or_imported(folder: Path) -> None:
    (folder / "onnxruntime.py").write_text("open('ran', 'w').close()\n")
    with chdir(folder):
        start(VERSIONS, "onnxruntime").communicate(timeout=60)
    assert not (folder / "ran").exists()


def test_a_look_that_is_left_leaves_no_process() -> None:
    process = start("import time; time.sleep(60)")
    with pytest.raises(KeyboardInterrupt), ended({"onnx": process}):
        raise KeyboardInterrupt
    assert process.poll() is not None
