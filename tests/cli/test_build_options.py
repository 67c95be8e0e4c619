"""What func.yaml and the command line make of an image: models, packages, what is refused."""

from pathlib import Path

import pytest

from kfunc.cli.build_options import Asked, function_recipe
from kfunc.config.load import load_function
from kfunc.errors import ModelLoadError, StartupError
from kfunc.images.recipes import Recipe
from tests.cli.conftest import FUNC_YAML


def recipe(folder: Path, block: str, *files: str) -> Recipe:
    """The recipe of a function whose `inference` begins with these lines."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    head = FUNC_YAML.partition("inference:")[0]
    (folder / "func.yaml").write_text(f"{head}inference:\n" + "".join(f"  {line}\n" for line in block.splitlines()))
    return function_recipe(load_function(folder / "func.yaml"), "f", folder, "cpu", Asked())


def test_all_models_of_this_machine_go_in_with_their_runtimes(tmp_path: Path) -> None:
    block = "model: {uri: s3://models/all, name: iris, runtime: onnx}\nmodels: [{name: rose, uri: ./sub/rose.skops}]"
    made = recipe(tmp_path, block, "sub/rose.skops")
    assert made.models == (tmp_path / "sub/rose.skops",)
    assert made.libraries is not None
    assert set(made.libraries.extras) >= {"onnx", "sklearn", "object-storage"}


def test_a_further_model_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"rose\.onnx does not exist"):
        recipe(tmp_path, "model: {uri: a.onnx}\nmodels: [{name: rose, uri: ./rose.onnx}]", "a.onnx")


def test_a_sealed_model_gets_the_runtime_that_its_name_says(tmp_path: Path) -> None:
    made = recipe(tmp_path, "model: {uri: model.onnx.sealed, sealed: true}", "model.onnx.sealed")
    assert made.libraries is not None
    assert set(made.libraries.extras) >= {"onnx", "sealed"}
    assert made.models == (tmp_path / "model.onnx.sealed",)


@pytest.mark.parametrize("uri", ["s3://b/models/iris", "pvc://claim/models"])
def test_a_model_whose_runtime_nobody_knows_is_refused_unless_its_packages_are_named(tmp_path: Path, uri: str) -> None:
    with pytest.raises(StartupError, match="does not say what runs the model: write runtime: beside its uri"):
        recipe(tmp_path, f"model: {{uri: '{uri}'}}")
    made = recipe(tmp_path, f"model: {{uri: '{uri}'}}\nbuild: {{packages: [onnxruntime]}}")
    assert made.libraries is not None
    assert made.libraries.packages == ("onnxruntime",)


def test_an_absolute_path_is_refused_since_the_image_has_another_folder(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"the image has no /.*write its path relative to func\.yaml"):
        recipe(tmp_path, f"model: {{uri: {tmp_path}/a.onnx}}", "a.onnx")


def test_a_torch_class_beside_its_weights_brings_the_folder(tmp_path: Path) -> None:
    made = recipe(tmp_path, "model: {uri: weights.pt, runtime: torch}", "weights.pt", "handler.py")
    assert made.has_code


def test_files_beside_a_model_from_elsewhere_go_in(tmp_path: Path) -> None:
    made = recipe(tmp_path, "model: {uri: s3://b/a.onnx, warmup: {file: w.json}}", "w.json")
    assert (made.folder, made.files) == (tmp_path, (tmp_path / "w.json",))
