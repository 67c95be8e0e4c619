"""The runtime paddle on models that Paddle wrote."""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it looks for a compiler's cache
    import paddle

from kfunc.errors import ModelLoadError
from kfunc.handlers.layout import find_models
from kfunc.handlers.loaded import LoadedModel
from kfunc.handlers.opening import load_handler
from kfunc.protocol.messages import TensorSpec

pytestmark = pytest.mark.filterwarnings("default")
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
Configured = Callable[..., Any]


class Net(paddle.nn.Layer):  # type: ignore[misc]
    """Four numbers → three probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = paddle.nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        return paddle.nn.functional.softmax(self.layer(x), axis=1)


@pytest.fixture(scope="module")
def net() -> Any:
    paddle.seed(7)
    made = Net()
    made.eval()
    return made


@pytest.fixture
def model(net: Any, tmp_path: Path) -> Path:
    paddle.jit.save(net, str(tmp_path / "m"), input_spec=[paddle.static.InputSpec([None, 4], "float32", name="flowers")])
    return tmp_path / "m.pdiparams"


def expected(net: Any, rows: Any) -> Any:
    return net(paddle.to_tensor(np.asarray(rows, np.float32))).numpy()


def test_a_folder_with_the_model_answers_v1_and_v2(
    model: Path, net: Any, caller: Callable[..., Any], configured: Configured
) -> None:
    (found,) = find_models(model.parent, "iris", "1")
    config = configured(str(found.path), found.runtime)
    asked = caller(LoadedModel(config, load_handler(config)))
    status, answer = asked.infer({"name": "flowers", "shape": [2, 4], "datatype": "FP32", "data": ROWS})
    assert status == 200, answer
    np.testing.assert_allclose(np.reshape(answer["outputs"][0]["data"], (2, 3)), expected(net, ROWS), rtol=1e-4)
    status, answer = asked.ask("POST", "/v1/models/iris:predict", {"instances": ROWS})
    np.testing.assert_allclose(answer["predictions"], expected(net, ROWS), rtol=1e-4)
    assert asked.ask("GET", "/v2/models/iris")[1]["parameters"] == {"accelerator": "cpu"}


def test_the_metadata_are_the_models(model: Path, configured: Configured) -> None:
    handler = load_handler(configured(str(model), "paddle"))
    assert handler.inputs == [TensorSpec("flowers", "FP32", [-1, 4])]
    assert [(spec.datatype, list(spec.shape)) for spec in handler.outputs] == [("FP32", [-1, 3])]


def test_threads_do_not_get_one_anothers_answers(model: Path, net: Any, configured: Configured) -> None:
    handler = load_handler(configured(str(model), "paddle"))
    rows = [np.full((1, 4), number / 10, np.float32) for number in range(32)]

    def ask(row: Any) -> Any:
        (answer,) = handler.predict({"flowers": row}).values()  # type: ignore[union-attr]
        return answer

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, rows))
    for row, answer in zip(rows, found, strict=True):
        np.testing.assert_allclose(answer, expected(net, row), rtol=1e-4)


def drop(suffix: str) -> Callable[[Path], None]:
    return lambda model: model.with_suffix(suffix).unlink()


def cut(suffix: str) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        file = model.with_suffix(suffix)
        file.write_bytes(file.read_bytes()[:40])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop(".json"), "there is no m.json or m.pdmodel beside it, its program"),
        (cut(".json"), "m.json: is no program of Paddle: JSONDecodeError"),
        (cut(".pdiparams"), "Paddle cannot open it: "),
    ],
)
def test_a_model_that_is_not_whole_is_refused(change: Any, message: str, model: Path, configured: Configured) -> None:
    change(model)
    with pytest.raises(ModelLoadError) as caught:
        load_handler(configured(str(model), "paddle"))
    assert message in caught.value.message


def test_a_program_without_its_weights_is_refused(model: Path, configured: Configured) -> None:
    model.unlink()
    with pytest.raises(ModelLoadError, match=r"there is no m\.pdiparams beside it, its weights"):
        load_handler(configured(str(model.with_suffix(".json")), "paddle"))


def test_cuda_that_is_not_there_is_refused_with_the_cause(model: Path, configured: Configured) -> None:
    with pytest.raises(
        ModelLoadError, match=r"accelerator cuda is not available: (no NVIDIA GPU|paddle .* is built without CUDA)"
    ):
        load_handler(configured(str(model), "paddle", accelerator="cuda"))
