"""onnxruntime's providers: what a build offers, the options one gets; and models whose weights lie in files of their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kfunc.errors import ModelLoadError
from kfunc.handlers.accelerators.facts import Facts, Gpu
from kfunc.handlers.accelerators.selection import select
from kfunc.handlers.onnx_providers import engines, offers, prepare, providers, refuse_compiled
from kfunc.handlers.opening import load_handler
from kfunc.protocol.messages import TensorSpec
from tests.handlers.conftest import ROOT

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
MIGRAPHX, OPENVINO, COREML = "MIGraphXExecutionProvider", "OpenVINOExecutionProvider", "CoreMLExecutionProvider"
NVIDIA = Facts((Gpu("nvidia", "NVIDIA L4", "GPU-1", 24 * 2**30, (8, 9)),), {}, "580.95.05", (13, 0))
AMD, INTEL, APPLE = (Facts((Gpu(vendor, "x"),)) for vendor in ("amd", "intel", "apple"))
NONE = Facts()
Configured = Callable[..., Any]


@pytest.mark.parametrize(
    ("available", "facts", "wanted", "candidates"),
    [
        ([CUDA, CPU], NVIDIA, "auto", ("cuda", "cpu")),
        ([TENSORRT, CUDA, CPU], NVIDIA, "auto", ("cuda", "cpu")),  # no engine is there yet
        ([TENSORRT, CUDA, CPU], NVIDIA, "tensorrt", ("tensorrt",)),
        ([MIGRAPHX, CPU], AMD, "auto", ("migraphx", "cpu")),
        ([OPENVINO, CPU], INTEL, "auto", ("openvino", "cpu")),
        ([OPENVINO, CPU], NONE, "auto", ("cpu",)),
        ([OPENVINO, CPU], NONE, "openvino", ("openvino",)),  # it computes on processors too
        ([COREML, CPU], APPLE, "auto", ("coreml", "cpu")),
        ([CPU], NVIDIA, "auto", ("cpu",)),
    ],
)
def test_a_builds_providers_are_tried_where_the_machine_has_what_they_need(
    available: list[str], facts: Facts, wanted: str, candidates: tuple[str, ...], tmp_path: Path
) -> None:
    assert (
        select(wanted, offers(engines(tmp_path / "m.onnx"), wanted, available), facts, "onnxruntime").candidates == candidates
    )


def test_tensorrt_is_tried_first_where_an_engine_is_there(tmp_path: Path) -> None:
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines/TensorrtExecutionProvider_x.engine").touch()
    found = offers(engines(tmp_path / "m.onnx"), "auto", [TENSORRT, CUDA, CPU])
    assert select("auto", found, NVIDIA, "onnxruntime").candidates == ("tensorrt", "cuda", "cpu")


def test_a_provider_gets_its_options_and_the_cpu_behind_it() -> None:
    path = Path("/models/engines")
    assert providers("cpu", path, 0) == [(CPU, {})]
    cuda = {"gpu_mem_limit": str(2 * 2**30), "arena_extend_strategy": "kSameAsRequested"}
    assert providers("cuda", path, 2048) == [(CUDA, cuda), (CPU, {})]
    engine = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": "/models/engines"}
    assert providers("tensorrt", path, 0)[0] == (TENSORRT, engine)
    assert [name for name, _ in providers("tensorrt", path, 0)] == [TENSORRT, CUDA, CPU]
    assert providers("migraphx", path, 1) == [(MIGRAPHX, {"migraphx_mem_limit": str(2**20)}), (CPU, {})]
    assert providers("openvino", path, 0) == [(OPENVINO, {"device_type": "GPU"}), (CPU, {})]
    assert providers("openvino", path, 0, gpu=False) == [(OPENVINO, {"device_type": "CPU"}), (CPU, {})]


def test_engines_that_came_with_a_foreign_model_do_not_count(tmp_path: Path) -> None:
    """Opening one runs native code."""
    (tmp_path / "content/engines").mkdir(parents=True)
    (tmp_path / "content/engines/TensorrtExecutionProvider_x.engine").touch()
    own = engines(tmp_path / "content/m.onnx", str(tmp_path / "built"))
    available = [TENSORRT, CUDA, CPU]
    assert select("auto", offers(own, "auto", available), NVIDIA, "onnxruntime").candidates == ("cuda", "cpu")
    assert own.parent.parent == tmp_path / "built"
    assert own != engines(tmp_path / "content/other.onnx", str(tmp_path / "built"))
    prepare("tensorrt", own)
    assert own.parent.is_dir()  # onnxruntime makes one folder, and none above it
    own.mkdir()
    (own / "TensorrtExecutionProvider_x.engine").touch()  # built here
    assert select("auto", offers(own, "auto", available), NVIDIA, "onnxruntime").candidates == ("tensorrt", "cuda", "cpu")


def test_a_foreign_model_with_compiled_code_in_it_is_refused_where_that_would_run(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    node = helper.make_node("EPContext", [], ["y"], domain="com.microsoft", embed_mode=1, ep_cache_context=b"engine")
    graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(ModelLoadError, match="holds EPContext, native code that tensorrt would run; export it without, or"):
        refuse_compiled("tensorrt", path)
    refuse_compiled("cuda", path)  # it has no such node
    refuse_compiled("tensorrt", ROOT / "examples/iris/model.onnx")


# ---- external data


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """A model whose weights are in m.onnx.data, with a first dimension of any size."""
    weights = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "model" / "m.onnx"
    path.parent.mkdir()
    onnx.save_model(model, path, save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    return path


def test_a_model_with_weights_beside_it_is_served_at_any_number_of_rows(external: Path, configured: Configured) -> None:
    handler = load_handler(configured(str(external)))
    assert handler.inputs == [TensorSpec("x", "FP32", [-1, 4])]
    for rows in (1, 3, 8):
        answer = handler.predict({"x": np.ones((rows, 4), np.float32)})
        assert answer["y"].tolist() == [[18.0, 22.0, 26.0]] * rows


def test_a_model_whose_weights_are_missing_is_refused(external: Path, configured: Configured) -> None:
    (external.parent / "m.onnx.data").unlink()
    with pytest.raises(ModelLoadError, match=rf"^{external}: onnxruntime cannot open it: .*m\.onnx\.data"):
        load_handler(configured(str(external)))


def test_half_of_the_weights_are_refused(external: Path, configured: Configured) -> None:
    data = external.parent / "m.onnx.data"
    os.truncate(data, data.stat().st_size // 2)
    with pytest.raises(ModelLoadError, match=rf"^{external}: onnxruntime cannot open it: "):
        load_handler(configured(str(external)))


def test_weights_outside_of_the_models_folder_are_not_read(external: Path, configured: Configured) -> None:
    (external.parent / "m.onnx.data").rename(external.parents[1] / "outside.data")
    model = onnx.load(external, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../outside.data"
    external.write_bytes(model.SerializeToString())
    with pytest.raises(ModelLoadError, match=rf"^{external}: onnxruntime cannot open it: "):
        load_handler(configured(str(external)))


def test_onnxruntime_tells_nobody_of_its_start(tmp_path: Path) -> None:
    code = "import sys; from kfunc.handlers.onnx import ort; ort.InferenceSession(sys.argv[1])"
    own = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", code, str(ROOT / "examples/iris/model.onnx")]
    said = subprocess.run(command, env=own | {"HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert (said.stderr, list(tmp_path.rglob("*"))) == ("", [])
