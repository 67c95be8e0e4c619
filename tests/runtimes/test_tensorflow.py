"""The runtime tensorflow on models that TensorFlow and Keras wrote."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from kfunc.cli.convert import convert
from kfunc.errors import ModelLoadError
from kfunc.handlers.layout import find_models
from kfunc.handlers.opening import load_handler
from kfunc.handlers.repository import _load_one
from kfunc.protocol.messages import TensorSpec

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
Configured = Callable[..., Any]
Ask = Callable[[Path], Any]


@pytest.fixture
def ask(caller: Callable[..., Any], configured: Configured) -> Ask:
    """The application around the model at a path."""

    def ask(path: Path) -> Any:
        (found,) = find_models(path, "iris", "1")
        return caller(_load_one(configured(str(found.path), found.runtime)))

    return ask


@pytest.fixture(scope="module")
def network() -> Any:
    keras.utils.set_random_seed(7)
    taken = keras.Input((4,), name="flowers")
    hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(8, activation="relu")(taken))
    return keras.Model(taken, keras.layers.Dense(3, activation="softmax", name="classes")(hidden))


@pytest.fixture(scope="module")
def expected(network: Any) -> Any:
    return network(np.array(ROWS, np.float32), training=False).numpy()


def keras_file(network: Any, folder: Path) -> Path:
    network.save(folder / "m.keras")
    return folder / "m.keras"


def h5_file(network: Any, folder: Path) -> Path:
    network.save(folder / "m.h5")
    return folder / "m.h5"


def exported(network: Any, folder: Path) -> Path:
    network.export(folder / "1", verbose=False)
    return folder


WRITERS = {"keras": keras_file, "h5": h5_file, "savedmodel": exported}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_answers_v1_and_v2_as_the_model_itself_does(
    kind: str, network: Any, expected: Any, ask: Ask, tmp_path: Path
) -> None:
    asked = ask(WRITERS[kind](network, tmp_path))
    _, told = asked.ask("GET", "/v2/models/iris")
    ((taken,), (given,)) = (told["inputs"], told["outputs"])
    assert (taken["datatype"], taken["shape"], given["shape"]) == ("FP32", [-1, 4], [-1, 3])
    assert told["parameters"] == {"accelerator": "cpu"}
    status, answer = asked.infer({"name": taken["name"], "shape": [2, 4], "datatype": "FP32", "data": ROWS})
    assert status == 200, answer
    np.testing.assert_allclose(np.reshape(answer["outputs"][0]["data"], (2, 3)), expected, rtol=1e-5)
    status, answer = asked.ask("POST", "/v1/models/iris:predict", {"instances": ROWS})
    assert status == 200, answer
    np.testing.assert_allclose(answer["predictions"], expected, rtol=1e-5)


class Functions(tf.Module):  # type: ignore[misc]
    """A SavedModel with two signatures, one on strings."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x"), tf.TensorSpec([None], tf.float32, name="y")])  # type: ignore[untyped-decorator]
    def add(self, x: Any, y: Any) -> Any:
        return {"sum": x + y}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])  # type: ignore[untyped-decorator]
    def shout(self, text: Any) -> Any:
        return {"loud": tf.strings.upper(text), "length": tf.strings.length(text)}


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    module = Functions()
    tf.saved_model.save(module, str(tmp_path / "fn"), signatures={"serving_default": module.add, "shout": module.shout})
    return tmp_path / "fn"


def test_the_metadata_are_the_default_signatures(functions: Path, configured: Configured) -> None:
    handler = load_handler(configured(str(functions), "tensorflow"))
    assert handler.inputs == [TensorSpec("x", "FP32", [-1]), TensorSpec("y", "FP32", [-1])]
    assert handler.outputs == [TensorSpec("sum", "FP32", [-1])]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"instances": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}, {"predictions": [3.0, 7.0]}),
        ({"inputs": {"x": [1, 2], "y": [3, 4]}}, {"outputs": [4.0, 6.0]}),
        ({"inputs": {"x": [1], "y": [3]}, "signature_name": "serving_default"}, {"outputs": [4.0]}),
        (
            {"signature_name": "shout", "instances": ["ab", "c"]},
            {"predictions": [{"loud": "AB", "length": 2}, {"loud": "C", "length": 1}]},
        ),
        ({"signature_name": "shout", "inputs": ["ab"]}, {"outputs": {"loud": ["AB"], "length": [2]}}),
    ],
)
def test_the_predict_api_of_tensorflow_serving_is_answered(functions: Path, ask: Ask, body: Any, answer: Any) -> None:
    assert ask(functions).ask("POST", "/v1/models/iris:predict", body) == (200, answer)


def test_a_v2_request_names_a_signature_by_a_parameter(functions: Path, ask: Ask) -> None:
    text = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["hi"]}
    status, answer = ask(functions).infer(text, parameters={"signature_name": "shout"})
    assert (status, {each["name"]: each["data"] for each in answer["outputs"]}) == (200, {"loud": ["HI"], "length": [2]})


def test_a_signature_that_there_is_not_is_refused_with_those_there_are(functions: Path, ask: Ask) -> None:
    status, answer = ask(functions).ask("POST", "/v1/models/iris:predict", {"instances": [1], "signature_name": "x"})
    assert (status, answer["error"]) == (400, "no signature 'x'; the model's signatures are serving_default, shout")


# ---- what is refused


def test_a_saved_model_without_its_variables_is_refused(network: Any, configured: Configured, tmp_path: Path) -> None:
    folder = exported(network, tmp_path) / "1"
    shutil.rmtree(folder / "variables")
    with pytest.raises(ModelLoadError, match=f"^{folder}: TensorFlow cannot open it: "):
        load_handler(configured(str(folder), "tensorflow"))


def test_a_saved_model_without_signatures_is_refused(configured: Configured, tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path / "m"))
    with pytest.raises(ModelLoadError, match=r"has no signatures: save it with signatures="):
        load_handler(configured(str(tmp_path / "m"), "tensorflow"))


@pytest.mark.parametrize("kind", ["keras", "h5"])
@pytest.mark.filterwarnings("default")
def test_half_a_file_is_refused_with_its_name(kind: str, network: Any, configured: Configured, tmp_path: Path) -> None:
    path = WRITERS[kind](network, tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelLoadError, match=f"^{path}: TensorFlow cannot open it: "):
        load_handler(configured(str(path), "tensorflow"))


@pytest.mark.filterwarnings("default")
def test_a_model_that_was_never_called_is_refused_with_the_way(configured: Configured, tmp_path: Path) -> None:
    keras.Sequential([keras.layers.Dense(2)]).save(tmp_path / "m.keras")
    with pytest.raises(ModelLoadError, match=r"m\.keras: the model does not tell its inputs: call it on some rows, then"):
        load_handler(configured(str(tmp_path / "m.keras"), "tensorflow"))


def with_lambda() -> Any:
    taken = keras.Input((4,))
    return keras.Model(taken, keras.layers.Lambda(lambda x: x * 2)(taken))


def foreign_module(configuration: str) -> str:
    return configuration.replace('"module": "keras.layers"', '"module": "os"', 1)


@pytest.mark.filterwarnings("default")
def test_a_layer_that_brings_code_is_refused(configured: Configured, tmp_path: Path) -> None:
    with_lambda().save(tmp_path / "m.keras")
    with pytest.raises(ModelLoadError, match=r"opening it could run code: it holds class_name '(Lambda|function|__lambda__)'"):
        load_handler(configured(str(tmp_path / "m.keras"), "tensorflow"))


@pytest.mark.filterwarnings("default")
def test_a_module_that_is_not_keras_is_refused(network: Any, configured: Configured, tmp_path: Path) -> None:
    path, changed = keras_file(network, tmp_path), tmp_path / "changed.keras"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, foreign_module(content.decode()) if name == "config.json" else content)
    with pytest.raises(ModelLoadError, match=r"opening it could run code: it holds module 'os'"):
        load_handler(configured(str(changed), "tensorflow"))


@pytest.mark.filterwarnings("default")
def test_an_old_file_whose_layer_brings_code_is_refused(network: Any, configured: Configured, tmp_path: Path) -> None:
    path = h5_file(network, tmp_path)
    with h5py.File(path, "a") as file:
        settings = json.loads(file.attrs["model_config"])
        settings["config"]["layers"][1]["class_name"] = "Lambda"
        file.attrs["model_config"] = json.dumps(settings)
    with pytest.raises(ModelLoadError, match=r"opening it could run code: it holds class_name 'Lambda'"):
        load_handler(configured(str(path), "tensorflow"))


def test_cuda_that_is_not_there_is_refused_with_the_cause(functions: Path, configured: Configured) -> None:
    with pytest.raises(ModelLoadError, match=r"accelerator cuda is not available: (no NVIDIA GPU|tensorflow .* without CUDA)"):
        load_handler(configured(str(functions), "tensorflow", accelerator="cuda"))


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_converts_to_onnx_that_answers_the_same(kind: str, network: Any, tmp_path: Path) -> None:
    path = WRITERS[kind](network, tmp_path)
    path = path / "1" if path.is_dir() else path
    arguments = [str(path), "-o", str(tmp_path / "made.onnx"), "--output", "json"]
    result = CliRunner().invoke(convert, arguments, catch_exceptions=False, standalone_mode=False)
    assert result.return_value == 0, result.output
    (difference,) = json.loads(result.stdout)["differences"]
    assert difference["largest"] < 1e-5
