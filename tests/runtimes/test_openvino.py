"""The runtime openvino on models that OpenVINO wrote."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from kfunc.errors import ModelLoadError
from kfunc.handlers.layout import detect
from kfunc.handlers.loaded import LoadedModel
from kfunc.handlers.opening import load_handler
from kfunc.handlers.openvino import offers
from kfunc.protocol.messages import TensorSpec

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
Configured = Callable[..., Any]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rows = ops.parameter([-1, 4], np.float32, name="flowers")
    classes = ops.softmax(ops.matmul(rows, ops.constant(WEIGHTS), False, False), axis=1)
    rows.output(0).set_names({"flowers"})
    classes.output(0).set_names({"classes"})
    ov.save_model(ov.Model([classes], [rows], "m"), tmp_path / "m.xml", compress_to_fp16=False)
    return tmp_path / "m.xml"


def softmax(rows: Any) -> Any:
    scores = np.exp(np.asarray(rows, np.float32) @ WEIGHTS)
    return scores / scores.sum(1, keepdims=True)


def test_the_model_answers_v1_and_v2(model: Path, caller: Callable[..., Any], configured: Configured) -> None:
    config = configured(str(model), detect(model)[0])
    asked = caller(LoadedModel(config, load_handler(config)))
    status, answer = asked.infer({"name": "flowers", "shape": [2, 4], "datatype": "FP32", "data": ROWS})
    assert status == 200, answer
    np.testing.assert_allclose(np.reshape(answer["outputs"][0]["data"], (2, 3)), softmax(ROWS), rtol=1e-4)
    status, answer = asked.ask("POST", "/v1/models/iris:predict", {"instances": ROWS})
    np.testing.assert_allclose(answer["predictions"], softmax(ROWS), rtol=1e-4)
    assert asked.ask("GET", "/v2/models/iris")[1]["parameters"] == {"accelerator": "cpu"}


def test_the_metadata_are_the_models(model: Path, configured: Configured) -> None:
    handler = load_handler(configured(str(model), "openvino"))
    assert handler.inputs == [TensorSpec("flowers", "FP32", [-1, 4])]
    assert handler.outputs == [TensorSpec("classes", "FP32", [-1, 3])]


def test_threads_do_not_get_one_anothers_answers(model: Path, configured: Configured) -> None:
    handler = load_handler(configured(str(model), "openvino"))
    rows = [np.full((1, 4), number / 10, np.float32) for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: handler.predict({"flowers": row})["classes"], rows))
    for row, answer in zip(rows, found, strict=True):
        np.testing.assert_allclose(answer, softmax(row), rtol=1e-3)


def test_a_model_without_its_weights_is_refused(model: Path, configured: Configured) -> None:
    model.with_suffix(".bin").unlink()
    with pytest.raises(ModelLoadError, match=f"^{model}: OpenVINO cannot open it: "):
        load_handler(configured(str(model), "openvino"))


def test_half_a_file_is_refused(model: Path, configured: Configured) -> None:
    model.write_bytes(model.read_bytes()[:400])
    with pytest.raises(ModelLoadError, match=f"^{model}: OpenVINO cannot open it: "):
        load_handler(configured(str(model), "openvino"))


def test_the_accelerator_openvino_takes_the_best_device_that_it_finds(model: Path, configured: Configured) -> None:
    choice = load_handler(configured(str(model), "openvino", accelerator="openvino")).choice
    assert choice is not None
    assert choice.accelerator == "cpu"
    assert choice.why.startswith(("xpu: no Intel GPU here", "xpu: OpenVINO finds only CPU"))


@pytest.mark.parametrize(("devices", "usable"), [(["CPU"], False), (["CPU", "GPU.0", "GPU.1"], True), (["CPU", "GPU"], True)])
def test_a_gpu_is_offered_where_openvino_finds_one(devices: list[str], usable: bool) -> None:
    assert (offers(devices)[0].unavailable == "") is usable
